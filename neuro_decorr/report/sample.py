"""What is measured of a recording: counts of spikes, or means of rates, in bins."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.fluctuations import FEWEST_TRIALS
from neuro_decorr.recording import Rates, SpikeTrains

_FEWEST = 40  # samples: fewer allow no honest interval
_SPARSEST = 1e-4  # spikes a bin: below, hardly any bin has one, and correlations say nothing but which bins these are
_BYTES = 16  # a count, as measured: as it is, in float64 on the way to surrogates, and twice in float32


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """What is measured of a recording.

    Attributes:
        recording: The recording, or the period of it; of its trials only those that are measured.
        values: Counts or means of the units that vary, shape `(samples, units)`.
        trial: Trial of each sample; all zero without trials.
        silent: Labels of the units that never vary: left out, and reported.
        bin: Width of a bin (s).
        within_trials: Whether the samples are those inside the trials of the recording.
    """

    recording: SpikeTrains | Rates
    values: NDArray[Any]
    trial: NDArray[np.int64]
    silent: tuple[str, ...]
    bin: float
    within_trials: bool

    @property
    def over(self) -> Literal["time", "trials"]:
        """What fluctuates, as `metrics.summary` calls it."""
        return "trials" if self.within_trials else "time"


def sample(recording: SpikeTrains | Rates, bin: float, conditions: Sequence[str] = ()) -> Sample:
    """Counts of spikes, or means of rates, in bins.

    Args:
        recording: The recording.
        bin: Width of a bin (s).
        conditions: Only bins in trials of these conditions; all of the recording when none are given.

    Returns:
        The samples.

    Raises:
        InvalidValue: No spikes, hardly any in a bin, fewer than two units that vary, fewer than 40 samples or 10
            trials, trials with unequal numbers of bins, or what the counting refuses.
    """
    if isinstance(recording, SpikeTrains) and recording.spikes == 0:
        raise InvalidValue(
            f"recording: no spikes of {len(recording.units)} units from {recording.start:g} to {recording.stop:g} s; "
            "there is nothing to correlate."
        )
    if isinstance(recording, SpikeTrains):
        _check_bins(recording, bin)
    if conditions:
        if recording.trials is None:
            why = "".join(f" ({note})" for note in recording.notes if "trials" in note)
            raise InvalidValue(f"trials: the recording has none{why}; leave the option out.")
        trials = recording.trials.select(conditions)
        if len(trials) < FEWEST_TRIALS:
            raise InvalidValue(
                f"trials: got {len(trials)}; intervals need at least {FEWEST_TRIALS}: choose more conditions, or leave "
                "the option out."
            )
        recording = replace(recording, trials=trials)
        spikes = isinstance(recording, SpikeTrains)
        values, trial = recording.trial_counts(bin) if spikes else recording.trial_binned(bin)  # type: ignore[union-attr]
        _check_alike(trials.durations, np.bincount(trial), bin)
    else:
        values = recording.counts(bin) if isinstance(recording, SpikeTrains) else recording.binned(bin)
        trial = np.zeros(len(values), dtype=np.int64)
    varying = values.max(axis=0) > values.min(axis=0)
    if varying.sum() < 2 or len(values) < _FEWEST:
        raise InvalidValue(
            f"recording: got {int(varying.sum())} units that vary in {len(values)} bins of {bin:g} s; correlations and "
            f"their intervals need at least 2 units in {_FEWEST} bins."
        )
    silent = tuple(unit for unit, varies in zip(recording.units, varying, strict=True) if not varies)
    return Sample(recording, values[:, varying], trial, silent, bin, bool(conditions))


def _check_bins(trains: SpikeTrains, bin: float) -> None:
    """Refuse bins so narrow that they hold hardly a spike, or that their counts do not fit the memory."""
    bins, firing = trains.bins(bin), sum(map(bool, map(len, trains.times)))
    asked = "".join(f" ({note})" for note in trains.notes if "milliseconds" in note)
    held = trains.spikes / (bins * firing)
    if held < _SPARSEST:
        raise InvalidValue(
            f"bin: {bin:g} s makes {bins} bins, in each of which a unit fires {held:.1g} spikes; allowed are "
            f"{_SPARSEST:g} spikes and more, here bins of {bin * _SPARSEST / held:.2g} s and wider{asked}."
        )
    needed, memory = _BYTES * bins * len(trains.units), _memory()
    if needed > memory:
        raise InvalidValue(
            f"bin: {bin:g} s makes {bins} bins of {len(trains.units)} units, which need some {needed / 1e9:.2g} GB; "
            f"this machine has {memory / 1e9:.2g} GB: choose wider bins, a shorter period or fewer units{asked}."
        )


def _memory() -> float:
    """Of this machine (bytes); not limited where it does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # Windows
        return math.inf


def _check_alike(durations: NDArray[np.float64], bins: NDArray[np.int64], bin: float) -> None:
    """Refuse trials with unequal numbers of bins: their mean response, bin by bin, is not there."""
    if bins.min() == bins.max():
        return
    shortest = math.floor(1000 * durations.min()) / 1000
    raise InvalidValue(
        f"trials: they last {durations.min():g} to {durations.max():g} s and hold {bins.min()} to {bins.max()} bins of "
        f"{bin:g} s; all have to hold the same number: choose a wider bin (at most {shortest:g} s), conditions whose "
        "trials are equally long, or shorten the trials to one length in the file."
    )
