"""Optimisers with centred and with decorrelated inputs: accuracy at the end, and at equal processor time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

CONDITION = ["optimiser", "arm"]
REFERENCE = ("adam", "center")
CAPTION = (
    "Test accuracy: mean over paired seeds at the end of the training, and when centred Adam has ended (linear between "
    "the epochs; before the first epoch of a slow optimiser from its accuracy at the start). `minus`: paired "
    "difference at equal time to centred Adam with its 95 % interval (Student). `seconds`: processor seconds of one "
    "training, measurements left out; median. A diverged run counts at chance level. The learning rate was chosen on "
    "the validation split with a seed that is not measured and as many runs for all; `edge`: its best value is an end "
    "of the grid, beyond which the optimiser may gain."
)


def courses(measured: study.Tables) -> pd.DataFrame:
    """One row a run and epoch, with its processor seconds; chance after a divergence."""
    keys = [*CONDITION, "seed", "epoch"]
    curves = measured["curves"].merge(measured["timings"][[*keys, "processor_seconds"]], on=keys, validate="one_to_one")
    return curves.sort_values(keys)


def table(tables: study.Tables) -> pd.DataFrame:
    """One row an optimiser and arm."""
    measured = tables.of("measure")
    runs, tests = dict(list(courses(measured).groupby(CONDITION))), measured["tests"]
    chance = style.chance(tests)
    ends = dict(list(tests.sort_values("seed").groupby(CONDITION)))
    clock = _seconds(runs[REFERENCE])
    reference = _at(runs[REFERENCE], ends[REFERENCE], clock, chance)
    tried = tables.of("select")["runs"].groupby(CONDITION)["learning_rate"].agg(["min", "max"])
    rows = []
    for name in dict.fromkeys(tests["optimiser"]):
        for arm in style.arms(tests[tests["optimiser"] == name]):
            course, end = runs[name, arm], ends[name, arm]
            last = study.describe(list(end["test_accuracy"]), list(end["diverged"]), "chance", chance)
            equal = _at(course, end, clock, chance)
            change = study.paired_difference(list(equal), list(reference))
            rate = float(end["learning_rate"].iloc[0])
            low, high = tried.loc[(name, arm)]
            rows.append({
                "optimiser": name,
                "arm": arm,
                "learning rate": rate,
                "at the end": last.mean,
                "deviation": last.standard_deviation,
                "seconds": _seconds(course),
                "at equal time": float(equal.mean()),
                "minus": change.mean,
                "low": change.low,
                "high": change.high,
                "seeds": last.n,
                "diverged": last.diverged,
                "edge": "" if low == high or rate not in (low, high) else "lowest" if rate == low else "highest",
            })  # fmt: skip
    return pd.DataFrame(rows)


def _seconds(course: pd.DataFrame) -> float:
    return float(course.groupby("seed")["processor_seconds"].max().median())


def _at(course: pd.DataFrame, ends: pd.DataFrame, seconds: float, chance: float) -> pd.Series:
    """Test accuracy of every seed at a processor time, its last one where it ended before; chance where it diverged."""
    diverged = ends.set_index("seed")["diverged"].astype(bool)
    found = {
        seed: chance
        if diverged[seed]
        else float(np.interp(seconds, one["processor_seconds"].to_numpy(), one["test_accuracy"].to_numpy()))
        for seed, one in course.groupby("seed")
    }
    return pd.Series(found).sort_index()


def finding(made: pd.DataFrame) -> str:
    """What came out, in words, whichever way it fell."""
    seeds = int(made["seeds"].max())
    lines = [f"Test accuracy at the end; at the time of centred Adam, with the paired difference to it ({seeds} seeds)"]
    for _, row in made.iterrows():
        told = (
            f"  {row['optimiser']:11s} {style.label(row['arm']):12s} {row['at the end']:.3f} in {row['seconds']:.3g} s"
        )
        if (row["optimiser"], row["arm"]) != REFERENCE:
            interval = f", {row['low']:+.3f} to {row['high']:+.3f}" if seeds > 1 else ""
            told += f"; at equal time {row['at equal time']:.3f} ({row['minus']:+.3f}{interval})"
        told += f"; {row['diverged']} diverged" if row["diverged"] else ""
        lines.append(told + (f"; {row['edge']} learning rate of its grid" if row["edge"] else ""))
    return "\n".join(lines)


def draw(tables: study.Tables, directory: Path) -> None:
    """Save the table and the figure, and print the finding."""
    made = table(tables)
    save_table(made, directory, "optimisers", CAPTION, digits=3)
    measured = tables.of("measure")
    chance, seeds = style.chance(measured["tests"]), int(made["seeds"].max())
    save_figure(
        _figure(courses(measured), chance),
        directory,
        "optimisers",
        f"Test accuracy by processor seconds of the training: mean over {seeds} paired seeds after every epoch, shaded "
        "one standard deviation; dotted: when centred Adam has ended. Learning rates chosen on the validation split "
        "with equal budgets.",
    )
    print(finding(made))


def _figure(runs: pd.DataFrame, chance: float) -> Figure:
    names = list(dict.fromkeys(runs["optimiser"]))
    figure, axes = style.panels(1, len(names), (2.6 * len(names) + 0.6, 3.6), sharey=True)
    clock = _seconds(runs[(runs["optimiser"] == REFERENCE[0]) & (runs["arm"] == REFERENCE[1])])
    for axis, name in zip(axes[0], names, strict=True):
        of = runs[(runs["optimiser"] == name) & (runs["epoch"] > 0)]
        for arm in style.arms(of):
            style.course(axis, of[of["arm"] == arm], arm, "test_accuracy", "processor_seconds", chance)
        axis.axvline(clock, color="black", linestyle=":", linewidth=0.8)
        axis.set(title=name.replace("_", " "), xlabel="processor seconds", xscale="log")
    axes[0][0].set_ylabel("test accuracy")
    style.legend(figure, *axes[0], columns=2)
    return figure
