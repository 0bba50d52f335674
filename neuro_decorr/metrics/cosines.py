"""Correlations of independent units with the slowness and drift of the given ones, from the power of their cosines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import require
from neuro_decorr.metrics.activity import Activity, Stream, as_stream
from neuro_decorr.metrics.samples import real

_FINEST = 2**16
"""Number of samples that are transformed; in longer recordings neighbours are summed first, and faster fluctuations
count as white."""
_SINGLE = 2**10
"""Number of the slowest cosines that are kept apart; faster ones are in bands an eighth of an octave wide."""

_LARGE = 64
"""Number of slowest cosines that include the largest ones of slow units."""
_DRAWS = 1999
"""Number of draws of the signs, from one seed, so that the same activity has the same p-value."""


@final
@dataclass(frozen=True, eq=False)
class Independent:
    r"""Correlations of independent units, given the cosines $a_{ik}$ of each unit (type II, without the mean).

    In terms of cosines the correlation is $r_{ij} = \sum_k a_{ik} a_{jk}$ with $\sum_k a_{ik}^2 = 1$. The cosines of
    stationary activity, of a random walk (its principal components) and of a trend (nearly the first cosine alone) are
    nearly uncorrelated, so that independent units have them with random signs:

    $$
    E[r_{ij}] = 0, \qquad E[r_{ij}^2] = v_{ij} = \sum_k a_{ik}^2 a_{jk}^2
    $$

    The variance $v_{ij}$ is $1 / (P - 1)$ for white activity, and larger the slower both units are. Circular shifts of
    a drifting unit would give a saw-tooth, which is faster than the drift; cosines have no such jump.

    Sources: surrogates with a given spectrum, Theiler et al. (1992), Physica D 58,
    doi:10.1016/0167-2789(92)90102-S; cosines of random walks and trends, Phillips (1998), New tools for understanding
    spurious regressions, Econometrica 66, doi:10.2307/2999618.
    """

    power: NDArray[np.float64]  # (bands, units): mean a^2 of a cosine of the band; NaN for units that never vary
    multiplicity: NDArray[np.float64]  # (bands,): number of cosines of the band

    @property
    def variance(self) -> NDArray[np.float64]:
        """Mean squared correlation of each pair, shape `(units, units)`."""
        found: NDArray[np.float64] = (self.power * self.multiplicity[:, None]).T @ self.power
        return found

    @property
    def absolute(self) -> NDArray[np.float64]:
        r"""Mean magnitude of the correlation of each pair, shape `(units, units)`.

        It is the mean magnitude of $\pm b + g$, with the largest term $b = |a_{ik} a_{jk}|$, which trends have, and a
        normal g of the remaining variance $\sigma^2 = v_{ij} - b^2$:
        $\sqrt{2 / \pi}\, \sigma e^{-b^2 / 2 \sigma^2} + b \operatorname{erf}(b / \sqrt 2 \sigma)$.
        """
        largest = np.zeros((self.power.shape[1],) * 2)
        for power in self.power[:_LARGE]:
            np.maximum(largest, np.outer(power, power), out=largest)
        rest = np.maximum(self.variance - largest, 1e-300)
        ratio = largest / (2 * rest)
        erf = require("scipy.special", "recordings").erf
        found: NDArray[np.float64] = np.sqrt(2 / math.pi * rest) * np.exp(-ratio) + np.sqrt(largest) * erf(
            np.sqrt(ratio)
        )
        return found

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """Mean correlations over all pairs of varying units in 1,999 draws of the signs, in ascending order.

        The signs of the slowest cosines are drawn; the sum of the many faster ones is normal.
        """
        power = self.power[:, np.isfinite(self.power).all(axis=0)]
        units = power.shape[1]
        if units < 2:
            return np.full(_DRAWS, np.nan)
        source = np.random.default_rng(0)
        # Without its diagonal terms the squared sum over units has mean zero and twice this variance.
        spread = self.multiplicity * np.maximum(power.sum(axis=1) ** 2 - (power**2).sum(axis=1), 0.0)
        found = source.normal(size=_DRAWS) * math.sqrt(2 * float(spread[_LARGE:].sum()))
        for own, number, half in zip(power[:_LARGE], self.multiplicity[:_LARGE], spread[:_LARGE], strict=True):
            if number == 1:
                signs = 2 * source.integers(0, 2, (_DRAWS, units), dtype=np.int8) - 1
                found += (signs @ np.sqrt(own)) ** 2 - own.sum()
            else:
                found += (source.chisquare(number, _DRAWS) - number) * math.sqrt(half / number)
        ordered: NDArray[np.float64] = np.sort(found) / (units * (units - 1))
        return ordered

    def p_value(self, mean: float) -> float:
        """Probability that the mean correlation of independent units is as far from zero, two-sided, at least 1/2,000.

        It is the larger of the p-values of the draws and of a normal law of the same width, since all cosines of a
        trend have one common sign, and two trends alone would seem to agree too well.
        """
        if not np.isfinite(mean):
            return math.nan
        farther = int((np.abs(self.means) >= abs(mean) - 1e-12).sum())
        normal = math.erfc(abs(mean) / math.sqrt(2) / float(self.means.std()))
        return max((1 + farther) / (1 + _DRAWS), normal)

    def interval(self, level: float) -> tuple[float, float]:
        """Interval that contains the mean correlation of independent units with probability `level`."""
        low, high = np.quantile(self.means, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def independent(activity: Activity, bin: float | None = None) -> Independent:
    """Compute the power of the cosines of every unit, which gives the correlations of independent units like these.

    Cost: one transform per unit of at most 65,536 samples, and a pass over the samples.

    Args:
        activity: Array or recording.
        bin: Width of the bins (s).

    Returns:
        The law of the correlations of independent units.

    Raises:
        InvalidValue: See `moments`.
    """
    stream = as_stream(activity, bin)
    together = -(-stream.samples // _FINEST)
    coarse, squares = _coarse(stream, together)
    count = len(coarse)
    transform = require("scipy.fft", "recordings").dct
    edges = _edges(count)
    found = np.empty((len(edges), stream.units))
    for unit in range(stream.units):
        power = transform(np.ascontiguousarray(coarse[:, unit]), type=2, norm="ortho")[1:] ** 2 / together
        found[:, unit] = np.add.reduceat(power, edges)
    multiplicity = np.diff(np.append(edges, count - 1)).astype(float)
    if together > 1:  # the variance that the sums of neighbours have lost is that of faster fluctuations
        rest = np.maximum(squares - found.sum(axis=0), 0.0)
        found, multiplicity = np.vstack([found, rest]), np.append(multiplicity, stream.samples - count)
    found[:, squares == 0] = np.nan
    return Independent(found / found.sum(axis=0) / multiplicity[:, None], multiplicity)


def _edges(count: int) -> NDArray[np.int64]:
    """First cosine of each band."""
    widths = _SINGLE * 2 ** (np.arange(0, 8 * 7) / 8)
    return np.concatenate([np.arange(min(_SINGLE, count - 1)), np.unique(widths[widths < count - 1].astype(np.int64))])


def _coarse(stream: Stream, together: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of neighbouring samples, less the mean, and the sum of squares of all samples about the mean."""
    parts, total, squares = [], np.zeros(stream.units), np.zeros(stream.units)
    rows = max(1, stream.rows // 16 // together)  # small enough for the cache: float64, and read three times
    for chunk in stream.chunks(rows * together):
        values = real(chunk)[0].cpu().numpy()
        whole = len(values) // together * together
        parts.append(values[:whole].reshape(-1, together, stream.units).sum(axis=1))
        total += parts[-1].sum(axis=0) + values[whole:].sum(axis=0)
        squares += np.einsum("tu,tu->u", values, values)
    mean = total / stream.samples
    own = stream.samples * mean**2
    left = squares - own
    return np.concatenate(parts) - together * mean, np.where(left > 1e-12 * own, left, 0.0)
