"""Rates, voltages or any other activity sampled in equal steps, with the labels of the units and the trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import pieces
from neuro_decorr.recording.binning import SLACK, whole_bins
from neuro_decorr.recording.checks import chosen, coordinates, frozen, labels, seconds, window
from neuro_decorr.recording.trials import Trials, none_there


@final
@dataclass(frozen=True, eq=False, init=False)
class Rates:
    """Activity of a population in equal steps; sample k belongs to `[start + k step, start + (k + 1) step)`.

    A gap, in which nothing was recorded, has no samples: the samples before and after it are neighbours in `values`.
    Every piece between the gaps is a whole number of steps.

    Args:
        values: Activity, shape `(samples, units)`, finite real numbers; floating types and their precision are kept.
        step: Length of a step (s).
        start: Start of the first step (s).
        units: Label of each unit; None: 0, 1, ...
        trials: Windows of the trials, inside the recording.
        quantity: Physical unit of the values, such as `"Hz"`; empty for none.
        notes: Notes on mends and on data that were left out.
        gaps: Periods (s) in which nothing was recorded, in order.
        positions: Position of each unit (micrometres), shape `(units, dimensions)`, NaN for unknown ones; None if all
            are unknown.

    Raises:
        InvalidValue: A value does not meet these conditions; the message names the unit, the first fault and the mend.
    """

    values: NDArray[Any]
    step: float
    start: float = 0.0
    units: tuple[str, ...] = ()
    trials: Trials | None = None
    quantity: str = ""
    notes: tuple[str, ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()
    positions: NDArray[np.float64] | None = None

    def __init__(
        self,
        values: ArrayLike,
        step: float,
        start: float = 0.0,
        units: Iterable[object] | None = None,
        trials: Trials | None = None,
        quantity: str = "",
        notes: Iterable[str] = (),
        gaps: Iterable[tuple[float, float]] = (),
        positions: ArrayLike | None = None,
    ) -> None:
        try:
            array = np.asarray(values)
        except ValueError as error:  # ragged lists
            raise InvalidValue("values: the units have unequal numbers of samples; give all the same.") from error
        if array.ndim != 2 or array.dtype.kind not in "fiub":
            raise InvalidValue(
                f"values: got shape {array.shape} of {array.dtype}; allowed are real numbers (samples, units)."
            )
        if len(array) == 0:
            raise InvalidValue("values: got no samples; a recording has at least one.")
        names = labels(units, array.shape[1])
        missing = np.argwhere(~np.isfinite(array))
        if len(missing):
            sample, unit = missing[0].tolist()
            raise InvalidValue(
                f"values: {len(missing)} are NaN or infinite (first: unit {names[unit]!r}, sample {sample}); "
                "choose a period without them, or leave these units out."
            )
        object.__setattr__(self, "values", frozen(array))
        object.__setattr__(self, "step", seconds("step", step))
        object.__setattr__(self, "start", seconds("start", start, positive=False))
        object.__setattr__(self, "units", names)
        holes = tuple((float(low), float(high)) for low, high in gaps)
        object.__setattr__(self, "gaps", holes)
        object.__setattr__(self, "gaps", pieces.checked(holes, self.start, self.stop))
        steps = [(high - low) / self.step for low, high in self.pieces]
        uneven = any(abs(count - round(count)) > 1e-6 * count for count in steps)
        if uneven or sum(map(round, steps)) != len(array):
            raise InvalidValue(
                f"gaps: they leave pieces of {', '.join(f'{count:g}' for count in steps[:8])} steps of {self.step:g} s "
                f"for {len(array)} samples; each piece is a whole number of steps."
            )
        if trials is not None:
            trials.check_inside(self.start, self.stop)
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "quantity", str(quantity))
        object.__setattr__(self, "notes", tuple(notes))
        object.__setattr__(self, "positions", coordinates(positions, len(names)))

    def __repr__(self) -> str:
        trials = "" if self.trials is None else f", {len(self.trials)} trials"
        size = f"{len(self.units)} units, {len(self.values)} samples of {self.step:g} s"
        return f"Rates({size}, {self.start:g} to {self.stop:g} s{trials})"

    @property
    def stop(self) -> float:
        """End of the last step (s)."""
        return self.start + len(self.values) * self.step + math.fsum(high - low for low, high in self.gaps)

    @property
    def pieces(self) -> tuple[tuple[float, float], ...]:
        """Start and end (s) of every piece that was recorded without a break."""
        return pieces.between(self.start, self.stop, self.gaps)

    @property
    def duration(self) -> float:
        """Recorded time (s), without the gaps."""
        return len(self.values) * self.step

    def binned(self, bin: float) -> NDArray[Any]:
        """Average over consecutive bins; a remainder shorter than a bin at the end of every piece is left out.

        Args:
            bin: Width of a bin (s), a whole number of steps.

        Returns:
            Means, shape `(bins, units)`; the values themselves if a bin is one step.

        Raises:
            InvalidValue: The bin is no whole number of steps, or wider than every piece of the recording.
        """
        steps = self._steps(bin)
        if steps == 1:
            return self.values
        rows = [(first, (end - first) // steps) for first, end, _ in self.rows()]
        if not any(bins for _, bins in rows):
            whole_bins(max(high - low for low, high in self.pieces), bin)  # tells what is too wide
        return np.concatenate([_means(self.values[first : first + bins * steps], steps) for first, bins in rows])

    def trial_binned(self, bin: float | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Average over the whole bins of every trial, or over every trial as a whole.

        Args:
            bin: Width of a bin (s), a whole number of steps, counted from the first step of each trial; None: one bin
                per trial.

        Returns:
            Means, shape `(samples, units)`, and the trial of each sample, shape `(samples,)`.

        Raises:
            InvalidValue: There are no trials, the bin is no whole number of steps or wider than a trial, a trial has no
                whole step, or a trial overlaps with a gap.
        """
        if self.trials is None:
            raise none_there(self.notes, "average without trials: binned(bin)")
        touched = np.flatnonzero(pieces.touching(self.trials, self.gaps))
        if touched.size:
            raise InvalidValue(
                f"trials: trial {int(touched[0])} reaches into a gap, where nothing was recorded; leave that trial out."
            )
        parts = []
        for start, stop in zip(self.trials.start.tolist(), self.trials.stop.tolist(), strict=True):
            first, end = self._within(start, stop)
            steps = end - first if bin is None else self._steps(bin)
            bins = whole_bins((end - first) * self.step, self.step if bin is None else bin)
            bins = 1 if bin is None else bins
            parts.append(_means(self.values[first : first + bins * steps], steps))
        return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])

    def window(self, start: float, stop: float) -> Rates:
        """Take a period of the recording, on the same clock.

        Args:
            start: Start of the period (s).
            stop: End of the period (s).

        Returns:
            The steps that are wholly in the period. Trials that are not wholly in it are left out, with a note.

        Raises:
            InvalidValue: The period is not inside the recording, or holds no whole step.
        """
        low, high = window(start, stop, (self.start, self.stop))
        first, end = self._within(low, high)
        if end <= first:
            raise InvalidValue(
                f"period: {low:g} to {high:g} s holds no whole step of {self.step:g} s; choose a longer one."
            )
        kept = [
            (start + (max(first, low) - low) * self.step, start + (min(end, high) - low) * self.step)
            for low, high, start in self.rows()
            if low < end and high > first
        ]
        gaps = tuple((high, low) for (_, high), (low, _) in itertools.pairwise(kept))
        trials, notes = pieces.inside(self.trials, kept[0][0], kept[-1][1])
        told = (*self.notes, *notes)
        return replace(self, values=self.values[first:end], start=kept[0][0], trials=trials, notes=told, gaps=gaps)

    def select(self, units: Sequence[object]) -> Rates:
        """Select units.

        Args:
            units: Their labels, in the wanted order.

        Returns:
            Their activity.

        Raises:
            UnknownName: No unit has one of the labels.
            InvalidValue: There are no labels, or one is there twice.
        """
        kept = chosen(units, self.units)
        return replace(
            self,
            values=self.values[:, kept],
            units=tuple(self.units[k] for k in kept),
            positions=None if self.positions is None else self.positions[kept],
        )

    def rows(self) -> list[tuple[int, int, float]]:
        """First row in `values`, row after the last, and start (s) of every piece."""
        rows, row = [], 0
        for low, high in self.pieces:
            steps = round((high - low) / self.step)
            rows.append((row, row + steps, low))
            row += steps
        return rows

    def step_starts(self) -> NDArray[np.float64]:
        """Start of every step (s), shape `(samples,)`."""
        return np.concatenate([low + self.step * np.arange(end - first) for first, end, low in self.rows()])

    def _within(self, start: float, stop: float) -> tuple[int, int]:
        """First row, and row after the last, of the steps that are wholly in a period."""
        ends = [
            (
                max(low + math.ceil((start - begin) / self.step - SLACK), low),
                min(low + math.floor((stop - begin) / self.step + SLACK), high),
            )
            for low, high, begin in self.rows()
        ]
        held = [(first, end) for first, end in ends if first < end] or [(0, 0)]
        return held[0][0], held[-1][1]

    def _steps(self, bin: float) -> int:
        width = seconds("bin", bin)
        steps = round(width / self.step)
        if steps < 1 or abs(width / self.step - steps) > 1e-6 * steps:
            raise InvalidValue(
                f"bin: got {width:g} s; allowed are whole numbers of the recording's steps of {self.step:g} s; the "
                f"nearest is {max(steps, 1) * self.step:.6g} s."
            )
        return steps


def _means(values: NDArray[Any], steps: int) -> NDArray[Any]:
    means: NDArray[Any] = values.reshape(-1, steps, values.shape[1]).mean(axis=1)
    return means
