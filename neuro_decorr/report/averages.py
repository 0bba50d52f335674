"""Means over seeds along an axis, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro_decorr.errors import require
from neuro_decorr.study.statistics import half_width

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

AXIS, SEED = " axis", " seed"
"""Columns of the tables in this module; no quantity has these names."""
_POINTS, _PLACES, _READ = 20_000, 200, 60
"""Largest numbers: points of a table, places of an axis, places for interpolation where runs have no common ones."""


def placed(table: pd.DataFrame, cells: Sequence[str], quantities: Sequence[str]) -> tuple[pd.DataFrame | None, str]:
    """Place the rows at points of the axis that the seeds share, by interpolation where they share none.

    Args:
        table: Rows with the columns `cells`, which identify a curve, `SEED`, `AXIS` and the quantities.
        cells: Names of the columns that identify a curve.
        quantities: Names of the columns with the quantities.

    Returns:
        The rows, and a note on the change. None for the rows where those of a run are not in order along the axis.
    """
    groups = table.groupby(list(cells), sort=False)
    most = int(max(10, min(_PLACES, _POINTS // max(1, groups.ngroups))))
    counts = table.groupby([*cells, AXIS]).size()
    fullest = counts.groupby(level=list(cells)).transform("max")
    if table[SEED].nunique() == 1 or (counts.max() > 1 and float((counts >= 0.9 * fullest).mean()) > 0.5):
        places = np.sort(table[AXIS].unique())
        if len(places) <= most:
            return table, ""
        kept = places[np.unique(np.linspace(0, len(places) - 1, most).round().astype(int))]
        return table[table[AXIS].isin(kept)], f"{len(kept)} of {len(places)} points along the axis are drawn."
    made = []
    for key, group in groups:
        places = np.unique(np.quantile(group[AXIS], np.linspace(0, 1, min(most, _READ))))
        for seed, run in group.groupby(SEED, sort=False):
            x = run[AXIS].to_numpy()
            if not (np.all(np.diff(x) > 0) or np.all(np.diff(x) < 0)):
                return None, ""
            order = np.argsort(x)
            read = {
                name: np.interp(places, x[order], run[name].to_numpy()[order], np.nan, np.nan) for name in quantities
            }
            made.append({**dict(zip(cells, key, strict=True)), SEED: seed, AXIS: places, **read})
    frame = require("pandas", "study").DataFrame
    told = "The runs have values at different points of the axis; the means are of values interpolated between them."
    return require("pandas", "study").concat([frame(one) for one in made], ignore_index=True), told


def averages(table: pd.DataFrame, cells: Sequence[str], quantities: Sequence[str]) -> dict[str, Any]:
    """Average over seeds, with Student's 95 % interval (see `half_width`); one seed gives no interval.

    Args:
        table: Rows from `placed`; a cell that is no number counts in no mean.
        cells: Names of the columns with whole numbers that identify a curve.
        quantities: Names of the columns to average.

    Returns:
        `cells` of each curve; `starts`, the index at which each curve begins, and last the total; `x`; and for every
        quantity the lists `mean`, `half` (half the width of the interval) and `n`.
    """
    grouped = table.groupby([*cells, AXIS])[list(quantities)]
    count, mean, deviation = (found.to_numpy() for found in (grouped.count(), grouped.mean(), grouped.std()))
    half = half_width(deviation, count)
    index = grouped.size().index.to_frame(index=False)
    heads = index[list(cells)].to_numpy(dtype=np.int64)
    starts = np.flatnonzero(np.append(True, (heads[1:] != heads[:-1]).any(axis=1)))
    return {
        "starts": [*starts.tolist(), len(heads)],
        "cells": heads[starts].tolist(),
        "x": _rounded(index[AXIS].to_numpy(dtype=np.float64)),
        "mean": [_rounded(column) for column in mean.T.astype(np.float64)],
        "half": [_rounded(column) for column in half.T.astype(np.float64)],
        "n": count.T.tolist(),
    }


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """Round to five digits: a drawing shows no more, and the page stays small."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        power = 4 - np.floor(np.log10(np.abs(values)))
        scale = 10.0 ** np.abs(power)
        # Division by a whole number gives the shortest decimals; multiplication by a fraction would not.
        found = np.where(power > 0, np.round(values * scale) / scale, np.round(values / scale) * scale)
    found = np.where((values == 0) | (power > 300), 0.0, found)
    return [value if math.isfinite(value) else None for value in found.tolist()]
