"""Measured and predicted rates of wide shallow networks: courses, agreement, dampings, real digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

REFERENCE = "none"
CAPTION = (
    "A: loss of the first seed, measured (lines) and predicted from the tangent kernel (dots); of damped arms at the "
    "damping with the highest rate. B: measured against predicted rate of every run; between the dotted lines their "
    "ratio is in [.85, 1.2]. C: measured rate over that without decorrelation, geometric mean over paired seeds and "
    "its 95 % interval; lines without markers: arms that have no damping. D: handwritten digits, condition number of "
    "the kernel by the number of images, geometric mean over seeds, at the same dampings as A."
)
RATES = (
    "Inputs with a common mode: rates per step, predicted and measured (means over seeds); least and largest ratio of "
    "measured to predicted of all seeds; ratio to what the kernel predicts over the same steps (`linear`, mean); "
    "measured rate over that of the arm none and of centring (geometric mean over paired seeds and its 95 % interval)."
)
PARALLEL = (
    "Every second input is twice the one before: least and largest eigenvalue of the kernel (mean over seeds; rounding "
    "can make a zero negative) and what is left of the loss after all steps (geometric mean)."
)


def draw(measured: study.Tables, directory: Path) -> str:
    """Draw the figure, write the tables, return the finding in words with the tables.

    Args:
        measured: Tables of the study.
        directory: Directory of the study.
    """
    ends = measured["ends"]
    modes = ends[ends["inputs"] == "common_mode"]
    made, pairs = table(modes), parallel(ends[ends["inputs"] == "parallel"])
    fastest = made.sort_values("measured").groupby("arm").tail(1)
    best = dict(zip(fastest["arm"], fastest["damping"], strict=True))
    figure, axes = style.panels(2, 2, 5.4)
    courses = measured["courses"]
    first = courses[(courses["inputs"] == "common_mode") & (courses["seed"] == courses["seed"].min())]
    _courses(axes[0][0], first, best)
    _agreement(axes[0][1], modes)
    _gains(axes[1][0], made)
    _digits(axes[1][1], measured["kernels"], best)
    style.legend(figure, axes[0][0], columns=4)
    save_figure(figure, directory, "convergence_rate", CAPTION)
    save_table(made, directory, "convergence_rate", RATES, digits=3)
    save_table(pairs, directory, "parallel", PARALLEL, digits=3)
    return f"{finding(made, fastest, pairs)}\n\n{table_text(made)}\n\n{table_text(pairs)}"


def finding(made: pd.DataFrame, fastest: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = [f"Measured rates are {made['least'].min():.2g} to {made['most'].max():.2g} times the predicted ones."]
    for arm in style.arms(fastest):
        row = fastest[fastest["arm"] == arm].iloc[0]
        damping = "" if np.isnan(row["damping"]) else f" at damping {row['damping']:g}"
        if arm != REFERENCE:
            lines.append(
                f"{style.label(arm)}{damping}: {row['none']:.3g} [{row['none low']:.3g}, {row['none high']:.3g}] times "
                "the rate without decorrelation."
            )
    for _, row in pairs.iterrows():
        lines.append(
            f"Parallel inputs, {style.label(row['arm'])}, {'with' if row['biases'] else 'without'} biases: the loss "
            f"falls to {row['loss left']:.2g} of the first; least eigenvalue of the kernel {row['least']:.2g}."
        )
    return "\n".join(lines)


def table(modes: pd.DataFrame) -> pd.DataFrame:
    """Make a table with one row per arm and damping: rates, their ratio, and the gain over the references.

    Args:
        modes: Ends of the runs with a common mode.
    """
    rows = []
    for arm in style.arms(modes):
        of_arm = modes[modes["arm"] == arm]
        for damping in sorted(of_arm["damping"].unique()):  # a missing damping is a level too
            own = style.at(of_arm, arm, damping).set_index("seed").sort_index()
            ratio = own["measured"] / own["predicted"]
            row = {
                "arm": arm, "damping": damping, "predicted": own["predicted"].mean(),
                "measured": own["measured"].mean(), "least": ratio.min(), "most": ratio.max(),
                "linear": (own["measured"] / own["linear"]).mean(),
            }  # fmt: skip
            for name in (REFERENCE, "center"):
                if arm != name:
                    other = modes[modes["arm"] == name].set_index("seed").sort_index()
                    gain = intervals.of_ratio(own["measured"], other["measured"], name)
                    row |= {name: gain[name], f"{name} low": gain["low"], f"{name} high": gain["high"]}
            rows.append(row)
    return pd.DataFrame(rows)


def parallel(pairs: pd.DataFrame) -> pd.DataFrame:
    """Make a table with one row per kind of network: with and without biases and centring.

    Args:
        pairs: Ends of the runs with parallel inputs.
    """
    return pd.DataFrame(
        {
            "biases": bias, "arm": arm, "least": own["least"].mean(), "largest": own["largest"].mean(),
            "loss left": np.exp(np.log(own["ratio"]).mean()), "highest": own["ratio"].max(),
            "steps": own["steps"].max(),
        }
        for (bias, arm), own in pairs.groupby(["bias", "arm"], sort=False)
    )  # fmt: skip


def _courses(axis: Axes, first: pd.DataFrame, best: dict[str, float]) -> None:
    for arm, damping in best.items():
        own = style.at(first, arm, damping)
        axis.plot(own["step"], own["ratio"], color=style.colour(arm), label=style.label(arm))
        axis.plot(own["step"], own["linear"], "o", color=style.colour(arm), markersize=2)
    axis.set(yscale="log", xlabel="steps", ylabel="loss, relative to the first", ylim=(1e-10, 2))
    axis.set_title("course of the loss")


def _agreement(axis: Axes, modes: pd.DataFrame) -> None:
    for arm in style.arms(modes):
        own = modes[modes["arm"] == arm]
        axis.plot(own["predicted"], own["measured"], "o", color=style.colour(arm), markersize=4, alpha=0.7)
    ends = np.array([modes["predicted"].min() / 1.3, modes["predicted"].max() * 1.3])
    axis.plot(ends, ends, color="#000000", linewidth=0.8)
    for bound in (0.85, 1.2):
        axis.plot(ends, bound * ends, ":", color="#999999")
    axis.set(xscale="log", yscale="log", xlabel="predicted rate per step", ylabel="measured rate per step")
    axis.set_title("measured against predicted")


def _gains(axis: Axes, made: pd.DataFrame) -> None:
    for arm in style.arms(made):
        own = made[made["arm"] == arm]
        if arm == REFERENCE:
            axis.axhline(1, color=style.colour(arm), linestyle=":")
        elif own["damping"].isna().all():
            axis.axhline(own["none"].iloc[0], color=style.colour(arm))
        else:
            axis.plot(own["damping"], own["none"], "o-", color=style.colour(arm), markersize=4)
            axis.fill_between(
                own["damping"], own["none low"], own["none high"], color=style.colour(arm), alpha=0.12, linewidth=0
            )
    axis.set(xscale="log", yscale="log", xlabel="damping", ylabel="rate over that without decorrelation")
    axis.set_ylim(0.5, 100)
    axis.set_title("what it gains")


def _digits(axis: Axes, kernels: pd.DataFrame, best: dict[str, float]) -> None:
    for arm, damping in best.items():
        own = style.at(kernels, arm, damping)
        logarithm = (own["largest"] / own["least"]).map(np.log).groupby(own["samples"]).mean()
        axis.plot(logarithm.index, np.exp(logarithm), "o-", color=style.colour(arm), markersize=3)
    axis.set(xscale="log", yscale="log", xlabel="images", ylabel="condition number of the kernel")
    axis.set_title("handwritten digits, 64 pixels")
