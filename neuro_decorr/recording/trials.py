"""Trials: labelled windows of a recording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, unknown_name
from neuro_decorr.recording.checks import frozen, numbers, seconds

TOLERANCE = 1e-9
"""Seconds by which a trial may pass the end of its recording: the rounding of units and of sums of steps."""


@final
@dataclass(frozen=True, eq=False, init=False)
class Trials:
    """Windows of a recording, one a trial, with the condition of each.

    Args:
        start: Start of each trial (s), shape `(trials,)`, ascending.
        stop: End of each trial (s), after its start and not after the next start.
        conditions: Label of each trial; all alike, `""`, when not given.

    Raises:
        InvalidValue: No trials, unequal lengths, NaN (of conditions too), ends that do not follow starts, trials that
            overlap.
    """

    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    conditions: tuple[str, ...] = ()

    def __init__(self, start: ArrayLike, stop: ArrayLike, conditions: Iterable[object] | None = None) -> None:
        first, last = (numbers(f"trials.{name}", value) for name, value in (("start", start), ("stop", stop)))
        given = [""] * len(first) if conditions is None else list(conditions)
        labels = [str(label) for label in given]
        if not len(first) == len(last) == len(labels) or len(first) == 0:
            raise InvalidValue(
                f"trials: got {len(first)} starts, {len(last)} ends and {len(labels)} conditions; "
                "give one of each for every trial, at least one."
            )
        if not (np.isfinite(first).all() and np.isfinite(last).all()):
            raise InvalidValue("trials: a start or an end is NaN or infinite; leave that trial out.")
        if (wrong := np.flatnonzero(missing(given))).size:
            raise InvalidValue(
                f"trials: the condition of trial {wrong[0]} is missing ({labels[wrong[0]]}); name it, or leave that "
                "trial out."
            )
        if (wrong := np.flatnonzero(last <= first)).size:
            k = int(wrong[0])
            raise InvalidValue(
                f"trials: trial {k} starts at {first[k]:g} s and ends at {last[k]:g} s; the end must follow the start."
            )
        if (wrong := np.flatnonzero(first[1:] < last[:-1] - TOLERANCE)).size:
            k = int(wrong[0])
            raise InvalidValue(
                f"trials: trial {k + 1} starts at {first[k + 1]:g} s, before trial {k} ends at {last[k]:g} s; "
                "give them in the order of time and without overlap, so that no spike counts twice."
            )
        object.__setattr__(self, "start", frozen(first))
        object.__setattr__(self, "stop", frozen(last))
        object.__setattr__(self, "conditions", tuple(labels))

    def __len__(self) -> int:
        """Number of trials."""
        return len(self.start)

    @property
    def durations(self) -> NDArray[np.float64]:
        """Length of each trial (s), shape `(trials,)`."""
        return self.stop - self.start

    def select(self, conditions: Sequence[str]) -> Trials:
        """The trials of some conditions.

        Args:
            conditions: Labels, in any order.

        Returns:
            Those trials, in the order of time.

        Raises:
            UnknownName: A condition that no trial has.
        """
        for label in conditions:
            if label not in self.conditions:
                raise unknown_name("condition of trials", label, set(self.conditions))
        return self.keep(np.isin(self.conditions, list(conditions)))

    def keep(self, mask: NDArray[np.bool_]) -> Trials:
        """The trials that a mask marks.

        Args:
            mask: One flag a trial.

        Returns:
            Those trials.

        Raises:
            InvalidValue: The mask marks none.
        """
        return Trials(
            self.start[mask], self.stop[mask], [self.conditions[index] for index in np.flatnonzero(mask).tolist()]
        )

    def check_inside(self, start: float, stop: float) -> None:
        """Refuse trials that pass the recording.

        Args:
            start: Start of the recording (s).
            stop: Its end (s).

        Raises:
            InvalidValue: A trial begins before the start or ends after the end.
        """
        outside = np.flatnonzero((self.start < start - TOLERANCE) | (self.stop > stop + TOLERANCE))
        if outside.size:
            k = int(outside[0])
            raise InvalidValue(
                f"trials: trial {k} ({self.start[k]:g} to {self.stop[k]:g} s) is not inside the recording "
                f"({start:g} to {stop:g} s); correct the times, or leave the trial out."
            )

    @classmethod
    def every(
        cls, duration: float, count: int, start: float = 0.0, conditions: Iterable[object] | None = None
    ) -> Trials:
        """Trials of one length, one after another without a break.

        Args:
            duration: Length of a trial (s).
            count: How many.
            start: Start of the first (s).
            conditions: Label of each.

        Returns:
            The trials.

        Raises:
            InvalidValue: A duration that is not positive, or a count below one.
        """
        seconds("duration", duration)
        edges = start + duration * np.arange(count + 1)
        return cls(edges[:-1], edges[1:], conditions)


def none_there(notes: Iterable[str], otherwise: str) -> InvalidValue:
    """The error of a recording without trials, with what its notes tell of them.

    Args:
        notes: Notes of the recording.
        otherwise: What can be done without trials.

    Returns:
        The error, to be raised.
    """
    why = "".join(f" ({note})" for note in notes if "trials" in note)
    return InvalidValue(f"trials: the recording has none{why}; give them to it, or {otherwise}.")


def missing(labels: Iterable[object]) -> NDArray[np.bool_]:
    """Which labels are cells of a table that hold nothing: NaN and what pandas and numpy write for it.

    Args:
        labels: Labels, or their texts.
    """
    return np.array([label is None or str(label) in ("nan", "NaN", "NaT", "<NA>") for label in labels], dtype=bool)


def labelled(start: ArrayLike, stop: ArrayLike, conditions: Sequence[object] | None, notes: list[str]) -> Trials | None:
    """Trials of which some may have no condition.

    Args:
        start: Start of each trial (s).
        stop: Its end (s).
        conditions: Label of each trial; all alike when None.
        notes: Told here: trials whose condition is missing are left out.

    Returns:
        The others; None where there is no other.

    Raises:
        InvalidValue: See `Trials`.
    """
    none = missing(conditions or ())
    if conditions is None or not none.any() or not len(none) == len(np.ravel(start)) == len(np.ravel(stop)):
        return Trials(start, stop, conditions)
    notes.append(f"{none.sum()} of {len(none)} trials have no condition (NaN): left out")
    if none.all():
        return None
    first, last = np.ravel(start)[~none], np.ravel(stop)[~none]
    return Trials(first, last, [conditions[k] for k in np.flatnonzero(~none).tolist()])


def of_table(start: ArrayLike, stop: ArrayLike, conditions: Sequence[object] | None, notes: list[str]) -> Trials | None:
    """The trials of a table that may hold unfinished or overlapping ones.

    Args:
        start: Start of each trial (s).
        stop: Its end (s).
        conditions: Label of each trial.
        notes: Told here: trials without a start, an end or a condition are left out; trials that overlap are not used
            at all, so that no spike counts twice.

    Returns:
        The trials, in the order of time; None where none can be used.

    Raises:
        InvalidValue: Unequal lengths, no numbers, or ends that do not follow their starts.
    """
    first, last = (numbers(f"trials.{name}", value) for name, value in (("start", start), ("stop", stop)))
    given = [""] * len(first) if conditions is None else conditions
    labels = np.array([None if label is None else str(label) for label in given], dtype=object)
    if not len(first) == len(last) == len(labels):
        raise InvalidValue(f"trials: got {len(first)} starts, {len(last)} ends and {len(labels)} conditions.")
    whole = np.isfinite(first) & np.isfinite(last)
    if not whole.all():
        notes.append(f"{(~whole).sum()} of {len(whole)} trials have no start or no end (NaN): left out")
    order = np.flatnonzero(whole)[np.argsort(first[whole], kind="stable")]
    first, last, labels = first[order], last[order], labels[order]
    if not len(first):
        return None
    wrong = np.flatnonzero(first[1:] < last[:-1] - TOLERANCE)
    if wrong.size and bool((last > first).all()):
        k = int(wrong[0])
        notes.append(
            f"the trials are not used: {wrong.size} begin before the one before has ended (first: at {first[k + 1]:g} "
            f"s, before {last[k]:g} s), and spikes would count twice"
        )
        return None
    return labelled(first, last, labels.tolist(), notes)
