"""Pieces of a recording: its window without the gaps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording.trials import TOLERANCE, Trials

Gaps = tuple[tuple[float, float], ...]
"""Periods (s) in which nothing was recorded, in order."""


def checked(gaps: Iterable[tuple[float, float]], start: float, stop: float) -> Gaps:
    """Check the gaps of a recording.

    Args:
        gaps: Periods (s).
        start: Start of the recording (s).
        stop: End of the recording (s).

    Returns:
        The gaps.

    Raises:
        InvalidValue: A gap ends before it begins, overlaps another or exceeds the recording, or the gaps fill it.
    """
    holes = tuple((float(low), float(high)) for low, high in gaps)
    edges = [start, *itertools.chain.from_iterable(holes), stop]
    if not all(low <= high for low, high in itertools.pairwise(edges)):
        raise InvalidValue(
            f"gaps: got {', '.join(f'{low:g} to {high:g} s' for low, high in holes[:8])}; allowed are periods inside "
            f"the recording ({start:g} to {stop:g} s), in order, without overlap."
        )
    if math.fsum(high - low for low, high in holes) >= stop - start:
        raise InvalidValue("gaps: fill the whole recording, so that nothing was recorded; correct the gaps.")
    return holes


def between(start: float, stop: float, gaps: Gaps) -> Gaps:
    """Pieces between the gaps of a recording.

    Args:
        start: Start of the recording (s).
        stop: End of the recording (s).
        gaps: Gaps of the recording.

    Returns:
        Start and end of every piece (s), none of them empty.
    """
    edges = [start, *itertools.chain.from_iterable(gaps), stop]
    return tuple((low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high)


def touching(trials: Trials, gaps: Gaps) -> NDArray[np.bool_]:
    """Find the trials that overlap with a gap.

    Args:
        trials: The trials.
        gaps: The gaps.

    Returns:
        One flag per trial, shape `(trials,)`.
    """
    touched = np.zeros(len(trials), dtype=bool)
    for low, high in gaps:
        touched |= (trials.start < high - TOLERANCE) & (trials.stop > low + TOLERANCE)
    return touched


def inside(trials: Trials | None, start: float, stop: float, gaps: Gaps = ()) -> tuple[Trials | None, list[str]]:
    """Select the trials that are wholly inside a period.

    Args:
        trials: The trials, or None.
        start: Start of the period (s).
        stop: End of the period (s).
        gaps: Gaps that no trial may overlap.

    Returns:
        The trials, or None if there are none, and notes about the others.
    """
    if trials is None:
        return None, []
    kept = (trials.start >= start - TOLERANCE) & (trials.stop <= stop + TOLERANCE)
    touched = kept & touching(trials, gaps)
    notes = []
    if not kept.all():
        notes.append(f"{(~kept).sum()} of {len(trials)} trials are not wholly inside {start:g} to {stop:g} s: left out")
    if touched.any():
        notes.append(f"{touched.sum()} of {len(trials)} trials reach into a gap of the recording: left out")
    kept &= ~touched
    return (trials.keep(kept) if kept.any() else None), notes
