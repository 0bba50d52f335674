"""Covariance between all pairs of units at many lags at once."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.activity import Activity, Stream, as_stream
from neuro_decorr.metrics.samples import finite

Estimator: TypeAlias = Literal["centred", "counts"]
"""`"centred"`: each unit's mean is removed first. `"counts"`: products of counts minus the product of their means, as
in Elephant's cross-correlation histogram. The two differ at the ends of a short recording."""

_ENTRIES = 2**21
"""Number of entries of the segments that are transformed at a time: 16 MiB, and as much for each of the two spectra."""


@final
@dataclass(frozen=True, eq=False)
class LaggedCovariance:
    """Covariance at lags; `matrices[k, i, j]` pairs unit i with unit j `lags[k]` samples later."""

    lags: Tensor  # (2 L + 1,), int64: -L ... L samples
    matrices: Tensor  # (2 L + 1, units, units), float64; [lag, i, j] = [-lag, j, i]
    step: float | None  # seconds per sample; None for arrays
    samples: int  # number of samples

    def correlation(self) -> Tensor:
        r"""Cross-correlation, $C_{ij}(l) / \sqrt{C_{ii}(0)\, C_{jj}(0)}$; NaN for units that never vary."""
        variances = self.matrices[len(self.lags) // 2].diagonal()
        scale = torch.where(variances > 0, variances, torch.nan).rsqrt()
        return self.matrices * scale[:, None] * scale

    def pairs(self) -> Tensor:
        """Cross-correlation of each pair of distinct units, shape `(2 L + 1, pairs)`; the pair (i, j) has i < j."""
        units = self.matrices.shape[1]
        first, second = torch.triu_indices(units, units, 1, device=self.matrices.device)
        return self.correlation()[:, first, second]


def lagged_covariance(
    activity: Activity,
    max_lag: int,
    *,
    bin: float | None = None,
    border_correction: bool = True,
    estimator: Estimator = "centred",
) -> LaggedCovariance:
    r"""Covariance of all pairs of units at all lags up to a largest lag.

    With P samples, the mean $m_i$ of unit i, and $w_l = P / (P - |l|)$ (1 without `border_correction`),

    $$
    \text{centred:} \quad C_{ij}(l) = \frac{w_l}{P - 1} \sum_t (x_i(t) - m_i)(x_j(t + l) - m_j), \qquad
    \text{counts:} \quad C_{ij}(l) = \frac{1}{P - 1}
    \Bigl( w_l \sum_t x_i(t)\, x_j(t + l) - P\, m_i m_j \Bigr)
    $$

    where t runs over the samples for which both factors exist. At lag zero both are the unbiased covariance. The
    estimator `"counts"`, normalised by `correlation`, equals the cross-correlation coefficient of Elephant's
    `cross_correlation_histogram`.

    The sums are products in the frequency domain of segments of 2 L samples, each with the L samples that follow it:
    one matrix product per frequency serves all pairs and all lags. Sums of integers are exact.

    Cost: about 12 P N^2 multiply-adds, whatever the number of lags. Memory: 16 (3 L / 2 + 1) N^2 bytes for the spectra
    and 8 (2 L + 1) N^2 bytes for the result, such as 0.8 GB for 1,000 units and 20 lags; the activity is read in
    chunks.

    Source of the pairwise estimator: Eggermont (2010), Pair-correlation in the time and frequency domain, in Analysis
    of Parallel Spike Trains, Springer, doi:10.1007/978-1-4419-5675-0_5.

    Args:
        activity: Array or tensor `(samples, units)`, spike trains or rates.
        max_lag: L, the largest lag in samples (bins), at least 1 and below half of the samples.
        bin: Width of the bins (s), for spike trains and rates.
        border_correction: True gives more weight to lags at which fewer samples overlap.
        estimator: `"centred"` or `"counts"`.

    Returns:
        Covariances, on the device of the activity.

    Raises:
        InvalidValue: The largest lag or the estimator is not allowed, or the activity holds NaN or infinity; see also
            `moments`.
    """
    checks.refuse("lagged_covariance", checks.word("estimator", estimator, get_args(Estimator)))
    stream = as_stream(activity, bin)
    samples = stream.samples
    longest = _whole(max_lag, samples)
    origin = torch.zeros(stream.units, dtype=torch.float64, device=stream.device)
    if not stream.integers and estimator == "centred":
        for chunk in stream.chunks(stream.rows):
            origin += finite(chunk).sum(dim=0)
        origin /= samples
    products, first, last, total = _products(stream, longest, origin)
    lags = torch.arange(longest + 1, device=stream.device)
    zero = torch.zeros(1, stream.units, dtype=torch.float64, device=stream.device)
    mean = total / samples
    if estimator == "centred":
        # Sums over the samples that have a partner at lag l: all but the last l for i, all but the first l for j.
        leading = total - torch.cat([zero, last.flip(0).cumsum(dim=0)])
        following = total - torch.cat([zero, first.cumsum(dim=0)])
        products -= leading[:, :, None] * mean + mean[:, None] * following[:, None, :]
        products += (samples - lags)[:, None, None] * mean[:, None] * mean
    if border_correction:
        products *= (samples / (samples - lags).double())[:, None, None]
    if estimator == "counts":
        products -= samples * mean[:, None] * mean
    products /= samples - 1
    matrices = torch.cat([products[1:].flip(0).transpose(1, 2), products])
    step = bin if bin is not None else getattr(activity, "step", None)
    return LaggedCovariance(torch.cat([-lags[1:].flip(0), lags]), matrices, step, samples)


def _products(stream: Stream, longest: int, origin: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums of x_i(t) x_j(t + l) for l = 0 ... L, the first and the last L samples, and the sum of all samples."""
    segment = 2 * longest
    length = segment + longest  # long enough for no lag to wrap around
    spectrum: Tensor | None = None
    first = last = total = torch.zeros(0, stream.units, dtype=torch.float64, device=stream.device)
    total = total.sum(dim=0)
    for rows, following in _with_following(stream, longest, segment, origin):
        first = torch.cat([first, rows])[:longest] if len(first) < longest else first
        last = torch.cat([last, rows])[-longest:]
        total = total + rows.sum(dim=0)
        missing = -len(rows) % segment
        padded = torch.nn.functional.pad(rows, (0, 0, 0, missing))
        # The last sample is followed by the first of the next chunk, or by zeros; the padding adds nothing to the sums.
        ahead = torch.nn.functional.pad(torch.cat([rows, following]), (0, 0, 0, missing + longest - len(following)))
        own = torch.fft.rfft(padded.view(-1, segment, stream.units), n=length, dim=1)
        other = torch.fft.rfft(ahead.unfold(0, length, segment), n=length, dim=2).permute(2, 0, 1)
        found = torch.bmm(own.permute(1, 2, 0).conj(), other)
        spectrum = found if spectrum is None else spectrum.add_(found)
    assert spectrum is not None
    sums = torch.fft.irfft(spectrum, n=length, dim=0)[: longest + 1].contiguous()
    return sums.round_() if stream.integers else sums, first, last, total


def _with_following(stream: Stream, longest: int, segment: int, origin: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of whole segments in float64, each with the L samples after it (fewer at the end)."""
    held: Tensor | None = None
    for chunk in stream.chunks(segment * max(1, _ENTRIES // (segment * stream.units))):
        values = finite(chunk) - origin
        if held is not None:
            # A last chunk that is shorter than the longest lag follows as a whole.
            yield held, values[:longest]
        held = values
    assert held is not None
    yield held, held[:0]


def _whole(max_lag: int, samples: int) -> int:
    try:
        longest = operator.index(max_lag)
    except TypeError:
        longest = 0
    if not 1 <= longest < samples / 2:
        raise InvalidValue(
            f"max_lag: got {max_lag!r}; allowed are whole numbers from 1 to below half of the {samples} samples."
        )
    return longest
