"""Clocks of files: times that should be equally far apart, and numbers of samples taken for seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import hertz

_WHOLE = 20
"""So many spikes at whole seconds, and no others, are no chance."""


def spike_seconds(times: NDArray[np.float64], options: Options, *, known: bool = False) -> NDArray[np.float64]:
    """Times of spikes in seconds.

    Args:
        times: Times in seconds; in samples where `options` has a sampling rate.
        options: With `sampling_rate`.
        known: Whether the source says that they are seconds.

    Returns:
        Times (s).

    Raises:
        InvalidValue: Whole numbers only, which are samples, and no sampling rate.
    """
    rate = options.get("sampling_rate")
    if rate is not None:
        return times / hertz(rate)
    finite = times[np.isfinite(times)]
    if not known and len(finite) >= _WHOLE and bool((finite == np.floor(finite)).all()):
        raise InvalidValue(
            f"times: all {len(finite)} are whole numbers ({finite[0]:.0f}, {finite[1]:.0f}, ...), as numbers of "
            "samples are: give sampling_rate (Hz), or sampling_rate=1 if they are seconds."
        )
    return times


def equal_steps(time: NDArray[np.float64], notes: list[str], step: float | None = None) -> tuple[float, float]:
    """Start and step of samples that are equally far apart but for rounding and jitter.

    Args:
        time: Time of each sample (s).
        notes: Told here: how far the times are from equal steps, where that is more than rounding to the nanosecond.
        step: What the step should be (s); the mean when None, or the simplest number of steps or of steps a second that
            the times allow.

    Returns:
        Start and step (s).

    Raises:
        InvalidValue: Fewer than two samples, a gap, rows out of order, or times that are off by more than a step.
    """
    if len(time) < (2 if step is None else 1):
        raise InvalidValue(f"time: got {len(time)} rows; the step cannot be told from fewer than two.")
    steps = np.diff(time)
    length = float(np.quantile(steps, 0.5, method="lower")) if step is None else step
    if np.isfinite(time[0]) and bool((np.abs(steps - length) <= 1e-6 * abs(length) + 1e-9).all()):
        return float(time[0]), length
    wrong = np.flatnonzero(~(np.abs(steps - length) < 0.5 * length))
    if not np.isfinite(time[0]) or wrong.size:
        k = int(wrong[0]) if wrong.size else 0
        raise InvalidValue(
            f"time: row {k + 1} is at {time[min(k + 1, len(time) - 1)]:g} s, after {time[k]:g} s, where steps of "
            f"{length:g} s are expected: a gap, or rows out of order; leave one side out, or sort the rows."
        )
    even = np.arange(len(time))
    mean = float((time[-1] - time[0]) / even[-1]) if step is None else step
    off = time - time[0] - even * mean
    worst = float(np.ptp(off)) / 2
    if step is None:
        mean = _simplest(mean, 2 * worst / even[-1])
        off = time - time[0] - even * mean
        worst = float(np.ptp(off)) / 2
    if worst > mean:
        raise InvalidValue(
            f"time: the samples are up to {worst:g} s, more than a step of {mean:g} s, away from equal steps; resample "
            "them, or choose a shorter period."
        )
    notes.append(
        f"the times are not equally far apart ({steps.min():.6g} to {steps.max():.6g} s): taken as steps of {mean:.9g} "
        f"s, from which they are off by {worst:.2g} s at most"
    )
    return round(float(time[0] + (off.max() + off.min()) / 2), 9), mean


def _simplest(step: float, tolerance: float) -> float:
    """The rate (1/s) or step (s) of fewest digits that the tolerance allows: 30 Hz, not 30.00005 Hz."""
    if tolerance > 1e-3 * step:
        return step
    for digits in range(1, 7):
        for candidate in (1 / float(f"{1 / step:.{digits}g}"), float(f"{step:.{digits}g}")):
            if abs(candidate - step) <= tolerance:
                return candidate
    return step
