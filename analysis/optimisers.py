"""Optimisers with centred and with decorrelated inputs: accuracy with early stopping, and at equal processor time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import comparison, controls, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

CONDITION = ["optimiser", "arm"]
REFERENCE = ("adam", "center")
CAPTION = (
    "Test accuracy at the epoch with the best validation accuracy (early stopping): mean and standard deviation over "
    "paired seeds; `epoch`, `seconds`: when that was, median, processor seconds of the training without measurements. "
    "`at equal time`: the same among the epochs that end within the time that centred Adam takes for all of its own, "
    "epoch 0 included; `minus`: its paired difference to centred Adam with its 95 % interval (Student). `last`: after "
    "the last epoch. A diverged run counts at chance level. The learning rate was chosen on the validation split with "
    "a seed that is not measured and as many runs for all; `edge`: its best value is an end of the grid, beyond which "
    "the optimiser may gain."
)


def courses(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per run and epoch, with its processor seconds."""
    keys = [*CONDITION, "seed", "epoch"]
    curves = measured["curves"].merge(measured["timings"][[*keys, "processor_seconds"]], on=keys, validate="one_to_one")
    return curves.sort_values(keys)


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per optimiser and arm."""
    measured = tables.of("measure")
    runs, tests = dict(list(courses(measured).groupby(CONDITION))), measured["tests"]
    chance = style.chance(tests)
    ends = dict(list(tests.sort_values("seed").groupby(CONDITION)))
    clock = _seconds(runs[REFERENCE])
    reference = comparison.early_stopped(runs[REFERENCE], chance, clock)["test_accuracy"]
    tried = tables.of("select")["runs"].groupby(CONDITION)["learning_rate"].agg(["min", "max"])
    rows = []
    for name in dict.fromkeys(tests["optimiser"]):
        for arm in style.arms(tests[tests["optimiser"] == name]):
            course, end = runs[name, arm], ends[name, arm]
            best = comparison.early_stopped(course, chance)
            equal = comparison.early_stopped(course, chance, clock)["test_accuracy"]
            change = study.paired_difference(list(equal), list(reference))
            last = study.describe(list(end["test_accuracy"]), list(end["diverged"]), "chance", chance)
            rate = float(end["learning_rate"].iloc[0])
            rows.append({
                "optimiser": name,
                "arm": arm,
                "learning rate": rate,
                "accuracy": float(best["test_accuracy"].mean()),
                "deviation": float(best["test_accuracy"].std()),
                "epoch": float(best["epoch"].median()),
                "seconds": float(best["processor_seconds"].median()),
                "at equal time": float(equal.mean()),
                "minus": change.mean,
                "low": change.low,
                "high": change.high,
                "last": last.mean,
                "seeds": last.n,
                "diverged": last.diverged,
                "edge": controls.edge(rate, *tried.loc[(name, arm)]),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _seconds(course: pd.DataFrame) -> float:
    return float(course.groupby("seed")["processor_seconds"].max().median())


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    seeds = int(made["seeds"].max())
    lines = [
        f"Test accuracy at the best validated epoch; within the time of centred Adam, and minus it ({seeds} seeds)"
    ]
    for _, row in made.iterrows():
        told = f"  {row['optimiser']:11s} {style.label(row['arm']):12s} {row['accuracy']:.3f} in {row['seconds']:.3g} s"
        if (row["optimiser"], row["arm"]) != REFERENCE:
            interval = f", {row['low']:+.3f} to {row['high']:+.3f}" if seeds > 1 else ""
            told += f"; at equal time {row['at equal time']:.3f} ({row['minus']:+.3f}{interval})"
        lines.append(told + controls.remarks(row))
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
        "its 95 % interval (Student); dotted: when centred Adam has ended. Learning rates chosen on the validation "
        "split with equal budgets.",
    )
    print(finding(made))


def _figure(runs: pd.DataFrame, chance: float) -> Figure:
    names = list(dict.fromkeys(runs["optimiser"]))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = style.panels(rows, columns, 1.9 * rows + 0.4, sharex=True, sharey=True)
    clock = _seconds(runs[(runs["optimiser"] == REFERENCE[0]) & (runs["arm"] == REFERENCE[1])])
    for axis, name in zip(axes.flat, names, strict=False):
        of = runs[(runs["optimiser"] == name) & (runs["epoch"] > 0)]
        for arm in style.arms(of):
            style.course(axis, of[of["arm"] == arm], arm, "test_accuracy", "processor_seconds", chance)
        axis.axvline(clock, color="black", linestyle=":", linewidth=0.8)
        axis.set(title=name.replace("_", " "), xscale="log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    for axis in axes[-1]:
        axis.set_xlabel("processor seconds")
    for row in axes:
        row[0].set_ylabel("test accuracy")
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    style.legend(figure, *axes.flat[: len(names)], columns=2)
    return figure
