"""Conversion of pynapple's objects to recordings and back."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.recording import sampled
from neuro_decorr.recording.assembly import Mends, Raw, assemble
from neuro_decorr.recording.checks import library
from neuro_decorr.recording.clock import Stamp, steps_with_gaps
from neuro_decorr.recording.options import Period
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials, of_table


def from_pynapple(
    source: Any,
    *,
    trials: Any = None,
    condition: str | None = None,
    stamp: Stamp = "start",
    period: Period | None = None,
    **mends: Unpack[Mends],
) -> SpikeTrains | Rates:
    """Make a recording from an object of pynapple.

    Args:
        source: A TsGroup gives spike trains; a Tsd or a TsdFrame gives rates. Its time support is the recorded time:
            the time between two epochs is a gap.
        trials: An IntervalSet, one epoch per trial.
        condition: Column of its metadata with the condition of a trial; None: all trials have the same.
        stamp: Meaning of the time of a sample of rates, `"start"` or `"center"`; `TsGroup.count` gives centres of bins.
        period: Period to take (s); None: all.
        **mends: Mends of spikes, see `Mends`.

    Returns:
        Spike trains or rates, with the labels of the source.

    Raises:
        InvalidValue: The object is of another class, there is no such column, samples have unequal steps, or a
            recording refuses the data.
        MissingExtra: pynapple is not installed.
    """
    nap = library("pynapple")
    notes: list[str] = []
    windows = _trials(nap, trials, condition, notes)
    if isinstance(source, nap.TsGroup):
        support = source.time_support
        window = [(float(a), float(b)) for a, b in zip(support.start, support.end, strict=True)]
        raw = Raw([source[key].t for key in source], list(source.keys()), [window], windows, notes)
        return assemble(raw, period, **mends)
    if isinstance(source, nap.Tsd | nap.TsdFrame):
        step, start, gaps = steps_with_gaps("source", source.t, stamp)
        values = np.asarray(source.values)
        units = list(source.columns) if isinstance(source, nap.TsdFrame) else None
        values = values if values.ndim == 2 else values[:, None]
        return sampled.assemble(Sampled(values, step, start, units, windows, notes=notes, gaps=gaps), period)
    raise InvalidValue(f"source: got {shown(source)}; allowed are pynapple's TsGroup, Tsd and TsdFrame.")


def to_pynapple(recording: SpikeTrains | Rates) -> Any:
    """Convert spikes to a TsGroup, or rates to a TsdFrame, in which the time of a sample is the start of its step.

    Labels that are whole numbers become pynapple's indices. Otherwise units are numbered, and the labels become the
    metadata `label` of a TsGroup, or the columns of a TsdFrame.

    Args:
        recording: The recording.

    Returns:
        The object, with the pieces between gaps as its time support.

    Raises:
        MissingExtra: pynapple is not installed.
    """
    nap = library("pynapple")
    pieces = np.array(recording.pieces)
    support = nap.IntervalSet(pieces[:, 0], pieces[:, 1])
    if isinstance(recording, Rates):
        # The start of its step assigns a sample to an epoch: rounding must not leave it outside.
        wide = nap.IntervalSet(pieces[:, 0] - 1e-9, pieces[:, 1])
        return nap.TsdFrame(
            t=recording.step_starts(), d=recording.values, columns=list(recording.units), time_support=wide
        )
    numbered = all(label.isdecimal() and str(int(label)) == label for label in recording.units)
    keys = [int(label) for label in recording.units] if numbered else list(range(len(recording.units)))
    trains = {key: nap.Ts(times, time_support=support) for key, times in zip(keys, recording.times, strict=True)}
    metadata = {} if numbered else {"metadata": {"label": list(recording.units)}}
    return nap.TsGroup(trains, time_support=support, **metadata)


def _trials(nap: Any, trials: Any, condition: str | None, notes: list[str]) -> Trials | None:
    if trials is None:
        if condition is not None:
            raise InvalidValue(
                f"condition: got {condition!r} and no trials; give the IntervalSet that it is a column of."
            )
        return None
    if not isinstance(trials, nap.IntervalSet):
        raise InvalidValue(f"trials: got {shown(trials)}; allowed is an IntervalSet of pynapple.")
    known = list(trials.metadata_columns)
    if condition is not None and condition not in known:
        raise InvalidValue(
            f"condition: got {condition!r}; the IntervalSet has the columns {', '.join(known) or 'none'}."
        )
    labels = None if condition is None else np.asarray(trials[condition]).tolist()
    return of_table(trials.start, trials.end, labels, notes)
