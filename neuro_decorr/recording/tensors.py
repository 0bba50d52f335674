"""Conversion of spike tensors of torch, snnTorch and Norse, (time, batch, units), to recordings and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording.checks import seconds
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials


def from_tensor(
    activity: Tensor | NDArray[Any],
    step: float,
    *,
    rates: bool = False,
    start: float = 0.0,
    units: Iterable[object] | None = None,
    conditions: Iterable[object] | None = None,
    quantity: str = "",
) -> SpikeTrains | Rates:
    """Make a recording from a tensor; each element of the batch becomes a trial, and trials are laid end to end.

    Args:
        activity: Spikes (0 or 1) or values, shape `(time, batch, units)`, or `(time, units)` without trials.
        step: Length of a step (s).
        rates: True if the tensor holds values, False if it holds spikes.
        start: Start of the first step (s).
        units: Label of each unit; None: 0, 1, ...
        conditions: Condition of each element of the batch.
        quantity: Physical unit of the values.

    Returns:
        Spike trains, with each spike at the start of its step; or rates.

    Raises:
        InvalidValue: The shape is another, spikes are not 0 or 1, or a recording refuses the data.
    """
    values = activity.detach().cpu().numpy() if isinstance(activity, Tensor) else np.asarray(activity)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise InvalidValue(f"activity: got shape {values.shape}; allowed are (time, batch, units) and (time, units).")
    width, trials = seconds("step", step), None
    if values.ndim == 3:
        steps, batch, _ = values.shape
        edges = start + width * steps * np.arange(batch + 1)
        trials = Trials(edges[:-1], edges[1:], conditions)
        values = values.transpose(1, 0, 2).reshape(steps * batch, -1)
    stop = start + width * len(values)
    if rates:
        return Rates(values, width, start, units, trials, quantity)
    if not ((values == 0) | (values == 1)).all():
        raise InvalidValue(
            "activity: holds other values than 0 and 1; give spikes as 0 and 1, or rates=True for values."
        )
    unit, row = np.nonzero(values.T)
    times = np.split(start + width * row, np.searchsorted(unit, np.arange(1, values.shape[1])))
    return SpikeTrains(times, start, stop, units, trials)


def to_tensor(recording: SpikeTrains | Rates, step: float | None = None) -> Tensor:
    """Convert a recording to a float32 tensor.

    Args:
        recording: The recording; each trial becomes an element of the batch, and all must have the same number of
            steps.
        step: Length of a step (s) for spikes; rates have their own.

    Returns:
        Spikes or values, shape `(time, batch, units)`, or `(time, 1, units)` without trials.

    Raises:
        InvalidValue: There are gaps and no trials, spikes have no step, rates get one, a unit spikes twice in one step,
            or trials have unequal lengths.
    """
    if recording.gaps and recording.trials is None:
        raise InvalidValue(
            "recording: has gaps, and a tensor cannot have any; choose a piece of the recording with window()."
        )
    if isinstance(recording, Rates):
        if step is not None:
            raise InvalidValue(
                f"step: got {step:g} s; rates have a step of their own, {recording.step:g} s: leave it out."
            )
        values, trial = (recording.values, None) if recording.trials is None else recording.trial_binned(recording.step)
    else:
        if step is None:
            raise InvalidValue("step: spikes need the length of a step (s).")
        counted = (recording.counts(step), None) if recording.trials is None else recording.trial_counts(step)
        values, trial = counted
        if values.max() > 1:
            raise InvalidValue(f"step: in steps of {step:g} s a unit spikes more than once; choose a shorter one.")
    batch = 1 if trial is None else int(trial[-1]) + 1
    if trial is not None and np.ptp(np.bincount(trial)):
        raise InvalidValue("trials: they have different numbers of steps; choose trials of one length.")
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return tensor.reshape(batch, -1, values.shape[1]).transpose(0, 1).contiguous()
