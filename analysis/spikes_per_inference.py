"""Spikes of a network for one image (a measure of energy) against its accuracy."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

KEYS = ["credit", "strength", "arm"]
CAPTION = (
    "Spikes of one inference: mean over test images and paired seeds, by layer of neurons, and of all; test accuracy "
    "of the same runs. Diverged runs have no spikes to count."
)


def table(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per credit, strength and arm, with the spikes of every layer of neurons.

    Args:
        measured: Tables of the measured runs.
    """
    counted = measured["spikes"]
    layers = list(dict.fromkeys(counted["layer"]))
    spikes = counted.pivot_table(index=KEYS, columns="layer", values="spikes", aggfunc="mean", sort=False)[layers]
    spikes.columns = [f"layer {number}" for number in range(1, len(layers) + 1)]
    spikes["all"] = spikes.sum(axis=1)
    tests = measured["tests"].dropna(subset=["test_accuracy"])
    spikes["accuracy"] = tests.groupby(KEYS)["test_accuracy"].mean()
    ranks = {"credit": style.credits(tests), "arm": style.arms(tests)}
    return spikes.reset_index().sort_values(
        KEYS, key=lambda level: level.map(ranks[level.name].index) if level.name in ranks else level
    )


def draw(measured: study.Tables, directory: Path) -> None:
    """Write the table, and draw accuracy against spikes at the strengths that have all arms.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    made = table(measured)
    save_table(made, directory, "spikes_per_inference", CAPTION, digits=3)
    strengths, credits = style.complete(measured["runs"]), style.credits(made)
    figure, axes = style.grid(strengths, credits, 1.9, sharey=True)
    for (strength, credit), axis in axes.items():
        panel = made[(made["credit"] == credit) & (made["strength"] == strength)]
        for _, point in panel.iterrows():
            arm = point["arm"]
            face = "none" if arm.endswith("_compensated") else style.colour(arm)
            axis.plot(
                point["all"], point["accuracy"], "o", color=style.colour(arm), markerfacecolor=face, markersize=5,
                label=style.label(arm),
            )  # fmt: skip
        axis.set(title=style.CREDITS.get(credit, credit), xlabel="spikes per image", xlim=(0, None), ylim=(0, 1))
    for strength in strengths:
        own = [axis for (level, _), axis in axes.items() if level == strength]
        style.label_left(own, f"common modes {strength:g}\ntest accuracy")
    style.legend(figure, *axes.values())
    save_figure(
        figure,
        directory,
        "spikes_per_inference",
        "Test accuracy against the spikes of all neurons for one image: means over paired seeds. Open: the weights are "
        "compensated.",
    )
