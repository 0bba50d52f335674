"""Noise correlations of every condition, and of one condition against another, from trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.jackknife import FEWEST, mean_correlation_bounds, spread
from neuro_decorr.metrics.parameters import check_level
from neuro_decorr.metrics.residuals import ALL, Residuals, residuals
from neuro_decorr.recording import Rates, SpikeTrains

if TYPE_CHECKING:
    import pandas as pd

_COMPARED = ("mean_correlation", "mean_squared_above_floor", "mean_rate", "mean_fano_factor")


class NoiseRow(NamedTuple):
    """Noise correlations of one condition."""

    trials: int
    mean: float  # mean correlation of all pairs
    low: float  # of its interval; NaN with fewer than ten trials
    high: float
    null_low: float  # where the mean of independent units lies with probability `level`
    null_high: float
    p_value: float  # chance that it lies as far from zero, two-sided
    mean_absolute: float
    floor_absolute: float  # mean magnitude of independent units, as slow over trials as these
    mean_rate: float  # Hz of spike trains; mean value of rates


class ComparisonRow(NamedTuple):
    """One measure under two conditions."""

    first: float
    second: float
    difference: float  # second minus first
    low: float  # of the interval of the difference
    high: float
    p_value: float  # of no difference, two-sided


@final
@dataclass(frozen=True, eq=False)
class NoiseCorrelations:
    """Noise correlations by condition; `.rows["left"].mean`, or all of it by `.to_frame()`."""

    rows: Mapping[str, NoiseRow]
    matrices: Mapping[str, NDArray[np.float64]]  # (units, units) of each row; NaN for units silent there
    level: float
    facts: str  # what the numbers rest on
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table, one row a condition."""
        return _frame(self.rows, NoiseRow._fields, "condition")


@final
@dataclass(frozen=True, eq=False)
class NoiseComparison:
    """Two conditions; `.rows["mean_correlation"].difference`, or all of it by `.to_frame()`."""

    rows: Mapping[str, ComparisonRow]
    first: NDArray[np.float64]  # correlations under the first condition, (units, units)
    second: NDArray[np.float64]
    level: float
    facts: str
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table, one row a measure."""
        return _frame(self.rows, ComparisonRow._fields, "measure")


def noise_correlations(
    recording: SpikeTrains | Rates,
    bin: float | None = None,
    *,
    conditions: Sequence[str] | None = None,
    level: float = 0.95,
) -> NoiseCorrelations:
    r"""Correlations of what trials of one condition do not share: the residuals from the mean over its trials.

    With x of trial k and bin b, $z_{kb} = x_{kb} - \bar x_b$ within each condition: what the stimulus drives, the PSTH,
    is gone. $r_{ij} = \sum z_i z_j / \sqrt{\sum z_i^2 \sum z_j^2}$ over trials and bins; in the row `"all conditions"`
    over conditions too, which is pooled covariance over pooled variance. `signal_noise_correlation` sets that matrix
    beside the signal correlation, and takes arrays of counts.

    Interval: trials left out one after the other, which holds where neighbouring trials depend on each other
    (`jackknife.spread`). Floor and null: independent units which are as slow over the trials as these
    (`cosines.Independent`), so that drifts over a session do not pass for correlation.

    Cost: trials times N^2.

    Sources: Averbeck, Latham and Pouget (2006), Neural correlations, population coding and computation, Nature Reviews
    Neuroscience 7, doi:10.1038/nrn1888; Cohen and Kohn (2011), Measuring and interpreting neuronal correlations, Nature
    Neuroscience 14, doi:10.1038/nn.2842.

    Args:
        recording: Spike trains or rates with trials.
        bin: Width of the bins (s), counted from the start of each trial; one count a trial when None.
        conditions: Which conditions; all when None.
        level: Coverage of the intervals.

    Returns:
        One row a condition, and the row `"all conditions"` where there are several.

    Raises:
        InvalidValue: No trials, trials of unequal length, fewer than three trials of a condition, or fewer than two
            units that vary over them.
        UnknownName: A condition that no trial has.
    """
    check_level(level)
    parts = residuals(recording, bin, conditions)
    scale = _per_second(recording, bin)
    few = [name for name, part in parts.items() if part.trials < FEWEST]
    return NoiseCorrelations(
        rows={name: _row(part, level, scale) for name, part in parts.items()},
        matrices={name: part.correlation for name, part in parts.items()},
        level=level,
        facts=_facts(parts, bin, level),
        warnings=(f"no interval with fewer than {FEWEST} trials: {', '.join(few)}",) if few else (),
    )


def noise_comparison(
    recording: SpikeTrains | Rates, first: str, second: str, bin: float | None = None, *, level: float = 0.95
) -> NoiseComparison:
    r"""Noise correlations under one condition against those under another, of the same units.

    The number of trials does not move `mean_correlation`. `mean_squared_above_floor` is the mean of
    $r_{ij}^2 - v_{ij}$, of which $v_{ij}$ is what independent units as slow as these show with so many trials: it
    compares conditions of unequal numbers of trials. `mean_rate` (Hz) and `mean_fano_factor` stand beside them, since
    correlations of counts grow with the rate. Intervals: trials of each left out one after the other; the difference
    by Welch's t.

    Cost: trials times N^2.

    Source: Welch (1947), The generalization of Student's problem, Biometrika 34, doi:10.2307/2332510; see
    `noise_correlations`.

    Args:
        recording: Spike trains or rates with trials of both conditions.
        first: A condition.
        second: Another; differences are second minus first.
        bin: Width of the bins (s); one count a trial when None.
        level: Coverage of the intervals.

    Returns:
        The table and both matrices.

    Raises:
        InvalidValue: The conditions are the same, or one has fewer than ten trials; see `noise_correlations`.
        UnknownName: A condition that no trial has.
    """
    check_level(level)
    if first == second:
        raise InvalidValue(f"second: got {second!r}, which is the first condition too; compare two conditions.")
    parts = residuals(recording, bin, [first, second])
    for name, part in parts.items():
        if part.trials < FEWEST:
            raise InvalidValue(f"condition {name!r}: got {part.trials} trials; a comparison needs at least {FEWEST}.")
    scale = np.array([1, 1, _per_second(recording, bin), 1])
    sides = []
    for name in (first, second):
        estimate, without = parts[name].measures()
        found = spread(estimate, without)
        estimate[1] -= parts[name].floor  # of all trials: the spread is that of the uncorrected measure
        sides.append((scale * estimate, scale * found.error, found.freedom))
    (old, old_error, old_freedom), (new, new_error, new_freedom) = sides
    rows = {
        name: _difference(
            (float(old[k]), float(new[k])),
            (float(old_error[k]), float(new_error[k])),
            (old_freedom, new_freedom),
            level,
        )
        for k, name in enumerate(_COMPARED)
    }
    rate = rows["mean_rate"]
    differs = (
        f"the mean rate differs too ({rate.first:.3g} against {rate.second:.3g}); correlations of counts grow with the "
        'rate: see pair_profile(against="rate")'
    )
    return NoiseComparison(
        rows=rows,
        first=parts[first].correlation,
        second=parts[second].correlation,
        level=level,
        facts=_facts(parts, bin, level),
        warnings=(differs,) if rate.p_value < 1 - level else (),
    )


def _difference(
    values: tuple[float, float], errors: tuple[float, float], freedoms: tuple[int, int], level: float
) -> ComparisonRow:
    change, error = values[1] - values[0], math.hypot(*errors)
    if not error > 0:
        return ComparisonRow(*values, change, math.nan, math.nan, math.nan)
    freedom = error**4 / sum(one**4 / n for one, n in zip(errors, freedoms, strict=True))
    law = require("scipy.stats", "recordings").t(freedom)
    reach = float(law.ppf((1 + level) / 2)) * error
    return ComparisonRow(*values, change, change - reach, change + reach, 2 * float(law.sf(abs(change) / error)))


def _row(part: Residuals, level: float, per_second: float) -> NoiseRow:
    estimate, without = part.measures()
    mean = float(estimate[0])
    return NoiseRow(
        part.trials,
        mean,
        *mean_correlation_bounds(mean, without[:, 0], int(part.vary.sum()), level),
        *part.law.interval(level),
        part.law.p_value(mean),
        float(np.abs(part.pairs(part.correlation)).mean()),
        float(part.pairs(part.law.absolute).mean()),
        float(estimate[2]) * per_second,
    )


def _per_second(recording: SpikeTrains | Rates, bin: float | None) -> float:
    """From a mean over bins to a rate."""
    if isinstance(recording, Rates):
        return 1.0
    assert recording.trials is not None
    return 1 / (bin if bin is not None else float(recording.trials.durations[0]))


def _facts(parts: Mapping[str, Residuals], bin: float | None, level: float) -> str:
    units = next(iter(parts.values())).z.shape[2]
    counted = "one sample a trial" if bin is None else f"bins of {bin:g} s"
    trials = ", ".join(f"{part.trials} of {name!r}" for name, part in parts.items() if name != ALL)
    return (
        f"{units} units; trials: {trials}; {counted}; the mean over trials is removed; {level:.0%} intervals: trials "
        "left out in order of time; null and floor: independent units as slow over trials as these"
    )


def _frame(rows: Mapping[str, NamedTuple], columns: tuple[str, ...], index: str) -> pd.DataFrame:
    pandas = require("pandas", "recordings")
    frame: pd.DataFrame = pandas.DataFrame(list(rows.values()), index=list(rows), columns=columns)
    frame.index.name = index
    return frame
