"""Noise correlations over trials: of every condition, and of one condition compared with another."""

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

_SHOWN = 5  # rows in a line
_COMPARED = ("mean_correlation", "mean_squared_above_floor", "mean_rate", "mean_fano_factor")


class NoiseRow(NamedTuple):
    """Noise correlations of one condition."""

    trials: int  # number of trials
    mean: float  # mean correlation of all pairs
    low: float  # lower end of its interval; NaN with fewer than ten trials
    high: float  # upper end
    null_low: float  # the mean of independent units lies between these with probability `level`
    null_high: float
    p_value: float  # probability that the mean of independent units lies as far from zero, two-sided
    mean_absolute: float  # mean magnitude of the correlations of all pairs
    floor_absolute: float  # mean magnitude for independent units that are as slow over trials as these
    mean_rate: float  # Hz for spike trains; mean value for rates


class ComparisonRow(NamedTuple):
    """One measure under two conditions."""

    first: float
    second: float
    difference: float  # second minus first
    low: float  # lower end of the interval of the difference
    high: float  # upper end
    p_value: float  # for no difference, two-sided


@final
@dataclass(frozen=True, eq=False)
class NoiseCorrelations:
    """Noise correlations by condition; for example `.rows["left"].mean`, or the whole table by `.to_frame()`."""

    rows: Mapping[str, NoiseRow]
    matrices: Mapping[str, NDArray[np.float64]]  # (units, units) for each row; NaN for units silent in that condition
    level: float  # coverage of the intervals
    facts: str  # numbers of units and trials, and the methods
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        units = len(next(iter(self.matrices.values())))
        shown = [f"{name!r}: {_interval(row.mean, row)}" for name, row in list(self.rows.items())[-_SHOWN:]]
        more = f"{len(self.rows) - _SHOWN} more, " if len(self.rows) > _SHOWN else ""
        return f"NoiseCorrelations({units} units, {more}{', '.join(shown)}; the table: .to_frame())"

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per condition."""
        return _frame(self.rows, NoiseRow._fields, "condition")


@final
@dataclass(frozen=True, eq=False)
class NoiseComparison:
    """Comparison of two conditions; for example `.rows["mean_correlation"].difference`, or `.to_frame()`."""

    rows: Mapping[str, ComparisonRow]
    first: NDArray[np.float64]  # (units, units): correlations under the first condition
    second: NDArray[np.float64]  # (units, units): correlations under the second condition
    level: float  # coverage of the intervals
    facts: str  # numbers of units and trials, and the methods
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        row = self.rows["mean_correlation"]
        told = f"{row.first:.3g} and {row.second:.3g}, difference {_interval(row.difference, row)}"
        return f"NoiseComparison({len(self.first)} units, mean correlation {told}; the table: .to_frame())"

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per measure."""
        return _frame(self.rows, ComparisonRow._fields, "measure")


def noise_correlations(
    recording: SpikeTrains | Rates,
    bin: float | None = None,
    *,
    conditions: Sequence[str] | str | None = None,
    level: float = 0.95,
) -> NoiseCorrelations:
    r"""Noise correlations: correlations of the residuals of trials from the mean over the trials of their condition.

    With x of trial k and bin b, $z_{kb} = x_{kb} - \bar x_b$ within each condition, which removes the response to the
    stimulus (the PSTH). Then $r_{ij} = \sum z_i z_j / \sqrt{\sum z_i^2 \sum z_j^2}$ over trials and bins. The row
    `"all conditions"` sums over conditions too, which is pooled covariance over pooled variance.
    `signal_noise_correlation` gives that matrix together with the signal correlation, and takes arrays of counts.

    Interval: trials are left out one after the other, which is valid where neighbouring trials depend on each other
    (`jackknife.spread`). Floor and null: independent units which are as slow over the trials as these
    (`cosines.Independent`), so that drifts over a session are not taken for correlation.

    Cost: linear in the trials, times N^2.

    Sources: Averbeck, Latham and Pouget (2006), Neural correlations, population coding and computation, Nature Reviews
    Neuroscience 7, doi:10.1038/nrn1888; Cohen and Kohn (2011), Measuring and interpreting neuronal correlations, Nature
    Neuroscience 14, doi:10.1038/nn.2842.

    Args:
        recording: Spike trains or rates with trials.
        bin: Width of the bins (s), from the start of each trial; None: one count per trial.
        conditions: Names of the conditions, or one name; None: all.
        level: Coverage of the intervals, between 0 and 1.

    Returns:
        Table with one row per condition, and the row `"all conditions"` if there are several.

    Raises:
        InvalidValue: The recording is another object, has no trials or trials of unequal length, a condition has fewer
            than three trials, or fewer than two units vary over the trials of a condition.
        UnknownName: No trial has one of the conditions.
    """
    check_level(level)
    parts = residuals(recording, bin, conditions)
    scale = _per_second(recording, bin, list(parts))
    few = [name for name, part in parts.items() if part.trials < FEWEST]
    return NoiseCorrelations(
        rows={name: _row(part, level, scale) for name, part in parts.items()},
        matrices={name: part.correlation for name, part in parts.items()},
        level=level,
        facts=_facts(parts, bin, level),
        warnings=(
            *((f"no interval with fewer than {FEWEST} trials: {', '.join(few)}",) if few else ()),
            *(note for note in recording.notes if note.startswith("which column of the trials")),
        ),
    )


def noise_comparison(
    recording: SpikeTrains | Rates, first: str, second: str, bin: float | None = None, *, level: float = 0.95
) -> NoiseComparison:
    r"""Noise correlations of the same units under two conditions, and their differences.

    `mean_correlation` does not depend systematically on the number of trials. `mean_squared_above_floor` is the mean of
    $r_{ij}^2 - v_{ij}$, where $v_{ij}$ is the expected square for independent units that are as slow as these, at this
    number of trials; it allows for unequal numbers of trials. `mean_rate` (Hz) and `mean_fano_factor` are given
    because correlations of counts grow with the rate. Intervals: the trials of each condition are left out one after
    the other; the difference is tested by Welch's t.

    Cost: linear in the trials, times N^2.

    Source: Welch (1947), The generalization of Student's problem, Biometrika 34, doi:10.2307/2332510; see
    `noise_correlations`.

    Args:
        recording: Spike trains or rates with trials of both conditions.
        first: Name of the first condition.
        second: Name of the second condition; differences are second minus first.
        bin: Width of the bins (s), from the start of each trial; None: one count per trial.
        level: Coverage of the intervals, between 0 and 1.

    Returns:
        Table with one row per measure, and the correlation matrices of both conditions.

    Raises:
        InvalidValue: The conditions are the same, or one has fewer than ten trials; see also `noise_correlations`.
        UnknownName: No trial has one of the conditions.
    """
    check_level(level)
    if first == second:
        raise InvalidValue(f"second: got {second!r}, which is also the first condition; give another condition.")
    parts = residuals(recording, bin, [first, second])
    for name, part in parts.items():
        if part.trials < FEWEST:
            raise InvalidValue(f"condition {name!r}: got {part.trials} trials; a comparison needs at least {FEWEST}.")
    scale = np.array([1, 1, _per_second(recording, bin, [first, second]), 1])
    sides = []
    for name in (first, second):
        estimate, without = parts[name].measures()
        found = spread(estimate, without)
        estimate[1] -= parts[name].floor  # a constant, which leaves the spread as it is
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


def _interval(value: float, row: NoiseRow | ComparisonRow) -> str:
    return f"{value:.3g} [{row.low:.3g}, {row.high:.3g}]"


def _per_second(recording: SpikeTrains | Rates, bin: float | None, conditions: Sequence[str]) -> float:
    """Factor from a mean over bins to a rate (Hz); 1 for rates."""
    if isinstance(recording, Rates):
        return 1.0
    assert recording.trials is not None
    names = [name for name in conditions if name in recording.trials.conditions]
    return 1 / (bin if bin is not None else float(recording.trials.select(names).durations[0]))


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
