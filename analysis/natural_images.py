"""Credit assignments on real images: accuracy of every arm at the end, and by processor time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import comparison, controls, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

CHOSEN = ("learning_rate", "damping")
CONDITION = ["credit", "arm"]
CAPTION = (
    "Test accuracy after the last epoch: mean and standard deviation over paired seeds; difference to `center` with "
    "the same seeds and its 95 % interval (Student). A diverged run counts at chance level. `first epoch` and "
    "`validation`: validation accuracy after one pass and after all. `seconds`: processor seconds of the training of "
    "one network, measurements left out. `minus foof`: paired difference to `foof`, the same conditioning of the "
    "gradient. `early`: test accuracy after the epoch with the best validation accuracy, and "
    "its paired difference to `center`. Learning rate and damping were chosen on the validation split with a seed "
    "that is not measured and as many runs for every arm; `edge` names those whose best value is an end of the grid, "
    "beyond which the arm may gain."
)


def table(tables: study.Tables) -> pd.DataFrame:
    """Make a table with one row per credit and arm, with processor seconds of a run and choices at an end of a grid."""
    measured = tables.of("measure")
    made = comparison.table(measured, factor=None, chosen=CHOSEN)
    ends = measured["timings"].groupby([*CONDITION, "seed"])["processor_seconds"].max()
    seconds = ends.groupby(CONDITION).median()
    tried = tables.of("select")["runs"].groupby(CONDITION)
    grids = {name: tried[name].agg(["min", "max"]) for name in CHOSEN}
    made["seconds"] = [seconds[row["credit"], row["arm"]] for _, row in made.iterrows()]
    chance = style.chance(measured["tests"])
    early = {
        key: comparison.early_stopped(rows, chance)["test_accuracy"]
        for key, rows in measured["curves"].groupby(CONDITION)
    }
    made["early"] = [float(early[row["credit"], row["arm"]].mean()) for _, row in made.iterrows()]
    made["early minus"] = [
        float((early[row["credit"], row["arm"]] - early[row["credit"], comparison.REFERENCE]).mean())
        for _, row in made.iterrows()
    ]
    runs = dict(list(measured["tests"].groupby(CONDITION)))
    for at, row in made.iterrows():
        conditioned = runs.get((row["credit"], controls.CONDITIONED))
        if conditioned is not None and row["arm"] != controls.CONDITIONED:
            change = controls.difference(runs[row["credit"], row["arm"]], conditioned)
            made.loc[at, ["minus foof", "foof low", "foof high"]] = change.mean, change.low, change.high
    made["edge"] = [_edge(row, grids) for _, row in made.iterrows()]
    return made


def _edge(row: pd.Series, grids: dict[str, pd.DataFrame]) -> str:
    words = []
    for name, grid in grids.items():
        low, high = grid.loc[(row["credit"], row["arm"])]
        value = row[name.replace("_", " ")]
        if low < high and value in (low, high):
            words.append(f"{'lowest' if value == low else 'highest'} {name.replace('_', ' ')}")
    return ", ".join(words)


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result: one line per arm of every credit."""
    lines = ["Test accuracy; in brackets the paired difference to centring with its 95 % interval"]
    for credit, rows in made.groupby("credit", sort=False):
        seeds = int(rows["seeds"].iloc[0])
        told = f"{seeds} paired seeds" if seeds > 1 else "one seed: no intervals"
        lines.append(f"  {style.CREDITS.get(str(credit), str(credit))}, {told}")
        for _, row in rows.iterrows():
            told = f"    {style.label(row['arm']):20s} {row['accuracy']:.3f}"
            if row["arm"] != comparison.REFERENCE:
                interval = f", {row['low']:+.3f} to {row['high']:+.3f}" if seeds > 1 else ""
                told += f"  ({row['minus center']:+.3f}{interval})"
            if row["diverged"]:
                told += f", {row['diverged']} diverged"
            if row["arm"] == "interneuron" and seeds > 1 and not pd.isna(row.get("foof low")):
                told += f"; minus foof {row['minus foof']:+.3f}, {row['foof low']:+.3f} to {row['foof high']:+.3f}"
            lines.append(told + (f"; {row['edge']} of its grid" if row["edge"] else ""))
    return "\n".join(lines)


def draw(tables: study.Tables, directory: Path) -> None:
    """Save the table and both figures, and print the finding."""
    made = table(tables)
    save_table(made, directory, "natural_images", CAPTION, digits=3)
    measured = tables.of("measure")
    chance = style.chance(measured["tests"])
    seeds = int(made["seeds"].max())
    save_figure(
        _accuracies(made, measured["tests"], chance),
        directory,
        "natural_images",
        f"Test accuracy after the last epoch by credit assignment and arm: mean over {seeds} paired seeds (large), and "
        "every seed (small). Learning rate and damping of every arm chosen on the validation split with equal budgets; "
        f"dashed: centred backprop. A diverged run counts at chance level, {chance:.2g}.",
    )
    save_figure(
        _courses(measured, chance),
        directory,
        "natural_images_time",
        f"Test accuracy by processor seconds of the training, from the first epoch on: mean over {seeds} paired seeds "
        f"after every epoch, shaded its 95 % interval (Student). A diverged run counts at chance level, {chance:.2g}, "
        "from then on. Nothing was chosen by the test split.",
    )
    print(finding(made))


def _accuracies(made: pd.DataFrame, tests: pd.DataFrame, chance: float) -> Figure:
    credits, arms = style.credits(made), style.arms(made)
    figure, axes = style.panels(1, 1, 3.2)
    axis: Axes = axes[0][0]
    spread = np.linspace(-0.33, 0.33, len(arms)) if len(arms) > 1 else [0.0]
    for place, credit in enumerate(credits):
        for shift, arm in zip(spread, arms, strict=True):
            row = made[(made["credit"] == credit) & (made["arm"] == arm)]
            if row.empty:
                continue
            runs = tests[(tests["credit"] == credit) & (tests["arm"] == arm)]
            single = runs["test_accuracy"].where(~runs["diverged"].astype(bool), chance)
            axis.plot([place + shift] * len(single), single, ".", color=style.colour(arm), markersize=3, alpha=0.6)
            axis.plot(
                place + shift, row["accuracy"], "o", color=style.colour(arm), markersize=4.5,
                label=style.label(arm) if place == 0 else None,
            )  # fmt: skip
    reference = made[(made["credit"] == "backprop") & (made["arm"] == comparison.REFERENCE)]
    for accuracy in reference["accuracy"]:
        axis.axhline(accuracy, color="#000000", linewidth=0.8, linestyle="--", zorder=0)
    axis.set_xticks(
        range(len(credits)), [style.CREDITS.get(credit, credit).replace(" ", "\n", 1) for credit in credits]
    )
    axis.set_ylabel("test accuracy")
    style.legend(figure, axis, columns=min(len(arms), 6))
    return figure


def _courses(measured: study.Tables, chance: float) -> Figure:
    keys = [*CONDITION, "seed", "epoch"]
    clock = measured["timings"][[*keys, "processor_seconds"]]
    curves = measured["curves"].merge(clock, on=keys, validate="one_to_one")
    curves = curves[curves["epoch"] > 0]
    credits, arms = style.credits(curves), style.arms(curves)
    figure, axes = style.grid(("time",), credits, 2.2, sharey=True)
    for (_, credit), axis in axes.items():
        for arm in arms:
            runs = curves[(curves["credit"] == credit) & (curves["arm"] == arm)]
            if not runs.empty:
                style.course(axis, runs, arm, "test_accuracy", "processor_seconds", chance)
        axis.set(title=style.CREDITS.get(credit, credit), xlabel="processor seconds")
        axis.set_xlim(left=0)
    style.label_left(axes.values(), "test accuracy")
    style.legend(figure, *axes.values(), columns=6)
    return figure
