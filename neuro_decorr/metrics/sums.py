r"""Sums over cells of consecutive samples, from which every measure of weighted cells follows.

The measures need only sums over samples: $\sum x$, $\sum x x^T$ and four sums for the fourth moments. Kept once per
cell, they give the measures for any weights of the cells without another pass over the samples.
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
"""Largest integer up to which float32 is exact, and with it every sum of integers that stays below."""
_SLICE = 2**21
"""Number of entries of the second moments of all cells that are converted to float64 at a time: 16 MiB."""
_FEW = 1024
"""Number of samples that give a whole number near the mean."""


@final
@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of a population over cells of consecutive samples; x is the activity minus `origin`.

    Memory: 8 bytes per cell and pair of units, or 4 for integers whose sums stay below 2^31.
    """

    units: int
    center: bool
    origin: Tensor  # (units,), float64; zero for integers, and without centering
    constant: Tensor  # (units,), bool: units that never vary
    lengths: Tensor  # (cells,), float64: number of samples
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
        """Moments of all samples; see `moments`."""
        check_policy(silent)
        if silent == "error" and bool(self.constant.any()):
            raise silent_units(self.constant)
        weights = torch.ones(self.cells, dtype=torch.float64, device=self.first.device)
        dropped = self.constant if silent == "drop" else torch.zeros_like(self.constant)
        cross = self.cross[0].double() if self.cells == 1 else self.cross.sum(dim=0, dtype=torch.float64)
        return self._moments(weights, cross, dropped)

    def weighted(self, weights: Tensor, silent: Silent = "nan") -> list[Moments]:
        """Moments of weighted cells.

        Args:
            weights: Weights of the cells, at least 0, shape `(weightings, cells)`.
            silent: Policy for units that never vary; see `moments`.

        Returns:
            Moments, one per weighting. Memory: 8 bytes per weighting and pair of units.
        """
        drawn = weights.to(self.first)
        dropped = self.constant if silent == "drop" else torch.zeros_like(self.constant)
        combined = zip(drawn, self._combined(drawn), strict=True)
        return [self._moments(weight, cross, dropped) for weight, cross in combined]

    def mean_activity(self, directions: Tensor) -> NDArray[np.float64]:
        """Projections of the mean activity of the cells, where each unit is divided by its standard deviation.

        Args:
            directions: Directions to project on, shape `(directions, cells)`.

        Returns:
            Projections, shape `(directions,)`.
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
        """Moments from weighted sums, without the dropped units (these are constant and add to no centered length)."""
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
    """Sum a stream cell by cell, in one pass for integers and two passes for other numbers.

    Integers, such as spike counts, are multiplied in float32, in chunks small enough for every sum to be exact.

    Cost: P N^2 multiply-adds; memory for one chunk and the sums, never for the whole array in float64.

    Args:
        stream: Stream of the samples.
        cells: Number of cells, see `edges`.
        center: True if the measures remove the mean.
        grain: Number of samples that stay together in a cell, such as the samples of a trial; it must divide the number
            of samples.

    Returns:
        Sums of each cell.

    Raises:
        InvalidValue: The samples hold NaN or infinity.
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
    if stream.integers:  # the origin of a unit that never varies equals its value, so that its sums are zero
        found.constant.copy_(found.cross.diagonal(dim1=1, dim2=2).sum(dim=0) == 0)
    return found


def edges(samples: int, cells: int) -> NDArray[np.int64]:
    """Samples at which cells of nearly equal length begin and end, shape `(cells + 1,)`."""
    return np.arange(cells + 1) * samples // cells


def _at_edges(chunk: Samples, row: int, ends: NDArray[np.int64]) -> Iterator[Samples]:
    """Split a chunk that begins at a row where cells begin."""
    inside = ends[(ends > row) & (ends < row + len(chunk))] - row
    for start, stop in itertools.pairwise([0, *inside.tolist(), len(chunk)]):
        yield chunk[start:stop]


def _add(sums: Sums, cell: int, x: Tensor) -> None:
    """Add rows to a cell, in float32 if that is exact; for the second moments the caller ensures this."""
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
    """Yield rows of integers in float32, few enough for exact second moments; in float64 if they would be too few."""
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
    """Offset to subtract for the sake of precision, and mask of the silent units; raises for NaN and infinity."""
    units = stream.units
    total = torch.zeros(units, dtype=torch.float64, device=stream.device)
    if stream.integers:  # any whole number near the mean; the sums show later which units never vary
        few = min(rows, _FEW)
        near = real(next(iter(stream.chunks(few))))[0].mean(dim=0).round() if center else total
        return near, torch.zeros(units, dtype=torch.bool, device=stream.device)
    low, high, bad, resolution = torch.full_like(total, torch.inf), torch.full_like(total, -torch.inf), 0, 0.0
    for chunk in stream.chunks(rows):
        values, resolution = real(chunk)
        low, high = torch.minimum(low, values.amin(dim=0)), torch.maximum(high, values.amax(dim=0))
        total += (added := values.sum(dim=0))
        if not bool(added.isfinite().all()):  # the sum of a unit shows whether any of its values is not finite
            bad += int((~values.isfinite()).sum())
    if bad:
        raise not_finite(bad)
    return total / stream.samples if center else total.zero_(), unvarying(low, high, resolution, center)


def moments(activity: Activity, bin: float | None = None, *, silent: Silent = "nan", center: bool = True) -> Moments:
    r"""Second moments of an array or a recording, from which several measures follow, such as `.participation_ratio()`.

    $$C = \frac{1}{P - 1} \sum_p (x_p - \bar x)(x_p - \bar x)^T$$

    They are computed in float64 on the device of a tensor, and exactly for counts; the activity is read in chunks. A
    unit is silent if its range is at most four rounding steps of its magnitude in the dtype of the activity (without
    centering: if it is zero throughout), so that a constant that passed through float32 arithmetic counts as silent.

    Cost: P N^2 multiply-adds for P samples and N units; memory for N^2 numbers and one chunk.

    Args:
        activity: Array or tensor `(samples, units)`, spike trains or rates; at least two samples and one unit.
        bin: Width of the bins (s), for spike trains and rates.
        silent: Policy for units that never vary: `"nan"` keeps them, `"drop"` removes them, `"error"` raises an error.
        center: True removes the mean over samples; False gives the second moment about zero, which a layer of weights
            receives.

    Returns:
        Moments of the population.

    Raises:
        InvalidValue: The activity is not two-dimensional, not of real numbers, has fewer than two samples or no unit,
            or holds NaN or infinity; the policy is unknown; units are silent under `"error"`; or spike trains are given
            without a bin.
    """
    check_policy(silent)
    return accumulate(as_stream(activity, bin), center=center).moments(silent)
