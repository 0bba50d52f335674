"""Learning curves: validation accuracy by updates and by wall clock, a panel for every credit and strength."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure

KEYS = ["credit", "strength", "arm", "seed"]


def draw(measured: study.Tables, directory: Path) -> None:
    """Draw both figures of a study.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    curves = measured["curves"]
    curves = curves[curves["strength"].isin(style.complete(curves))]
    clock = measured["timings"][[*KEYS, "learning_rate", "setting", "stage", "epoch", "wall_seconds"]]
    timed = curves.merge(clock, on=[*KEYS, "learning_rate", "setting", "stage", "epoch"], validate="one_to_one")
    for name, quantity, words in (
        ("learning_curves_updates", "updates", "updates"),
        ("learning_curves_wall_clock", "wall_seconds", "seconds of training"),
    ):
        figure = _figure(timed, quantity, words, style.chance(measured["tests"]))
        save_figure(
            figure,
            directory,
            name,
            f"Validation accuracy by {words}: mean over paired seeds, shaded its 95 % interval (Student); dashed: the "
            "weights are compensated. A diverged run counts at chance level from then on.",
        )


def _figure(curves: pd.DataFrame, quantity: str, words: str, chance: float) -> Figure:
    credits, strengths, arms = style.credits(curves), sorted(curves["strength"].unique()), style.arms(curves)
    figure, axes = style.grid(strengths, credits, 1.9, sharey=True)
    for (strength, credit), axis in axes.items():
        panel = curves[(curves["credit"] == credit) & (curves["strength"] == strength)]
        for arm in arms:
            style.course(axis, panel[panel["arm"] == arm], arm, "validation_accuracy", quantity, chance)
        axis.axhline(chance, color="#bbbbbb", linewidth=0.8, linestyle=":")
        axis.set(title=style.CREDITS.get(credit, credit), xlabel=words, ylim=(0, 1))
        axis.set_xlim(left=0)
    for strength in strengths:
        own = [axis for (level, _), axis in axes.items() if level == strength]
        style.label_left(own, f"common modes {strength:g}\nvalidation accuracy")
    style.legend(figure, *axes.values(), columns=4)
    return figure
