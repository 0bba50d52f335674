"""Inputs of every weight layer: correlation and effective rank over training, spectrum at the end."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis import comparison, style
from neuro_decorr import study
from neuro_decorr.report import save_figure

_SMALLEST_SHARE = 1e-6
"""Smallest share that is drawn; smaller ones are rounding errors, of directions in which inputs do not vary."""


def draw(measured: study.Tables, directory: Path, credit: str = "backprop") -> None:
    """Draw the figure for one credit at the largest strength that has all arms.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
        credit: Credit assignment of the networks; where the study has no such runs, its first one.
    """
    runs = measured["runs"]
    strength = max(style.complete(runs))
    credit = credit if credit in set(runs["credit"]) else style.credits(runs)[0]
    layers, spectra = (
        rows[(rows["credit"] == credit) & (rows["strength"] == strength)]
        for rows in (measured["layers"], measured["spectra"])
    )
    names = list(dict.fromkeys(layers["layer"]))
    figure, axes = style.panels(3, len(names), 6.0, sharey="row")
    for column, name in enumerate(names):
        at = layers[layers["layer"] == name]
        for arm in style.arms(layers):
            of_arm = at[at["arm"] == arm]
            _course(axes[0][column], of_arm, "mean_squared_correlation", arm)
            _course(axes[1][column], of_arm, "effective_rank", arm)
            _spectrum(axes[2][column], spectra[(spectra["layer"] == name) & (spectra["arm"] == arm)], arm)
        for row in (0, 1):
            axes[row][column].set_xlabel("epoch")
            axes[row][column].xaxis.set_major_locator(MaxNLocator(integer=True))
            axes[row][column].set_yscale("log")
        axes[0][column].set_title(f"input of {name.replace('_', ' ')}")
        axes[2][column].set(xlabel="component", xscale="log", yscale="log", ylim=(_SMALLEST_SHARE, None))
    for row, words in enumerate(("mean squared correlation", "effective rank", "share of the power")):
        axes[row][0].set_ylabel(words)
    style.legend(figure, axes[0][0], columns=3)
    save_figure(
        figure,
        directory,
        "achieved_decorrelation",
        f"Inputs of the weight layers ({style.CREDITS.get(credit, credit)}, common modes of strength {strength:g}): "
        "second moments about zero on validation images, mean over paired seeds. Top row: mean squared correlation. "
        f"Middle row: effective rank. Bottom row: spectrum after the last epoch, shares above {_SMALLEST_SHARE:g}; "
        "dotted: before the first epoch. Dashed: the weights are compensated.",
    )


def _spectrum(axis: Axes, runs: pd.DataFrame, arm: str) -> None:
    """Draw the spectrum after the last epoch, and for the reference before the first one, where all arms are equal."""
    if arm == comparison.REFERENCE:
        start = runs[runs["epoch"] == 0].groupby("component")["share"].mean()
        axis.plot(start, ":", color=style.colour(arm), linewidth=1.0)
    end = runs[runs["epoch"] == runs["epoch"].max()].groupby("component")["share"].mean()
    axis.plot(end, style.line(arm), color=style.colour(arm), linewidth=1.3)


def _course(axis: Axes, runs: pd.DataFrame, quantity: str, arm: str) -> None:
    mean = runs.groupby("epoch")[quantity].mean()
    axis.plot(mean, style.line(arm), color=style.colour(arm), linewidth=1.3, label=style.label(arm))
