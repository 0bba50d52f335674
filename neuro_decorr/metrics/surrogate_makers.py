"""Making of surrogates: units are shifted, spikes are moved, or trials are exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.parameters import generator
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.trains import Surrogate, surrogate_trains
from neuro_decorr.metrics.trends import NEXT, Array, components, cosines, degrees_left, without
from neuro_decorr.recording import SpikeTrains

Made: TypeAlias = Literal["circular_shift", "local_shift", "trial_shuffle", "trial_shift", "dither", "jitter"]
"""Kind of surrogates.

`"circular_shift"` shifts every unit by any amount, around the end; all properties of a stationary unit are kept.
`"local_shift"` shifts every unit by up to `reach` without wrapping around the end; drifts keep their place.
`"trial_shuffle"` removes the mean response of each condition, then exchanges each unit's trials of a condition.
`"trial_shift"` removes the mean response too, then shifts each unit's trials of a condition by up to `reach` trials;
the dependence of a unit's trials on each other is kept.
`"dither"` moves every spike by up to `reach`; `"jitter"` draws every spike anew in its window of `reach`. Both keep
slower shared fluctuations and test synchrony that is finer than `reach`.
"""

_ROWS = 8192  # number of samples whose products are summed at a time, in float32
_UNITS = 16  # number of units that are prepared at a time, in float64


@final
@dataclass(frozen=True, eq=False)
class Surrogates:
    """Activity that is compared with surrogates, and the way to draw these."""

    kind: Made
    observed: Moments  # of the data, after the same treatment as the surrogates
    units: NDArray[np.intp]  # positions of the units that are compared; the others hardly vary
    samples: NDArray[np.float32]  # (samples, units): data after the same treatment as the surrogates
    trial: NDArray[np.intp]  # (samples,): trial of each sample; all zero without trials
    draw: Callable[[np.random.Generator], Moments]  # draws one surrogate
    reason: str = ""  # reason for this kind, and the treatment of the data, in words
    cutoff: float | None = None  # slower fluctuations were removed (s, samples of an array, or trials); None: none
    reach: float | None = None  # largest shift (s, samples of an array, or trials); None: any distance

    def moments(self, draws: int, seed: int = 0) -> Iterator[Moments]:
        """Draw surrogates and yield their moments.

        Cost: P N^2 per surrogate, for P samples and N units.

        Args:
            draws: Number of surrogates, at least 1.
            seed: Seed, an integer from 0 on; surrogate k does not depend on the number of draws.

        Yields:
            Moments of each surrogate.

        Raises:
            InvalidValue: The number of draws or the seed is not allowed, or a unit never varies in a surrogate.
        """
        checks.refuse("surrogates", checks.whole_number("draws", draws, least=1))
        source = generator(seed)
        for _ in range(draws):
            yield self.draw(source)


def shifted_around(values: Array, removed: int) -> Surrogates:
    """Shift every unit by any amount, around the end, after the slowest `removed` cosines were removed."""
    kept = varying(values)
    data = _prepared(values, kept, removed)
    length = data.shape[1]

    def draw(source: np.random.Generator) -> Moments:
        return _moments(data, removed, source.integers(0, length, len(data)))

    return _made("circular_shift", data, removed, kept, draw)


def shifted_locally(values: Array, reach: int, cutoff: float | None) -> Surrogates:
    """Cut windows of every unit that begin up to `reach` samples before or after those of the data."""
    length = len(values) - 2 * reach
    if reach < 1 or length < max(2, 2 * reach):
        raise InvalidValue(
            f"reach: got {reach} of {len(values)} samples; a local shift moves units by 1 sample to a quarter of the "
            "samples: choose another reach, or more samples."
        )
    kept = varying(values[2 * reach : len(values) - 2 * reach])  # the samples that all windows have in common
    data = _prepared(values, kept, 0)
    count = 0 if cutoff is None else components(length, cutoff, 1.0)
    basis = torch.from_numpy(cosines(length, count)).float() if count <= NEXT else None

    def windows(starts: list[int]) -> torch.Tensor:
        cut = torch.stack([unit[start : start + length] for unit, start in zip(data, starts, strict=True)])
        if basis is None:
            return _rows(without(cut.numpy().T.astype(np.float64), count))
        cut -= cut.mean(dim=1, keepdim=True)
        return cut.addmm_(cut @ basis, basis.T, alpha=-1)

    def draw(source: np.random.Generator) -> Moments:
        return _moments(windows(source.integers(0, 2 * reach + 1, len(data)).tolist()), count)

    return _made("local_shift", windows([reach] * len(data)), count, kept, draw)


def moved(trains: SpikeTrains, bin: float, kind: Literal["dither", "jitter"], reach: float, removed: int) -> Surrogates:
    """Move spikes by Elephant, count them, and remove the slowest `removed` cosines from the counts."""
    counts = trains.counts(bin).astype(np.float64)
    kept = varying(counts)
    chosen = trains.select([trains.units[unit] for unit in kept.tolist()])
    method: Surrogate = "dither_spikes" if kind == "dither" else "jitter_spikes"

    def draw(source: np.random.Generator) -> Moments:
        drawn = surrogate_trains(chosen, method, dt=reach, seed=int(source.integers(2**31)))
        return _moments(_rows(without(drawn.counts(bin).astype(np.float64), removed)), removed)

    return _made(kind, _prepared(counts, kept, removed), removed, kept, draw)


def shuffled_trials(samples: Array, conditions: list[NDArray[np.intp]], cutoff: float | None) -> Surrogates:
    """Exchange the trials `(trials, bins, units)` of each condition for each unit, minus the mean of the condition.

    Fluctuations over the whole sequence that are slower than `cutoff` trials are removed with the means, from the data
    and from the surrogates.
    """
    trials, bins, units = samples.shape
    slow = cosines(trials, 0 if cutoff is None else components(trials, cutoff, 1.0))
    design = np.concatenate([slow, np.zeros((trials, len(conditions)))], axis=1)
    for column, members in enumerate(conditions, slow.shape[1]):
        design[members, column] = 1.0
    basis, triangle = np.linalg.qr(design)
    basis = basis[:, np.abs(triangle.diagonal()) > 1e-9]
    flat = samples.reshape(trials, -1)
    residual = (flat - basis @ (basis.T @ flat)).reshape(-1, units)
    kept = varying(residual, np.abs(samples).max(axis=(0, 1)))
    data = _rows(residual[:, kept]).reshape(-1, trials, bins)
    known = torch.from_numpy(basis).float()
    removed = basis.shape[1] * bins - 1  # the overall mean is among them

    def draw(source: np.random.Generator) -> Moments:
        order = np.tile(np.arange(trials), (len(data), 1))
        for members in conditions:
            order[:, members] = source.permuted(order[:, members], axis=1)
        mixed = torch.stack([unit[torch.from_numpy(new)] for unit, new in zip(data, order, strict=True)])
        if cutoff is not None:
            mixed = mixed - known @ (known.T @ mixed)
        return _moments(mixed.flatten(1), removed)

    return _made("trial_shuffle", data.flatten(1), removed, kept, draw, np.repeat(np.arange(trials), bins))


def shifted_trials(
    samples: Array, conditions: list[NDArray[np.intp]], reaches: list[int], cutoff: float | None
) -> Surrogates:
    """Cut windows of the trials of each condition that begin up to its reach before or after those of the data.

    Each window loses its mean over trials, bin by bin, and fluctuations slower than `cutoff` trials. A unit is shifted
    by the same share of the reach in every condition, since its trials may depend on each other across conditions.
    """
    bins, units = samples.shape[1:]
    shifts = list(zip(conditions, reaches, strict=True))
    core = [samples[own[2 * by : len(own) - 2 * by]] for own, by in shifts]  # trials that all windows have in common
    left = np.concatenate([part - part.mean(axis=0) for part in core]).reshape(-1, units)
    kept = varying(left, np.abs(samples).max(axis=(0, 1)))
    data = torch.from_numpy(np.ascontiguousarray(samples[:, :, kept].transpose(2, 0, 1), dtype=np.float32))
    lengths = [len(own) - 2 * by for own, by in shifts]
    counts = [0 if cutoff is None else components(length, cutoff, 1.0) for length in lengths]
    bases = [torch.from_numpy(cosines(length, count)).float() for length, count in zip(lengths, counts, strict=True)]
    removed = (sum(counts) + len(counts)) * bins - 1

    def windows(shares: Array) -> torch.Tensor:
        parts = []
        for (own, by), length, basis in zip(shifts, lengths, bases, strict=True):
            starts = np.floor(shares * (2 * by + 1)).astype(np.intp)
            chosen = torch.from_numpy(own[starts[:, None] + np.arange(length)])
            part = data[torch.arange(len(data))[:, None], chosen]
            part = part - part.mean(dim=1, keepdim=True)
            parts.append((part - basis @ (basis.T @ part)).flatten(1))
        return torch.cat(parts, dim=1)

    def draw(source: np.random.Generator) -> Moments:
        return _moments(windows(source.random(len(data))), removed)

    middle = [own[by : len(own) - by] for own, by in shifts]
    trial = np.repeat(np.concatenate(middle), bins)
    return _made("trial_shift", windows(np.full(len(data), 0.5)), removed, kept, draw, trial)


def varying(values: Array, size: Array | None = None) -> NDArray[np.intp]:
    """Positions of the units whose values `(samples, units)` vary beyond rounding; raises if fewer than two vary."""
    scale = np.abs(values).max(axis=0) if size is None else size
    kept = np.flatnonzero(np.ptp(values, axis=0) > 1e-12 * scale)
    if len(kept) < 2:
        raise InvalidValue("activity: fewer than two units vary; give at least 2 units that vary.")
    return kept


def _made(
    kind: Made,
    rows: torch.Tensor,
    removed: int,
    kept: NDArray[np.intp],
    draw: Callable[[np.random.Generator], Moments],
    trial: NDArray[np.intp] | None = None,
) -> Surrogates:
    of_trial = np.zeros(rows.shape[1], dtype=np.intp) if trial is None else trial
    return Surrogates(kind, _moments(rows, removed), kept, rows.numpy().T, of_trial, draw)


def _prepared(values: Array, kept: NDArray[np.intp], removed: int) -> torch.Tensor:
    """Rows of the kept units without their mean and the slowest cosines; some units at a time, to save memory."""
    rows = torch.empty(len(kept), len(values), dtype=torch.float32)
    for start in range(0, len(kept), _UNITS):
        part = kept[start : start + _UNITS]
        rows[start : start + _UNITS] = _rows(without(values[:, part], removed))
    return rows


def _rows(values: Array) -> torch.Tensor:
    """Contiguous float32 array with one row per unit; products of counts keep a correlation exact to about 1e-6."""
    return torch.from_numpy(np.ascontiguousarray(values.T, dtype=np.float32))


def _moments(rows: torch.Tensor, removed: int, shifts: NDArray[np.int64] | None = None) -> Moments:
    """Moments of units with mean zero that have lost `removed` degrees of freedom in addition to that of the mean.

    With shifts, the rows are first moved to the right, around the end. Samples are taken in blocks that fit the cache.
    """
    values = rows.numpy()
    units, samples = values.shape
    degrees = degrees_left(samples, removed)
    product = np.zeros((units, units))
    fourth = unit_fourth = 0.0
    no_shifts = np.zeros(units, dtype=np.int64)
    held = np.empty((units, min(samples, _ROWS)), dtype=np.float32)
    squares = np.empty_like(held)
    for start in range(0, samples, _ROWS):
        stop = min(start + _ROWS, samples)
        part, square = held[:, : stop - start], squares[:, : stop - start]
        for row, own, by in zip(part, values, no_shifts if shifts is None else shifts, strict=True):
            first = (start - int(by)) % samples
            before = min(stop - start, samples - first)
            row[:before], row[before:] = own[first : first + before], own[: stop - start - before]
        product += part @ part.T
        np.multiply(part, part, out=square)
        fourth += float(np.square(square.sum(axis=0), dtype=np.float64).sum())
        unit_fourth += sum(float(own @ own) for own in square)
    if not (product.diagonal() > 0).all():
        raise InvalidValue("activity: a unit never varies in a surrogate; leave out units with very few spikes.")
    silent = torch.zeros(units, dtype=torch.bool)
    mean = torch.zeros(units, dtype=torch.float64)
    sums = torch.tensor([fourth, unit_fourth], dtype=torch.float64)
    return Moments(degrees + 1, units, 0, True, torch.from_numpy(product / degrees), silent, mean, *sums)
