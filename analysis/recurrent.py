"""Recurrent networks: accuracy of every arm by task and credit, and correlation of the inputs of the recurrence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import controls, intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

FACTORS = ["task", "cell", "credit"]
WORDS = {"digits": "digits, row by row", "delayed_xor": "delayed exclusive or"}
CAPTION = (
    "Test accuracy by credit assignment and arm, one panel a task and kind of units: dots: mean over {seeds} paired "
    "seeds, bars: 95 % interval (Student); dashed: chance. Learning rates chosen on the validation split with equal "
    "budgets; a diverged run counts at chance."
)
STATES = (
    "Inputs of the recurrent weights after learning: mean absolute correlation between units, with its 95 % "
    "interval over seeds (Student), and effective rank (participation ratio)."
)


def draw(tables: study.Tables, directory: Path) -> str:
    """Save tables and figure; return the finding in words.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
    """
    made, received = controls.table(tables, FACTORS), states(tables)
    save_table(made, directory, "recurrent", controls.CAPTION, digits=3)
    save_table(received, directory, "states", STATES, digits=3)
    tests = tables.of("measure")["tests"]
    save_figure(_figure(made, tests), directory, "recurrent", CAPTION.format(seeds=int(made["seeds"].max())))
    return finding(made, received)


def states(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per condition and arm.

    Args:
        tables: Tables of the study.
    """
    rows = []
    for key, own in tables.of("measure")["states"].groupby([*FACTORS, "arm"], sort=False):
        found = intervals.of_mean(own["correlation"], "correlation")
        rows.append({**dict(zip([*FACTORS, "arm"], key, strict=True)), **found, "rank": own["effective_rank"].mean()})
    return pd.DataFrame(rows)


def finding(made: pd.DataFrame, received: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    correlations = received.set_index([*FACTORS, "arm"])["correlation"]
    lines = ["Test accuracy (difference to centring, 95 % interval); |r| of the recurrent weights' inputs"]
    for key, rows in made.groupby(FACTORS, sort=False):
        lines.append(f"{WORDS[str(key[0])]}, {key[1]}, {style.CREDITS[str(key[2])]}:")
        for _, row in rows.iterrows():
            correlation = correlations.get((*key, row["arm"]), np.nan)
            edge = f"; {row['edge']} learning rate of its grid" if row["edge"] else ""
            told = f"  {style.label(row['arm']):12s} {row['accuracy']:.3f}{controls.interval(row)}"
            lines.append(f"{told}; |r| {correlation:.3f}{edge}")
    return "\n".join(lines)


def _figure(made: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    conditions = list(dict.fromkeys(zip(made["task"], made["cell"], strict=True)))
    figure, axes = style.panels(1, len(conditions), 2.8)
    credits = style.credits(made)
    for axis, (task, cell) in zip(axes[0], conditions, strict=True):
        of = tests[(tests["task"] == task) & (tests["cell"] == cell)]
        arms = style.arms(of)
        for place, arm in enumerate(arms):
            found = [
                intervals.of_mean(controls.accuracies(own), "x")
                for own in (of[(of["arm"] == arm) & (of["credit"] == credit)] for credit in credits)
            ]
            where = np.arange(len(credits)) + 0.16 * (place - (len(arms) - 1) / 2)
            middle = np.array([one["x"] for one in found])
            spread = [middle - [one["low"] for one in found], [one["high"] for one in found] - middle]
            axis.errorbar(where, middle, spread, fmt="o", capsize=2, color=style.colour(arm), label=style.label(arm))
        axis.axhline(style.chance(of), color="black", linestyle="--", linewidth=0.7)
        axis.set_ylim(0, 1.02)
        axis.set_xticks(range(len(credits)), [style.CREDITS[name].replace(" ", "\n") for name in credits])
        axis.set_title(f"{WORDS[task]}, {cell}")
    axes[0][0].set_ylabel("test accuracy")
    style.legend(figure, *axes[0], columns=4)
    return figure
