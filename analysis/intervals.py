"""Means and ratios over paired seeds with their 95 % intervals (Student)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd

from neuro_decorr import study
from neuro_decorr.study.statistics import half_width


def of_mean(values: Iterable[float], name: str) -> dict[str, float]:
    """Compute the mean over seeds and its interval, as columns `name`, `low` and `high`.

    Args:
        values: One value per seed.
        name: Name of the quantity.
    """
    given = list(values)
    found = study.paired_difference(given, [0.0] * len(given))
    return {name: found.mean, "low": found.low, "high": found.high}


def over_seeds(values: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Compute the mean over seeds of every row, and half the width of its interval; with one seed that is 0.

    Args:
        values: One row per place, one column per seed.
    """
    return values.mean(axis=1), half(values.std(axis=1), values.count(axis=1))


def half(deviation: pd.Series, seeds: pd.Series) -> pd.Series:
    """Compute half the width of the interval of a mean over seeds; of one seed, which has no interval, 0.

    Args:
        deviation: Standard deviations over seeds.
        seeds: Numbers of seeds.
    """
    return pd.Series(half_width(deviation, seeds), index=deviation.index).fillna(0.0)


def of_ratio(above: Iterable[float], below: Iterable[float], name: str) -> dict[str, float]:
    """Compute the geometric mean of ratios paired by seed, as columns `name`, `low` and `high`.

    The interval is computed for the logarithms.

    Args:
        above: Numerators, one positive number per seed.
        below: Denominators, one positive number per seed, in the same order.
        name: Name of the ratio.
    """
    found = study.paired_difference([math.log(value) for value in above], [math.log(value) for value in below])
    return {name: math.exp(found.mean), "low": math.exp(found.low), "high": math.exp(found.high)}


def told(row: Mapping[str, float] | pd.Series, name: str, form: str = ".3g") -> str:
    """Write a mean or ratio with its interval.

    Args:
        row: Row with the columns `name`, `low` and `high`.
        name: Name of the quantity.
        form: Format of each number.
    """
    return f"{row[name]:{form}} [{row['low']:{form}}, {row['high']:{form}}]"
