"""Population coupling: correlation of each unit with the sum of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.activity import Activity, as_samples
from neuro_decorr.metrics.jackknife import FEWEST, bounds, cells, second_moments, spread
from neuro_decorr.metrics.parameters import check_level
from neuro_decorr.metrics.samples import Samples
from neuro_decorr.recording import Rates, SpikeTrains

if TYPE_CHECKING:
    import pandas as pd

_ENTRIES = 2**17
"""Number of entries of a chunk, 1 MiB: it stays in the cache while it is paired at every lag."""


@final
@dataclass(frozen=True, eq=False)
class PopulationCoupling:
    """Coupling of every unit; a table by `.to_frame()`. All arrays have shape `(units,)`."""

    units: tuple[str, ...]
    correlation: NDArray[np.float64]  # between the unit and the sum of all others; NaN for units that never vary
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    slow: NDArray[np.float64]  # mean correlation over shifts of the others: slow common variation
    null_low: NDArray[np.float64]  # quantiles of the correlations over shifts of the others
    null_high: NDArray[np.float64]
    p_value: NDArray[np.float64]  # share of the shifts with a correlation as far from `slow`
    q_value: NDArray[np.float64]  # false discovery rate over the units
    excess_rate: NDArray[np.float64]  # rate of the others at the unit's spikes, above their mean (Hz); NaN: no spikes
    mean: tuple[float, float, float]  # mean correlation over the units, and its interval
    level: float
    facts: str
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per unit."""
        names = ("correlation", "low", "high", "slow", "null_low", "null_high", "p_value", "q_value", "excess_rate")
        columns = {name: getattr(self, name) for name in names}
        frame: pd.DataFrame = require("pandas", "recordings").DataFrame(columns, index=list(self.units))
        frame.index.name = "unit"
        return frame


def population_coupling(
    activity: Activity, bin: float | None = None, *, max_shift: int = 50, level: float = 0.95
) -> PopulationCoupling:
    r"""Correlation of each unit with the sum of all other units.

    With the covariance C of the samples, and the unit left out of the population,

    $$
    c_i = \frac{\sum_{j \ne i} C_{ij}}{\sqrt{C_{ii} \sum_{j, k \ne i} C_{jk}}}, \qquad
    \text{excess rate}_i = \frac{\sum_{j \ne i} C_{ij}}{\bar x_i\, \text{bin}}
    $$

    The excess rate is the population coupling of Okun et al. in Hz: the rate of all others at the spikes of the unit,
    above their mean rate. Okun et al. smooth by 12 ms; here spikes are counted in bins. Units with a large variance
    weigh more in the sum.

    Null: the others are shifted in time by -L to L samples, not circularly, and the slope over these shifts, which
    drifts cause, is subtracted. This keeps slower variation, so that the test is whether the coupling without a shift
    stands out. Interval: stretches of time are left out one after the other, on the scale of Fisher's z
    (`jackknife.spread`).

    Cost: P N^2, and 4 L P N for the shifts. Memory: the samples, and 8 N^2 bytes for each of 64 stretches.

    Sources: Okun et al. (2015), Diverse coupling of neurons to populations in sensory cortex, Nature 521,
    doi:10.1038/nature14273; shifts in time, Harris (2020), Nonsense correlations in neuroscience,
    doi:10.1101/2020.11.29.402719.

    Args:
        activity: Array, rates or spike trains.
        bin: Width of the bins (s).
        max_shift: Largest shift L (samples), below a quarter of the samples, and longer than the time scale of the
            coupling. The p-value cannot be below 1 / (2 L + 1).
        level: Coverage of the intervals.

    Returns:
        Coupling, interval and null of every unit.

    Raises:
        InvalidValue: Fewer than two units vary, or shifts are out of range; see `moments`.
        MissingExtra: SciPy is not installed.
    """
    check_level(level)
    checks.refuse("population_coupling", checks.whole_number("max_shift", max_shift, least=10))
    counted = as_samples(activity, bin)
    sums = cells(counted)
    names = activity.units if isinstance(activity, SpikeTrains | Rates) else tuple(map(str, range(sums.units)))
    samples = int(sums.lengths.sum())
    if sums.units < 2:
        raise InvalidValue("activity: got 1 unit; coupling to the others needs at least 2.")
    if not max_shift < samples / 4:
        raise InvalidValue(f"max_shift: got {max_shift}; allowed are less than a quarter of the {samples} samples.")
    whole, without = second_moments(sums)
    estimate, others = _coupling(whole), _coupling(without)
    defined = np.isfinite(estimate)
    if not defined.any():
        raise InvalidValue("activity: fewer than two units vary; give at least 2 units that vary.")
    z = np.arctanh(np.append(estimate, estimate[defined].mean()))  # the last: mean over the units
    left = np.arctanh(np.column_stack([others, others[:, defined].mean(axis=1)]))
    low, high = np.tanh(bounds(z, spread(z, left, sums.lengths.cpu().numpy()), level))
    lagged = _shifted(counted, max_shift) / np.sqrt(_variances(whole) * (samples - 1) ** 2)
    slow, null, p_value = _against_shifts(lagged)
    q_value = np.full_like(p_value, np.nan)
    q_value[defined] = require("scipy.stats", "recordings").false_discovery_control(p_value[defined])
    rate = np.full(sums.units, np.nan)
    if isinstance(activity, SpikeTrains):
        assert bin is not None
        excess = (whole.sum(axis=1) - whole.diagonal()) * (samples - 1) / samples
        mean = sums.mean.cpu().numpy()
        rate[mean > 0] = excess[mean > 0] / mean[mean > 0] / bin
    silent = int((~defined).sum())
    warnings = [f"{silent} units never vary: they have no coupling"] if silent else []
    if sums.cells < FEWEST:
        warnings.append(f"no interval: fewer than {FEWEST} stretches of time")
    unit = "samples" if bin is None else f"bins of {bin:g} s"
    return PopulationCoupling(
        units=names,
        correlation=estimate,
        low=low[:-1],
        high=high[:-1],
        slow=slow,
        null_low=np.quantile(null, (1 - level) / 2, axis=0),
        null_high=np.quantile(null, (1 + level) / 2, axis=0),
        p_value=p_value,
        q_value=q_value,
        excess_rate=rate,
        mean=(float(np.tanh(z[-1])), float(low[-1]), float(high[-1])),
        level=level,
        facts=(
            f"{sums.units} units, {samples} {unit}; each against the sum of the others; {level:.0%} intervals: "
            f"{sums.cells} stretches of time left out in order; null: the others shifted by up to {max_shift} {unit}"
        ),
        warnings=tuple(warnings),
    )


def _variances(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of each unit times that of the sum of the others, shape (..., units); NaN if one of them is zero."""
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    rows = covariance.sum(axis=-1)
    rest = rows.sum(axis=-1, keepdims=True) - 2 * rows + own
    # The differences have a rounding error of about 1e-16 of the largest variance.
    least = 1e-12 * own.max()
    found: NDArray[np.float64] = np.where((own > least) & (rest > least), own * rest, np.nan)
    return found


def _coupling(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    found: NDArray[np.float64] = (covariance.sum(axis=-1) - own) / np.sqrt(_variances(covariance))
    inside: NDArray[np.float64] = np.clip(found, -1 + 1e-15, 1 - 1e-15)  # the sum of the others has no finite z
    return inside


def _against_shifts(lagged: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Mean of couplings (2 L + 1, units) over the shifts, couplings without their slope, p-value of the zero shift."""
    longest = len(lagged) // 2
    own, null = lagged[longest], np.delete(lagged, longest, axis=0)
    slow = null.mean(axis=0)
    shifts = np.delete(np.arange(-longest, longest + 1.0), longest)[:, None]
    null = null - shifts * (shifts * null).sum(axis=0) / (shifts**2).sum()  # drifts cause a slope over shifts
    extreme = (np.abs(null - slow) >= np.abs(own - slow)).sum(axis=0)
    return slow, null, np.where(np.isfinite(own), (1 + extreme) / (1 + len(null)), np.nan)


def _shifted(samples: Samples, longest: int) -> NDArray[np.float64]:
    """Sum of products of each unit and the others `lag` samples later, shape (2 L + 1, units).

    The samples of the unit are those with a partner at every lag; sums are scaled to all samples.
    """
    x = samples.detach().cpu().numpy() if isinstance(samples, torch.Tensor) else np.asarray(samples)
    count, units = x.shape
    mean = x.mean(axis=0, dtype=np.float64)
    total = x.sum(axis=1, dtype=np.float64) - mean.sum()
    around = sliding_window_view(total, 2 * longest + 1)  # row t holds the samples around sample t + longest
    found = np.zeros((2 * longest + 1, units))
    rows = max(2 * longest, _ENTRIES // units)
    for start in range(0, count - 2 * longest, rows):
        end = min(start + rows, count - 2 * longest)
        wide = np.ascontiguousarray((x[start : end + 2 * longest] - mean).T)  # (units, samples)
        middle = np.ascontiguousarray(wide[:, longest : longest + end - start])
        found += (middle @ around[start:end]).T
        for lag in range(2 * longest + 1):  # the unit itself is no part of the others
            found[lag] -= np.einsum("ut,ut->u", middle, wide[:, lag : lag + end - start])
    found *= count / (count - 2 * longest)
    return found
