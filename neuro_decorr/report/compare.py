"""How two recordings, periods or conditions of the same units differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics import bootstrap
from neuro_decorr.metrics.resampling import Resampling
from neuro_decorr.report.picture import LEVEL, REPLICATES
from neuro_decorr.report.sample import Sample

if TYPE_CHECKING:
    import pandas as pd


def compare(first: Sample, second: Sample, seed: int = 0) -> pd.DataFrame:
    """How two recordings or periods of the same units differ: second minus first.

    Intervals: blocks of time of both are drawn again, independently, as in `metrics.summary`. `in s.e.` is the
    difference in standard deviations of that bootstrap, and grows with the length of the recordings. The last row is
    `metrics.paired_change`: the same change paired over pairs of units, its interval over units, and its effect sizes.

    Args:
        first: The one that is compared with.
        second: The other.
        seed: Seed of the bootstrap.

    Returns:
        One row a measure: first, second, difference, low, high, in s.e.; Cohen's d and Cliff's delta in the last.

    Raises:
        InvalidValue: Fewer than two units that vary in both, or different bins.
    """
    pandas = require("pandas", "recordings")
    shared = [name for name in first.units if name in second.units]
    if len(shared) < 2 or first.bin != second.bin:
        raise InvalidValue(
            f"against: {len(shared)} units of one label vary in both recordings; at least 2 are needed, in one bin."
        )
    values = [taken.values[:, taken.positions(shared)] for taken in (first, second)]
    drawn = [Resampling.of(part, replicates=REPLICATES, seed=seed + k) for k, part in enumerate(values)]
    rows: list[dict[str, object]] = []
    for name, value in drawn[0].estimates.items():
        other = drawn[1].estimates[name]
        spread = np.subtract(drawn[1].replicated[name], drawn[0].replicated[name])
        low, high, _ = bootstrap.interval(other - value, spread.tolist(), LEVEL)
        error = float(spread.std())
        row = {"measure": name, "first": value, "second": other, "difference": other - value, "low": low, "high": high}
        rows.append({**row, "in s.e.": (other - value) / error if error > 0 else math.nan})
    if len(shared) > 2:
        change = metrics.paired_change(values[0], values[1], level=LEVEL, seed=seed)
        means = {k: drawn[n].estimates["mean_correlation"] for n, k in enumerate(("first", "second"))}
        paired = {"difference": change.mean, "low": change.low, "high": change.high}
        effects = {"Cohen's d": change.cohens_d, "Cliff's delta": change.cliffs_delta}
        rows.append({"measure": "mean_correlation (paired)", **means, **paired, **effects})
    table: pd.DataFrame = pandas.DataFrame(rows)
    return table
