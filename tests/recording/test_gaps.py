"""Gaps: bins skip them, trials do not touch them, and what a file marks as invalid becomes one."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pynwb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains, Trials, load, to_brian, to_tensor
from tests.recording.test_nwb import session, write

GENERATOR = np.random.default_rng(4)


@given(
    ticks=st.lists(st.integers(0, 999), unique=True).map(sorted),
    edges=st.lists(st.integers(1, 999), unique=True, min_size=2, max_size=8).map(sorted),
    width=st.integers(1, 200),
    rows=st.integers(1, 30),
)
def test_bins_are_those_of_each_piece(ticks: list[int], edges: list[int], width: int, rows: int) -> None:
    """Against integers: every piece is counted alone, from its own start."""
    edges = edges[: 2 * (len(edges) // 2)]
    gaps = list(zip(edges[::2], edges[1::2], strict=True))
    kept = [tick for tick in ticks if not any(low < tick < high for low, high in gaps)]
    bounds = [0, *edges, 1000]
    pieces = [(low, high) for low, high in zip(bounds[::2], bounds[1::2], strict=True) if low < high]
    expected = [
        sum(low + k * width <= tick < low + (k + 1) * width for tick in kept)
        for low, high in pieces
        for k in range((high - low) // width)
    ]
    step = 1e-3
    trains = SpikeTrains([[t * step for t in kept]], 0, 1, gaps=[(a * step, b * step) for a, b in gaps])
    if not expected:
        with pytest.raises(InvalidValue, match="wider than"):
            trains.counts(width * step)
        return
    assert trains.bins(width * step) == len(expected)
    np.testing.assert_array_equal(trains.counts(width * step)[:, 0], expected)
    np.testing.assert_array_equal(np.concatenate(list(trains.counts_chunks(width * step, rows)))[:, 0], expected)


@given(
    ticks=st.lists(st.integers(0, 99), unique=True).map(sorted),
    edges=st.lists(st.integers(0, 99), unique=True, min_size=2, max_size=8).map(sorted),
    touching=st.booleans(),
)
def test_only_what_is_inside_the_trials_is_kept(ticks: list[int], edges: list[int], touching: bool) -> None:
    """Against integers: a spike at the end of a trial is outside, unless another one begins there."""
    windows = list(itertools.pairwise(edges))[:: 1 if touching else 2]
    low, high = zip(*windows, strict=True)
    trains = SpikeTrains([ticks, []], 0, 100, ["a", "b"], Trials(low, high))
    found = trains.within_trials()
    assert found.times[0].tolist() == [t for t in ticks if any(a <= t < b for a, b in windows)]
    assert (found.start, found.stop, found.duration) == (low[0], high[-1], sum(b - a for a, b in windows))
    assert (found.units, found.trials) == (trains.units, trains.trials)


def test_rates_have_no_samples_in_their_gaps() -> None:
    values = np.arange(14.0).reshape(7, 2)
    held = Rates(values, 0.5, 1.0, gaps=[(2.5, 10.0)], trials=Trials([1.0, 10.5], [2.0, 11.5]))
    assert (held.stop, held.duration, held.pieces) == (12.0, 3.5, ((1.0, 2.5), (10.0, 12.0)))
    np.testing.assert_array_equal(held.binned(1.0), [values[:2].mean(0), values[3:5].mean(0), values[5:].mean(0)])
    means, trial = held.trial_binned()
    np.testing.assert_array_equal(means, [values[:2].mean(0), values[4:6].mean(0)])
    np.testing.assert_array_equal(trial, [0, 1])
    part = held.window(1.5, 11.0)
    assert (part.start, part.stop, part.gaps) == (1.5, 11.0, ((2.5, 10.0),))
    np.testing.assert_array_equal(part.values, values[1:5])
    with pytest.raises(InvalidValue, match="each piece is a whole number of steps"):
        Rates(values, 0.5, 1.0, gaps=[(2.4, 10.0)])
    with pytest.raises(InvalidValue, match=r"wider than the 2 s"):
        held.binned(2.5)
    with pytest.raises(InvalidValue, match="trial 0 reaches into a gap"):
        Rates(values, 0.5, 1.0, gaps=[(2.5, 10.0)], trials=Trials([2.0], [3.0])).trial_binned()
    with pytest.raises(InvalidValue, match=r"nearest is 0\.5 s"):
        held.binned(0.7)


def test_what_has_no_gaps_refuses_them() -> None:
    trains = SpikeTrains([[0.5]], 0, 2, gaps=[(1.0, 1.5)], trials=Trials([0.0], [1.0]))
    assert to_tensor(trains, 0.5).flatten().tolist() == [0, 1]
    held = Rates(np.zeros((3, 1)), 0.5, gaps=[(1.0, 1.5)])
    with pytest.raises(InvalidValue, match="has gaps, and a tensor cannot have any"):
        to_tensor(held)
    with pytest.raises(InvalidValue, match="has gaps, and a TimedArray cannot have any"):
        to_brian(held)


def test_what_nwb_marks_as_invalid_is_a_gap(tmp_path: Path) -> None:
    """Independent units that are all silent while the probe was out: their correlation is that of the valid part."""
    held = session()
    trains = [np.sort(GENERATOR.uniform(0, 100, 800)) for _ in range(6)]
    for times in trains:
        valid = times[(times < 40) | (times > 60)]
        held.add_unit(spike_times=valid, obs_intervals=np.array([[0, 100.0]]))
    held.add_invalid_time_interval(start_time=40.0, stop_time=60.0)
    held.add_trial(start_time=30.0, stop_time=45.0)
    held.add_trial(start_time=70.0, stop_time=75.0)
    found = load(write(tmp_path / "a.nwb", held))
    assert isinstance(found, SpikeTrains) and found.gaps == ((40.0, 60.0),)
    assert found.trials is not None and len(found.trials) == 1
    counts = found.counts(0.05).astype(float)
    assert len(counts) == 1600
    off = np.corrcoef(counts.T)[np.triu_indices(6, 1)]
    # Independent units: 15 pairs of standard deviation 1/sqrt(1600) each; with the silence it would be 0.07.
    assert abs(off.mean()) < 4 / np.sqrt(1600 * 15)
    assert "1 of 2 trials reach into a gap of the recording: left out" in found.notes


def test_invalid_times_of_rates_and_spikes_inside_them(tmp_path: Path) -> None:
    held = session()
    values = GENERATOR.random((100, 3))
    values[42:58] = np.nan
    held.add_acquisition(pynwb.TimeSeries(name="dff", data=values, unit="n.a.", rate=1.0))
    held.add_invalid_time_interval(start_time=42.5, stop_time=57.5)
    found = load(write(tmp_path / "a.nwb", held))
    assert isinstance(found, Rates) and found.gaps == ((42.0, 58.0),)
    np.testing.assert_array_equal(found.values, np.delete(values, range(42, 58), axis=0))
    assert found.notes == ("times marked as invalid are gaps: 16 of 100 samples are left out",)
    late = load(tmp_path / "a.nwb", period=(50, 70))
    assert (late.start, late.stop) == (58, 70)

    held = session()
    held.add_unit(spike_times=[1.0, 5.0, 9.0], obs_intervals=np.array([[0, 10.0]]))
    held.add_invalid_time_interval(start_time=4.0, stop_time=6.0)
    held.add_invalid_time_interval(start_time=8.5, stop_time=20.0)
    cut = load(write(tmp_path / "b.nwb", held))
    assert isinstance(cut, SpikeTrains)
    assert (cut.stop, cut.gaps, cut.times[0].tolist()) == (8.5, ((4.0, 6.0),), [1.0])
    assert cut.notes == ("times marked as invalid are gaps; 2 spikes there: left out",)
    held = session()
    held.add_unit(spike_times=[1.0], obs_intervals=np.array([[0, 10.0]]))
    held.add_invalid_time_interval(start_time=-1.0, stop_time=20.0)
    with pytest.raises(InvalidValue, match="they leave nothing of the recording"):
        load(write(tmp_path / "c.nwb", held))
