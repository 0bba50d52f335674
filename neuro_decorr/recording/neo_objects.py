"""Conversion of Neo objects to recordings and back; the extra `recordings` installs Neo.

A recording is one Segment with spike trains, or with one AnalogSignal named `rates`; its trials are the Epoch `trials`
(labels: conditions), its gaps the Epoch `gaps`. In a Block of several segments each segment is a trial.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import sampled
from neuro_decorr.recording.assembly import Mends, Raw, Window, assemble
from neuro_decorr.recording.options import Content, Options, Period
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials, of_table

_AXES = ("x", "y", "z")
"""Annotations with the position of a unit (micrometres)."""


def from_neo(
    source: Any, *, content: Content | None = None, period: Period | None = None, **mends: Unpack[Mends]
) -> SpikeTrains | Rates:
    """Make a recording from objects of Neo.

    Args:
        source: A list of neo.SpikeTrain, a neo.Segment, a neo.Block (if it has several segments, each is a trial; its
            annotation `condition`, else its name, is the condition), or a neo.AnalogSignal.
        content: `"spikes"` or `"rates"` (the analog signal); None: spikes if there are any.
        period: Period to take (s); None: all.
        **mends: See `Mends`.

    Returns:
        Spike trains or rates. The labels of units are the names of their spike trains, else numbers.

    Raises:
        InvalidValue: There is nothing of that kind, segments have different units, or a recording refuses the data.
        MissingExtra: Neo is not installed.
    """
    found = read(source, {"content": content})
    return assemble(found, period, **mends) if isinstance(found, Raw) else sampled.assemble(found, period)


def read(source: Any, options: Options) -> Raw | Sampled:
    """Take spikes or rates from objects of Neo; see `from_neo`.

    Args:
        source: See `from_neo`; lazy objects are loaded here, and only the wanted ones.
        options: Options with `content`, and `series`, the name of an analog signal.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: See `from_neo`.
    """
    neo = require("neo", "recordings")
    if isinstance(source, neo.AnalogSignal):
        return _rates([source], None, [])
    segments = [source] if isinstance(source, neo.Segment) else getattr(source, "segments", None)
    if segments is None:
        trains = list(source)
        if not all(isinstance(train, neo.SpikeTrain) for train in trains):
            raise InvalidValue(
                f"source: got {type(source).__name__}; allowed are a neo Block, Segment, AnalogSignal or a list of "
                "SpikeTrains."
            )
        return _spikes(trains)
    notes = getattr(source, "annotations", {}).get("notes", [])
    notes = [str(notes)] if isinstance(notes, str) else list(map(str, notes))
    content = options.get("content") or ("rates" if options.get("series") else None)
    spiking = [segment for segment in segments if len(segment.spiketrains)]
    if spiking and content != "rates":
        return _spikes_of(spiking, notes)
    signals = [signal for segment in segments for signal in segment.analogsignals]
    wanted = options.get("series")
    chosen = [signal for signal in signals if wanted is None or signal.name == wanted]
    if content == "spikes" or not chosen or len({signal.name for signal in chosen}) != 1:
        names = ", ".join(dict.fromkeys(str(signal.name) for signal in signals)) or "none"
        raise InvalidValue(
            f"source: got {len(signals)} analog signals ({names}) and no spike trains that are wanted; allowed are "
            "spike trains, or one analog signal: choose it by its name, with series."
        )
    return _rates(chosen, _epoch(segments[0], "trials", notes), notes)


def to_neo(recording: SpikeTrains | Rates, *, segments: bool = False) -> Any:
    """Convert a recording to a neo.Block, with times in seconds.

    Args:
        recording: The recording.
        segments: True makes one segment per trial, for libraries that expect this, and leaves out spikes between the
            trials. False makes one segment of everything, with trials and gaps as epochs.

    Returns:
        The block.

    Raises:
        InvalidValue: `segments` is True for rates or without trials.
        MissingExtra: Neo is not installed.
    """
    neo, pq = require("neo", "recordings"), require("quantities", "recordings")
    block = neo.Block(name="recording", notes=list(recording.notes))
    if segments:
        if not isinstance(recording, SpikeTrains) or recording.trials is None:
            raise InvalidValue("segments: got True; allowed for spike trains with trials only, leave it out.")
        trials = recording.trials
        ends = zip(trials.start.tolist(), trials.stop.tolist(), trials.conditions, strict=True)
        for index, (start, stop, condition) in enumerate(ends):
            segment = neo.Segment(name=f"trial {index}", index=index, condition=condition)
            segment.spiketrains.extend(_trains(recording.window(start, stop)))
            block.segments.append(segment)
        return block
    segment = neo.Segment(name="recording")
    if isinstance(recording, SpikeTrains):
        segment.spiketrains.extend(_trains(recording))
        if recording.gaps:
            low, high = np.array(recording.gaps).T
            segment.epochs.append(neo.Epoch(low * pq.s, (high - low) * pq.s, [""] * len(low), name="gaps"))
    else:
        places = {} if recording.positions is None else dict(zip(_AXES, recording.positions.T, strict=False))
        for first, end, start in recording.rows():
            signal = neo.AnalogSignal(
                recording.values[first:end],
                units=recording.quantity or "dimensionless",
                sampling_period=recording.step * pq.s,
                t_start=start * pq.s,
                name="rates",
                array_annotations={"unit": list(recording.units), **places},
            )
            segment.analogsignals.append(signal)
    if recording.trials is not None:
        given = recording.trials
        segment.epochs.append(
            neo.Epoch(given.start * pq.s, given.durations * pq.s, list(given.conditions), name="trials")
        )
    block.segments.append(segment)
    return block


def _trains(recording: SpikeTrains) -> list[Any]:
    neo = require("neo", "recordings")
    rows = [()] * len(recording.units) if recording.positions is None else recording.positions.tolist()
    return [
        neo.SpikeTrain(
            times, t_start=recording.start, t_stop=recording.stop, units="s", name=name,
            **dict(zip(_AXES, place, strict=False)),
        )
        for name, times, place in zip(recording.units, recording.times, rows, strict=True)
    ]  # fmt: skip


def _spikes(trains: Sequence[Any]) -> Raw:
    trains = [train.load() if hasattr(train, "load") else train for train in trains]
    names = [train.name for train in trains]
    named = all(names) and len(set(names)) == len(names)
    windows: list[Window] = [[(_seconds(train.t_start), _seconds(train.t_stop))] for train in trains]
    axes = [axis for axis in _AXES if all(axis in train.annotations for train in trains)]
    places = [[float(train.annotations[axis]) for axis in axes] for train in trains] if axes else None
    return Raw([_seconds_of(train) for train in trains], names if named else None, windows, positions=places)


def _spikes_of(segments: Sequence[Any], notes: list[str]) -> Raw:
    alone = len(segments) == 1
    raw = _spikes(list(segments[0].spiketrains)) if alone else _trials_of_segments(segments)
    raw.notes[:0] = notes
    read = ("trials", "gaps") if alone else ()
    others = sorted({str(epoch.name) for segment in segments for epoch in segment.epochs if epoch.name not in read})
    if others:
        raw.notes.append(f"epochs that were not read (trials are the epoch 'trials'): {', '.join(others)}")
    if alone:
        raw.trials = _epoch(segments[0], "trials", raw.notes)
        raw.windows = _without_gaps(raw.windows, _epoch(segments[0], "gaps", raw.notes))
    return raw


def _trials_of_segments(segments: Sequence[Any]) -> Raw:
    """Combine the spikes of several segments on one clock: their own, or laid end to end if their times overlap."""
    parts = [_spikes(list(segment.spiketrains)) for segment in segments]
    named = [list(part.units or range(len(part.times))) for part in parts]
    names = list(dict.fromkeys(itertools.chain.from_iterable(named)))
    for index, part in enumerate(parts):
        if part.units is None and len(part.times) != len(names):
            raise InvalidValue(
                f"segments: segment {index} has other units than segment 0; name the spike trains, each unit alike in "
                "all of them."
            )
    spans = [_one_window(part, index) for index, part in enumerate(parts)]
    shifts = [0.0] * len(parts)
    notes = []
    if any(low < high for (_, high), (low, _) in itertools.pairwise(spans)):
        ends = np.cumsum([0.0, *(high - low for low, high in spans)])
        shifts = [float(end) - low for end, (low, _) in zip(ends, spans, strict=False)]
        notes.append("every segment has its own clock: the trials were laid end to end")
    moved = [(low + shift, high + shift) for (low, high), shift in zip(spans, shifts, strict=True)]
    moved = [(low, min(high, after)) for (low, high), (after, _) in zip(moved, [*moved[1:], (np.inf, 0)], strict=True)]
    labels = [segment.annotations.get("condition", segment.name) or "" for segment in segments]
    times: list[NDArray[np.float64]] = []
    windows: list[Window] = []
    for name in names:
        there = [k for k, own in enumerate(named) if name in own]
        times.append(np.concatenate([np.asarray(parts[k].times[named[k].index(name)]) + shifts[k] for k in there]))
        windows.append([moved[k] for k in there])  # a unit was not observed in the segments that lack it
    starts, stops = np.array(moved).T
    return Raw(times, names, windows, Trials(starts, stops, labels), notes)


def _one_window(part: Raw, index: int) -> Period:
    windows = {tuple(window[0]) for window in part.windows or ()}
    if len(windows) != 1:
        raise InvalidValue(f"segments: the spike trains of segment {index} have different t_start or t_stop; cut them.")
    ((low, high),) = windows
    return low, high


def _without_gaps(windows: Sequence[Window] | None, gaps: Trials | None) -> Sequence[Window] | None:
    if windows is None or gaps is None:
        return windows
    cut = []
    for window in windows:
        edges = [window[0][0], *np.ravel(np.column_stack([gaps.start, gaps.stop])).tolist(), window[-1][1]]
        cut.append(list(zip(edges[::2], edges[1::2], strict=True)))
    return cut


def _epoch(segment: Any, name: str, notes: list[str]) -> Trials | None:
    for epoch in segment.epochs:
        if epoch.name == name:
            held = epoch.load() if hasattr(epoch, "load") else epoch
            if len(held):
                start = _seconds_of(held)
                stop, labels = start + _seconds_of(held.durations), list(held.labels)
                return of_table(start, stop, labels, notes)
    return None


def _rates(signals: Sequence[Any], trials: Trials | None, notes: list[str]) -> Sampled:
    """Combine the pieces of one signal, with one name, step and number of channels, one after another."""
    loaded = [signal.load() if hasattr(signal, "load") else signal for signal in signals]
    loaded.sort(key=lambda signal: _seconds(signal.t_start))
    first = loaded[0]
    step = _seconds(first.sampling_period)
    alike = {(signal.shape[1], signal.dimensionality.string) for signal in loaded}
    starts = [_seconds(signal.t_start) for signal in loaded]
    ends = [start + len(signal) * step for start, signal in zip(starts, loaded, strict=True)]
    other = any(abs(_seconds(signal.sampling_period) - step) > 1e-9 * step for signal in loaded)
    if other or len(alike) > 1 or any(low < high - 1e-6 * step for high, low in zip(ends, starts[1:], strict=False)):
        raise InvalidValue(
            f"source: {len(loaded)} analog signals are called {first.name!r}, of other channels, steps or the same "
            "time; choose one with from_neo(signal)."
        )
    names = first.array_annotations.get("unit")
    axes = [axis for axis in _AXES if axis in first.array_annotations]
    places = np.column_stack([first.array_annotations[axis] for axis in axes]) if axes else None
    quantity = "" if first.dimensionality.string == "dimensionless" else first.dimensionality.string
    values = np.concatenate([np.asarray(signal.magnitude) for signal in loaded])
    gaps = [(high, low) for high, low in zip(ends, starts[1:], strict=False) if low > high]
    units = None if names is None else list(names)
    return Sampled(values, step, starts[0], units, trials, quantity, notes, gaps, places)


def _seconds(value: Any) -> float:
    return float(_seconds_of(value))


def _seconds_of(values: Any) -> NDArray[np.float64]:
    """Magnitude in seconds; for units such as ms it is divided by the exact factor, which gives the nearest number."""
    factor = float((1 / values.units).rescale("1/s").magnitude) if values.units.dimensionality.string != "s" else 1.0
    magnitude = np.asarray(values.magnitude, dtype=np.float64)
    return magnitude / round(factor) if factor > 1 else magnitude * float(values.units.rescale("s").magnitude)
