"""Accuracy of every arm against the learning rate."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

COLOURS = {  # the style of the line shows whether the power is given back or taken
    "none": "#444444",
    "center": "#999999",
    "norm_preserving": "#009E73",
    "whitening, damping 0.3": "#D55E00",
    "whitening, damping 3": "#E69F00",
    "interneuron, damping 0.3": "#0072B2",
    "interneuron, damping 3": "#56B4E9",
}
CAPTION = "Validation accuracy at the end, mean over paired seeds; runs that diverged count as chance, a tenth."
CHANCE = 0.1


def table(curves: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the mean validation accuracy at the end by strength and arm, with one column per learning rate.

    Args:
        curves: Rows of the learning curves.
    """
    keys = ["strength", "arm", "learning_rate", "seed"]
    last = curves.sort_values("epoch").groupby(keys, sort=False).last()
    ends = last["validation_accuracy"].mask(last["diverged"], CHANCE)
    means = ends.groupby(level=keys[:3]).mean().unstack("learning_rate")
    order = list(COLOURS)
    ranks = {arm: (order.index(of), arm) for arm in set(curves["arm"]) for of in order if _kind(arm) == of}
    return means.loc[sorted(means.index, key=lambda key: (key[0], ranks[key[1]]))]


def _kind(arm: str) -> str:
    """Return the name of an arm without the treatment of its power."""
    return arm.removesuffix(", given back").removesuffix(", taken")


def draw(measured: study.Tables, directory: Path) -> str:
    """Draw the figure and write the table of a study.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.

    Returns:
        The finding in words.
    """
    means = table(measured["curves"])
    strengths = list(dict.fromkeys(means.index.get_level_values("strength")))
    figure, axes = style.panels(1, len(strengths), 3.4, sharey=True)
    for axis, strength in zip(axes[0], strengths, strict=True):
        for arm, row in means.loc[strength].iterrows():
            line, colour = ":" if str(arm).endswith("taken") else "-", COLOURS[_kind(str(arm))]
            axis.plot(row.index, row.to_numpy(), line, marker="o", markersize=3, color=colour, label=arm)
        axis.set(xscale="log", xlabel="learning rate (SGD)", title=f"common modes of strength {strength:g}")
    axes[0][0].set_ylabel("validation accuracy")
    style.legend(figure, axes[0][0], columns=3)
    save_figure(figure, directory, "learning_rates", CAPTION)
    shown = means.reset_index()
    shown.columns = ["strength", "arm", *(f"rate {rate:g}" for rate in means.columns)]
    save_table(shown, directory, "learning_rates", CAPTION, digits=3)
    return _finding(means)


def _finding(means: pd.DataFrame) -> str:
    lines = ["Validation accuracy, power given back (taken), by learning rate:"]
    for strength in dict.fromkeys(means.index.get_level_values("strength")):
        at = means.loc[strength]
        for arm in at.index:
            if not arm.endswith("given back"):
                continue
            taken = at.loc[arm.replace("given back", "taken")] if arm.replace("given back", "taken") in at.index else {}
            told = [f"{rate:g}: {at.loc[arm, rate]:.2f} ({taken.get(rate, float('nan')):.2f})" for rate in at.columns]
            lines.append(f"  strength {strength:g}, {arm.removesuffix(', given back')}: {'; '.join(told)}")
    return "\n".join(lines)
