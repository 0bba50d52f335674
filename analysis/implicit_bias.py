"""Leaky ReLU networks from small weights: stable rank by steps, orthogonality of samples, margins, other images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis import intervals, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table, table_text

TITLES = {"isotropic": "isotropic", "correlated": "correlation .8", "images": "images"}
CAPTION = (
    "A: min |x_i|^2 / max |<x_i, x_j>| of the samples by arm (foof has those of center); the dotted line is at n - 1. "
    "B to D: stable rank of the weights after each step, from small initial weights, by source. E: the same from large "
    "ones, on images. F: accuracy on other images against the margin on the samples, small initial weights, after all "
    "steps; numbers: dampings. B to E: geometric means over seeds, foof and whitening at the smallest damping, "
    "whitening dotted at the largest. F: means."
)
COURSES = (
    "By source and size of the initial weights (times d^1/2): ratio min |x_i|^2 / max |<x_i, x_j>|, stable rank of the "
    "weights after 0, 1 and all steps, that of W D after all, accuracy on the samples, margin, share of other inputs "
    "on which the network agrees with its linear part, accuracy on other inputs (chance for random labels). Means over "
    "seeds; `more`: stable rank after all steps less that of centring (paired, 95 % interval)."
)


def draw(measured: study.Tables, directory: Path) -> str:
    """Draw the figure, write the table, return the finding in words with the table.

    Args:
        measured: Tables of the study.
        directory: Directory of the study.
    """
    courses = measured["courses"]
    made = table(measured)
    small, large = courses["initial"].min(), courses["initial"].max()
    figure, axes = style.panels(2, 3, 4.8)
    samples = round(float(measured["samples"]["samples"].iloc[0]))
    _ratios(axes[0][0], measured["samples"], samples)
    sources = style.ordered(courses["inputs"], list(TITLES))
    places = [axes[0][1], axes[0][2], axes[1][0]]
    for axis, source in zip(places, sources, strict=False):
        _ranks(axis, courses[(courses["inputs"] == source) & (courses["initial"] == small)])
        axis.set_title(f"{TITLES[source]}, small weights")
    _ranks(axes[1][1], courses[(courses["inputs"] == sources[-1]) & (courses["initial"] == large)])
    axes[1][1].set_title(f"{TITLES[sources[-1]]}, large weights")
    _other(axes[1][2], made[(made["inputs"] == sources[-1]) & (made["initial"] == small)])
    style.legend(figure, places[0], columns=6)
    save_figure(figure, directory, "implicit_bias", CAPTION)
    save_table(made, directory, "implicit_bias", COURSES, digits=3)
    return f"{finding(made)}\n\n{table_text(made)}"


def finding(made: pd.DataFrame) -> str:
    """Write the finding in words, whatever the result."""
    last = [str(name) for name in made if str(name).startswith("rank ")][-1]
    lines = [
        f"Stable rank of the weights after {last.removeprefix('rank ')} steps; of damped arms at the smallest damping; "
        "in brackets 95 % intervals over seeds."
    ]
    for (inputs, initial), own in made.groupby(["inputs", "initial"], sort=False):
        first = {str(row["arm"]): row for _, row in own.sort_values("damping", ascending=False).iterrows()}
        others = ", ".join(
            f"{style.label(arm)} {intervals.told(first[arm], 'more', '+.2g')}"
            for arm in style.arms(own) if arm != "center"
        )  # fmt: skip
        center = first["center"][last]
        lines.append(f"{inputs}, initial weights {initial:g}: {center:.3g} with centring; more than it: {others}.")
    return "\n".join(lines)


def table(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per source, initial size, arm and damping.

    Args:
        measured: Tables of the measured runs.
    """
    courses, rows = measured["courses"], []
    last = courses["step"].max()
    samples = measured["samples"]
    for (inputs, initial), of in courses.groupby(["inputs", "initial"], sort=False):
        beside = samples[(samples["inputs"] == inputs) & (samples["initial"] == initial)]
        center = of[(of["arm"] == "center") & (of["step"] == last)].set_index("seed")["rank"].sort_index()
        settings = of[["arm", "damping"]].drop_duplicates()
        for arm, damping in zip(settings["arm"], settings["damping"], strict=True):
            own = style.at(of, arm, damping)
            ranks = own.groupby("step")["rank"].mean()
            end = own[own["step"] == last].set_index("seed").sort_index()
            found = study.paired_difference(list(end["rank"]), list(center))
            rows.append(
                {
                    "inputs": inputs, "initial": initial, "arm": arm, "damping": damping,
                    "ratio": style.at(beside, arm, damping)["ratio"].mean(), "rank 0": ranks[0], "rank 1": ranks[1],
                    f"rank {last}": ranks[last], "raw rank": end["raw_rank"].mean(), "accuracy": end["accuracy"].mean(),
                    "margin": end["margin"].mean(), "linear": end["linear"].mean(), "other": end["other"].mean(),
                    "more": found.mean, "low": found.low, "high": found.high,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _line(damping: float, dampings: list[float]) -> str | None:
    """Return the style of a line: solid for the smallest damping or none, dotted for the largest; None: not drawn."""
    if np.isnan(damping) or damping == dampings[0]:
        return "-"
    return ":" if damping == dampings[-1] else None


def _ranks(axis: Axes, rows: pd.DataFrame) -> None:
    dampings = sorted(rows["damping"].dropna().unique())
    for arm in style.arms(rows):
        for damping in sorted(rows[rows["arm"] == arm]["damping"].unique()):
            own, line = style.at(rows, arm, damping), _line(damping, dampings)
            if line is None or (arm == "foof" and line == ":"):
                continue
            mean = np.exp(own["rank"].map(np.log).groupby(own["step"]).mean())
            label = style.label(arm) + (f", damping {damping:g}" if arm == "whitening" else "")
            axis.plot(mean.index, mean, line, marker="o", markersize=3, color=style.colour(arm), label=label)
    axis.set(xscale="symlog", yscale="log", xlabel="steps", ylabel="stable rank of W")
    axis.set_xlim(-0.1, None)
    axis.set_yticks((1, 2, 5, 10, 20, 50), ("1", "2", "5", "10", "20", "50"))
    axis.minorticks_off()


def _ratios(axis: Axes, rows: pd.DataFrame, samples: int) -> None:
    sources = style.ordered(rows["inputs"], list(TITLES))
    shown = rows[(rows["arm"] != "foof") & (rows["damping"].isna() | (rows["damping"] == rows["damping"].min()))]
    names = style.arms(shown)
    for place, arm in enumerate(names):
        own = shown[shown["arm"] == arm].groupby("inputs")["ratio"].mean()
        where = [index + (place - (len(names) - 1) / 2) * 0.8 / len(names) for index in range(len(sources))]
        axis.bar(where, own[sources], 0.8 / len(names), color=style.colour(arm))
    axis.axhline(samples - 1, linestyle=":", color="#000000")
    axis.set_yscale("log")
    axis.set_xticks(range(len(sources)), [TITLES[source] for source in sources])
    axis.set_ylabel("orthogonality of the samples")
    axis.set_title("condition of the theorem")


def _other(axis: Axes, made: pd.DataFrame) -> None:
    for row in made.to_dict("records"):
        axis.plot(row["margin"], row["other"], "o", color=style.colour(row["arm"]), markersize=4)
        words = "" if np.isnan(row["damping"]) else f"{row['damping']:g}"
        axis.annotate(words, (row["margin"], row["other"]), (4, 2), textcoords="offset points")
    axis.set(xlabel="margin on the samples", ylabel="accuracy on other images")
    axis.set_title("what it is worth")
