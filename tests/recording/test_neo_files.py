"""Files that Neo's own readers read, written by Neo, and blocks whose segments differ."""

from __future__ import annotations

import pickle
from pathlib import Path

import neo
import numpy as np
import pytest
import quantities as pq
from elephant.conversion import BinnedSpikeTrain

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains, from_neo, load
from neuro_decorr.recording.neo_files import names

TRAINS = [np.array([0.25, 0.5, 1.75]), np.array([1.0, 1.5])]


def block() -> neo.Block:
    made, segment = neo.Block(), neo.Segment()
    for k, times in enumerate(TRAINS):
        segment.spiketrains.append(neo.SpikeTrain(times, t_stop=2, units="s", name=f"n{k}"))
    made.segments.append(segment)
    return made


def test_a_reader_is_named(tmp_path: Path) -> None:
    neo.io.NeoMatlabIO(str(tmp_path / "a.mat")).write_block(block())
    for name in ("neomatlab", "NeoMatlabIO"):
        found = load(tmp_path / "a.mat", format=name)
        assert isinstance(found, SpikeTrains)
        assert [times.tolist() for times in found.times] == [times.tolist() for times in TRAINS]
    assert load(tmp_path / "a.mat", format="neomatlab", units=["n1"]).units == ("n1",)


def test_what_is_read_lazily_is_what_neo_reads(tmp_path: Path) -> None:
    (tmp_path / "a.fake").touch()
    reader = neo.io.ExampleIO(str(tmp_path / "a.fake"))
    segments = reader.read_block().segments
    found = load(tmp_path / "a.fake", format="example")
    assert isinstance(found, SpikeTrains) and found.trials is not None and len(found.trials) == len(segments)
    counts, trial = found.trial_counts(1.0)
    for index, segment in enumerate(segments):
        theirs = BinnedSpikeTrain(list(segment.spiketrains), bin_size=1 * pq.s).to_array().T
        np.testing.assert_array_equal(counts[trial == index], theirs)
    with pytest.raises(InvalidValue, match=r"got \d+ analog signals"):
        load(tmp_path / "a.fake", format="example", series="absent")


def test_what_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(block()))
    with pytest.raises(InvalidValue, match="a pickle can run any program"):
        load(path, format="pickle")
    with pytest.raises(InvalidValue, match=r"is of no known format \(a pickle"):
        load(path)
    (tmp_path / "a.plx").write_bytes(bytes(100))
    with pytest.raises(InvalidValue, match="Neo would try plexon"):
        load(tmp_path / "a.plx")
    with pytest.raises(InvalidValue, match=r"a.plx: cannot be read as plexon \(") as caught:
        load(tmp_path / "a.plx", format="plexon")
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidValue, match=r"format: got 'spikes'; allowed are .*, and Neo's readers: .*blackrock"):
        load(path, format="spikes")
    assert {"blackrock", "plexon", "neuralynx", "spikegadgets", "tdt"} <= set(names())


def test_a_unit_that_is_absent_from_a_segment_was_not_observed_there() -> None:
    made = neo.Block()
    for index, labels in enumerate((["a", "b"], ["a"], ["b", "a"])):
        segment = neo.Segment(name=f"s{index}")
        for label in labels:
            train = neo.SpikeTrain([10 * index + 0.5], t_start=10 * index, t_stop=10 * index + 1, units="s", name=label)
            segment.spiketrains.append(train)
        made.segments.append(segment)
    with pytest.raises(
        InvalidValue, match=r"unit \'a\' was observed from 0 to 1 s, 10 to 11 s.*unit 'b' from 0 to 1 s, 20"
    ):
        from_neo(made)
    shared = from_neo(made, durations="common")
    assert isinstance(shared, SpikeTrains) and shared.trials is not None
    assert [times.tolist() for times in shared.times] == [[0.5, 20.5], [0.5, 20.5]]
    assert (shared.gaps, shared.trials.conditions) == (((1.0, 20.0),), ("s0", "s2"))


def test_pieces_of_a_signal_and_overlapping_epochs() -> None:
    segment = neo.Segment()
    for start in (0, 5):
        values = start + np.arange(6.0).reshape(3, 2)
        signal = neo.AnalogSignal(values, units="mV", sampling_rate=2 * pq.Hz, t_start=start * pq.s, name="lfp")
        segment.analogsignals.append(signal)
    found = from_neo(segment)
    assert isinstance(found, Rates) and found.gaps == ((1.5, 5.0),) and found.stop == 6.5
    np.testing.assert_array_equal(found.values[:, 0], [0, 2, 4, 5, 7, 9])
    segment.spiketrains.append(neo.SpikeTrain([0.5], t_stop=6, units="s"))
    segment.epochs.append(neo.Epoch([0, 1] * pq.s, [2, 2] * pq.s, ["a", "b"], name="trials"))
    assert "the trials are not used: 1 begin before" in from_neo(segment).notes[0]
    assert isinstance(from_neo(segment, content="rates"), Rates)
