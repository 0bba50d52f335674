r"""Error of an estimate, from its fluctuations along the recording and their autocorrelation.

The recording is cut into C cells, and cell c gets the weight $1 \pm \epsilon \sqrt2 \cos(\pi j (c - 1/2) / C)$. Half
the difference of the two estimates, divided by $\epsilon$, is the projection $D_j$ of the fluctuations of the estimate
on the j-th cosine. The error of the estimate is their projection on the constant, so that its variance is
$\sigma^2 = E[D_j^2]$ for every j whose period $2 C / j$ is long compared with the autocorrelation time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr.metrics import trends

Array = NDArray[np.float64]
Moved = TypeVar("Moved", Array, Tensor)

CELLS = 64
"""Largest number of cells that a recording is cut into."""
COSINES = CELLS - 1
"""Largest number of slow cosines that are used, with periods down to two cells."""
STEP = 0.25
"""Epsilon: large enough for second differences of measures with a kink, such as a mean of magnitudes."""
_WHITE = 0.8
"""Prior probability of no autocorrelation at the periods of the cosines."""
_SLOWEST = 10
"""Number of autocorrelation times that a recording must have for an interval."""


def weights(cells: int, count: int) -> Tensor:
    """Weights of the cells: all one, then those of every cosine up, then down.

    Args:
        cells: Number of cells.
        count: Number of cosines, fewer than cells.

    Returns:
        Weights, shape `(1 + 2 count, cells)`, float64.
    """
    moved = STEP * math.sqrt(cells) * trends.cosines(cells, count).T
    return torch.from_numpy(np.concatenate([np.ones((1, cells)), 1 + moved, 1 - moved]))


def differences(up: Moved, down: Moved, middle: Moved) -> tuple[Moved, Moved]:
    """Projections $D_j$ and curvatures $Q_j$ of estimates.

    Args:
        up: Estimates under the weights of the cosines.
        down: Estimates under the weights of the opposite cosines.
        middle: Estimate under equal weights.

    Returns:
        First differences divided by 2 epsilon, and second differences divided by 2 epsilon squared.
    """
    return (up - down) / (2 * STEP), (up + down - 2 * middle) / (2 * STEP**2)


@final
@dataclass(frozen=True, eq=False)
class Memory:
    """Autocorrelation of fluctuations: posterior probabilities of several spectra, by Bayes' rule."""

    probability: Array  # (spectra,)

    @classmethod
    def of(cls, fluctuation: Array) -> Memory:
        r"""Posterior probabilities of the spectra, given the squared projections.

        The spectra are $g_j = 1 - q + q / (1 + (\pi j \tau / T)^2)$: a share q of the fluctuations has the
        autocorrelation $e^{-t/\tau}$, the rest has none. With Jeffreys' prior for the variance the likelihood of a
        spectrum is $\prod_j g_j^{-1/2} \, (\sum_j D_j^2 / g_j)^{-J/2}$.

        Args:
            fluctuation: Projections on the cosines, shape `(J,)`.

        Returns:
            The probabilities.
        """
        count = len(fluctuation)
        spectra, _, prior = _spectra(count)
        power = (fluctuation**2 / spectra).sum(axis=1)
        if not power.any():
            return cls(prior)
        likelihood = np.log(prior) - 0.5 * np.log(spectra).sum(axis=1) - count / 2 * np.log(power)
        probability = np.exp(likelihood - likelihood.max())
        return cls(probability / probability.sum())

    @property
    def time(self) -> float:
        """Median autocorrelation time as a share of the recording; zero if it is too short to be seen."""
        times = _spectra(2)[1]
        order = np.argsort(times, kind="stable")
        return float(times[order][np.searchsorted(self.probability[order].cumsum(), 0.5)])

    @property
    def mean(self) -> float:
        """Mean autocorrelation time as a share of the recording."""
        return float(self.probability @ _spectra(2)[1])

    @property
    def too_slow(self) -> bool:
        """True if the recording probably has fewer than ten autocorrelation times."""
        return float(self.probability[_spectra(2)[1] > 1 / _SLOWEST].sum()) > 0.5

    def slower(self, other: Memory) -> Memory:
        """The one of two memories with the larger mean."""
        return self if self.mean > other.mean else other

    def half_width(self, first: Array, second: Array, level: float) -> float:
        r"""Half the width of an interval.

        Given a spectrum, the error divided by $s = \sqrt{\sum_j D_j^2 / (J g_j)}$ has Student's t distribution with J
        degrees of freedom; the half-width is the quantile of the mixture over the spectra. There are two corrections:

        - The curvature of the estimate, $Q_j$, adds $\operatorname{var} Q$ to its variance and twice as much to
          $D_j^2$; for correlations of independent units there is no other contribution. So $s^2$ is reduced by the
          share $\operatorname{var} Q / \overline{D^2}$, at most a half, and the degrees of freedom too.
        - Fluctuations of kurtosis $\kappa$ make $s^2$ as noisy as with $2 J / (\kappa - 1)$ degrees of freedom.

        Sources: cosines, Mueller (2007), J. Econometrics 141, doi:10.1016/j.jeconom.2007.01.019, and Lazarus, Lewis,
        Stock and Watson (2018), J. Business Econ. Stat. 36, doi:10.1080/07350015.2018.1506926; mixtures over spectra,
        Mueller and Watson (2008), Econometrica 76, doi:10.3982/ECTA6814; curvature, Efron and Stein (1981), The
        jackknife estimate of variance, Ann. Statist. 9, doi:10.1214/aos/1176345462; epsilon, Judkins (1990), Fay's
        method for variance estimation, J. Official Stat. 6.

        Args:
            first: The projections $D_j$, shape `(J,)`.
            second: The second differences $Q_j$, shape `(J,)`.
            level: Coverage.

        Returns:
            The half-width; zero without fluctuations.
        """
        count = len(first)
        squares = first**2
        mean = float(squares.mean())
        if mean == 0:
            return 0.0
        variance = max(mean - float(second.var(ddof=1)), mean / 2)
        freedom = count * variance / mean
        cells = trends.cosines(count + 1, count) @ first
        kurtosis = float((cells**4).mean() / (cells**2).mean() ** 2)
        freedom = max(1.0, freedom / max(1.0, (kurtosis - 1) / 2))
        scale = np.sqrt((squares / _spectra(count)[0]).mean(axis=1) * variance / mean)
        angles, tail = _tail(freedom)
        low, high = 0.0, 1e3 * float(scale.max())
        for _ in range(60):
            middle = (low + high) / 2
            beyond = np.interp(np.arctan(middle / scale / math.sqrt(freedom)), angles, tail)
            if float(self.probability @ beyond) > (1 - level) / 2:
                low = middle
            else:
                high = middle
        return high


def certain(count: int) -> Memory:
    """Memory without autocorrelation, for a caller who knows that all cosines are slow enough."""
    probability = np.zeros(len(_spectra(count)[1]))
    probability[0] = 1.0
    return Memory(probability)


@cache
def _spectra(count: int) -> tuple[Array, Array, Array]:
    """Spectra at the cosines 1 ... count, their autocorrelation times as shares of the recording, their prior."""
    times = np.geomspace(1 / (2 * COSINES), 1 / 3, 10).repeat(5)
    shares = np.tile([0.3, 0.6, 0.85, 0.97, 1.0], 10)
    ranks = np.arange(1, count + 1)
    slow = 1 - shares[:, None] + shares[:, None] / (1 + (math.pi * ranks * times[:, None]) ** 2)
    prior = np.full(1 + len(times), (1 - _WHITE) / len(times))
    prior[0] = _WHITE
    return np.vstack([np.ones(count), slow]), np.concatenate([[0.0], times]), prior


def _tail(freedom: float) -> tuple[Array, Array]:
    r"""Upper tail of Student's distribution against theta, with $t = \sqrt\nu \tan \theta$.

    SciPy is not used, so that arrays can be summarised with torch and NumPy alone.
    """
    angles = np.linspace(0, math.pi / 2, 4001)
    density = np.cos((angles[1:] + angles[:-1]) / 2) ** (freedom - 1)
    tail = np.concatenate([[0.0], density[::-1].cumsum()])[::-1]
    return angles, 0.5 * tail / tail[0]
