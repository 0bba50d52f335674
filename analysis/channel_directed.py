"""Channel-directed gradients: accuracy by arm and metric, effect of the metric in every arm, and their interaction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis import controls, intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

PLAIN, REFERENCE, DECORRELATED = "plain", "center", "interneuron"
COLOURS = {"plain": "#000000", "h0": "#D55E00", "h1": "#0072B2"}
WORDS = {"plain": "gradient as it is", "h0": "h0: towards the channels' mean", "h1": "h1: along the channels' order"}
CAPTION = (
    "A: test accuracy by arm and metric of the gradient. B: effect of the metric in every arm, paired by seed. Dots: "
    "mean over {seeds} seeds, bars: 95 % intervals (Student). Learning rates were chosen on the validation split, "
    "from as many for every condition."
)
TABLE = (
    "Test accuracy: mean over paired seeds with its 95 % interval (Student); `minus plain`: paired difference to the "
    "gradient as it is, in the same arm. A diverged run counts at chance. `edge`: the rate is an end of its grid."
)


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per arm and metric.

    Args:
        tables: Tables of the study.
    """
    tests, runs = tables.of("measure")["tests"].sort_values("seed"), tables["runs"]
    tried = runs[runs["stage"] == "select"].groupby(["arm", "gradient"])["rate"].agg(["min", "max"])
    rows = []
    for arm in style.arms(tests):
        for kind in style.ordered(tests["gradient"], list(COLOURS)):
            own, values = _accuracies(tests, arm, kind)
            change = study.paired_difference(values, _accuracies(tests, arm, PLAIN)[1])
            rate = float(own["rate"].iloc[0])
            rows.append(
                {"arm": arm, "gradient": kind} | intervals.of_mean(values, "accuracy") | {
                    "minus plain": change.mean, "from": change.low, "to": change.high, "seeds": len(own),
                    "diverged": int(own["diverged"].sum()), "rate": rate,
                    "edge": controls.edge(rate, *tried.loc[[(arm, kind)]].iloc[0]),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def interactions(tables: study.Tables) -> pd.DataFrame:
    """Compute the interaction: effect of each metric with interneurons minus that with centring, paired by seed.

    Args:
        tables: Tables of the study.
    """
    tests = tables.of("measure")["tests"].sort_values("seed")
    if not {REFERENCE, DECORRELATED} <= set(tests["arm"]):
        return pd.DataFrame()
    made = []
    for kind in style.ordered(tests["gradient"], list(COLOURS)):
        if kind != PLAIN:
            gains = {
                arm: np.subtract(_accuracies(tests, arm, kind)[1], _accuracies(tests, arm, PLAIN)[1])
                for arm in (REFERENCE, DECORRELATED)
            }
            held = intervals.of_mean((gains[DECORRELATED] - gains[REFERENCE]).tolist(), "interaction")
            made.append({"gradient": kind, **held})
    return pd.DataFrame(made)


def _accuracies(tests: pd.DataFrame, arm: str, kind: str) -> tuple[pd.DataFrame, list[float]]:
    own = tests[(tests["arm"] == arm) & (tests["gradient"] == kind)]
    return own, controls.accuracies(own)


def draw(tables: study.Tables, directory: Path) -> str:
    """Draw the figure, write the tables, return the finding in words.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
    """
    made, both = table(tables), interactions(tables)
    save_table(made, directory, "channel_directed", TABLE, digits=3)
    if len(both):
        save_table(both, directory, "interaction", "Interaction of metric and decorrelation, 95 % interval.", digits=3)
    figure, axes = style.panels(1, 2, 2.8)
    names = list(dict.fromkeys(made["arm"]))
    kinds = list(dict.fromkeys(made["gradient"]))
    for axis, (value, low, high), title in (
        (axes[0][0], ("accuracy", "low", "high"), "test accuracy"),
        (axes[0][1], ("minus plain", "from", "to"), "minus the gradient as it is"),
    ):
        shown = [kind for kind in kinds if value == "accuracy" or kind != PLAIN]
        for place, kind in enumerate(shown):
            own = made[made["gradient"] == kind].set_index("arm").loc[names]
            where = np.arange(len(names)) + 0.22 * (place - (len(shown) - 1) / 2)
            spread = [own[value] - own[low], own[high] - own[value]]
            axis.errorbar(where, own[value], spread, fmt="o", capsize=2, color=COLOURS[kind], label=WORDS[kind])
        axis.set_xticks(range(len(names)), [style.label(name).replace(" ", "\n") for name in names])
        axis.set_title(title)
    axes[0][0].set_ylim(bottom=0)
    axes[0][1].axhline(0, color="black", linewidth=0.6)
    style.legend(figure, *axes[0])
    save_figure(figure, directory, "channel_directed", CAPTION.format(seeds=int(made["seeds"].max())))
    return finding(made, both)


def finding(made: pd.DataFrame, both: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = ["Test accuracy, and minus the gradient as it is (95 % intervals)"]
    for _, row in made.iterrows():
        change = f"; {row['minus plain']:+.3f} [{row['from']:+.3f}, {row['to']:+.3f}]"
        edge = f" (rate: {row['edge']} of its grid)" if row["edge"] else ""
        own = f"  {style.label(row['arm']):20s} {row['gradient']:6s} {intervals.told(row, 'accuracy', '.3f')}"
        lines.append(own + ("" if row["gradient"] == PLAIN else change) + edge)
    for _, row in both.iterrows():
        lines.append(f"interaction of {row['gradient']} and interneurons: {intervals.told(row, 'interaction', '+.3f')}")
    return "\n".join(lines)
