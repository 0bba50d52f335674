r"""Sums over cells of consecutive samples, from which every measure follows when some cells count more than others.

All that the measures need is linear in the samples: $\sum x$, $\sum x x^T$ and four sums for the fourth
moments. Kept once for each cell, they give the measures of weighted cells without touching the samples again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr.metrics.activity import Activity, Stream, as_stream
from neuro_decorr.metrics.samples import Samples, Silent, check_policy, not_finite, real, silent_units, unvarying
from neuro_decorr.metrics.second_moments import Moments

_EXACT = 2**24
"""Integers up to here are exact in float32, and so is every sum of them that stays below."""
_SLICE = 2**21
"""Entries of the second moments of all cells that are widened to float64 at a time: 16 MiB."""
_FEW = 1024
"""Samples that a whole number near their mean is found from."""


@final
@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of a population over cells of consecutive samples; x is the activity minus `origin`.

    Memory: 4 (integers) or 8 bytes for each cell and pair of units; integers that would pass 2^31 take 8 as well.
    """

    units: int
    center: bool
    origin: Tensor  # (units,), float64; zero for integers, and without centering
    constant: Tensor  # (units,), bool: units that never vary
    lengths: Tensor  # (cells,), float64: samples
    first: Tensor  # (cells, units), float64: sum of x
    cross: Tensor  # (cells, units, units), int32 or float64: sum of x x^T
    power: Tensor  # (cells, 2), float64: sums of |x|^2 and of |x|^4
    cubic: Tensor  # (cells, units), float64: sum of |x|^2 x
    higher: Tensor  # (cells, 2, units), float64: sums of x^3 and of x^4

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.lengths)

    @property
    def mean(self) -> Tensor:
        """Mean of each unit, shape (units,)."""
        return self.first.sum(dim=0) / self.lengths.sum() + self.origin

    def moments(self, silent: Silent = "nan") -> Moments:
        """Moments of all samples together; see `moments`."""
        check_policy(silent)
        if silent == "error" and bool(self.constant.any()):
            raise silent_units(self.constant)
        weights = torch.ones(self.cells, dtype=torch.float64, device=self.first.device)
        dropped = self.constant if silent == "drop" else torch.zeros_like(self.constant)
        cross = self.cross[0].double() if self.cells == 1 else self.cross.sum(dim=0, dtype=torch.float64)
        return self._moments(weights, cross, dropped)

    def weighted(self, weights: Tensor, silent: Silent = "nan") -> list[Moments]:
        """Moments with some cells counted more than others.

        Args:
            weights: How much each cell counts, shape `(weightings, cells)`, not negative.
            silent: Policy for units that never vary; see `moments`.

        Returns:
            One for each weighting, all held at once: 8 bytes for each and pair of units.
        """
        drawn = weights.to(self.first)
        dropped = self.constant if silent == "drop" else torch.zeros_like(self.constant)
        combined = zip(drawn, self._combined(drawn), strict=True)
        return [self._moments(weight, cross, dropped) for weight, cross in combined]

    def mean_activity(self, directions: Tensor) -> NDArray[np.float64]:
        """Projections of the activity of the cells, a mean over units, each in its own standard deviations.

        Args:
            directions: Shape `(directions, cells)`.

        Returns:
            Shape `(directions,)`.
        """
        deviation = self.moments().covariance.diagonal().sqrt()
        share = torch.where(deviation > 0, 1 / deviation, torch.zeros_like(deviation))
        mean = (self.first @ share / self.lengths).cpu()
        found: NDArray[np.float64] = (directions @ (mean - mean.mean())).numpy()
        return found

    def _combined(self, weights: Tensor) -> Tensor:
        """Weighted sums of the second moments, shape (resamplings, units, units), float64."""
        flat = self.cross.flatten(1)
        result = torch.empty(len(weights), flat.shape[1], dtype=torch.float64, device=flat.device)
        step = max(1, _SLICE // self.cells)
        for start in range(0, flat.shape[1], step):
            result[:, start : start + step] = weights @ flat[:, start : start + step].double()
        return result.view(len(weights), *self.cross.shape[1:])

    def _moments(self, weights: Tensor, cross: Tensor, dropped: Tensor) -> Moments:
        """Moments from weighted sums, without the units dropped (all constant: they add to no centered length)."""
        count = float(weights @ self.lengths)
        m = weights @ self.first / count
        square, fourth = (weights @ self.power).tolist()
        third, each = weights @ self.higher[:, 0], weights @ self.higher[:, 1]
        unit_fourth = each.sum()
        if self.center:  # the fourth powers are expanded about the mean m
            length = float(m @ m)
            fourth += float(-4 * m @ (weights @ self.cubic) + 4 * m @ (cross @ m))
            fourth += 2 * length * square - 3 * count * length**2
            unit_fourth = (each - 4 * m * third + 6 * m.square() * cross.diagonal() - 3 * count * m**4).sum()
            covariance = torch.addr(cross, m, m, alpha=-count).div_(count - 1)
        else:
            covariance = cross / count
        mean, constant = m + self.origin, self.constant
        if bool(dropped.any()):
            covariance, mean, constant = covariance[~dropped][:, ~dropped], mean[~dropped], constant[~dropped]
        if bool(constant.any()):
            covariance = covariance.masked_fill(constant, 0.0).masked_fill(constant[:, None], 0.0)
        return Moments(
            samples=round(count),
            units=self.units,
            silent=int(self.constant.sum()),
            center=self.center,
            covariance=covariance,
            constant=constant,
            mean=mean,
            fourth=torch.tensor(max(fourth, 0.0), dtype=torch.float64),
            unit_fourth=unit_fourth,
        )


def accumulate(stream: Stream, cells: int = 1, *, center: bool = True, grain: int = 1) -> Sums:
    """Sums of a stream, cell by cell, one pass for integers and two for other numbers.

    Integers, such as spike counts, go through float32 products of chunks small enough for every sum to be exact.

    Cost: P N^2 multiply-adds; a chunk and the sums in memory, never the array in float64.

    Args:
        stream: The samples.
        cells: Number of cells, see `edges`.
        center: Whether the measures remove the mean.
        grain: Cells hold whole multiples of so many samples, such as trials; it must divide their number.

    Returns:
        The sums.

    Raises:
        InvalidValue: NaN or infinity.
    """
    samples, units, rows = stream.samples, stream.units, stream.rows
    ends = edges(samples // grain, cells) * grain
    whole = int(np.diff(ends).max())
    origin, constant = _origin(stream, rows, center)
    narrow = stream.integers and (stream.largest() + float(origin.abs().max())) ** 2 * whole < 2**31
    made: Any = {"dtype": torch.float64, "device": stream.device}
    found = Sums(
        units=units,
        center=center,
        origin=origin,
        constant=constant,
        lengths=torch.zeros(cells, **made),
        first=torch.zeros(cells, units, **made),
        cross=torch.zeros(cells, units, units, dtype=torch.int32 if narrow else torch.float64, device=stream.device),
        power=torch.zeros(cells, 2, **made),
        cubic=torch.zeros(cells, units, **made),
        higher=torch.zeros(cells, 2, units, **made),
    )
    row = 0
    for chunk in stream.chunks(rows):  # shorter at gaps of a recording
        for piece in _at_edges(chunk, row, ends):
            cell, row = int(np.searchsorted(ends, row, side="right")) - 1, row + len(piece)
            if stream.integers:
                for part in _exact_parts(piece, origin):
                    _add(found, cell, part)
            else:
                _add(found, cell, (real(piece)[0] - origin).masked_fill_(constant, 0.0))
    if stream.integers:  # their origin is a value of every unit that never varies, exactly
        found.constant.copy_(found.cross.diagonal(dim1=1, dim2=2).sum(dim=0) == 0)
    return found


def edges(samples: int, cells: int) -> NDArray[np.int64]:
    """Samples at which cells as equal as can be begin and end, shape `(cells + 1,)`."""
    return np.arange(cells + 1) * samples // cells


def _at_edges(chunk: Samples, row: int, ends: NDArray[np.int64]) -> Iterator[Samples]:
    """A chunk that begins at a row, cut where cells begin."""
    inside = ends[(ends > row) & (ends < row + len(chunk))] - row
    for start, stop in itertools.pairwise([0, *inside.tolist(), len(chunk)]):
        yield chunk[start:stop]


def _add(sums: Sums, cell: int, x: Tensor) -> None:
    """Add rows to a cell; in float32 where that is exact, as the caller has made sure for the second moments."""
    if x.dtype == sums.cross.dtype:
        sums.cross[cell].addmm_(x.T, x)
    else:
        sums.cross[cell] += (x.T @ x).to(sums.cross.dtype)
    sums.lengths[cell] += len(x)
    single = x.dtype == torch.float32
    peak = float(x.abs().max()) if single else 0.0
    if single and max(peak**4 * len(x), peak**2 * x.shape[1]) > _EXACT:
        x = x.double()
    square = x * x
    power = square.sum(dim=1)
    sums.first[cell] += x.sum(dim=0)
    sums.higher[cell, 0] += (square * x).sum(dim=0)
    sums.higher[cell, 1] += (square * square).sum(dim=0)
    if single and float(power.max()) * peak * len(x) > _EXACT:
        x = x.double()
    sums.cubic[cell] += power.to(x.dtype) @ x
    power = power.double()
    sums.power[cell, 0] += power.sum()
    sums.power[cell, 1] += power.square().sum()


def _exact_parts(chunk: Samples, origin: Tensor) -> Iterator[Tensor]:
    """Rows of integers in float32, few enough for exact second moments; in float64 where that would be very few."""
    if isinstance(chunk, Tensor):
        single = chunk.detach().to(torch.float32)
    else:
        single = torch.from_numpy(np.ascontiguousarray(chunk, dtype=np.float32)).to(origin.device)
    if bool(origin.any()):
        single = single - origin.float()
    rows = int(_EXACT / max(1.0, float(single.abs().max()) ** 2))
    if rows < min(64, len(single)):
        yield real(chunk)[0] - origin
    else:
        yield from (single[start : start + rows] for start in range(0, len(single), rows))


def _origin(stream: Stream, rows: int, center: bool) -> tuple[Tensor, Tensor]:
    """What is subtracted first, so that no digits are lost later, and the units that never vary; checks the values."""
    units = stream.units
    total = torch.zeros(units, dtype=torch.float64, device=stream.device)
    if stream.integers:  # any whole number near the mean; those that never vary are known from the sums
        few = min(rows, _FEW)
        near = real(next(iter(stream.chunks(few))))[0].mean(dim=0).round() if center else total
        return near, torch.zeros(units, dtype=torch.bool, device=stream.device)
    low, high, bad, resolution = torch.full_like(total, torch.inf), torch.full_like(total, -torch.inf), 0, 0.0
    for chunk in stream.chunks(rows):
        values, resolution = real(chunk)
        low, high = torch.minimum(low, values.amin(dim=0)), torch.maximum(high, values.amax(dim=0))
        total += (added := values.sum(dim=0))
        if not bool(added.isfinite().all()):  # one number for a unit, where it is enough to look at that
            bad += int((~values.isfinite()).sum())
    if bad:
        raise not_finite(bad)
    return total / stream.samples if center else total.zero_(), unvarying(low, high, resolution, center)


def moments(activity: Activity, bin: float | None = None, *, silent: Silent = "nan", center: bool = True) -> Moments:
    """Second moments of an array or a recording, from which several measures follow, such as `.participation_ratio()`.

    Computed in float64 on the device of a tensor, exactly for counts; read in chunks, never the whole of it in float64.
    A unit is silent when its range is at most four rounding steps of its own magnitude in the dtype given (without
    centering: when it is zero throughout), so that a constant which went through float32 arithmetic counts as silent.

    Cost: P N^2 multiply-adds; memory N^2 and a chunk.

    Args:
        activity: Array or tensor `(samples, units)`, spike trains or rates; at least two samples and one unit.
        bin: Width of the bins (s), for spike trains and rates.
        silent: What to do with units that never vary: `"nan"` keeps them, `"drop"`, `"error"` refuses.
        center: Remove the mean over samples. Without, the second moment about zero: what a weight layer sees.

    Returns:
        The moments.

    Raises:
        InvalidValue: Not two-dimensional, not real numbers, fewer than two samples, no unit, NaN or infinity, an
            unknown policy, silent units under `"error"`, or spike trains without a bin.
    """
    check_policy(silent)
    return accumulate(as_stream(activity, bin), center=center).moments(silent)
