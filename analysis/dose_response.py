"""Dose response: the gain over centring against the strength of the common modes."""

from __future__ import annotations

from pathlib import Path

from analysis import comparison, style
from neuro_decorr import study
from neuro_decorr.report import save_figure


def draw(measured: study.Tables, directory: Path) -> None:
    """Draw the paired difference to `center` at every strength, for the arms that all strengths have.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    table = comparison.table(measured)
    strengths = table["strength"].nunique()
    arms = table.groupby("arm")["strength"].nunique()
    shown = table[table["arm"].isin(arms[arms == strengths].index)]
    credits = style.credits(shown)
    figure, axes = style.grid(("gain",), credits, 2.1, sharey=True)
    for (_, credit), axis in axes.items():
        for arm in style.arms(shown):
            rows = shown[(shown["credit"] == credit) & (shown["arm"] == arm)]
            if arm == comparison.REFERENCE:
                continue
            errors = [rows["minus center"] - rows["low"], rows["high"] - rows["minus center"]]
            axis.errorbar(
                rows["strength"], rows["minus center"], errors, color=style.colour(arm), linestyle=style.line(arm),
                marker="o", markersize=3, capsize=1.5, linewidth=1.1, label=style.label(arm),
            )  # fmt: skip
        reference = shown[(shown["credit"] == credit) & (shown["arm"] == comparison.REFERENCE)]
        axis.plot(
            reference["strength"], reference["accuracy"], color="#000000", linewidth=1, linestyle=":",
            label="accuracy of center",
        )  # fmt: skip
        axis.axhline(0, color="#bbbbbb", linewidth=0.8)
        axis.set_title(style.CREDITS.get(credit, credit))
    style.label_left(axes.values(), "test accuracy minus center")
    for axis in axes.values():
        axis.set_xlabel("strength of the common modes")
    style.legend(figure, *axes.values(), columns=4)
    save_figure(
        figure,
        directory,
        "dose_response",
        "Gain over centring against the strength of the common modes (standard deviation of each mode, in units of the "
        "grey scale): paired differences of test accuracy with 95 % "
        "intervals (Student); learning rates and settings chosen anew at every strength. Dotted: accuracy of center.",
    )
