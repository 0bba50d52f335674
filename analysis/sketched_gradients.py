"""Sketched gradients: accuracy and memory by the number of probes, signal and noise by direction of the input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import controls, intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

EXACT = 0
VARIANCES = (
    "Variance of the sketched gradient of every layer, relative to the squared gradient, over its closed form "
    "(d + 1) / r: mean over seeds with its 95 % interval (Student)."
)
DIRECTIONS = (
    "Signal to noise of one sketched gradient along principal directions of the images, of the effective weights of "
    "the first layer: mean over seeds; `predicted`: the closed form r q / (1 + q)."
)
MEMORY = (
    "Bytes per sample that a training step holds when its loss is known, beside the batch: `graph`, for the gradients; "
    "`others`, mostly rows for plasticity and inputs for foof. Probes 0: exact backpropagation."
)


def draw(tables: study.Tables, directory: Path) -> str:
    """Save tables and figure; return the finding in words."""
    made = controls.table(tables, ["probes"])
    save_table(made, directory, "accuracy", f"{controls.CAPTION} Probes 0: exact backpropagation.", digits=3)
    estimated = tables.of("estimate")
    checked, signals, memory = variances(estimated), directions(estimated), bytes_held(estimated)
    save_table(checked, directory, "variances", VARIANCES, digits=4)
    save_table(signals, directory, "directions", DIRECTIONS, digits=3)
    save_table(memory, directory, "memory", MEMORY, digits=4)
    probes = sorted(signals["probes"].unique())
    shown = int(probes[len(probes) // 2])
    save_figure(
        _figure(made, signals[signals["probes"] == shown], memory, shown),
        directory,
        "sketched_gradients",
        "A: test accuracy by the number of probes, bars: 95 % interval (Student) over paired seeds, learning rates "
        f"chosen with equal budgets. B: signal to noise of one gradient with {shown} probes along the principal "
        "directions of the images, before learning; lines: the closed form, dots: measured. C: test accuracy by the "
        "bytes that a step holds for its gradients and its plasticity when the loss is known, beside the batch; "
        "crosses: exact gradients.",
    )
    return finding(made, checked, signals, memory)


def variances(estimated: study.Tables) -> pd.DataFrame:
    """Make a table with one row per number of probes, arm and layer: measured over predicted."""
    rows = estimated["variances"].copy()
    rows["ratio"] = rows["variance"] / rows["predicted"]
    made = []
    for (probes, arm, layer), own in rows.groupby(["probes", "arm", "layer"], sort=False):
        made.append({
            "probes": probes, "arm": arm, "layer": layer, "predicted": own["predicted"].iloc[0],
            "measured": own["variance"].mean(), **intervals.of_mean(own["ratio"], "ratio"),
        })  # fmt: skip
    return pd.DataFrame(made)


def directions(estimated: study.Tables) -> pd.DataFrame:
    """Make a table with one row per number of probes, arm and principal direction."""
    keys = ["probes", "arm", "component"]
    rows = estimated["directions"].groupby(keys, sort=False)[["power", "signal_to_noise", "predicted"]]
    return rows.mean().reset_index()


def bytes_held(estimated: study.Tables) -> pd.DataFrame:
    """Make a table with one row per number of probes and arm: bytes per sample."""
    rows = estimated["memory"]
    wide = rows.pivot_table(index=["probes", "arm"], columns="what", values="bytes_a_sample", sort=False).reset_index()
    return wide.assign(sum=wide["graph"] + wide["others"])


def finding(made: pd.DataFrame, checked: pd.DataFrame, signals: pd.DataFrame, memory: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = [
        f"Variance over (d + 1) / r: {checked['ratio'].min():.3f} to {checked['ratio'].max():.3f} "
        f"in {len(checked)} layers and conditions.",
        "Test accuracy by probes (difference to centring, 95 % interval)",
    ]
    for _, row in made.iterrows():
        interval = controls.interval(row)
        held = memory[(memory["probes"] == row["probes"]) & (memory["arm"] == row["arm"])]["sum"]
        lines.append(
            f"  {'exact' if row['probes'] == EXACT else row['probes']!s:6} {style.label(row['arm']):20} "
            f"{row['accuracy']:.3f}{interval}{f', {held.iloc[0]:.0f} bytes a sample' if len(held) else ''}"
            + controls.remarks(row)
        )
    for (probes, arm), own in signals.groupby(["probes", "arm"], sort=False):
        of = own.set_index("component")["signal_to_noise"]
        told = ", ".join(f"{component}: {of[component]:.3g}" for component in (1, 4, 16) if component in of)
        lines.append(f"  signal to noise, {probes} probes, {style.label(str(arm))}, by principal direction {told}")
    return "\n".join(lines)


def _figure(made: pd.DataFrame, signals: pd.DataFrame, memory: pd.DataFrame, probes: int) -> Figure:
    figure, axes = style.panels(1, 3, 2.8)
    counts = sorted(count for count in made["probes"].unique() if count != EXACT)
    controls.along(axes[0][0], made, {**{c: str(c) for c in counts}, EXACT: "exact"}, "probes")
    axes[0][0].set_xlabel("probes")
    axes[0][0].set_title("accuracy")
    _directions(axes[0][1], signals)
    axes[0][1].set_title(f"one gradient, {probes} probes")
    _memory(axes[0][2], made.merge(memory, on=["probes", "arm"]))
    axes[0][2].set_title("memory")
    style.legend(figure, axes[0][0])
    return figure


def _directions(axis: Axes, signals: pd.DataFrame) -> None:
    for arm in style.arms(signals):
        own = signals[signals["arm"] == arm]
        dashed = "--" if arm == "foof" else "-"  # the curve lies on that of centring
        axis.plot(own["component"], own["predicted"], dashed, color=style.colour(arm), linewidth=1.3)
        axis.plot(own["component"], own["signal_to_noise"], "o", color=style.colour(arm), markersize=3.5)
    axis.axhline(1, color="black", linestyle=":", linewidth=0.8)
    axis.set(xscale="log", yscale="log", xlabel="principal direction of the images", ylabel="signal to noise")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_ylim(bottom=10 ** np.floor(np.log10(max(signals["predicted"].min(), 1e-5))))


def _memory(axis: Axes, rows: pd.DataFrame) -> None:
    for arm in style.arms(rows):
        own = rows[rows["arm"] == arm].sort_values("probes")
        sketched, exact = own[own["probes"] != EXACT], own[own["probes"] == EXACT]
        axis.plot(sketched["sum"], sketched["accuracy"], "o-", color=style.colour(arm), markersize=3.5, linewidth=1.0)
        axis.plot(exact["sum"], exact["accuracy"], "X", color=style.colour(arm), markersize=7)
    axis.set(xscale="log", xlabel="bytes a sample", ylabel="test accuracy")
    axis.set_xticks([500, 1000, 2000, 4000, 8000, 16000])
    axis.set_xticks([], minor=True)
    axis.set_xlim(0.85 * rows["sum"].min(), 1.15 * rows["sum"].max())
    axis.xaxis.set_major_formatter("{x:g}")
