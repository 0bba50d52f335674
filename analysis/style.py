"""What the figures share: panels, legends, colours and names of arms and credits."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = {
    "none": "#999999",
    "center": "#000000",
    "batch_normalisation": "#CC79A7",
    "foof": "#009E73",
    "norm_preserving": "#0072B2",
    "whitening": "#56B4E9",
    "interneuron": "#D55E00",
    "interneuron_local": "#882255",
    "decorrelating": "#009E73",
    "norm_preserving_traces": "#56B4E9",
    "lateral_inhibition": "#F0E442",
    "lateral_inhibition_centered": "#882255",
    "homeostasis_centered": "#CC79A7",
}
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


def panels(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, Any]:
    """A figure and the array of its panels, without frames on top and on the right; options of plt.subplots."""
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def legend(figure: Figure, *axes: Axes, columns: int = 3, above: bool = False, title: str | None = None) -> None:
    """One legend for the whole figure, below or above all panels, of what the axes show, each label once."""
    handles = {label: h for axis in axes for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center" if above else "outside lower center",
        ncols=columns, frameon=False, fontsize=9, title=title,
    )  # fmt: skip


def course(axis: Axes, runs: pd.DataFrame, arm: str, quantity: str, against: str, chance: float) -> None:
    """Draw how an accuracy went in the runs of an arm: mean over seeds, one standard deviation shaded, by epoch.

    Args:
        axis: Where to draw.
        runs: Rows with `epoch`, `seed` and both quantities; with none, nothing is drawn.
        arm: The arm.
        quantity: The accuracy.
        against: What it is drawn against, averaged over seeds.
        chance: What counts after a divergence, where nothing was measured.
    """
    if runs.empty:
        return
    accuracy = runs.pivot_table(index="epoch", columns="seed", values=quantity, dropna=False).fillna(chance)
    where = runs.groupby("epoch")[against].mean()
    mean, deviation = accuracy.mean(axis=1), accuracy.std(axis=1).fillna(0)
    emphasis = 2.0 if arm == "center" else 1.3
    axis.plot(where, mean, line(arm), color=colour(arm), linewidth=emphasis, label=label(arm))
    axis.fill_between(where, mean - deviation, mean + deviation, color=colour(arm), alpha=0.10, linewidth=0)


def chance(tests: pd.DataFrame) -> float:
    """The accuracy of guessing on the data of a study, at which a diverged run counts."""
    return float(tests["chance"].dropna().iloc[0])


def complete(rows: pd.DataFrame) -> list[float]:
    """The strengths of common modes that have all arms: the others are of the dose response only."""
    arms = rows.groupby("strength")["arm"].nunique()
    return sorted(arms[arms == arms.max()].index)


def base(arm: str) -> str:
    """The arm without its compensation."""
    return arm.removesuffix("_compensated")


def colour(arm: str) -> str:
    """Colour of an arm; a compensated one shares that of its rule."""
    return COLOURS.get(base(arm), "#E69F00")


def line(arm: str) -> str:
    """Solid, or dashed where the weights are compensated."""
    return "--" if arm.endswith("_compensated") else "-"


def label(arm: str) -> str:
    """Name of an arm in words."""
    return base(arm).replace("_", " ") + (", compensated" if arm.endswith("_compensated") else "")


def ordered(values: pd.Series, known: list[str]) -> list[str]:
    """Levels of a factor: the known ones in their order, then the others."""
    present = list(dict.fromkeys(values))
    return [value for value in known if value in present] + sorted(set(present) - set(known))


def arms(results: pd.DataFrame) -> list[str]:
    """Arms of the results, plain before compensated, in the order of the legend."""
    return ordered(results["arm"], [*COLOURS, *(f"{arm}_compensated" for arm in COLOURS)])


def credits(results: pd.DataFrame) -> list[str]:
    """Credits of the results in the order of the panels."""
    return ordered(results["credit"], list(CREDITS))
