"""Clocks of recordings: equal steps with jitter or with gaps, and sample numbers that were taken for seconds."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording.checks import numbers, seconds
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.sampled import hertz

Stamp: TypeAlias = Literal["start", "center"]
"""Meaning of the time of a sample: the start of its step, or the centre."""

_SLACK = 1e-3  # of a step: the error of single precision and of a clock in microseconds
_WHOLE = 20
"""Number of spikes from which it is no chance that all are at whole seconds."""


def spike_seconds(times: NDArray[np.float64], options: Options, *, known: bool = False) -> NDArray[np.float64]:
    """Convert times of spikes to seconds.

    Args:
        times: Times in seconds; in samples if `options` has a sampling rate.
        options: Options with `sampling_rate`.
        known: True if the source says that the times are seconds.

    Returns:
        Times (s).

    Raises:
        InvalidValue: All times are whole numbers, as sample numbers are, and there is no sampling rate.
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
    """Find start and step of samples that are equally spaced up to rounding and jitter.

    Args:
        time: Time of each sample (s).
        notes: List that gets a note on the deviation from equal steps, if it is more than rounding to the nanosecond.
        step: Length of a step (s); None: the mean, or the simplest step or rate that the times allow.

    Returns:
        Start and step (s).

    Raises:
        InvalidValue: There are fewer than two samples, a gap, rows out of order, or a deviation of more than a step.
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


def steps_with_gaps(
    name: str, times: ArrayLike, stamp: Stamp = "start", step: float | None = None
) -> tuple[float, float, list[tuple[float, float]]]:
    """Find start and step of equally spaced samples, and the gaps in which nothing was recorded.

    Args:
        name: Name of the times for the error.
        times: Time of each sample (s).
        stamp: Meaning of the time of a sample: the start of its step, or the centre.
        step: Length of a step (s); None: the median distance of two samples.

    Returns:
        Length of a step, start of the first step, gaps (s).

    Raises:
        InvalidValue: There are fewer than two samples and no step, or samples are out of order or closer than a step.
    """
    if stamp not in ("start", "center"):
        raise InvalidValue(f"stamp: got {stamp!r}; allowed are 'start' and 'center'.")
    when = numbers(name, times)
    if (len(when) < 2 and step is None) or len(when) == 0:
        raise InvalidValue(f"{name}: got {len(when)} samples, which do not tell how long one lasts; give step (s).")
    apart = np.diff(when)
    width = seconds("step", float(np.median(apart)) if step is None else step)
    near = np.flatnonzero(~(apart >= (1 - _SLACK) * width))
    if near.size:
        k = int(near[0])
        raise InvalidValue(
            f"{name}: sample {k + 1} at {when[k + 1]:g} s comes {apart[k]:g} s after the one before, in steps of "
            f"{width:g} s; allowed are equal steps with gaps: bring the values onto one clock first."
        )
    jumps = np.flatnonzero(apart > (1 + _SLACK) * width)
    if step is None:
        # The mean within the pieces: the median of steps in float32 would accumulate its rounding error.
        inner = np.delete(apart, jumps)
        width = float(inner.mean())
    firsts = [0, *(jumps + 1).tolist()]
    lengths = np.diff([*firsts, len(when)])
    off = 0.5 * width if stamp == "center" else 0.0
    starts = when[firsts] - off
    ends = starts + lengths * width
    gaps = [(float(low), float(high)) for low, high in zip(ends[:-1], starts[1:], strict=True)]
    return width, float(starts[0]), gaps


def _simplest(step: float, tolerance: float) -> float:
    """Step (s) whose rate or length has the fewest digits within the tolerance: 30 Hz, not 30.00005 Hz."""
    if tolerance > 1e-3 * step:
        return step
    for digits in range(1, 7):
        for candidate in (1 / float(f"{1 / step:.{digits}g}"), float(f"{step:.{digits}g}")):
            if abs(candidate - step) <= tolerance:
                return candidate
    return step
