"""Spike trains of a population, with their time window, the labels of the units and the trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, unknown_name
from neuro_decorr.recording import binning
from neuro_decorr.recording.checks import frozen, labels, numbers, seconds, window
from neuro_decorr.recording.trials import Trials


@final
@dataclass(frozen=True, eq=False, init=False)
class SpikeTrains:
    """Spike trains recorded together. Nothing is mended here: `recording.from_times` mends what it is told to.

    Args:
        times: Times of each unit (s): sorted, no two alike, inside the window. A unit that never fires is empty.
        start: Start of the recording (s).
        stop: Its end (s).
        units: Label of each unit; 0, 1, ... when not given.
        trials: Windows of the trials, inside the recording.
        gaps: Periods (s) inside the recording when nothing was recorded, in order; no spike lies inside one.
        notes: What was mended or left out on the way here, in words; every report shows them.

    Raises:
        InvalidValue: Whatever of this does not hold; the message names the unit, the first fault and the mend.
    """

    times: tuple[NDArray[np.float64], ...]
    start: float
    stop: float
    units: tuple[str, ...] = ()
    trials: Trials | None = None
    gaps: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        times: Iterable[ArrayLike],
        start: float,
        stop: float,
        units: Iterable[object] | None = None,
        trials: Trials | None = None,
        gaps: Iterable[tuple[float, float]] = (),
        notes: Iterable[str] = (),
    ) -> None:
        first, last = seconds("start", start, positive=False), seconds("stop", stop, positive=False)
        if first >= last:
            raise InvalidValue(f"recording: got start {first:g} s and stop {last:g} s; the stop must follow the start.")
        trains = list(times)
        names = labels(units, len(trains))
        arrays = [numbers(f"times of unit {name!r}", unit) for name, unit in zip(names, trains, strict=True)]
        holes = tuple((float(low), float(high)) for low, high in gaps)
        _check_gaps(holes, first, last)
        for name, unit in zip(names, arrays, strict=True):
            _check_unit(name, unit, first, last, holes)
        if trials is not None:
            trials.check_inside(first, last)
        object.__setattr__(self, "times", tuple(map(frozen, arrays)))
        object.__setattr__(self, "start", first)
        object.__setattr__(self, "stop", last)
        object.__setattr__(self, "units", names)
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "gaps", holes)
        object.__setattr__(self, "notes", tuple(notes))

    def __repr__(self) -> str:
        trials = "" if self.trials is None else f", {len(self.trials)} trials"
        return f"SpikeTrains({len(self.units)} units, {self.spikes} spikes, {self.start:g} to {self.stop:g} s{trials})"

    @property
    def duration(self) -> float:
        """Recorded time (s): the window without the gaps."""
        return self.stop - self.start - math.fsum(high - low for low, high in self.gaps)

    @property
    def spikes(self) -> int:
        """Number of spikes of all units."""
        return sum(map(len, self.times))

    @property
    def rate(self) -> NDArray[np.float64]:
        """Mean rate of each unit (Hz), shape `(units,)`: spikes over recorded time."""
        return np.array([len(unit) for unit in self.times]) / self.duration

    def counts(self, bin: float) -> NDArray[np.unsignedinteger]:
        """Spikes in consecutive bins `[start + k bin, start + (k + 1) bin)`.

        A rest shorter than a bin at the end is left out; a spike within 1e-8 bins below an edge counts as on it.

        Cost: linear in the spikes and in the answer; an hour of 1,000 units at 10 ms takes 360 MB and seconds.

        Args:
            bin: Width of a bin (s).

        Returns:
            Counts, shape `(samples, units)`, the smallest unsigned integer that holds them.

        Raises:
            InvalidValue: The bin is not positive or wider than the recording, or the recording has gaps.
        """
        chunks = self.counts_chunks(bin, binning.ROWS)
        first = next(chunks)
        counts = np.empty((binning.whole_bins(self.duration, bin), len(self.units)), dtype=first.dtype)
        counts[: len(first)] = first
        row = len(first)
        for chunk in chunks:
            counts[row : row + len(chunk)] = chunk
            row += len(chunk)
        return counts

    def counts_chunks(self, bin: float, rows: int = binning.ROWS) -> Iterator[NDArray[np.unsignedinteger]]:
        """The same counts, some rows at a time: for recordings whose counts do not fit the memory.

        Args:
            bin: Width of a bin (s).
            rows: Bins a chunk at most.

        Returns:
            Iterator of arrays `(at most rows, units)`, all of one type.

        Raises:
            InvalidValue: See `counts`; or rows below one.
        """
        if self.gaps:
            low, high = self.gaps[0]
            raise InvalidValue(
                f"recording: nothing was recorded from {low:g} to {high:g} s ({len(self.gaps)} gaps in all), and a "
                "count of zero there would be made up; choose a period without gaps with window(start, stop), or count "
                "in trials with trial_counts(bin)."
            )
        if rows < 1:
            raise InvalidValue(f"rows: got {rows}; allowed are the integers from 1 on.")
        bins = binning.whole_bins(self.duration, bin)
        return binning.chunks(self.times, self.start, float(bin), bins, rows)

    def trial_counts(self, bin: float | None = None) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
        """Spikes in the whole bins of every trial, or in every trial as a whole.

        Args:
            bin: Width of a bin (s), counted from the start of each trial; one bin a trial when None.

        Returns:
            Counts, shape `(samples, units)`, and the trial of each sample, shape `(samples,)`.

        Raises:
            InvalidValue: No trials; a bin wider than a trial; without a bin, trials of unequal length; a gap inside a
                trial.
        """
        trials = self._checked_trials()
        durations = trials.durations
        if bin is None and np.ptp(durations) > 1e-6 * durations.max():
            raise InvalidValue(
                f"trials: they last from {durations.min():g} to {durations.max():g} s, so their counts cannot be "
                "compared; give a bin, or trials of one length."
            )
        parts = []
        for start, duration in zip(trials.start.tolist(), durations.tolist(), strict=True):
            width = duration if bin is None else float(bin)
            bins = binning.whole_bins(duration, width)
            parts += list(binning.chunks(self.times, start, width, bins, bins))
        index = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return np.concatenate(parts), index

    def window(self, start: float, stop: float) -> SpikeTrains:
        """A period of the recording, on the same clock.

        Args:
            start: Its start (s).
            stop: Its end (s); a spike at the end belongs to the period only where the recording ends there.

        Returns:
            The spikes in the period. Trials that are not wholly inside are left out, which a note tells.

        Raises:
            InvalidValue: The period is not inside the recording, or its end does not follow its start.
        """
        low, high = window(start, stop, (self.start, self.stop))
        side: Literal["left", "right"] = "right" if high == self.stop else "left"
        times = [unit[np.searchsorted(unit, low) : np.searchsorted(unit, high, side=side)] for unit in self.times]
        gaps = [(max(a, low), min(b, high)) for a, b in self.gaps if b > low and a < high]
        trials, notes = trials_inside(self.trials, low, high)
        return SpikeTrains(times, low, high, self.units, trials, gaps, (*self.notes, *notes))

    def select(self, units: Sequence[object]) -> SpikeTrains:
        """Some of the units.

        Args:
            units: Their labels, in the order wanted.

        Returns:
            Their spike trains.

        Raises:
            UnknownName: A label that no unit has.
            InvalidValue: No labels, or one twice.
        """
        chosen = positions(units, self.units)
        return replace(self, times=tuple(self.times[k] for k in chosen), units=tuple(self.units[k] for k in chosen))

    def _checked_trials(self) -> Trials:
        if self.trials is None:
            raise InvalidValue("trials: the recording has none; give them to it, or count without trials: counts(bin).")
        for low, high in self.gaps:
            touched = np.flatnonzero((self.trials.start < high) & (self.trials.stop > low))
            if touched.size:
                raise InvalidValue(
                    f"trials: nothing was recorded from {low:g} to {high:g} s, inside trial {int(touched[0])}; "
                    "leave that trial out."
                )
        return self.trials


def positions(chosen: Sequence[object], units: tuple[str, ...]) -> list[int]:
    """Where the chosen labels are among the units.

    Args:
        chosen: Labels, each once.
        units: Labels of all units.

    Returns:
        Their positions.

    Raises:
        UnknownName: A label that no unit has.
    """
    known = {name: index for index, name in enumerate(units)}
    for name in map(str, chosen):
        if name not in known:
            raise unknown_name("unit", name, units)
    return [known[str(name)] for name in chosen]


def trials_inside(trials: Trials | None, start: float, stop: float) -> tuple[Trials | None, list[str]]:
    """The trials that lie wholly inside a period, and a note about the others.

    Args:
        trials: The trials, or None.
        start: Start of the period (s).
        stop: Its end (s).

    Returns:
        The trials, None when there are none, and at most one note.
    """
    if trials is None:
        return None, []
    inside = (trials.start >= start - 1e-9) & (trials.stop <= stop + 1e-9)
    lost = int((~inside).sum())
    notes = [f"{lost} of {len(trials)} trials are not wholly inside {start:g} to {stop:g} s: left out"] if lost else []
    return (trials.keep(inside) if inside.any() else None), notes


def _check_gaps(gaps: tuple[tuple[float, float], ...], start: float, stop: float) -> None:
    edges = [start, *(edge for gap in gaps for edge in gap), stop]
    if not all(low <= high for low, high in itertools.pairwise(edges)):
        raise InvalidValue(
            f"gaps: got {', '.join(f'{low:g} to {high:g} s' for low, high in gaps)}; allowed are periods inside the "
            f"recording ({start:g} to {stop:g} s), in order, without overlap."
        )
    if math.fsum(high - low for low, high in gaps) >= stop - start:
        raise InvalidValue("gaps: they fill the whole recording; nothing was recorded.")


def _check_unit(
    name: str, times: NDArray[np.float64], start: float, stop: float, gaps: tuple[tuple[float, float], ...]
) -> None:
    if len(times) == 0:
        return
    steps = np.diff(times)
    # One pass for the good case: NaN makes every comparison false.
    if not (times[0] >= start and times[-1] <= stop and bool((steps > 0).all())):
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
            "or pass sort=True to recording.from_times."
        )
    outside = np.flatnonzero((times < start) | (times > stop))
    if outside.size:
        return (
            f"{outside.size} outside the window of {start:g} to {stop:g} s (first: {times[outside[0]]:g} s); correct "
            'the window, or pass outside="drop" to recording.from_times.'
        )
    k = int(np.flatnonzero(steps == 0)[0])
    return (
        f"{int((steps == 0).sum())} spikes are there twice (first at {times[k]:g} s); remove them, "
        'or pass duplicates="drop" to recording.from_times.'
    )
