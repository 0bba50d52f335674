"""Likelihood ratio: variances and their closed forms, cosine and accuracy by copies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import controls, intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

LINES = {"gaussian": "-", "sign": "--", "rademacher": ":", "node_perturbation": "-."}
REFERENCE = "node_perturbation"
VARIANCES = (
    "Variance of an estimate from one copy of one sample, over the squared gradient, at the nodes and the weights "
    "of a network of 24 nodes: mean over seeds (each with its own network); `ratio`: measured over predicted, "
    "with its 95 % interval (Student); `cosine`: of the mean estimate to the gradient, the smallest of all seeds."
)
COSINES = "Cosine of the estimate to the gradient of a batch, before learning, mean over seeds, and its closed form."
AGAINST = (
    "Test accuracy with one copy, less that of node perturbation in the same arm: mean over paired seeds and its 95 % "
    "interval (Student)."
)


def draw(tables: study.Tables, directory: Path) -> str:
    """Save tables and figure; return the finding in words."""
    made = controls.table(tables, ["estimator", "copies"])
    save_table(made, directory, "accuracy", controls.CAPTION, digits=3)
    measured, near = variances(tables.of("variances")), cosines(tables.of("cosines"))
    against = differences(tables)
    save_table(measured, directory, "variances", VARIANCES, digits=4)
    save_table(near, directory, "cosines", COSINES, digits=3)
    save_table(against, directory, "against_node_perturbation", AGAINST, digits=3)
    save_figure(
        _figure(measured, near, made),
        directory,
        "likelihood_ratio",
        "A: variance of one copy at the nodes, over the squared gradient; bars: measured, mean over seeds; lines: the "
        "closed form. B: cosine to the gradient of a batch by copies, before learning; lines: the closed form, dots: "
        "measured (full: Gaussian, open: sign). C: test accuracy by copies, bars: 95 % interval (Student) over "
        "paired seeds (solid: Gaussian, dashed: sign); learning rates chosen with equal budgets.",
    )
    return finding(made, measured, against)


def variances(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per estimator and side."""
    made = []
    for (estimator, side), own in measured["variances"].groupby(["estimator", "side"], sort=False):
        row = {"estimator": estimator, "side": side, "variance": own["variance"].mean()}
        if own["predicted"].notna().all():
            ratio = intervals.of_mean(own["variance"] / own["predicted"], "ratio")
            row |= {"predicted": own["predicted"].mean(), **ratio}
        made.append({**row, "cosine": own["cosine"].min()})
    return pd.DataFrame(made)


def cosines(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per arm, estimator and number of copies."""
    rows = measured["cosines"].groupby(["arm", "estimator", "copies"], sort=False)[["cosine", "predicted"]]
    return rows.mean().reset_index()


def differences(tables: study.Tables) -> pd.DataFrame:
    """Tabulate accuracies with one copy minus those of node perturbation, with one row per estimator and arm."""
    tests = tables.of("measure")["tests"]
    runs = dict(list(tests[tests["copies"] == 1].groupby(["estimator", "arm"])))
    made = []
    for (estimator, arm), own in runs.items():
        if estimator != REFERENCE and (reference := runs.get((REFERENCE, arm))) is not None:
            found = controls.difference(own, reference)
            made.append({"estimator": estimator, "arm": arm, "minus": found.mean, "low": found.low, "high": found.high})
    return pd.DataFrame(made)


def finding(made: pd.DataFrame, measured: pd.DataFrame, against: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = ["Variance of one copy over the squared gradient (closed form)"]
    for _, row in measured.iterrows():
        law = f" ({row['predicted']:.1f})" if pd.notna(row["predicted"]) else ""
        lines.append(f"  {row['estimator']:38} {row['side']:8} {row['variance']:.1f}{law}")
    lines.append("Test accuracy by copies (difference to centring, 95 % interval)")
    for _, row in made.iterrows():
        lines.append(
            f"  {row['estimator']:18} {row['copies']:3} {style.label(row['arm']):20} {row['accuracy']:.3f}"
            f"{controls.interval(row)}{controls.remarks(row)}"
        )
    for _, row in against.iterrows():
        lines.append(
            f"  {row['estimator']} less node perturbation, {style.label(row['arm'])}: {row['minus']:+.3f} "
            f"({row['low']:+.3f} to {row['high']:+.3f})"
        )
    return "\n".join(lines)


def _figure(measured: pd.DataFrame, near: pd.DataFrame, made: pd.DataFrame) -> Figure:
    figure, axes = style.panels(1, 3, 2.9, width_ratios=(1.3, 1, 1))
    _variances(axes[0][0], measured[(measured["side"] == "nodes") & measured["predicted"].notna()])
    _cosines(axes[0][1], near)
    axis = axes[0][2]
    places = {int(copies): str(copies) for copies in sorted(made["copies"].unique())}
    for estimator in ("gaussian", "sign"):
        own = made[made["estimator"] == estimator]
        if len(own):
            controls.along(axis, own, places, "copies", line=LINES[estimator])
    axis.set_xlabel("copies")
    for title, one in zip(("variance", "cosine", "accuracy"), axes[0], strict=True):
        one.set_title(title)
    style.legend(figure, axis)
    return figure


def _variances(axis: Axes, rows: pd.DataFrame) -> None:
    axis.bar(range(len(rows)), rows["variance"], color="#999999", width=0.6)
    for place, predicted in enumerate(rows["predicted"]):
        axis.hlines(predicted, place - 0.4, place + 0.4, color="black", linewidth=1.5)
    axis.set_xticks(range(len(rows)), [name.replace("_", " ") for name in rows["estimator"]], rotation=25, ha="right")
    axis.set_ylabel("variance / |g|$^2$")


def _cosines(axis: Axes, near: pd.DataFrame) -> None:
    for (arm, estimator), own in near.groupby(["arm", "estimator"], sort=False):
        colour = style.colour(str(arm))
        axis.plot(own["copies"], own["predicted"], LINES[str(estimator)], color=colour, linewidth=1.2)
        filled = colour if estimator == "gaussian" else "white"
        axis.plot(own["copies"], own["cosine"], "o", color=colour, markerfacecolor=filled, markersize=4)
    axis.set(xscale="log", xlabel="copies", ylabel="cosine to the gradient", ylim=(0, 1))
    axis.xaxis.set_major_formatter("{x:g}")
