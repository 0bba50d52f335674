"""Rates, voltages or any other activity sampled in equal steps, with the labels of the units and the trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording.binning import SLACK, whole_bins
from neuro_decorr.recording.checks import frozen, labels, seconds, window
from neuro_decorr.recording.spikes import positions, trials_inside
from neuro_decorr.recording.trials import Trials


@final
@dataclass(frozen=True, eq=False, init=False)
class Rates:
    """Activity of a population in equal steps; sample k belongs to `[start + k step, start + (k + 1) step)`.

    Args:
        values: Activity, shape `(samples, units)`, finite real numbers; floating types and their precision are kept.
        step: Length of a step (s).
        start: Start of the first step (s).
        units: Label of each unit; 0, 1, ... when not given.
        trials: Windows of the trials, inside the recording.
        quantity: Physical unit of the values, such as `"Hz"`; empty when they have none.
        notes: What was mended or left out on the way here, in words.

    Raises:
        InvalidValue: Whatever of this does not hold; the message names the unit, the first fault and the mend.
    """

    values: NDArray[Any]
    step: float
    start: float = 0.0
    units: tuple[str, ...] = ()
    trials: Trials | None = None
    quantity: str = ""
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        values: ArrayLike,
        step: float,
        start: float = 0.0,
        units: Iterable[object] | None = None,
        trials: Trials | None = None,
        quantity: str = "",
        notes: Iterable[str] = (),
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
        if trials is not None:
            trials.check_inside(self.start, self.stop)
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "quantity", str(quantity))
        object.__setattr__(self, "notes", tuple(notes))

    def __repr__(self) -> str:
        trials = "" if self.trials is None else f", {len(self.trials)} trials"
        size = f"{len(self.units)} units, {len(self.values)} samples of {self.step:g} s"
        return f"Rates({size}, {self.start:g} to {self.stop:g} s{trials})"

    @property
    def stop(self) -> float:
        """End of the last step (s)."""
        return self.start + len(self.values) * self.step

    @property
    def duration(self) -> float:
        """Recorded time (s)."""
        return len(self.values) * self.step

    def binned(self, bin: float) -> NDArray[Any]:
        """Means over consecutive bins; a rest shorter than a bin at the end is left out.

        Args:
            bin: Width of a bin (s), a whole number of steps.

        Returns:
            Means, shape `(bins, units)`; the values themselves when a bin is one step.

        Raises:
            InvalidValue: The bin is no whole number of steps, or wider than the recording.
        """
        steps = self._steps(bin)
        bins = whole_bins(self.duration, bin)
        return self.values if steps == 1 else _means(self.values[: bins * steps], steps)

    def trial_binned(self, bin: float | None = None) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Means over the whole bins of every trial, or over every trial as a whole.

        Args:
            bin: Width of a bin (s), a whole number of steps, counted from the first step of each trial; one bin a trial
                when None.

        Returns:
            Means, shape `(samples, units)`, and the trial of each sample, shape `(samples,)`.

        Raises:
            InvalidValue: No trials, a bin that is no whole number of steps or wider than a trial, or trials without a
                whole step.
        """
        if self.trials is None:
            raise InvalidValue(
                "trials: the recording has none; give them to it, or average without trials: binned(bin)."
            )
        firsts = np.ceil((self.trials.start - self.start) / self.step - SLACK).astype(int).tolist()
        ends = np.floor((self.trials.stop - self.start) / self.step + SLACK).astype(int).tolist()
        parts = []
        for first, end in zip(firsts, ends, strict=True):
            steps = max(end - first, 0) if bin is None else self._steps(bin)
            bins = whole_bins(max(end - first, 0) * self.step, self.step if bin is None else bin)
            bins = 1 if bin is None else bins
            parts.append(_means(self.values[first : first + bins * steps], steps))
        return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])

    def window(self, start: float, stop: float) -> Rates:
        """A period of the recording, on the same clock.

        Args:
            start: Its start (s).
            stop: Its end (s).

        Returns:
            The steps that lie wholly in the period. Trials that do not are left out, which a note tells.

        Raises:
            InvalidValue: The period is not inside the recording, or holds no whole step.
        """
        low, high = window(start, stop, (self.start, self.stop))
        first = int(np.ceil((low - self.start) / self.step - SLACK))
        end = int(np.floor((high - self.start) / self.step + SLACK))
        if end <= first:
            raise InvalidValue(
                f"period: {low:g} to {high:g} s holds no whole step of {self.step:g} s; choose a longer one."
            )
        begin = self.start + first * self.step
        trials, notes = trials_inside(self.trials, begin, self.start + end * self.step)
        return replace(self, values=self.values[first:end], start=begin, trials=trials, notes=(*self.notes, *notes))

    def select(self, units: Sequence[object]) -> Rates:
        """Some of the units.

        Args:
            units: Their labels, in the order wanted.

        Returns:
            Their activity.

        Raises:
            UnknownName: A label that no unit has.
            InvalidValue: No labels, or one twice.
        """
        chosen = positions(units, self.units)
        return replace(self, values=self.values[:, chosen], units=tuple(self.units[k] for k in chosen))

    def _steps(self, bin: float) -> int:
        width = seconds("bin", bin)
        steps = round(width / self.step)
        if steps < 1 or abs(width / self.step - steps) > 1e-6 * steps:
            raise InvalidValue(
                f"bin: got {width:g} s; allowed are whole numbers of the recording's steps of {self.step:g} s."
            )
        return steps


def _means(values: NDArray[Any], steps: int) -> NDArray[Any]:
    means: NDArray[Any] = values.reshape(-1, steps, values.shape[1]).mean(axis=1)
    return means
