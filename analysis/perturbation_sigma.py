"""Changes of the loss by the size of the noise, and agreement of the resulting estimates of the gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

KEYS = ["network", "state", "hold", "sigma"]
CONDITIONS = {
    ("spikes", "trained", "pass"): ("#D55E00", "-", "spiking, trained, noise held"),
    ("spikes", "drawn", "pass"): ("#D55E00", "--", "spiking, as drawn, noise held"),
    ("spikes", "trained", "step"): ("#0072B2", "-", "spiking, trained, noise of every step"),
    ("spikes", "drawn", "step"): ("#0072B2", "--", "spiking, as drawn, noise of every step"),
    ("rates", "trained", "step"): ("#999999", "-", "tanh units, trained"),
}
PANELS = {
    "slope": "change of the loss (odd part) / σ",
    "asymmetry": "even / odd part",
    "agreement": "cosine of independent estimates",
}
CAPTION = (
    "By the size of the noise at the currents. A: root mean square change of a sample's loss (odd part) per sigma; "
    "flat is linear, the dotted line is what single spikes that appear or vanish give. B: even part of the change over "
    "odd part; from 1 on the change says nothing about the direction of the noise. C: mean cosine of independent "
    "estimates of the gradient of one batch, 4 directions each. Bars: 95 % interval over seeds (Student). Triangles: "
    "default sizes."
)


def draw(measured: study.Tables, directory: Path) -> str:
    """Draw the figure, write the table, return the finding in words with the table.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    rows = measured["responses"]
    figure, axes = style.panels(1, 3, 3.2)
    for axis, (quantity, words) in zip(axes[0], PANELS.items(), strict=True):
        for index, ((network, state, hold), (colour, line, label)) in enumerate(CONDITIONS.items()):
            own = rows[(rows["network"] == network) & (rows["state"] == state) & (rows["hold"] == hold)]
            by_sigma = own.groupby("sigma")[quantity].agg(["mean", "std", "count"])
            beside = by_sigma.index * 1.03 ** (index - 2)  # shifted, so that bars do not cover each other
            bars = intervals.half(by_sigma["std"], by_sigma["count"])
            axis.errorbar(beside, by_sigma["mean"], bars, color=colour, linestyle=line, capsize=2, label=label)
            if network == "spikes" and len(own):
                at = {"transform": axis.get_xaxis_transform(), "clip_on": False}
                axis.plot(own["default"].iloc[0], 0.02, marker="^", color=colour, **at)
        axis.set(xscale="log", xlabel="σ (of the noise, in units of the current)", title=words)
    sizes = np.array([rows["sigma"].min(), 0.1])
    axes[0][0].plot(sizes, 0.2 * sizes**-0.5, color="black", linestyle=":", label="∝ σ$^{-1/2}$: single spikes")
    axes[0][0].set_yscale("log")
    axes[0][1].axhline(1, color="black", linewidth=0.8, linestyle=":")
    style.legend(figure, axes[0][0])
    save_figure(figure, directory, "perturbation_sigma", CAPTION)
    means = rows.groupby(KEYS, sort=False).mean(numeric_only=True).drop(columns=["seed", "diverged", "default"])
    made = means.reset_index()
    save_table(made, directory, "perturbation_sigma", CAPTION)
    return f"{finding(made)}\n\n{table_text(made)}"


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = []
    for condition, (_, _, words) in CONDITIONS.items():
        own = made[(made[["network", "state", "hold"]] == list(condition)).all(axis=1)]
        if own.empty:
            continue
        told = own[own["asymmetry"] < 1]["sigma"]
        ends = " to ".join(dict.fromkeys(f"{sigma:g}" for sigma in (told.min(), told.max())))
        sizes = f"at sigma {ends}" if len(told) else "at no size"
        best = own.iloc[int(np.nanargmax(own["agreement"]))]
        lines.append(
            f"{words}: the change of the loss tells the direction of the noise (odd part above even part) {sizes}; "
            f"estimates agree best at sigma {best['sigma']:g}, with a cosine of {best['agreement']:.2g}."
        )
    return "\n".join(lines)
