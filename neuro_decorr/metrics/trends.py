"""Slow and fast fluctuations: removal of drifts, correlations split at a time scale, and a test for drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.metrics.activity import Activity, as_samples
from neuro_decorr.metrics.correlation import sampling_floor
from neuro_decorr.metrics.samples import finite
from neuro_decorr.recording import Rates

if TYPE_CHECKING:
    import pandas as pd

Array: TypeAlias = NDArray[np.float64]
Cutoff: TypeAlias = float | Literal["auto"] | None
"""Fluctuations slower than this (s; samples of an array) are removed first. `"auto"`: slower than a tenth of the
recording if units drift, else none; None: none."""

_UNITS = 16
"""Number of units whose slow part is removed at a time."""

SLOWEST, NEXT = 4, 20
"""Units drift if the slowest 4 cosines hold more than their expected share of the variance of the slowest 20."""


def high_pass(activity: Activity, bin: float | None = None, *, cutoff: float) -> Array:
    r"""Remove the mean and the fluctuations slower than a cutoff from the activity.

    $$
    y = x - \bar x - \sum_{k=1}^{K} c_k c_k^T x, \qquad
    c_k(p) = \sqrt{2/P} \cos\frac{\pi k (p + \frac12)}{P}, \qquad K = \lfloor 2P / \text{cutoff} \rfloor
    $$

    The cosine $c_k$ has the period 2P/k. The filter is a projection that removes K of the P degrees of freedom; it
    shifts no phase, and a linear trend leaves no jump at the ends.

    Cost: P log P per unit; memory 8 bytes per entry.

    Source: the high-pass filter of functional imaging, Holmes, Josephs, Buechel and Friston (1997), Statistical
    modelling of low-frequency confounds in fMRI, NeuroImage 5, S480.

    Args:
        activity: Array `(samples, units)`, rates or spike trains.
        bin: Width of the bins (s), for spike trains and rates.
        cutoff: Longest period that is kept (s; samples of an array), at least two samples.

    Returns:
        Filtered activity, shape `(samples, units)`, mean zero.

    Raises:
        InvalidValue: The cutoff is below two samples, or the activity has the wrong shape or no bin; see `moments`.
    """
    values, step = sampled(activity, bin)
    return without(values, components(len(values), cutoff, step))


def detrended(activity: Activity, bin: float | None = None, *, order: int = 1) -> Array:
    """Remove from each unit the polynomial of time that fits it best; by default its mean and linear trend.

    Cost: P N for each order, for P samples and N units.

    Args:
        activity: Array `(samples, units)`, rates or spike trains.
        bin: Width of the bins (s), for spike trains and rates.
        order: Order of the polynomial, from 0 (the mean) on; less than the number of samples.

    Returns:
        Residual, shape `(samples, units)`. It has lost order + 1 degrees of freedom.

    Raises:
        InvalidValue: The order is not a whole number, or not less than the number of samples.
    """
    values, _ = sampled(activity, bin)
    checks.refuse("detrended", checks.whole_number("order", order, least=0))
    if order >= len(values):
        raise InvalidValue(f"detrended: order must be less than the {len(values)} samples, got {order}.")
    time = np.linspace(-1, 1, len(values))
    basis = np.linalg.qr(np.polynomial.legendre.legvander(time, order))[0]
    residual: Array = values - basis @ (basis.T @ values)
    return residual


@final
@dataclass(frozen=True, eq=False)
class SlowFast:
    r"""Correlations of the fluctuations slower and faster than a cutoff; NaN for units without such fluctuations.

    The two parts are orthogonal: with the slow share $s_i$ of the variance of unit i,
    $r_{ij} = \sqrt{s_i s_j}\, r^{slow}_{ij} + \sqrt{(1 - s_i)(1 - s_j)}\, r^{fast}_{ij}$ exactly.
    """

    cutoff: float  # s; samples of an array
    total: Array  # (units, units)
    slow: Array  # (units, units)
    fast: Array  # (units, units)
    slow_share: Array  # (units,): slow share of the variance
    slow_degrees: int  # number of cosines slower than the cutoff, the degrees of freedom of the slow correlation
    fast_degrees: int  # samples - 1 - slow_degrees

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per part: mean and mean absolute correlation, and the floor of the mean absolute one.

        `share_of_mean` is the contribution of the part to the total mean correlation; slow and fast sum to the total.
        """
        upper = np.triu_indices(len(self.total), 1)
        share = self.slow_share
        parts = {
            "total": (self.total, np.ones_like(self.total), self.slow_degrees + self.fast_degrees),
            "slow": (self.slow, np.sqrt(np.outer(share, share)), self.slow_degrees),
            "fast": (self.fast, np.sqrt(np.outer(1 - share, 1 - share)), self.fast_degrees),
        }
        rows = {
            name: {
                "mean_correlation": np.nanmean(matrix[upper]),
                "mean_absolute_correlation": np.nanmean(np.abs(matrix[upper])),
                # The correlation of n + 1 independent samples about their mean has n degrees of freedom.
                "floor": sampling_floor(degrees + 1).mean_absolute,
                "share_of_mean": np.nanmean((weight * matrix)[upper]),
            }
            for name, (matrix, weight, degrees) in parts.items()
        }
        frame: pd.DataFrame = require("pandas", "recordings").DataFrame.from_dict(rows, orient="index")
        return frame.rename_axis("part")


def slow_fast(activity: Activity, bin: float | None = None, *, cutoff: float) -> SlowFast:
    """Split correlations at a time scale: those of slow fluctuations (drift, state) and those of fast ones.

    The floors hold for units without autocorrelation: few slow cosines give large chance correlations, and drifts of
    single units give larger ones. Test the fast part by `surrogate_null` with the same cutoff.

    Cost: P N^2 + P N log P for P samples and N units.

    Args:
        activity: Array `(samples, units)`, rates or spike trains.
        bin: Width of the bins (s), for spike trains and rates.
        cutoff: Periods longer than this are slow (s; samples of an array); see `high_pass`.

    Returns:
        Correlations of all, slow and fast fluctuations.

    Raises:
        InvalidValue: There are fewer than two units, or the cutoff leaves fewer than two slow or two fast components.
    """
    values, step = sampled(activity, bin)
    count = components(len(values), cutoff, step)
    if values.shape[1] < 2 or count < 2 or len(values) - 1 - count < 2:
        raise InvalidValue(
            f"slow_fast: got {values.shape[1]} units and {count} of {len(values) - 1} components slower than the "
            f"cutoff of {cutoff:g}; at least 2 units, 2 slow and 2 fast components are needed: choose another cutoff."
        )
    centered = values - values.mean(axis=0)
    fast = without(values, count)
    slow = centered - fast
    power = np.square(centered).sum(axis=0)
    share = np.divide(np.square(slow).sum(axis=0), power, out=np.full_like(power, np.nan), where=power > 0)
    of_all, of_slow, of_fast = (_correlation(part, power) for part in (centered, slow, fast))
    return SlowFast(float(cutoff), of_all, of_slow, of_fast, share, count, len(values) - 1 - count)


class Drift(NamedTuple):
    """Share of the slowest cosines in the slow variance, and the decision whether units drift."""

    slowest: int  # number of slowest cosines, such as 4
    wide: int  # number of slow cosines, such as 20
    share: float  # share of the `slowest` cosines in the variance of the `wide` ones, mean over units
    found: bool  # True if the share exceeds that of a flat spectrum beyond chance and by more than a quarter

    def __str__(self) -> str:
        if self.wide == 0:
            return "too short to tell whether units drift"
        found = "units drift" if self.found else "units do not drift"
        hold = f"the slowest {self.slowest} of {self.wide} cosines hold {self.share:.0%} of their variance"
        return f"{found} ({hold}, where constant rates give {self.slowest / self.wide:.0%})"


def drift(values: Array) -> Drift:
    """Test whether units drift: whether they change more over the whole recording than within a tenth of it.

    Under a flat spectrum the share of each unit is beta distributed, B(2, 8) for 4 of 20 cosines.

    Args:
        values: Activity, shape `(samples, units)`; units that never vary do not count.

    Returns:
        The share and the decision; no drift is found in fewer than 16 samples.
    """
    wide = min(NEXT, len(values) // 4)
    vary = np.ptp(values, axis=0) > 0
    if wide < SLOWEST or not vary.any():
        return Drift(0, 0, np.nan, False)
    slowest = max(1, round(wide * SLOWEST / NEXT))
    expected = slowest / wide
    power = np.square(cosines(len(values), wide).T @ values)[:, vary]
    total = power.sum(axis=0)
    # A unit without slow variance gets the expected share.
    shares = np.divide(power[:slowest].sum(axis=0), total, out=np.full_like(total, expected), where=total > 0)
    error = np.sqrt(expected * (1 - expected) / (wide / 2 + 1) / len(shares))
    share = float(shares.mean())
    return Drift(slowest, wide, share, bool(share > expected + 2 * error and share > 1.25 * expected))


def sampled(activity: Activity, bin: float | None) -> tuple[Array, float]:
    """Samples in float64, checked, and the time between two samples (s; 1 for arrays)."""
    samples = as_samples(activity, bin)
    if samples.ndim != 2 or len(samples) < 2:
        raise InvalidValue(
            f"samples: got shape {tuple(samples.shape)}; allowed is (samples, units) with 2 samples or more."
        )
    step = bin if bin is not None else activity.step if isinstance(activity, Rates) else 1.0
    return finite(samples).cpu().numpy(), step


def tenth(values: Array, step: float) -> float:
    """Default cutoff, a tenth of the recording: it holds too few slower periods to tell shared drifts from others."""
    return max(len(values) * step / 10, 2 * step)  # two samples are the shortest cutoff


def components(samples: int, cutoff: float, step: float) -> int:
    """Number of cosines whose periods are at least as long as the cutoff."""
    checks.refuse("high-pass", checks.number("cutoff", cutoff, least=2 * step, hint="two samples"))
    return min(samples - 1, int(2 * samples * step / cutoff + 1e-9))


def degrees_left(samples: int, removed: int) -> int:
    """Degrees of freedom of samples without their mean and the removed components; raises if fewer than two."""
    degrees = samples - 1 - removed
    if degrees < 2:
        raise InvalidValue(
            f"activity: {samples} samples minus {removed} components leave {degrees} degrees of freedom; at least 2 "
            "are needed: take more samples or a longer cutoff."
        )
    return degrees


def cosines(samples: int, count: int) -> Array:
    """Slowest cosines as orthonormal columns, shape `(samples, count)`."""
    phase = np.outer(np.arange(samples) + 0.5, np.arange(1, count + 1)) * (np.pi / samples)
    basis: Array = np.sqrt(2 / samples) * np.cos(phase)
    return basis


def without(values: Array, count: int) -> Array:
    """Remove the mean and the slowest cosines from values `(samples, units)`; some units at a time, to save memory."""
    left: Array = values - values.mean(axis=0)
    basis = cosines(len(values), count) if count <= NEXT else None
    for start in range(0, left.shape[1], _UNITS):
        part = left[:, start : start + _UNITS]
        if basis is not None:
            part -= basis @ (basis.T @ part)
            continue
        # The cosines are the Fourier series of the activity followed by its mirror image.
        spectrum = np.fft.rfft(np.concatenate([part, part[::-1]]), axis=0)
        spectrum[: count + 1] = 0
        part[:] = np.fft.irfft(spectrum, 2 * len(values), axis=0)[: len(values)]
    return left


def _correlation(part: Array, power: Array) -> Array:
    """Correlation of a part with mean zero; NaN for units whose part is only rounding of their variance."""
    products = part.T @ part
    own = np.where(products.diagonal() > 1e-20 * power, products.diagonal(), np.nan)
    matrix: Array = products / np.sqrt(np.outer(own, own))
    return np.clip(matrix, -1.0, 1.0)
