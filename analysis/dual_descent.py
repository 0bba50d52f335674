"""Stochastic dual descent, and descent on features: errors by steps, iterations by damping, a posterior."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

ARMS = {
    "dual": ("#0072B2", "dual"),
    "primal": ("#CC79A7", "primal, kernel"),
    "none": ("#999999", "features"),
    "center": ("#000000", "features, centred"),
    "foof": ("#009E73", "foof"),
    "whitening": ("#56B4E9", "whitening"),
    "interneuron": ("#D55E00", "interneuron"),
}
CAPTION = (
    "A: the exact posterior of the first seed (mean, two standard deviations), the mean by stochastic dual descent and "
    "two samples. B: relative error by steps of few points, each arm at its chosen rate. C: the same by iterations on "
    "all points. D: iterations until the error stays below 1 %, by damping. Lines in B and C: geometric mean over "
    "seeds; D: median, least and most."
)
STOCHASTIC = (
    "Stochastic descent at the rate (in units of the largest curvature) that was best on a seed that is not measured: "
    "relative error against the exact mean, its mean over seeds with its 95 % interval (Student); `minus features`: "
    "its paired difference to the features as they are, `from` and `to` its interval."
)
ITERATIONS = (
    "Descent on all points: iterations until the error stays below 1 % (median over seeds; empty: not within the most "
    "that were allowed), condition number of the curvature (median), and how many times as many iterations the "
    "features as they are take: geometric mean over paired seeds, 95 % interval (Student, of logarithms)."
)
SAMPLES = (
    "Posterior samples of the dual: largest relative error of a sample against the exact solve with the same draw of "
    "the prior; variance of the samples over the exact variance, both averaged over the grid, with its 95 % interval."
)


def stochastic(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per arm.

    Args:
        measured: Tables of the measured runs.
    """
    ends = measured["ends"].sort_values("seed")
    plain = list(ends[ends["arm"] == "none"]["error"])
    rows = []
    for arm in style.ordered(ends["arm"], list(ARMS)):
        own = ends[ends["arm"] == arm]
        row = {"arm": arm, "rate": own["rate"].iloc[0], **intervals.of_mean(own["error"], "error")}
        if plain and arm != "none":
            change = study.paired_difference(list(own["error"]), plain)
            row |= {"minus features": change.mean, "from": change.low, "to": change.high}
        rows.append(row)
    return pd.DataFrame(rows)


def iterations(found: study.Tables) -> pd.DataFrame:
    """Make a table with one row per arm and damping.

    Args:
        found: Tables of the runs on all points.
    """
    speeds = found["speeds"].sort_values("seed")
    plain = speeds[speeds["arm"] == "none"]["iterations"].astype(float)
    rows = []
    for arm in style.ordered(speeds["arm"], list(ARMS)):
        for damping, own in speeds[speeds["arm"] == arm].groupby("damping", dropna=False):
            taken = own["iterations"].astype(float)
            row = {"arm": arm, "damping": damping, "iterations": float(np.median(taken))}
            row["condition"] = float(np.median(own["condition"].astype(float)))
            if len(plain) and bool(taken.notna().all() and plain.notna().all()):
                row |= intervals.of_ratio(list(plain), list(taken), "times fewer")
            rows.append(row)
    return pd.DataFrame(rows)


def draw(tables: study.Tables, directory: Path, near: float) -> str:
    """Draw the figure, write the tables, return the finding in words with the tables.

    Args:
        tables: Tables of the study.
        directory: Directory of the study.
        near: Relative error of the dotted line.
    """
    measured, full = tables.of("measure"), tables.of("iterations")
    figure, axes = style.panels(2, 2, 5.2)
    if "posterior" in measured:
        _posterior(axes[0][0], measured)
    _courses(axes[0][1], measured["courses"], "few points a step")
    descents, speeds = full["descents"], full["speeds"]
    dampings = sorted(speeds["damping"].dropna().unique(), key=lambda damping: abs(np.log(damping)))
    middle = descents[descents["damping"].isna() | (descents["damping"] == dampings[0])] if dampings else descents
    _courses(axes[1][0], middle, f"all points, damping {dampings[0]:g}" if dampings else "all points")
    axes[1][0].axhline(near, color="#999999", linestyle=":")
    axes[1][0].set_xlim(0, 1_000)
    _by_damping(axes[1][1], speeds)
    style.legend(figure, axes[0][1], axes[1][0], columns=7)
    save_figure(figure, directory, "dual_descent", CAPTION)
    found, speed = stochastic(measured), iterations(full)
    save_table(found, directory, "dual_descent_stochastic", STOCHASTIC, digits=3)
    save_table(speed, directory, "dual_descent_iterations", ITERATIONS, digits=3)
    told, lines = [table_text(found), table_text(speed)], finding(found, speed)
    if "samples" in measured:
        rows = measured["samples"]
        ratio = intervals.of_mean(rows["variance_ratio"], "variance ratio")
        made = pd.DataFrame([{"largest error": rows["error"].max(), **ratio}])
        save_table(made, directory, "dual_descent_samples", SAMPLES, digits=3)
        told.append(table_text(made))
        lines.append(
            f"Posterior samples: the largest relative error is {made['largest error'].iloc[0]:.2g}, their variance "
            f"{intervals.told(made.iloc[0], 'variance ratio')} times the exact one."
        )
    return "\n\n".join(["\n".join(lines), *told])


def finding(found: pd.DataFrame, speed: pd.DataFrame) -> list[str]:
    """Write the finding in words, whatever the result, line by line."""
    errors = [f"{ARMS[row['arm']][1]} {intervals.told(row, 'error', '.2g')}" for _, row in found.iterrows()]
    lines = [f"Relative error of the mean with few points a step: {'; '.join(errors)}."] if errors else []
    if speed["iterations"].notna().any():
        best = speed.iloc[int(np.nanargmin(speed["iterations"]))]
        damping = "" if np.isnan(best["damping"]) else f" at damping {best['damping']:g}"
        fewer = ""
        if best["arm"] != "none" and not np.isnan(best.get("times fewer", np.nan)):
            fewer = f"; the features as they are take {intervals.told(best, 'times fewer')} times as many"
        lines.append(
            f"With all points, {ARMS[best['arm']][1]}{damping} needs the fewest iterations to 1 %: "
            f"{best['iterations']:g}{fewer}."
        )
    return lines


def _posterior(axis: Axes, measured: study.Tables) -> None:
    seed = measured["posterior"]["seed"].min()
    rows, points = (table[table["seed"] == seed] for table in (measured["posterior"], measured["points"]))
    low, high = (rows["exact"] + sign * 2 * rows["deviation"] for sign in (-1, 1))
    axis.fill_between(rows["x"], low, high, color="#999999", alpha=0.3, linewidth=0, label="exact, 2 s.d.")
    axis.plot(points["x"], points["y"], ".", color="#000000", markersize=2, label="points")
    for sample in ("sample_1", "sample_2"):
        axis.plot(rows["x"], rows[sample], color="#56B4E9", linewidth=0.9, label="samples")
    axis.plot(rows["x"], rows["exact"], color="#000000", linewidth=2.5, label="exact mean")
    axis.plot(rows["x"], rows["mean"], "--", color="#D55E00", linewidth=1.3, label="mean by dual descent")
    handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    axis.legend(handles.values(), handles.keys(), frameon=False, ncols=2, loc="lower center")
    axis.set_title("posterior")
    axis.set_ylim(-6, 4)
    axis.set(xlabel="x", ylabel="y")


def _courses(axis: Axes, rows: pd.DataFrame, title: str) -> None:
    # Dashes distinguish curves that coincide.
    dashes = {"foof": "-", "whitening": (0, (5, 4)), "interneuron": (4, (2, 6))}
    for arm in style.ordered(rows["arm"], list(ARMS)):
        own = rows[rows["arm"] == arm]
        each = np.log(own["error"].clip(lower=1e-16)).groupby(own["step"])
        mean = np.exp(each.mean())[each.size() == own["seed"].nunique()]  # some seeds end sooner
        colour, words = ARMS[arm]
        axis.plot(mean, linestyle=dashes.get(arm, "-"), color=colour, linewidth=1.5, label=words)
    axis.set(yscale="log", xlabel="steps", ylabel="relative error of the mean")
    axis.set_title(title)


def _by_damping(axis: Axes, speeds: pd.DataFrame) -> None:
    shifts = {"foof": 0.8, "whitening": 1.0, "interneuron": 1.25}
    for arm in style.ordered(speeds["arm"], list(ARMS)):
        own, (colour, words) = speeds[speeds["arm"] == arm], ARMS[arm]
        taken = own["iterations"].astype(float)
        if arm not in shifts:
            if bool(taken.notna().all()):
                axis.axhline(float(np.median(taken)), color=colour, linewidth=1.5, label=words)
            continue
        found = taken.groupby(own["damping"]).agg(["median", "min", "max"])
        bars = [found["median"] - found["min"], found["max"] - found["median"]]
        axis.errorbar(
            found.index * shifts[arm], found["median"], bars, fmt="o", color=colour, markersize=5, label=words
        )
    axis.set(xscale="log", xlabel="damping", ylabel="iterations to 1 %", ylim=(0, None))
    axis.set_title("all points")
