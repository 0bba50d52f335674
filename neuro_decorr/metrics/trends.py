"""Slow and fast: drifts removed, correlations split at a time scale, and whether units drift at all."""

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
"""Fluctuations slower than this (s; samples of an array) are removed first. `"auto"`: than a tenth of what is there
where units drift, else none; None: none."""

_UNITS = 16
"""Units whose slow part is removed at a time."""

SLOWEST, NEXT = 4, 20
"""Units drift where the slowest 4 cosines hold more of their variance than 4 of the slowest 20 should."""


def high_pass(activity: Activity, bin: float | None = None, *, cutoff: float) -> Array:
    r"""Activity without its mean and without what is slower than the cutoff.

    $$
    y = x - \bar x - \sum_{k=1}^{K} c_k c_k^T x, \qquad
    c_k(p) = \sqrt{2/P} \cos\frac{\pi k (p + \frac12)}{P}, \qquad K = \lfloor 2P / \text{cutoff} \rfloor
    $$

    The cosine $c_k$ has the period 2P/k. A projection, which takes K degrees of freedom of P; no phase is moved, and a
    linear trend leaves no jump at the ends.

    Cost: P log P a unit; memory 8 bytes an entry.

    Source: the high-pass filter of functional imaging, Holmes, Josephs, Buechel and Friston (1997), Statistical
    modelling of low-frequency confounds in fMRI, NeuroImage 5, S480.

    Args:
        activity: Array `(samples, units)`, rates or spike trains.
        bin: Width of the bins (s) of recordings.
        cutoff: Longest period that stays (s; samples of an array), at least two samples.

    Returns:
        What is left, shape `(samples, units)`, mean zero.

    Raises:
        InvalidValue: A cutoff below two samples, or what cannot be sampled.
    """
    values, step = sampled(activity, bin)
    return without(values, components(len(values), cutoff, step))


def detrended(activity: Activity, bin: float | None = None, *, order: int = 1) -> Array:
    """Activity without the polynomial of time that fits each unit best: by default without its mean and linear trend.

    Args:
        activity: Array `(samples, units)`, rates or spike trains.
        bin: Width of the bins (s) of recordings.
        order: Of the polynomial, from 0 (the mean) on; less than the number of samples.

    Returns:
        The residual, shape `(samples, units)`. It has lost order + 1 degrees of freedom.

    Raises:
        InvalidValue: An order that is no whole number, or not less than the samples.
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
    r"""Correlations of what is slower and of what is faster than the cutoff; NaN for units without variance there.

    The parts are orthogonal: with the share $s_i$ of a unit's variance that is slow,
    $r_{ij} = \sqrt{s_i s_j}\, r^{slow}_{ij} + \sqrt{(1 - s_i)(1 - s_j)}\, r^{fast}_{ij}$ exactly.
    """

    cutoff: float  # s; samples of an array
    total: Array  # (units, units)
    slow: Array  # (units, units)
    fast: Array  # (units, units)
    slow_share: Array  # (units,)
    slow_degrees: int  # cosines slower than the cutoff: so many numbers a unit its slow correlation rests on
    fast_degrees: int  # samples - 1 - slow_degrees

    def to_frame(self) -> pd.DataFrame:
        """One row a part: mean and mean absolute correlation over pairs, the latter's floor for independent units.

        `share_of_mean` is what the part adds to the mean correlation of all: those of slow and fast sum to it.
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
    """Correlations split at a time scale: what units share slowly (drift, state) and what they share fast.

    The floors hold for units without autocorrelation: few slow cosines make large chance correlations, and drifts of
    single units larger ones. Whether the fast part is more than chance is asked of `surrogate_null` with this cutoff.

    Args:
        activity: Array `(samples, units)`, rates or spike trains.
        bin: Width of the bins (s) of recordings.
        cutoff: Periods longer than this are slow (s; samples of an array); see `high_pass`.

    Returns:
        The correlations.

    Raises:
        InvalidValue: Fewer than two units, a cutoff that leaves fewer than two slow or two fast components.
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
    """How much of the slow variance is the slowest."""

    slowest: int  # cosines, such as 4
    wide: int  # cosines, such as 20
    share: float  # of the variance in the `wide` slowest cosines which the slowest hold, mean over units
    found: bool  # beyond what chance gives a flat spectrum, and by more than a quarter

    def __str__(self) -> str:
        if self.wide == 0:
            return "too short to tell whether units drift"
        found = "units drift" if self.found else "units do not drift"
        hold = f"the slowest {self.slowest} of {self.wide} cosines hold {self.share:.0%} of their variance"
        return f"{found} ({hold}, where constant rates give {self.slowest / self.wide:.0%})"


def drift(values: Array) -> Drift:
    """Whether units drift: whether they change more over the whole of what is there than within a tenth of it.

    Under a flat spectrum the share of each unit is beta distributed, B(2, 8) for 4 of 20 cosines.

    Args:
        values: Activity, shape `(samples, units)`; units that never vary do not count.

    Returns:
        The share; not found in fewer than 16 samples, which cannot tell.
    """
    wide = min(NEXT, len(values) // 4)
    vary = np.ptp(values, axis=0) > 0
    if wide < SLOWEST or not vary.any():
        return Drift(0, 0, np.nan, False)
    slowest = max(1, round(wide * SLOWEST / NEXT))
    expected = slowest / wide
    power = np.square(cosines(len(values), wide).T @ values)[:, vary]
    total = power.sum(axis=0)
    # A unit without slow variance says nothing, and drifts no more than expected.
    shares = np.divide(power[:slowest].sum(axis=0), total, out=np.full_like(total, expected), where=total > 0)
    error = np.sqrt(expected * (1 - expected) / (wide / 2 + 1) / len(shares))
    share = float(shares.mean())
    return Drift(slowest, wide, share, bool(share > expected + 2 * error and share > 1.25 * expected))


def sampled(activity: Activity, bin: float | None) -> tuple[Array, float]:
    """Samples in float64, checked, and the time from one to the next (s; 1 for arrays)."""
    samples = as_samples(activity, bin)
    if samples.ndim != 2 or len(samples) < 2:
        raise InvalidValue(
            f"samples: got shape {tuple(samples.shape)}; allowed is (samples, units), 2 samples or more."
        )
    step = bin if bin is not None else activity.step if isinstance(activity, Rates) else 1.0
    return finite(samples).cpu().numpy(), step


def tenth(values: Array, step: float) -> float:
    """A tenth of what is there: where units drift, slower changes are too few to tell whose they are."""
    return max(len(values) * step / 10, 2 * step)  # the shortest cutoff


def components(samples: int, cutoff: float, step: float) -> int:
    """How many cosines have longer periods than the cutoff, or as long ones."""
    checks.refuse("high-pass", checks.number("cutoff", cutoff, least=2 * step, hint="two samples"))
    return min(samples - 1, int(2 * samples * step / cutoff + 1e-9))


def degrees_left(samples: int, removed: int) -> int:
    """Degrees of freedom of samples without their mean and so many components; fewer than two are refused."""
    degrees = samples - 1 - removed
    if degrees < 2:
        raise InvalidValue(
            f"activity: {samples} samples less {removed} components leave {degrees} degrees of freedom; at least 2 are "
            "needed: take more samples or a longer cutoff."
        )
    return degrees


def cosines(samples: int, count: int) -> Array:
    """The slowest cosines, orthonormal columns, shape `(samples, count)`."""
    phase = np.outer(np.arange(samples) + 0.5, np.arange(1, count + 1)) * (np.pi / samples)
    basis: Array = np.sqrt(2 / samples) * np.cos(phase)
    return basis


def without(values: Array, count: int) -> Array:
    """Values `(samples, units)` less their mean and the slowest cosines; some units at a time, to save memory."""
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
    """Correlation of a part with mean zero; NaN where it holds nothing but rounding of the unit's variance."""
    products = part.T @ part
    own = np.where(products.diagonal() > 1e-20 * power, products.diagonal(), np.nan)
    matrix: Array = products / np.sqrt(np.outer(own, own))
    return np.clip(matrix, -1.0, 1.0)
