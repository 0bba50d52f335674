"""Spike trains of a population, with their time window, the labels of the units and the trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import binning, pieces
from neuro_decorr.recording.checks import chosen, coordinates, frozen, labels, numbers, seconds, window
from neuro_decorr.recording.trials import Trials, none_there


@final
@dataclass(frozen=True, eq=False, init=False)
class SpikeTrains:
    """Spike trains recorded together; `recording.from_times` makes them with mends.

    Args:
        times: Spike times of each unit (s), sorted, all different, inside the window; empty for a silent unit.
        start: Start of the recording (s).
        stop: End of the recording (s).
        units: Label of each unit; None: 0, 1, ...
        trials: Windows of the trials, inside the recording.
        gaps: Periods (s) inside the recording in which nothing was recorded, in order, without spikes.
        notes: Notes on mends and on data that were left out; every report shows them.
        positions: Position of each unit (micrometres), shape `(units, dimensions)`, NaN for unknown ones; None if all
            are unknown.

    Raises:
        InvalidValue: A value does not meet these conditions; the message names the unit, the first fault and the mend.
    """

    times: tuple[NDArray[np.float64], ...]
    start: float
    stop: float
    units: tuple[str, ...] = ()
    trials: Trials | None = None
    gaps: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()
    positions: NDArray[np.float64] | None = None

    def __init__(
        self,
        times: Iterable[ArrayLike],
        start: float,
        stop: float,
        units: Iterable[object] | None = None,
        trials: Trials | None = None,
        gaps: Iterable[tuple[float, float]] = (),
        notes: Iterable[str] = (),
        positions: ArrayLike | None = None,
    ) -> None:
        first, last = seconds("start", start, positive=False), seconds("stop", stop, positive=False)
        if first >= last:
            raise InvalidValue(f"recording: got start {first:g} s and stop {last:g} s; the stop must follow the start.")
        trains = list(times)
        names = labels(units, len(trains))
        arrays = [numbers(f"times of unit {name!r}", unit) for name, unit in zip(names, trains, strict=True)]
        holes = pieces.checked(gaps, first, last)
        for name, unit in zip(names, arrays, strict=True):
            _check_unit(name, unit, first, last, holes)
        _check_single(names, arrays)
        if trials is not None:
            trials.check_inside(first, last)
        object.__setattr__(self, "times", tuple(map(frozen, arrays)))
        object.__setattr__(self, "start", first)
        object.__setattr__(self, "stop", last)
        object.__setattr__(self, "units", names)
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "gaps", holes)
        object.__setattr__(self, "notes", tuple(notes))
        object.__setattr__(self, "positions", coordinates(positions, len(names)))

    def __repr__(self) -> str:
        trials = "" if self.trials is None else f", {len(self.trials)} trials"
        return f"SpikeTrains({len(self.units)} units, {self.spikes} spikes, {self.start:g} to {self.stop:g} s{trials})"

    @property
    def duration(self) -> float:
        """Recorded time (s): the window without the gaps."""
        return self.stop - self.start - math.fsum(high - low for low, high in self.gaps)

    @property
    def pieces(self) -> tuple[tuple[float, float], ...]:
        """Start and end (s) of every piece that was recorded without a break."""
        return pieces.between(self.start, self.stop, self.gaps)

    @property
    def spikes(self) -> int:
        """Number of spikes of all units."""
        return sum(map(len, self.times))

    @property
    def rate(self) -> NDArray[np.float64]:
        """Mean rate of each unit (Hz), shape `(units,)`: number of spikes divided by recorded time."""
        return np.array([len(unit) for unit in self.times]) / self.duration

    def bins(self, bin: float) -> int:
        """Number of whole bins in all pieces of the recording.

        Args:
            bin: Width of a bin (s).

        Returns:
            The number of rows of `counts`.

        Raises:
            InvalidValue: The bin is not positive, or wider than every piece of the recording.
        """
        return sum(bins for _, bins in self.grid(bin))

    def count_dtype(self, bin: float) -> np.dtype[np.unsignedinteger]:
        """Smallest unsigned integer type that holds every count.

        Args:
            bin: Width of a bin (s).

        Returns:
            The type of `counts`.

        Raises:
            InvalidValue: See `bins`.
        """
        return max(binning.count_dtype(self.times, start, float(bin)) for start, _ in self.grid(bin))

    def counts(self, bin: float) -> NDArray[np.unsignedinteger]:
        """Count spikes in consecutive bins `[start + k bin, start + (k + 1) bin)`.

        A remainder shorter than a bin at the end is left out; a spike within 1e-8 bins below an edge counts as on it.
        Gaps are skipped: bins begin anew after each gap, and the bins before and after it are neighbours in the array.

        Cost: linear in the number of spikes and of counts; an hour of 1,000 units at 10 ms takes 360 MB and seconds.

        Args:
            bin: Width of a bin (s).

        Returns:
            Counts, shape `(samples, units)`, the smallest unsigned integer that holds them.

        Raises:
            InvalidValue: See `bins`.
        """
        counts = np.empty((self.bins(bin), len(self.units)), dtype=self.count_dtype(bin))
        row = 0
        for chunk in self.counts_chunks(bin, binning.ROWS):
            counts[row : row + len(chunk)] = chunk
            row += len(chunk)
        return counts

    def counts_chunks(self, bin: float, rows: int = binning.ROWS) -> Iterator[NDArray[np.unsignedinteger]]:
        """Count spikes as `counts` does, some rows at a time, for recordings whose counts do not fit into memory.

        Args:
            bin: Width of a bin (s).
            rows: Largest number of bins in a chunk.

        Returns:
            Iterator of arrays `(at most rows, units)`, all of one type; no array spans a gap.

        Raises:
            InvalidValue: See `bins`; or `rows` is below one.
        """
        if rows < 1:
            raise InvalidValue(f"rows: got {rows}; allowed are the integers from 1 on.")
        dtype = self.count_dtype(bin)
        parts = (binning.chunks(self.times, start, float(bin), n, rows, dtype) for start, n in self.grid(bin))
        return itertools.chain.from_iterable(parts)

    def trial_counts(self, bin: float | None = None) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
        """Count spikes in the whole bins of every trial, or in every trial as a whole.

        Args:
            bin: Width of a bin (s), counted from the start of each trial; None: one bin per trial.

        Returns:
            Counts, shape `(samples, units)`, and the trial of each sample, shape `(samples,)`.

        Raises:
            InvalidValue: There are no trials, the bin is wider than a trial, trials have unequal lengths and there is
                no bin, or a trial overlaps with a gap.
        """
        trials = self._checked_trials()
        durations = trials.durations
        if bin is None and not trials.one_length:
            example = "" if trials.one_bin is None else f", such as bin={trials.one_bin:g}, which is once per trial"
            raise InvalidValue(
                f"trials: they last from {durations.min():g} to {durations.max():g} s, so their counts cannot be "
                f"compared; give a bin{example}, or trials of one length."
            )
        parts = []
        for start, duration in zip(trials.start.tolist(), durations.tolist(), strict=True):
            width = duration if bin is None else float(bin)
            bins = binning.whole_bins(duration, width)
            parts += list(binning.chunks(self.times, start, width, bins, bins))
        index = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return np.concatenate(parts), index

    def window(self, start: float, stop: float) -> SpikeTrains:
        """Take a period of the recording, on the same clock.

        Args:
            start: Start of the period (s).
            stop: End of the period (s); a spike at the end belongs to the period only if the recording ends there.

        Returns:
            The spikes in the period. Trials that are not wholly in it are left out, with a note.

        Raises:
            InvalidValue: The period is not inside the recording, or its end does not follow its start.
        """
        low, high = window(start, stop, (self.start, self.stop))
        side: Literal["left", "right"] = "right" if high == self.stop else "left"
        times = [unit[np.searchsorted(unit, low) : np.searchsorted(unit, high, side=side)] for unit in self.times]
        gaps = [(max(a, low), min(b, high)) for a, b in self.gaps if b > low and a < high]
        trials, notes = pieces.inside(self.trials, low, high)
        return SpikeTrains(times, low, high, self.units, trials, gaps, (*self.notes, *notes), self.positions)

    def within_trials(self) -> SpikeTrains:
        """Take the spikes inside the trials; the time between the trials becomes gaps.

        Returns:
            The spikes in `[start, stop)` of each trial, from the start of the first trial to the end of the last.

        Raises:
            InvalidValue: There are no trials, or a trial overlaps with a gap.
        """
        trials = self._checked_trials()
        low, high = (edges.clip(self.start, self.stop) for edges in (trials.start, trials.stop))
        gaps = tuple((a, b) for a, b in zip(high[:-1].tolist(), low[1:].tolist(), strict=True) if a < b)
        times = tuple(
            unit[np.searchsorted(low, unit, side="right") > np.searchsorted(high, unit, side="right")]
            for unit in self.times
        )
        return replace(self, times=times, start=low[0], stop=high[-1], gaps=gaps)

    def select(self, units: Sequence[object]) -> SpikeTrains:
        """Select units.

        Args:
            units: Their labels, in the wanted order.

        Returns:
            Their spike trains.

        Raises:
            UnknownName: No unit has one of the labels.
            InvalidValue: There are no labels, or one is there twice.
        """
        kept = chosen(units, self.units)
        return replace(
            self,
            times=tuple(self.times[k] for k in kept),
            units=tuple(self.units[k] for k in kept),
            positions=None if self.positions is None else self.positions[kept],
        )

    def grid(self, bin: float) -> list[tuple[float, int]]:
        """Start (s) and number of bins of every piece that holds at least one bin."""
        seconds("bin", bin)
        recorded = self.pieces
        longest = max(high - low for low, high in recorded)
        binning.whole_bins(longest, bin)  # refuses a bin wider than every piece
        floor = float(bin) * (1 - binning.SLACK)
        return [(low, binning.whole_bins(high - low, bin)) for low, high in recorded if high - low >= floor]

    def _checked_trials(self) -> Trials:
        if self.trials is None:
            raise none_there(self.notes, "count without trials: counts(bin)")
        touched = np.flatnonzero(pieces.touching(self.trials, self.gaps))
        if touched.size:
            raise InvalidValue(
                f"trials: trial {int(touched[0])} reaches into a gap, where nothing was recorded; leave that trial out."
            )
        return self.trials


def _check_unit(
    name: str, times: NDArray[np.float64], start: float, stop: float, gaps: tuple[tuple[float, float], ...]
) -> None:
    if len(times) == 0:
        return
    steps = np.diff(times)
    # One pass for the good case: NaN makes every comparison false.
    if not (times[0] >= start and times[-1] <= stop and bool((steps >= 0).all())):
        raise InvalidValue(f"times of unit {name!r}: {_fault(times, steps, start, stop)}")
    for low, high in gaps:
        inside = int(np.searchsorted(times, high) - np.searchsorted(times, low, side="right"))
        if inside > 0:
            raise InvalidValue(
                f"times of unit {name!r}: {inside} spikes lie between {low:g} and {high:g} s, in a gap of the "
                "recording; correct the gap or the times."
            )


def _fault(times: NDArray[np.float64], steps: NDArray[np.float64], start: float, stop: float) -> str:
    missing = np.flatnonzero(~np.isfinite(times))
    if missing.size:
        return f"{missing.size} are NaN or infinite (first: spike {missing[0]}); remove them from the data."
    backwards = np.flatnonzero(steps < 0)
    if backwards.size:
        k = int(backwards[0])
        return (
            f"out of order (spike {k + 1} at {times[k + 1]:g} s follows {times[k]:g} s); sort them, "
            "or ask for that with sort=True."
        )
    outside = np.flatnonzero((times < start) | (times > stop))
    return (
        f"{outside.size} outside the window of {start:g} to {stop:g} s (first: {times[outside[0]]:g} s); correct "
        'the window, or ask for that with outside="drop".'
    )


def _check_single(names: Sequence[str], arrays: Sequence[NDArray[np.float64]]) -> None:
    """Refuse spikes of a unit at the same time, in one message for all units."""
    equal = {name: np.flatnonzero(unit[1:] == unit[:-1]) for name, unit in zip(names, arrays, strict=True)}
    twice = {name: found for name, found in equal.items() if found.size}
    if not twice:
        return
    name, many = next(iter(twice)), sum(found.size for found in twice.values())
    at = float(arrays[names.index(name)][twice[name][0]])
    spikes = f"{many} spike{'s' * (many > 1)} of {len(twice)} unit{'s' * (len(twice) > 1)}"
    raise InvalidValue(
        f"times: {spikes} {'are' if many > 1 else 'is'} there twice, first: unit {name!r} at {at:.9g} s, as after a "
        'merge of clusters; remove them, or ask for that with duplicates="drop".'
    )
