"""Style common to all figures: panels, legends, colours and names of arms and credits."""

from __future__ import annotations

import math
import string
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import intervals
from neuro_decorr.report import palette, sizes

COLOURS = palette.COLOURS
CREDITS = {
    "backprop": "backprop",
    "feedback_alignment": "feedback alignment",
    "direct_feedback_alignment": "direct feedback al.",
    "node_perturbation": "node perturbation",
    "local_forward_gradient": "local forward gradient",
    "activity_perturbation": "activity perturbation",
    "weight_perturbation": "weight perturbation",
    "semi_implicit": "semi-implicit",
    "eprop": "e-prop",
    "forward_gradient": "forward gradient",
}


def panels(rows: int, columns: int, height: float, width: float = sizes.DOUBLE, **options: Any) -> tuple[Figure, Any]:
    """Make a figure of a printed width, and the array of its panels; several panels have the letters A, B, ...

    The size of the text is that of a printed page, also for what is drawn later in the same process.

    Args:
        rows: Number of rows of panels.
        columns: Number of columns of panels.
        height: Height (inches).
        width: Width: of one column, of one and a half, or of two (inches).
        **options: Options of plt.subplots.
    """
    plt.rcParams.update(sizes.TEXT)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    letter(axes.flat)
    return figure, axes


def grid(
    rows: Sequence[Any], columns: Sequence[Any], height: float, most: int = 4, **options: Any
) -> tuple[Figure, dict[tuple[Any, Any], Axes]]:
    """Make a panel for every pair of levels; too many columns for the width of a page continue on further rows.

    Args:
        rows: Levels of the rows.
        columns: Levels of the columns.
        height: Height of one row (inches).
        most: Largest number of panels beside each other.
        **options: Options of plt.subplots.

    Returns:
        The figure, and its panels by level of the row and of the column.
    """
    deep = -(-len(columns) // most)
    wide = -(-len(columns) // deep)  # as many in every row as can be
    width = sizes.SINGLE if wide == 1 else sizes.MIDDLE if wide == 2 else sizes.DOUBLE
    figure, axes = panels(len(rows) * deep, wide, len(rows) * deep * height + 0.5, width, **options)
    places = {
        (row, column): axes[deep * number + place // wide][place % wide]
        for number, row in enumerate(rows)
        for place, column in enumerate(columns)
    }
    used = set(places.values())
    for axis in axes.flat:
        axis.set_visible(axis in used)
    letter(list(places.values()))
    return figure, places


def letter(axes: Iterable[Axes]) -> None:
    """Write A, B, ... above the panels of a figure, in their order; nothing above a single panel."""
    shown = list(axes)
    for axis, sign in zip(shown, string.ascii_uppercase, strict=False):
        axis.set_title(sign if len(shown) > 1 else "", loc="left", fontweight="bold")


def label_left(axes: Iterable[Axes], words: str) -> None:
    """Label the vertical axis of the panels in the first column."""
    for axis in axes:
        if (place := axis.get_subplotspec()) is not None and place.is_first_col():
            axis.set_ylabel(words)


def legend(figure: Figure, *axes: Axes, columns: int = 3, above: bool = False, title: str | None = None) -> None:
    """Draw one legend for the whole figure, below or above all panels, with each label once."""
    handles = {label: h for axis in axes for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    columns = max(1, min(columns, int(figure.get_figwidth() / 1.15)))  # the longest labels fit
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center" if above else "outside lower center",
        ncols=columns, frameon=False, title=title,
    )  # fmt: skip


def band(axis: Axes, values: pd.DataFrame, where: Any = None, *, colour: str, **options: Any) -> None:
    """Draw the mean over seeds as a line and its 95 % interval (Student) as a band; of one seed only the line.

    Args:
        axis: Axes to draw on.
        values: One row per place, one column per seed.
        where: Places of the rows; None: the index.
        colour: Colour of both.
        **options: Options of the line, as for `Axes.plot`.
    """
    mean, half = intervals.over_seeds(values)
    places = values.index if where is None else where
    axis.plot(places, mean, color=colour, **options)
    axis.fill_between(places, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)


def course(axis: Axes, runs: pd.DataFrame, arm: str, quantity: str, against: str, chance: float) -> None:
    """Draw the course of an accuracy in the runs of an arm by epoch: mean over seeds, its 95 % interval shaded.

    Args:
        axis: Axes to draw on.
        runs: Rows with `epoch`, `seed` and both quantities; with none, nothing is drawn.
        arm: The arm.
        quantity: The accuracy.
        against: Column of the horizontal axis, averaged over seeds.
        chance: Accuracy after a divergence, where nothing was measured.
    """
    if runs.empty:
        return
    accuracy = runs.pivot_table(index="epoch", columns="seed", values=quantity, dropna=False).fillna(chance)
    where = runs.groupby("epoch")[against].mean()
    emphasis = 1.8 if arm == "center" else 1.1
    band(axis, accuracy, where, colour=colour(arm), linestyle=line(arm), linewidth=emphasis, label=label(arm))


def chance(tests: pd.DataFrame) -> float:
    """Return the chance level of a study, at which a diverged run counts."""
    return float(tests["chance"].dropna().iloc[0])


def complete(rows: pd.DataFrame) -> list[float]:
    """Return the strengths of common modes that have all arms; the others belong to the dose response only."""
    arms = rows.groupby("strength")["arm"].nunique()
    return sorted(arms[arms == arms.max()].index)


def base(arm: str) -> str:
    """Return the name of an arm without its compensation."""
    return arm.removesuffix("_compensated")


def colour(arm: str) -> str:
    """Return the colour of an arm; a compensated arm has the colour of its rule."""
    return COLOURS.get(base(arm), "#E69F00")


def line(arm: str) -> str:
    """Return the style of a line: solid, or dashed where the weights are compensated."""
    return "--" if arm.endswith("_compensated") else "-"


def label(arm: str) -> str:
    """Return the name of an arm in words."""
    return base(arm).replace("_", " ") + (", compensated" if arm.endswith("_compensated") else "")


def ordered(values: pd.Series, known: list[str]) -> list[str]:
    """Sort the levels of a factor: the known ones in their order, then the others."""
    present = list(dict.fromkeys(values))
    return [value for value in known if value in present] + sorted(set(present) - set(known))


def arms(results: pd.DataFrame) -> list[str]:
    """Return the arms of the results in the order of the legend, plain before compensated."""
    return ordered(results["arm"], [*COLOURS, *(f"{arm}_compensated" for arm in COLOURS)])


def at(rows: pd.DataFrame, arm: str, damping: float) -> pd.DataFrame:
    """Select the rows of one arm at one damping; nan for an arm without damping."""
    own = rows[rows["arm"] == arm]
    return own[own["damping"].isna() if math.isnan(damping) else own["damping"] == damping]


def credits(results: pd.DataFrame) -> list[str]:
    """Return the credits of the results in the order of the panels."""
    return ordered(results["credit"], list(CREDITS))
