"""Assembly of spike trains from the spikes of a source: common windows, and the mends that the user asks for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict, final, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import checks, pieces
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials

Refuse: TypeAlias = Literal["error", "drop"]
"""Policy for spikes that are not allowed: `"error"` refuses the data, `"drop"` drops the spikes and notes how many."""

Durations: TypeAlias = Literal["error", "common"]
"""Policy for units that were observed at different times: `"error"` refuses them, `"common"` keeps the common time."""

Window: TypeAlias = Sequence[tuple[float, float]]
"""Periods (s) during which a unit was observed, in order, without overlap."""


_SLACK = 1e-9  # s: the rounding of a unit of time
_MANY, _RARE = 20, 0.1  # spikes, spikes/s: 100 spikes/s appear as 0.1 if milliseconds are read as seconds


class Mends(TypedDict, total=False):
    """Mends of a recording; each is made only if the user asks for it, and leaves a note.

    sort: True sorts spikes that are out of order. outside: policy for spikes outside the window. duplicates: policy for
    a second spike of a unit at the same time. durations: policy for units that were observed at different times.
    """

    sort: bool
    outside: Refuse
    duplicates: Refuse
    durations: Durations


@final
@dataclass
class Raw:
    """Spikes of a source, not yet checked.

    Attributes:
        times: Spike times of each unit (s).
        units: Label of each unit; None if the source has none.
        windows: Periods in which each unit was observed, one list for all or one per unit; None if they are unknown.
        trials: Windows of the trials.
        notes: Notes of the reader about what it changed or does not know.
        positions: Position of each unit (micrometres).
        invalid: Periods (s) to leave out, even inside the windows; in order, without overlap.
    """

    times: Sequence[ArrayLike]
    units: Sequence[object] | None = None
    windows: Sequence[Window] | None = None
    trials: Trials | None = None
    notes: list[str] = field(default_factory=list)
    positions: ArrayLike | None = None
    invalid: Sequence[tuple[float, float]] = ()

    def keep(self, units: Sequence[int]) -> None:
        """Keep some of the units.

        Args:
            units: Their positions, in the order wanted.
        """
        self.times = [self.times[k] for k in units]
        self.units = None if self.units is None else [self.units[k] for k in units]
        if self.windows is not None and len(self.windows) > 1:
            self.windows = [self.windows[k] for k in units]
        self.positions = None if self.positions is None else np.asarray(self.positions)[list(units)]


def from_times(
    times: Iterable[ArrayLike],
    start: float,
    stop: float,
    units: Iterable[object] | None = None,
    trials: Trials | None = None,
    gaps: Iterable[tuple[float, float]] = (),
    *,
    sort: bool = False,
    outside: Refuse = "error",
    duplicates: Refuse = "error",
) -> SpikeTrains:
    """Make spike trains from a list of times for each unit, with mends on request.

    Cost: linear in the number of spikes.

    Args:
        times: Spike times of each unit (s).
        start: Start of the recording (s).
        stop: End of the recording (s).
        units: Label of each unit; None: 0, 1, ...
        trials: Windows of the trials.
        gaps: Periods (s) in which nothing was recorded.
        sort: True sorts spikes that are out of order.
        outside: Policy for spikes outside the recording: `"error"` or `"drop"`.
        duplicates: Policy for a second spike of a unit at the same time: `"error"` or `"drop"`.

    Returns:
        The spike trains; their notes name the mends.

    Raises:
        InvalidValue: An option is unknown, or `SpikeTrains` refuses the data.
    """
    arrays, names, notes = _mended(list(times), units, (start, stop), sort, outside, duplicates)
    return SpikeTrains(arrays, start, stop, names, trials, gaps, notes)


def from_events(
    times: ArrayLike,
    unit: ArrayLike,
    start: float,
    stop: float,
    units: Iterable[object] | None = None,
    trials: Trials | None = None,
    *,
    sort: bool = False,
    outside: Refuse = "error",
    duplicates: Refuse = "error",
) -> SpikeTrains:
    """Make spike trains from one list of spikes, with the unit of each.

    Cost: linear in the number of spikes.

    Args:
        times: Time of each spike (s), in order within each unit.
        unit: Unit of each spike: its index in `units` if `units` is given, else any label.
        start: Start of the recording (s).
        stop: End of the recording (s).
        units: Labels of all units, so that silent units are included.
        trials: Windows of the trials.
        sort: See `from_times`.
        outside: See `from_times`.
        duplicates: See `from_times`.

    Returns:
        The spike trains; without `units`, a note says that silent units are missing.

    Raises:
        InvalidValue: Lengths differ, an index has no unit, or `from_times` refuses the data.
    """
    trains, names, notes = split(times, unit, units)
    made = from_times(trains, start, stop, names, trials, sort=sort, outside=outside, duplicates=duplicates)
    return SpikeTrains(made.times, start, stop, names, trials, notes=(*notes, *made.notes))


def split(
    times: ArrayLike, unit: ArrayLike, units: Iterable[object] | None
) -> tuple[list[NDArray[np.float64]], list[str], list[str]]:
    """Split one list of spikes into one per unit; the order of the spikes is kept.

    Args:
        times: Time of each spike (s).
        unit: Unit of each spike: its index in `units` if `units` is given, else any label.
        units: Labels of all units.

    Returns:
        Times of each unit, labels, notes.

    Raises:
        InvalidValue: Lengths differ, or an index has no unit.
    """
    when, which = checks.numbers("times", times), np.asarray(unit)
    if which.shape != when.shape:
        raise InvalidValue(f"spikes: got {len(when)} times and units of shape {which.shape}; give one unit per spike.")
    notes: list[str] = []
    if which.dtype.kind == "f" and bool((which == np.floor(which)).all()):
        which = which.astype(np.int64)  # unit 3, not unit 3.0
    if units is None:
        found, which = distinct(which)
        names = [str(label) for label in found.tolist()]
        notes.append("the source does not list its units: one that never fires is not among them")
    else:
        names = [str(label) for label in units]
        if len(which) and which.dtype.kind not in "iu":
            raise InvalidValue(f"unit: got values of type {which.dtype}; allowed are positions among the units.")
        wrong = which[(which < 0) | (which >= len(names))]
        if wrong.size:
            raise InvalidValue(f"unit: got the position {wrong[0]}; allowed are 0 to {len(names) - 1}.")
    which = which.astype(np.uint16 if len(names) < 2**16 else np.int64)  # 16 bits are sorted ten times faster
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(1, len(names)))
    return np.split(when[order], ends) if names else [], names, notes


def distinct(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Find distinct labels, as `np.unique` does, but without sorting if the labels are dense integers.

    Args:
        labels: Labels, shape `(count,)`.

    Returns:
        The distinct labels in order, and the index of each label among them.
    """
    if labels.dtype.kind in "iu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if high - low < 4 * len(labels) + 1000:
            offset = labels.astype(np.int64) - low
            there = np.bincount(offset, minlength=high - low + 1) > 0
            return (np.flatnonzero(there) + low).astype(labels.dtype), (np.cumsum(there) - 1)[offset]
    found, which = np.unique(labels, return_inverse=True)
    return found, which


def assemble(
    raw: Raw,
    period: tuple[float, float] | None = None,
    *,
    sort: bool = False,
    outside: Refuse = "error",
    duplicates: Refuse = "error",
    durations: Durations = "error",
) -> SpikeTrains:
    """Assemble spike trains from the spikes of a source.

    Args:
        raw: The spikes, the windows of their units, and the trials.
        period: Period to take (s), on the clock of the source; None: all. Only data in the period must be valid.
        sort: See `Mends`.
        outside: See `Mends`.
        duplicates: See `Mends`.
        durations: See `Mends`.

    Returns:
        The spike trains. Without windows of the source, the recording lasts from its first to its last spike, with a
        note.

    Raises:
        InvalidValue: Units were observed at different times, no window can be found, or `SpikeTrains` refuses the data.
    """
    if durations not in get_args(Durations):
        raise InvalidValue(f"durations: got {durations!r}; allowed are 'error' and 'common'.")
    names = checks.labels(raw.units, len(raw.times))
    arrays = [checks.numbers(f"times of unit {name!r}", unit) for name, unit in zip(names, raw.times, strict=True)]
    notes = list(raw.notes)
    windows = raw.windows
    if windows is None:
        windows = [[period or _span(arrays)]]
        if period is None:
            notes.append(
                "the source does not tell when it recorded: the window is from the first spike to the last, "
                f"{windows[0][0][0]:g} to {windows[0][0][1]:g} s"
            )
            notes.extend(_slow(arrays, *windows[0][0]))
    if len(windows) == 1:
        windows = [windows[0]] * len(names)
    if period is not None:
        partly = durations == "common"
        windows = [_clip(window, period, name, partly) for window, name in zip(windows, names, strict=True)]
        arrays = [_inside(unit, [period]) for unit in arrays]
    common = _agreed(windows, names, durations, notes)
    if common is not windows[0]:
        arrays = [_inside(unit, common) for unit in arrays]
    if (valid := without(common, raw.invalid)) is not common:
        common, spikes = valid, sum(map(len, arrays))
        for low, high in raw.invalid:
            arrays = [unit[~((unit >= low) & (unit < high))] for unit in arrays]
        notes.append(f"times marked as invalid are gaps; {spikes - sum(map(len, arrays))} spikes there: left out")
    start, stop = common[0][0], common[-1][1]
    gaps = [(low, high) for (_, low), (high, _) in itertools.pairwise(common) if high > low]
    trains, names, mended = _mended(arrays, names, (start, stop), sort, outside, duplicates)
    trials, lost = pieces.inside(raw.trials, start, stop, tuple(gaps))
    return SpikeTrains(trains, start, stop, names, trials, gaps, [*notes, *mended, *lost], raw.positions)


def without(window: Window, invalid: Sequence[tuple[float, float]]) -> Window:
    """Cut periods out of a window.

    Args:
        window: Periods (s).
        invalid: Periods to cut out (s), in any order.

    Returns:
        The remaining periods; the same object if no period touches the window.

    Raises:
        InvalidValue: No time remains.
    """
    left = list(window)
    for low, high in invalid:
        if any(low < b and high > a for a, b in left):
            pairs = [pair for a, b in left for pair in ((a, min(b, low)), (max(a, high), b))]
            left = [(a, b) for a, b in pairs if a < b]
    if not left:
        raise InvalidValue("invalid times: they leave nothing of the recording; choose another period.")
    return window if left == list(window) else left


def _mended(
    times: Sequence[ArrayLike],
    units: Iterable[object] | None,
    window: tuple[float, float],
    sort: bool,
    outside: Refuse,
    duplicates: Refuse,
) -> tuple[list[NDArray[np.float64]], tuple[str, ...], list[str]]:
    for name, value in (("outside", outside), ("duplicates", duplicates)):
        if value not in get_args(Refuse):
            raise InvalidValue(f"{name}: got {value!r}; allowed are 'error' and 'drop'.")
    names = checks.labels(units, len(times))
    arrays = [checks.numbers(f"times of unit {name!r}", unit) for name, unit in zip(names, times, strict=True)]
    moved = lost = doubled = 0
    for index, unit in enumerate(arrays):
        kept = unit
        if sort and (np.diff(kept) < 0).any():
            kept, moved = np.sort(kept), moved + 1
        if outside == "drop":
            # NaN is neither inside nor outside: it stays, and is refused later.
            kept = kept[~((kept < window[0]) | (kept > window[1]))]
            lost += len(unit) - len(kept)
        if duplicates == "drop":
            first = np.concatenate([[True], np.diff(kept) != 0])[: len(kept)]
            doubled += int((~first).sum())
            kept = kept[first]
        arrays[index] = kept
    told = [
        (moved, f"{moved} units had spikes out of order: sorted"),
        (lost, f"{lost} spikes outside {window[0]:g} to {window[1]:g} s: dropped"),
        (doubled, f"{doubled} spikes at the time of another of the same unit: dropped"),
    ]
    return arrays, names, [note for count, note in told if count]


def _span(arrays: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    # NaN and infinity are refused later, with the unit's name.
    finite = [unit[np.isfinite(unit)] for unit in arrays]
    ends = [(float(np.min(unit)), float(np.max(unit))) for unit in finite if len(unit)]
    low, high = min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)
    if not low < high:
        raise InvalidValue(
            "recording: the source does not tell when it recorded, and its spikes do not either "
            f"({sum(map(len, arrays))} spikes); give the period."
        )
    return low, high


def _slow(arrays: Sequence[NDArray[np.float64]], low: float, high: float) -> list[str]:
    """Note for rates so low that milliseconds may have been taken for seconds."""
    fastest = max(map(len, arrays)) / (high - low)
    if sum(map(len, arrays)) < _MANY or fastest >= _RARE:
        return []
    return [f"no unit fires more than {fastest:.2g} spikes/s: are the times milliseconds? Then sampling_rate=1000"]


def _clip(window: Window, period: tuple[float, float], name: str, partly: bool) -> Window:
    low, high = period
    clipped = [(max(a, low), min(b, high)) for a, b in window if b > low and a < high]
    whole = bool(clipped) and clipped[0][0] <= low + _SLACK and clipped[-1][1] >= high - _SLACK
    if not low < high or not clipped or not (whole or partly):
        edges = ", ".join(f"{a:g} to {b:g} s" for a, b in window[:3]) or "no time at all"
        raise InvalidValue(
            f"period: got {low:g} to {high:g} s; unit {name!r} was observed from {edges}: choose a period that begins "
            "and ends inside that."
        )
    return clipped


def _agreed(windows: Sequence[Window], names: Sequence[str], durations: Durations, notes: list[str]) -> Window:
    first = windows[0]
    different = [k for k, window in enumerate(windows) if list(window) != list(first)]
    if not different:
        return first
    if durations == "error":
        k = different[0]
        told = [", ".join(f"{low:g} to {high:g} s" for low, high in windows[index][:3]) for index in (0, k)]
        raise InvalidValue(
            f"windows: unit {names[0]!r} was observed from {told[0]}, unit {names[k]!r} from {told[1]} "
            f"({len(different)} units differ); choose a period inside all of them, or pass "
            'durations="common" for the time that they share.'
        )
    common = list(first)
    for window in windows[1:]:
        pairs = [(max(a, c), min(b, d)) for a, b in common for c, d in window]
        common = [(low, high) for low, high in pairs if low < high]
    if not common:
        raise InvalidValue("windows: no time is common to all units; select units that were recorded together.")
    shared = ", ".join(f"{low:g} to {high:g} s" for low, high in common[:3])
    notes.append(f"units were observed at different times: only what all share is kept, {shared}")
    return common


def _inside(times: NDArray[np.float64], windows: Window) -> NDArray[np.float64]:
    inside = np.zeros(len(times), dtype=bool)
    for low, high in windows:
        inside |= (times >= low) & (times < high)
    # NaN is not outside a window: it stays, and is refused later.
    inside |= (times == windows[-1][1]) | ~np.isfinite(times)
    kept: NDArray[np.float64] = times[inside]
    return kept
