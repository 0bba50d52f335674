"""Neo objects to recordings and back, and NIX files through neo.io.NixIO; the extra `recordings` brings neo.

A recording is one Segment: its spike trains, or one AnalogSignal named `rates`; its trials are the Epoch `trials`
(labels: conditions), its gaps the Epoch `gaps`. Blocks of several segments are read too: each segment is a trial.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, Unpack

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import tidy
from neuro_decorr.recording.assembly import Mends, Raw, Window, assemble
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains
from neuro_decorr.recording.trials import Trials

Content: TypeAlias = Literal["spikes", "rates"]
"""What to take of a source that holds both."""

Period: TypeAlias = tuple[float, float]


def from_neo(
    source: Any, *, content: Content | None = None, period: Period | None = None, **mends: Unpack[Mends]
) -> SpikeTrains | Rates:
    """A recording from Neo.

    Args:
        source: A list of neo.SpikeTrain, a neo.Segment, a neo.Block (each segment a trial when there are several; its
            annotation `condition`, else its name, is the condition), or a neo.AnalogSignal.
        content: Spikes or rates (the analog signal); spikes where there are any when None.
        period: The period wanted (s).
        **mends: See `Mends`.

    Returns:
        Spike trains or rates. Units are labelled by the names of their spike trains, else by their numbers.

    Raises:
        InvalidValue: Nothing of that kind, segments with different units, or whatever a recording refuses.
    """
    found = read(source, content, period)
    return assemble(found, period, **mends) if isinstance(found, Raw) else found


def read(source: Any, content: Content | None, period: Period | None) -> Raw | Rates:
    """Spikes to be assembled, or rates, from Neo; see `from_neo`.

    Args:
        source: See `from_neo`.
        content: See `from_neo`.
        period: The period wanted (s).

    Returns:
        What was found.

    Raises:
        InvalidValue: See `from_neo`.
    """
    neo = require("neo", "recordings")
    if isinstance(source, neo.AnalogSignal):
        return _rates(source, None, period)
    segments = [source] if isinstance(source, neo.Segment) else getattr(source, "segments", None)
    if segments is None:
        trains = list(source)
        if not all(isinstance(train, neo.SpikeTrain) for train in trains):
            raise InvalidValue(
                f"source: got {type(source).__name__}; allowed are a neo Block, Segment, AnalogSignal or a list of "
                "SpikeTrains."
            )
        return _spikes(trains)
    spiking = [segment for segment in segments if len(segment.spiketrains)]
    signals = [signal for segment in segments for signal in segment.analogsignals]
    if spiking and content != "rates":
        raw = _spikes(list(spiking[0].spiketrains)) if len(spiking) == 1 else _trials_of_segments(spiking)
        notes = getattr(source, "annotations", {}).get("notes", [])
        raw.notes[:0] = [str(notes)] if isinstance(notes, str) else map(str, notes)
        read = ("trials", "gaps") if len(spiking) == 1 else ()
        others = sorted({str(epoch.name) for segment in spiking for epoch in segment.epochs if epoch.name not in read})
        if others:
            raw.notes.append(f"epochs that were not read (trials are the epoch 'trials'): {', '.join(others)}")
        if len(spiking) == 1:
            raw.trials = _epoch(spiking[0], "trials")
            raw.windows = _without_gaps(raw.windows, _epoch(spiking[0], "gaps"))
        return raw
    if len(signals) != 1 or content == "spikes":
        raise InvalidValue(
            f"source: got {len(signals)} analog signals and no spike trains that are wanted; allowed are spike trains "
            "or exactly one analog signal: choose it from segment.analogsignals."
        )
    return _rates(signals[0], _epoch(segments[0], "trials"), period)


def to_neo(recording: SpikeTrains | Rates, *, segments: bool = False) -> Any:
    """A recording as a neo.Block, times in seconds.

    Args:
        recording: The recording.
        segments: One segment a trial, for libraries that expect that; spikes between the trials are left out.
            Without, one segment with everything, trials and gaps as epochs.

    Returns:
        The block.

    Raises:
        InvalidValue: Segments of a recording without trials, or of rates.
    """
    neo, pq = require("neo", "recordings"), require("quantities", "recordings")
    block = neo.Block(name="recording", notes=list(recording.notes))
    if segments:
        if not isinstance(recording, SpikeTrains) or recording.trials is None:
            raise InvalidValue("segments: allowed for spike trains with trials only.")
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
        signal = neo.AnalogSignal(
            recording.values,
            units=recording.quantity or "dimensionless",
            sampling_period=recording.step * pq.s,
            t_start=recording.start * pq.s,
            name="rates",
            array_annotations={"unit": list(recording.units)},
        )
        segment.analogsignals.append(signal)
    if recording.trials is not None:
        given = recording.trials
        segment.epochs.append(
            neo.Epoch(given.start * pq.s, given.durations * pq.s, list(given.conditions), name="trials")
        )
    block.segments.append(segment)
    return block


def read_nix(path: Path, content: Content | None, period: Period | None) -> Raw | Rates:
    """Spikes to be assembled, or rates, from a NIX file.

    Args:
        path: The file.
        content: See `from_neo`.
        period: See `from_neo`.

    Returns:
        What was found.

    Raises:
        InvalidValue: No block or several, or see `from_neo`.
    """
    neo = require("neo", "recordings")
    require("nixio", "recordings")
    with neo.io.NixIO(str(path), "ro") as file:
        blocks = file.read_all_blocks()
    if len(blocks) != 1:
        raise InvalidValue(f"holds {len(blocks)} blocks; allowed is one: read it with neo.io.NixIO and use from_neo.")
    return read(blocks[0], content, period)


def write_nix(path: Path, recording: SpikeTrains | Rates) -> None:
    """Write a recording as a NIX file.

    Args:
        path: The file.
        recording: The recording.
    """
    neo = require("neo", "recordings")
    require("nixio", "recordings")
    with neo.io.NixIO(str(path), "ow") as file:
        file.write_block(to_neo(recording))


def _trains(recording: SpikeTrains) -> list[Any]:
    neo = require("neo", "recordings")
    return [
        neo.SpikeTrain(times, t_start=recording.start, t_stop=recording.stop, units="s", name=name)
        for name, times in zip(recording.units, recording.times, strict=True)
    ]


def _spikes(trains: Sequence[Any]) -> Raw:
    names = [train.name for train in trains]
    named = all(names) and len(set(names)) == len(names)
    windows: list[Window] = [[(_seconds(train.t_start), _seconds(train.t_stop))] for train in trains]
    return Raw([_seconds_of(train) for train in trains], names if named else None, windows)


def _trials_of_segments(segments: Sequence[Any]) -> Raw:
    """Spikes of several segments on one clock: their own, or laid end to end where their times overlap."""
    parts = [_spikes(list(segment.spiketrains)) for segment in segments]
    names = parts[0].units or range(len(parts[0].times))
    for index, part in enumerate(parts):
        if list(part.units or range(len(part.times))) != list(names):
            raise InvalidValue(
                f"segments: segment {index} has other units than segment 0; name the spike trains alike, in one order."
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
    times = [
        np.concatenate([np.asarray(part.times[unit]) + shift for part, shift in zip(parts, shifts, strict=True)])
        for unit in range(len(parts[0].times))
    ]
    starts, stops = np.array(moved).T
    windows: list[Window] = [moved]
    return Raw(times, list(names), windows, Trials(starts, stops, labels), notes)


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


def _epoch(segment: Any, name: str) -> Trials | None:
    for epoch in segment.epochs:
        if epoch.name == name and len(epoch):
            start = _seconds_of(epoch)
            stop = start + _seconds_of(epoch.durations)
            return Trials(start, stop, list(epoch.labels))
    return None


def _rates(signal: Any, trials: Trials | None, period: Period | None) -> Rates:
    names = signal.array_annotations.get("unit")
    quantity = "" if signal.dimensionality.string == "dimensionless" else signal.dimensionality.string
    step, start = _seconds(signal.sampling_period), _seconds(signal.t_start)
    units = None if names is None else list(names)
    return tidy.cut(np.asarray(signal.magnitude), step, start, units, trials, quantity, [], period)


def _seconds(value: Any) -> float:
    return float(_seconds_of(value))


def _seconds_of(values: Any) -> NDArray[np.float64]:
    """Magnitude in seconds; divided by the exact factor where the unit is a fraction, for the nearest number."""
    factor = float((1 / values.units).rescale("1/s").magnitude) if values.units.dimensionality.string != "s" else 1.0
    magnitude = np.asarray(values.magnitude, dtype=np.float64)
    return magnitude / round(factor) if factor > 1 else magnitude * float(values.units.rescale("s").magnitude)
