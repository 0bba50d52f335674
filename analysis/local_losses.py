"""Local losses: accuracy by groups and of backpropagation, variance and its closed form, cost of greedy losses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import controls, intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

UNITS, BACKPROP = "units", "backprop"
AGAINST = (
    "Test accuracy less that of backpropagation: with the controls' centring, and in the same arm; means over paired "
    "seeds and 95 % intervals (Student)."
)
GRADIENTS = (
    "The gradient of the weights of every hidden layer after learning, on one batch of the validation split, means "
    "over seeds. `variance`: of one estimate, over the squared local gradient; `predicted`: its closed form; `cosine`: "
    "between the exact local gradient and that of backpropagation, with its 95 % interval (Student)."
)


def draw(tables: study.Tables, directory: Path) -> str:
    """Save tables and figure; return the finding in words."""
    made = controls.table(tables, ["learning"])
    measured = tables.of("measure")
    compared, estimated = against(measured), gradients(measured)
    save_table(made, directory, "accuracy", controls.CAPTION, digits=3)
    save_table(compared, directory, "against_backprop", AGAINST, digits=3)
    save_table(estimated, directory, "gradients", GRADIENTS, digits=3)
    save_figure(
        _figure(made, measured, estimated),
        directory,
        "local_losses",
        "A: test accuracy by the groups of a block, and of backpropagation; bars: 95 % interval (Student) over "
        "paired seeds. B: test accuracy by passes, local losses with a group for every unit (solid) and "
        "backpropagation (dashed), mean over seeds. C: variance of one estimate over the squared local gradient, first "
        "hidden layer, after learning; lines: the closed form, dots: measured. Learning rates chosen with equal "
        "budgets.",
    )
    return finding(made, compared, estimated)


def against(measured: study.Tables) -> pd.DataFrame:
    """Tabulate accuracies minus those of backpropagation, with one row per credit and arm."""
    runs = dict(list(measured["tests"].groupby(["learning", "arm"], sort=False)))
    made = []
    for (learning, arm), own in runs.items():
        row: dict[str, object] = {"learning": learning, "arm": arm}
        for name, reference in (("centred", controls.REFERENCE), ("same arm", arm)):
            if (other := runs.get((BACKPROP, reference))) is not None and (learning, arm) != (BACKPROP, reference):
                found = controls.difference(own, other)
                row |= {f"minus {name}": found.mean, f"{name} low": found.low, f"{name} high": found.high}
        made.append(row)
    return pd.DataFrame(made)


def gradients(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per number of groups, arm and layer."""
    made = []
    for (learning, arm, layer), own in measured["gradients"].groupby(["learning", "arm", "layer"], sort=False):
        made.append({
            "learning": learning, "arm": arm, "layer": layer,
            "variance": own["variance"].mean(), "predicted": own["predicted"].mean(),
            **intervals.of_mean(own["cosine"], "cosine"),
        })  # fmt: skip
    return pd.DataFrame(made)


def finding(made: pd.DataFrame, compared: pd.DataFrame, estimated: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    lines = ["Test accuracy by groups (difference to centring, 95 % interval), and less centred backpropagation"]
    rows = made.merge(compared, on=["learning", "arm"])
    for _, row in rows.iterrows():
        lines.append(
            f"  {row['learning']:8} {style.label(row['arm']):20} {row['accuracy']:.3f}{controls.interval(row)}"
            + (
                f"; {row['minus centred']:+.3f}, {row['centred low']:+.3f} to {row['centred high']:+.3f}"
                if pd.notna(row["minus centred"])
                else ""
            )
            + controls.remarks(row)
        )
    for _, row in estimated.iterrows():
        lines.append(
            f"  {row['learning']:8} {style.label(row['arm']):20} {row['layer']}: variance {row['variance']:.3g} "
            f"({row['predicted']:.3g}), cosine to backpropagation {row['cosine']:.2f}"
        )
    return "\n".join(lines)


def _figure(made: pd.DataFrame, measured: study.Tables, estimated: pd.DataFrame) -> Figure:
    figure, axes = style.panels(1, 3, 2.9)
    numbers = sorted((way for way in set(made["learning"]) if way.isdigit()), key=int)
    ways = [*numbers, UNITS, BACKPROP]
    controls.along(axes[0][0], made, {way: way for way in ways}, "learning")
    low, high = made["accuracy"].min(), made["accuracy"].max()
    axes[0][0].set(xlabel="groups of a block", ylim=(low - 0.2 * (high - low), high + 0.2 * (high - low)))
    _courses(axes[0][1], measured)
    _variances(axes[0][2], estimated[estimated["layer"] == estimated["layer"].iloc[0]])
    for title, axis in zip(("accuracy", "course", "variance"), axes[0], strict=True):
        axis.set_title(title)
    style.legend(figure, axes[0][0])
    return figure


def _courses(axis: Axes, measured: study.Tables) -> None:
    curves = measured["curves"]
    chance = style.chance(measured["tests"])
    for learning, line in ((UNITS, "-"), (BACKPROP, "--")):
        for arm in style.arms(curves):
            own = curves[(curves["learning"] == learning) & (curves["arm"] == arm)]
            mean = own.assign(right=own["test_accuracy"].fillna(chance)).groupby("epoch")["right"].mean()
            axis.plot(mean.index, mean, line, color=style.colour(arm), linewidth=1.3)
    axis.set(xlabel="passes", ylabel="test accuracy", ylim=(0.5, None))


def _variances(axis: Axes, estimated: pd.DataFrame) -> None:
    for arm in style.arms(estimated):
        own = estimated[(estimated["arm"] == arm) & (estimated["predicted"] > 0)]
        counts = own["learning"].astype(int)
        axis.plot(counts, own["predicted"], color=style.colour(arm), linewidth=1.2)
        axis.plot(counts, own["variance"], "o", color=style.colour(arm), markersize=4)
    axis.set(xscale="log", yscale="log", xlabel="groups of a block", ylabel="variance / |g|$^2$")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_major_formatter("{x:g}")
