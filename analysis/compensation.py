"""Damping x learning rate x compensation x credit: test accuracy at equal wall clock, and the learning curves."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from analysis import style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

REFERENCE = "center"
KIND = ["arm", "compensated"]
ARM = ["arm", "damping", "compensated"]
CAPTION = (
    "For every credit and arm the learning rate (and for interneurons the damping) with the best mean validation "
    "accuracy at the time limit: the processor time that centred backprop needs for all its epochs. Test accuracy at "
    "that time, mean over paired seeds, and its difference to `center` with the same seeds and its 95 % interval "
    "(Student); seconds until the mean test accuracy reaches the target; seconds of one epoch (median over all runs of "
    "that kind)."
)


def courses(measured: study.Tables) -> pd.DataFrame:
    """Add `seconds` to the rows of the curves: epochs times the median processor seconds per epoch of equal runs.

    The cost of an epoch depends only on credit, arm and compensation; the median excludes other work of the machine.
    """
    timed = measured["timings"][measured["timings"]["epoch"] > 0]
    each = (timed["processor_seconds"] / timed["epoch"]).groupby([timed[name] for name in ["credit", *KIND]]).median()
    rows = measured["curves"].merge(each.rename("epoch_seconds").reset_index(), on=["credit", *KIND])
    rows["seconds"] = rows["epoch"] * rows["epoch_seconds"]
    return rows


def at(course: pd.DataFrame, seconds: float, what: str, epochs: int) -> float:
    """Interpolate the accuracy of a run at a time between epochs; a diverged run stays at chance (0.1)."""
    course = course.sort_values("epoch")
    if course["diverged"].any() and course["epoch"].max() < epochs:
        return 0.1
    return float(np.interp(seconds, course["seconds"], course[what]))


def table(rows: pd.DataFrame, limit: float, target: float) -> pd.DataFrame:
    """Make a table with one row per credit, arm and compensation: choice on validation, accuracy on test images."""
    epochs = int(rows["epoch"].max())
    keys = ["credit", *ARM, "learning_rate", "seed"]
    runs = pd.DataFrame(
        [
            {**dict(zip(keys, key, strict=True)), "epoch_seconds": run["epoch_seconds"].iloc[0]}
            | {what: at(run, limit, f"{what}_accuracy", epochs) for what in ("validation", "test")}
            for key, run in rows.groupby(keys)
        ]
    )
    chosen = study.best(runs, ["credit", *KIND], ["damping", "learning_rate"], "validation")
    found = runs.merge(chosen[keys[:-1]], on=keys[:-1])
    reference = found[found["arm"] == REFERENCE].set_index(["credit", "seed"])["test"]
    made = []
    for _, best in chosen.iterrows():
        own = found[(found[[*keys[:-1]]] == best[keys[:-1]]).all(axis=1)]
        paired = reference.loc[[(best["credit"], seed) for seed in own["seed"]]]
        change = study.paired_difference(list(own["test"]), list(paired))
        curve = rows.merge(own[keys], on=keys).groupby("seconds")["test_accuracy"].mean()
        reached = curve.index[curve >= target]
        made.append(
            {
                **{name: best[name] for name in keys[:-1]},
                "test at limit": own["test"].mean(),
                "minus center": change.mean,
                "low": change.low,
                "high": change.high,
                "seconds to target": reached[0] if len(reached) else np.nan,
                "seconds an epoch": own["epoch_seconds"].iloc[0],
                "seeds": len(own),
            }
        )
    order = {name: place for place, name in enumerate(["none", "center", "interneuron", "norm_preserving"])}
    result = pd.DataFrame(made)
    return result.sort_values(["credit", "arm", "compensated"], key=lambda c: c.map(order) if c.name == "arm" else c)


def finding(made: pd.DataFrame, limit: float, target: float) -> str:
    """Write the finding in words: low-rank, damped, compensated feedback alignment against centred backprop."""
    lines = [f"Test accuracy at {limit:.2g} s, the time of centred backprop's epochs (seconds to {target:.0%}):"]
    for row in made.to_dict("records"):
        kept = ", compensated" if row["compensated"] else ""
        damping = f" damping {row['damping']:g}" if row["damping"] else ""
        reached = row["seconds to target"]
        told = "not reached" if np.isnan(reached) else f"{reached:.2g} s"
        lines.append(
            f"  {style.CREDITS[row['credit']]:20s} {row['arm']}{damping}{kept}, rate {row['learning_rate']:g}: "
            f"{row['test at limit']:.3f} ({told})"
        )
    limits = made.set_index(["credit", *KIND])["test at limit"].to_dict()
    ours, theirs = ("feedback_alignment", "interneuron", True), ("backprop", REFERENCE, False)
    if ours in limits and theirs in limits:
        gain = limits[ours] - limits[theirs]
        word = "ahead of" if gain > 0 else "behind"
        lines.append(f"Compensated, damped feedback alignment is {abs(gain):.3f} {word} centred backprop at that time.")
    return "\n".join(lines)


def draw(measured: study.Tables, directory: Path, target: float = 0.45) -> str:
    """Draw the figure, write the table, return the finding.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
        target: Test accuracy for which the time is reported.
    """
    rows, left_out = _complete(courses(measured))
    centred = rows[(rows["credit"] == "backprop") & (rows["arm"] == REFERENCE)]
    limit = float((centred if len(centred) else rows)["seconds"].max())
    made = table(rows, limit, target)
    save_table(made, directory, "compensation", CAPTION, digits=3)
    _figure(rows, made, limit, directory)
    told = f"\nLeft out, since some seeds are missing: {left_out} settings." if left_out else ""
    return finding(made, limit, target) + told


def _complete(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Select the settings that have every seed, and count the others, which an interrupted study has."""
    counted = rows.groupby(["credit", *ARM, "learning_rate"])["seed"].nunique().rename("seeds").reset_index()
    enough = counted[counted["seeds"] == counted["seeds"].max()]
    return rows.merge(enough.drop(columns="seeds")), len(counted) - len(enough)


def _figure(rows: pd.DataFrame, made: pd.DataFrame, limit: float, directory: Path) -> None:
    credits, epochs = style.credits(rows), int(rows["epoch"].max())
    rates, dampings = sorted(rows["learning_rate"].unique()), sorted(d for d in rows["damping"].unique() if d)
    figure, axes = style.panels(2, len(credits), 5.4, sharey="row")
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.9, len(rates)))
    palette = dict(zip(rates, map(mpl.colors.to_hex, colours), strict=True))
    for column, credit in enumerate(credits):
        own = rows[rows["credit"] == credit]
        top, bottom = axes[0][column], axes[1][column]
        for rate in rates:
            for compensated in (False, True):
                shown = [
                    np.mean([at(run, limit, "test_accuracy", epochs) for _, run in cell.groupby("seed")])
                    if len(cell := _cell(own, "interneuron", damping, compensated, rate))
                    else np.nan
                    for damping in dampings
                ]
                style_of = {"color": palette[rate], "marker": "o", "fillstyle": "full" if compensated else "none"}
                label = f"rate {rate:g}{', compensated' if compensated else ''}"
                top.plot(range(len(dampings)), shown, "-" if compensated else "--", label=label, **style_of)
            for place, arm in enumerate((REFERENCE, "none")):
                cell = _cell(own, arm, 0, False, rate)
                if len(cell):
                    value = np.mean([at(run, limit, "test_accuracy", epochs) for _, run in cell.groupby("seed")])
                    marker = "s" if arm == REFERENCE else "x"
                    top.plot(len(dampings) + place, value, marker, color=palette[rate])
        top.set(title=style.CREDITS[credit], xlabel="damping")
        top.set_xticks(range(len(dampings) + 2), [*(f"{d:g}" for d in dampings), "center", "none"])
        for best in made[made["credit"] == credit].to_dict("records"):
            cell = _cell(own, best["arm"], best["damping"], best["compensated"], best["learning_rate"])
            curves = cell.pivot_table(index="seconds", columns="seed", values="test_accuracy")
            words = best["arm"].replace("_", " ") + (", compensated" if best["compensated"] else "")
            line = "-" if best["compensated"] else "--"
            style.band(bottom, curves, colour=style.COLOURS[best["arm"]], linestyle=line, label=words)
        bottom.axvline(limit, color="#bbbbbb", linewidth=1)
        bottom.set_xlabel("processor seconds of training")
    axes[0][0].set_ylabel(f"test accuracy at {limit:.2g} s")
    axes[1][0].set_ylabel("test accuracy, best setting")
    for row in axes:
        handles = {label: h for axis in row for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        row[-1].legend(handles.values(), handles.keys(), frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1))
    save_figure(
        figure,
        directory,
        "compensation",
        "Top row: test accuracy at equal processor time (that of centred backprop's epochs), by damping; squares and "
        "crosses: the controls `center` and `none`. Bottom row: learning curves of the setting that the validation "
        "split chose for each arm, shaded the 95 % interval (Student); the vertical line is the time of the upper "
        "panels. Mean over paired seeds.",
    )


def _cell(rows: pd.DataFrame, arm: str, damping: float, compensated: bool, rate: float) -> pd.DataFrame:
    same = (rows["arm"] == arm) & (rows["damping"] == damping) & (rows["compensated"] == compensated)
    return rows[same & (rows["learning_rate"] == rate)]
