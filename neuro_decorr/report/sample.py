"""Samples of a recording: counts of spikes, or means of rates, in bins."""

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
from neuro_decorr.recording import Rates, SpikeTrains, Trials

_FEWEST = 40  # samples: intervals from fewer are not reliable
_SPARSEST = 1e-4  # spikes per bin: with fewer, almost all bins are empty, and correlations only show which bins are not
_BYTES = 16  # bytes per count (measured): the count, a float64 copy for surrogates, and two float32 copies


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """Samples of a recording.

    Attributes:
        recording: The recording, or a period of it, with the trials that are measured.
        values: Counts or means of the units that vary, shape `(samples, units)`.
        trial: Trial of each sample; all zero without trials.
        silent: Labels of the units that never vary; they are left out and reported.
        bin: Width of a bin (s).
        within_trials: True if the samples are those inside the trials of the recording.
    """

    recording: SpikeTrains | Rates
    values: NDArray[Any]
    trial: NDArray[np.int64]
    silent: tuple[str, ...]
    bin: float
    within_trials: bool

    @property
    def over(self) -> Literal["time", "trials"]:
        """Dimension of the fluctuations, as the argument of `metrics.summary`."""
        return "trials" if self.within_trials else "time"


def sample(recording: SpikeTrains | Rates, bin: float, conditions: Sequence[str] = ()) -> Sample:
    """Count spikes, or average rates, in bins.

    Args:
        recording: The recording.
        bin: Width of a bin (s).
        conditions: Conditions of the trials whose bins are used. Empty: the whole recording.

    Returns:
        The samples.

    Raises:
        InvalidValue: There are no spikes, too few per bin, fewer than two units that vary, fewer than 40 samples or 10
            trials, or trials with unequal numbers of bins; or the counting raises.
    """
    if isinstance(recording, SpikeTrains) and recording.spikes == 0:
        raise InvalidValue(
            f"recording: no spikes of {len(recording.units)} units from {recording.start:g} to {recording.stop:g} s; "
            "give a period and units with spikes."
        )
    if isinstance(recording, SpikeTrains):
        _check_bins(recording, bin)
    if conditions:
        if recording.trials is None:
            why = "".join(f" ({note})" for note in recording.notes if "trials" in note)
            raise InvalidValue(
                f"trials: the recording has none{why}; give a table of them by --trial-table TABLE, or leave the "
                "option out."
            )
        if set(recording.trials.conditions) == {""} and list(conditions) != [""]:
            why = "".join(f" ({note})" for note in recording.notes if "which column" in note)
            raise InvalidValue(f"trials: they have no conditions{why}; name their column by --condition COLUMN.")
        trials = recording.trials.select(conditions)
        if len(trials) < FEWEST_TRIALS:
            raise InvalidValue(
                f"trials: got {len(trials)}; intervals need at least {FEWEST_TRIALS}: choose more conditions, or leave "
                "the option out."
            )
        recording = replace(recording, trials=trials)
        spikes = isinstance(recording, SpikeTrains)
        values, trial = recording.trial_counts(bin) if spikes else recording.trial_binned(bin)  # type: ignore[union-attr]
        _check_alike(trials, np.bincount(trial), bin)
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
    """Refuse bins so narrow that they are almost all empty, or that their counts do not fit into memory."""
    bins, firing = trains.bins(bin), sum(map(bool, map(len, trains.times)))
    asked = "".join(f" ({note})" for note in trains.notes if "milliseconds" in note)
    held = trains.spikes / (bins * firing)
    if held < _SPARSEST:
        raise InvalidValue(
            f"bin: {bin:g} s makes {bins} bins with {held:.1g} spikes per unit and bin; needed are at least "
            f"{_SPARSEST:g}, so choose bins of at least {bin * _SPARSEST / held:.2g} s{asked}."
        )
    needed, memory = _BYTES * bins * len(trains.units), _memory()
    if needed > memory:
        raise InvalidValue(
            f"bin: {bin:g} s makes {bins} bins of {len(trains.units)} units, which need about {needed / 1e9:.2g} GB; "
            f"this machine has {memory / 1e9:.2g} GB: choose wider bins, a shorter period or fewer units{asked}."
        )


def _memory() -> float:
    """Return the memory of this machine (bytes); infinite where it is unknown."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # Windows
        return math.inf


def _check_alike(trials: Trials, bins: NDArray[np.int64], bin: float) -> None:
    """Refuse trials with unequal numbers of bins, since they have no mean response bin by bin."""
    if bins.min() == bins.max():
        return
    durations = trials.durations
    once = "" if trials.one_bin is None else f"; --bin {trials.one_bin:g}s is once per trial"
    raise InvalidValue(
        f"trials: they last {durations.min():g} to {durations.max():g} s and hold {bins.min()} to {bins.max()} bins of "
        f"{bin:g} s; all trials must hold the same number: choose a wider bin (at most {trials.shortest:g} s{once}) or "
        "conditions whose trials are equally long, or shorten the trials to one length in the file."
    )
