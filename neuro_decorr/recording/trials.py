"""Trials: labelled windows of a recording."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue, unknown_name
from neuro_decorr.recording.checks import frozen, numbers, seconds

TOLERANCE = 1e-9
"""Time (s) by which a trial may exceed its recording: the rounding of units and of sums of steps."""


@final
@dataclass(frozen=True, eq=False, init=False)
class Trials:
    """Windows of the trials of a recording, with their conditions.

    Args:
        start: Start of each trial (s), shape `(trials,)`, ascending.
        stop: End of each trial (s), after its start and not after the next start.
        conditions: Label of each trial; None: `""` for all.

    Raises:
        InvalidValue: There are no trials, lengths differ, times or conditions are NaN, an end does not follow its
            start, or trials overlap.
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

    @property
    def one_length(self) -> bool:
        """True if all trials have the same length, up to rounding."""
        return bool(np.ptp(self.durations) <= 1e-6 * self.durations.max())

    @property
    def shortest(self) -> float:
        """Length of the shortest trial (s), rounded down to 0.1 ms: the widest bin that every trial holds."""
        return math.floor(1e4 * float(self.durations.min()) + 1e-6) / 1e4

    @property
    def one_bin(self) -> float | None:
        """Width (s) of a bin of which every trial holds exactly one; None if a trial is twice as long as another."""
        return self.shortest if float(self.durations.max()) < 2 * self.shortest * (1 - 1e-6) else None

    def select(self, conditions: Sequence[str]) -> Trials:
        """Select the trials of some conditions.

        Args:
            conditions: Labels, in any order.

        Returns:
            These trials, in the order of time.

        Raises:
            UnknownName: No trial has one of the conditions.
        """
        for label in conditions:
            if label not in self.conditions:
                raise unknown_name("condition of trials", label, set(self.conditions))
        return self.keep(np.isin(self.conditions, list(conditions)))

    def keep(self, mask: NDArray[np.bool_]) -> Trials:
        """Select trials by a mask.

        Args:
            mask: One flag per trial, shape `(trials,)`.

        Returns:
            The trials that the mask marks.

        Raises:
            InvalidValue: The mask marks no trial.
        """
        return Trials(
            self.start[mask], self.stop[mask], [self.conditions[index] for index in np.flatnonzero(mask).tolist()]
        )

    def check_inside(self, start: float, stop: float) -> None:
        """Refuse trials that exceed the recording.

        Args:
            start: Start of the recording (s).
            stop: End of the recording (s).

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
        """Make trials of one length, one after another without a break.

        Args:
            duration: Length of a trial (s).
            count: Number of trials.
            start: Start of the first trial (s).
            conditions: Label of each trial; None: `""` for all.

        Returns:
            The trials.

        Raises:
            InvalidValue: The duration is not positive, or the count is below one.
        """
        seconds("duration", duration)
        edges = start + duration * np.arange(count + 1)
        return cls(edges[:-1], edges[1:], conditions)


def none_there(notes: Iterable[str], otherwise: str) -> InvalidValue:
    """Error for a recording without trials, with its notes about trials.

    Args:
        notes: Notes of the recording.
        otherwise: Alternative without trials, for the message.

    Returns:
        The error, to be raised by the caller.
    """
    why = "".join(f" ({note})" for note in notes if "trials" in note)
    return InvalidValue(f"trials: the recording has none{why}; give them to it, or {otherwise}.")


def missing(labels: Iterable[object]) -> NDArray[np.bool_]:
    """Find labels that are empty cells of a table: NaN, and the texts that pandas and NumPy write for it.

    Args:
        labels: Labels, or their texts.

    Returns:
        One flag per label.
    """
    return np.array([label is None or str(label) in ("nan", "NaN", "NaT", "<NA>") for label in labels], dtype=bool)


def condition_column(columns: Mapping[str, Any], wanted: str | None, notes: list[str]) -> str | None:
    """Choose the column of a table of trials that is their condition.

    Args:
        columns: Columns by name, without those of the windows of the trials.
        wanted: Column that the user gave; `""` for all trials as one condition; or None.
        notes: List that gets a note if several columns are possible and the user gave none.

    Returns:
        The column that the user gave; else `condition`; else the only column, if its values repeat; else None, as for
        `""`.

    Raises:
        InvalidValue: There is no column of that name.
    """
    if wanted == "" and "" not in columns:
        return None
    if wanted is not None and wanted not in columns:
        raise InvalidValue(f"condition: got {wanted!r}; the trials have {', '.join(columns) or 'no such column'}.")
    if wanted is not None or not columns:
        return wanted
    if "condition" in columns:
        return "condition"
    values = list(next(iter(columns.values()))[:])
    if len(columns) == 1 and 2 * len(set(map(str, values))) <= len(values):
        return next(iter(columns))
    notes.append(f"which column of the trials is the condition? Name one of {', '.join(columns)}; none is used")
    return None


def labelled(start: ArrayLike, stop: ArrayLike, conditions: Sequence[object] | None, notes: list[str]) -> Trials | None:
    """Make trials, and leave out those without a condition.

    Args:
        start: Start of each trial (s).
        stop: End of each trial (s).
        conditions: Label of each trial; None: `""` for all.
        notes: List that gets a note about trials without a condition, which are left out.

    Returns:
        The trials with a condition; None if there are none.

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
    """Make trials from a table that may hold unfinished or overlapping ones.

    Args:
        start: Start of each trial (s).
        stop: End of each trial (s).
        conditions: Label of each trial; None: `""` for all.
        notes: List that gets notes: trials without a start, an end or a condition are left out; if trials overlap, none
            is used, so that no spike counts twice.

    Returns:
        The trials, in the order of time; None if no trial can be used.

    Raises:
        InvalidValue: Lengths differ, values are no numbers, or an end does not follow its start.
    """
    first, last = (numbers(f"trials.{name}", value) for name, value in (("start", start), ("stop", stop)))
    given = [""] * len(first) if conditions is None else conditions
    labels = np.array([None if label is None else str(label) for label in given], dtype=object)
    if not len(first) == len(last) == len(labels):
        raise InvalidValue(
            f"trials: got {len(first)} starts, {len(last)} ends and {len(labels)} conditions; give one per trial."
        )
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
