"""Learnt inhibition and its controls: correlations by bin, correlograms, a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.typing import SeriesGroupBy

from analysis import spiking_style, style
from neuro_decorr import study
from neuro_decorr.report import save_figure, save_table

CAPTION = (
    "Test before, and after with weights and bias held: mean over paired seeds, deviation over them in brackets. |r|: "
    "mean absolute correlation of spike counts, and that of independent neurons (floor); rms: root mean square of "
    "the correlations, sampling removed. Rate: population rate over that before; within 10 %: share of the neurons "
    "whose own rate is that near to it. Dimensions: participation ratio (50 ms), corrected for sampling."
)
KEYS = ["mixing", "sign", "arm"]


def draw(measured: study.Tables, directory: Path) -> str:
    """Draw the figure, write the table of all conditions, return the finding.

    Args:
        measured: Tables of the measured runs.
        directory: Directory of the study.
    """
    made = table(measured)
    save_table(made, directory, "spiking_decorrelation", CAPTION, digits=3)
    shown = spiking_style.controlled(measured)
    _figure(shown, directory)
    return finding(made, shown["rates"].iloc[0])


def table(measured: study.Tables) -> pd.DataFrame:
    """Make a table with one row per mixing, sign and arm."""
    found = measured["correlations"]
    parts = {}
    for width in (0.05, 0.1):
        at = found[found["bin"] == width].groupby(KEYS)
        if at.ngroups:
            parts[f"|r| {1e3 * width:g} ms"] = _told(at["mean_absolute"])
            parts[f"floor {1e3 * width:g} ms"] = at["floor"].mean()
    middle = found[found["bin"] == (0.05 if 0.05 in set(found["bin"]) else found["bin"].median())].groupby(KEYS)
    rates = measured["rates"].groupby(KEYS)
    parts |= {
        "rms": middle["rms"].mean(),
        "Fano": middle["fano_factor"].mean(),
        "dimensions": middle["participation_ratio"].mean(),
        "Hz": rates["rate"].mean(),
        "rate": _told(rates["ratio"]),
        "within 10 %": rates["within"].mean(),
        "CV": rates["cv"].mean(),
        "seeds": middle.size(),
    }
    made = pd.DataFrame(parts).reset_index()
    for name, known in (("arm", list(spiking_style.ARMS)), ("sign", None), ("mixing", list(spiking_style.MIXINGS))):
        key = (lambda column, known=known: column.map(known.index)) if known else None
        made = made.sort_values(name, kind="stable", key=key)
    return made


def _told(groups: SeriesGroupBy[Any, Any]) -> pd.Series:
    """Write the mean, with the standard deviation over seeds where there are several."""
    words = {
        key: f"{values.mean():.4f}" + (f" ({values.std():.4f})" if len(values) > 1 else "") for key, values in groups
    }
    return pd.Series(words).rename_axis(KEYS)


def finding(made: pd.DataFrame, first: pd.Series) -> str:
    """Write the finding of the shown condition in words."""
    own = made[(made["mixing"] == first["mixing"]) & (made["sign"] == first["sign"])]
    lines = [f"Inputs {first['mixing']}, weights {first['sign']}, held weights and bias, test input never learnt from:"]
    column = "|r| 50 ms" if "|r| 50 ms" in own else "rms"
    for row in own.to_dict("records"):
        floor = f" (floor {row['floor 50 ms']:.4f})" if "floor 50 ms" in row else ""
        lines.append(
            f"  {spiking_style.ARMS[row['arm']][1]:26s} {column} {row[column]}{floor}, rate {row['rate']} of before, "
            f"{row['within 10 %']:.0%} of the neurons within 10 %"
        )
    return "\n".join(lines)


def _figure(shown: study.Tables, directory: Path) -> None:
    correlations, lagged, rates = shown["correlations"], shown.get("lags"), shown["rates"]
    figure, ((left, middle, right),) = style.panels(1, 3, 2.9)
    close = middle.inset_axes((0.66, 0.5, 0.34, 0.5), xlim=(-120, 120), ylim=(-0.006, 0.012), yticks=(0, 0.01))
    close.tick_params(labelsize=6)
    names = spiking_style.arms(correlations)
    for arm in names:
        colour, words = spiking_style.ARMS[arm]
        by_bin = correlations[correlations["arm"] == arm].groupby("bin")["mean_absolute"]
        low, high = by_bin.min(), by_bin.max()
        left.plot(1e3 * low.index, by_bin.mean(), "o-", color=colour, label=words, markersize=3.5)
        left.fill_between(1e3 * low.index, low, high, color=colour, alpha=0.2, linewidth=0)
        if lagged is not None:
            course = lagged[lagged["arm"] == arm].groupby("lag")["correlation"].mean()
            for axis in (middle, close):
                axis.plot(1e3 * course.index, course, color=colour)
    floor = correlations.groupby("bin")["floor"].mean()
    left.plot(1e3 * floor.index, floor, ":", color="#666666", label="independent neurons")
    left.set(xlabel="bin (ms)", ylabel="mean |r|", xscale="log", yscale="log")
    left.set_xticks(1e3 * floor.index, [f"{1e3 * width:g}" for width in floor.index])
    left.minorticks_off()
    middle.set(xlabel="lag (ms)", ylabel="mean cross-correlation (10 ms)")
    for axis in (middle, close):
        axis.axhline(0, color="#999999", linewidth=0.8)
    for place, arm in enumerate(names):
        own = rates[rates["arm"] == arm]
        right.plot([place] * len(own), own["ratio"], "o", color=spiking_style.ARMS[arm][0])
    right.axhspan(0.97, 1.03, color="#dddddd", zorder=0)
    right.set_xticks(range(len(names)), [spiking_style.ARMS[arm][1] for arm in names], rotation=35, ha="right")
    right.set_ylabel("population rate / before")
    style.legend(figure, left, columns=4, above=True)
    save_figure(
        figure,
        directory,
        "spiking_controls",
        f"Inputs {rates['mixing'].iloc[0]}, weights {rates['sign'].iloc[0]}; test input never learnt from, weights "
        "and bias held. A: mean absolute correlation of spike counts, band from the smallest to the largest seed. "
        "B: cross-correlogram, mean over pairs and seeds, and a part of it larger. C: population rate, one "
        "point a seed; band: 3 %.",
    )
