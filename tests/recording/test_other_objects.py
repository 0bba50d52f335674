"""Objects of pynapple, xarray, SpikeInterface and Elephant, both ways, against what these libraries themselves say."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue, MissingExtra
from neuro_decorr.recording import (
    Rates,
    SpikeTrains,
    Trials,
    from_elephant,
    from_pynapple,
    from_spikeinterface,
    from_xarray,
    to_elephant,
    to_neo,
    to_pynapple,
    to_spikeinterface,
    to_xarray,
)
from neuro_decorr.recording.checks import library
from neuro_decorr.recording.clock import steps_with_gaps

TRAINS = SpikeTrains([[0.0, 1.0, 9.5, 25.0], [2.0, 29.75], []], 0, 30, ["3", "7", "12"], gaps=[(10, 20)])


@pytest.fixture
def nap() -> Any:
    found = pytest.importorskip("pynapple")
    found.nap_config.suppress_conversion_warnings = True
    return found


@pytest.fixture
def xr() -> Any:
    return pytest.importorskip("xarray")


@pytest.fixture
def si() -> Any:
    return pytest.importorskip("spikeinterface.core")


@pytest.mark.filterwarnings("ignore")
class TestPynapple:
    def test_spikes_there_and_back(self, nap: Any) -> None:
        group = to_pynapple(TRAINS)
        np.testing.assert_array_equal(group.time_support.values, [[0, 10], [20, 30]])
        theirs = group.count(0.5)
        np.testing.assert_array_equal(theirs.values, TRAINS.counts(0.5))
        found = from_pynapple(group)
        assert isinstance(found, SpikeTrains) and (found.units, found.gaps) == (TRAINS.units, TRAINS.gaps)
        for mine, other in zip(TRAINS.times, found.times, strict=True):
            np.testing.assert_array_equal(mine, other)
        counted = from_pynapple(theirs, stamp="center")
        assert isinstance(counted, Rates) and counted.gaps == TRAINS.gaps and counted.units == TRAINS.units
        np.testing.assert_array_equal(counted.values, TRAINS.counts(0.5))
        assert (counted.start, counted.step) == (0.0, pytest.approx(0.5))

    def test_names_become_metadata(self, nap: Any) -> None:
        named = SpikeTrains([[0.5], [1.5]], 0, 2, ["left", "right"])
        assert list(to_pynapple(named)["label"]) == ["left", "right"]

    def test_rates_there_and_back(self, nap: Any) -> None:
        values = np.random.default_rng(0).normal(size=(40, 2))
        rates = Rates(values, 0.1, 3.0, ["a", "b"], gaps=[(5.0, 6.0)])
        frame = to_pynapple(rates)
        np.testing.assert_array_equal(frame.values, values)
        found = from_pynapple(frame)
        assert isinstance(found, Rates) and found.units == ("a", "b")
        np.testing.assert_allclose(found.gaps, rates.gaps)
        np.testing.assert_array_equal(found.values, values)
        single = from_pynapple(nap.Tsd(t=[0.0, 0.1, 0.2], d=[1.0, 2.0, 3.0]))
        assert isinstance(single, Rates) and single.values.shape == (3, 1)

    def test_trials_of_an_interval_set(self, nap: Any) -> None:
        epochs = nap.IntervalSet([0.0, 5.0, 22.0], [4.0, 9.0, 28.0], metadata={"side": ["l", "r", "l"]})
        found = from_pynapple(to_pynapple(TRAINS), trials=epochs, condition="side")
        assert found.trials is not None and found.trials.conditions == ("l", "r", "l")
        with pytest.raises(InvalidValue, match="the IntervalSet has the columns side"):
            from_pynapple(to_pynapple(TRAINS), trials=epochs, condition="choice")
        with pytest.raises(InvalidValue, match="allowed is an IntervalSet"):
            from_pynapple(to_pynapple(TRAINS), trials=[(0, 1)])
        with pytest.raises(InvalidValue, match="no trials"):
            from_pynapple(to_pynapple(TRAINS), condition="side")

    def test_other_objects_are_refused(self, nap: Any) -> None:
        with pytest.raises(InvalidValue, match="TsGroup, Tsd and TsdFrame"):
            from_pynapple(np.zeros(3))


class TestXarray:
    def test_rates_with_trials(self, xr: Any) -> None:
        values = np.random.default_rng(1).normal(size=(2, 5, 3))
        array = xr.DataArray(
            values.transpose(2, 0, 1), dims=("neuron", "trial", "time"), attrs={"units": "Hz"},
            coords={
                "time": ("time", np.arange(5) * 20.0, {"units": "ms"}),
                "neuron": list("abc"), "side": ("trial", ["l", "r"]),
            },
        )  # fmt: skip
        found = from_xarray(array, unit="neuron", condition="side")
        assert (found.units, found.quantity, found.step) == (("a", "b", "c"), "Hz", pytest.approx(0.02))
        np.testing.assert_array_equal(found.values, values.reshape(10, 3))
        assert found.trials is not None and found.trials.conditions == ("l", "r")
        mine, trial = found.trial_binned(0.02)
        np.testing.assert_array_equal(mine[trial == 1], values[1])

    @pytest.mark.parametrize("kind", ["float", "timedelta"])
    def test_there_and_back(self, xr: Any, kind: str) -> None:
        trials = Trials([0.0, 5.0], [4.0, 9.0], ["l", "r"])
        spikes = SpikeTrains(TRAINS.times, 0, 30, TRAINS.units, trials, TRAINS.gaps)
        array = to_xarray(spikes, bin=0.5)
        np.testing.assert_array_equal(array.sel(unit="3").values, spikes.counts(0.5)[:, 0])
        assert array.sel(time=4.5)["trial"] == -1 and array.sel(time=5.5)["condition"] == "r"
        if kind == "timedelta":
            array = array.assign_coords(time=("time", (array.time.values * 1e9).astype("timedelta64[ns]")))
        found = from_xarray(array)
        assert found.quantity == "spikes" and found.gaps == TRAINS.gaps
        np.testing.assert_array_equal(found.values, spikes.counts(0.5))
        again = to_xarray(found)
        np.testing.assert_allclose(again.time, to_xarray(spikes, bin=0.5).time)

    def test_refusals(self, xr: Any) -> None:
        array = xr.DataArray(np.zeros((4, 2)), dims=("t", "unit"))
        with pytest.raises(InvalidValue, match="dimensions t, unit; allowed are 'time', 'unit'"):
            from_xarray(array)
        with pytest.raises(InvalidValue, match="'t' has no coordinate; give the length of a step"):
            from_xarray(array, time="t")
        assert from_xarray(array, time="t", step=0.1).stop == pytest.approx(0.4)
        with pytest.raises(InvalidValue, match="choose a variable of the Dataset"):
            from_xarray(array.to_dataset(name="x"))
        with pytest.raises(InvalidValue, match="in fortnights"):
            from_xarray(array.assign_coords(t=("t", np.arange(4), {"units": "fortnights"})), time="t")
        with pytest.raises(InvalidValue, match=r"sample 2 at 0.15 s comes 0.05 s after"):
            from_xarray(array.assign_coords(t=("t", [0.0, 0.1, 0.15, 0.25])), time="t")
        with pytest.raises(InvalidValue, match="need the width of a bin"):
            to_xarray(TRAINS)


class TestSpikeInterface:
    def test_there_and_back(self, si: Any) -> None:
        whole = SpikeTrains([[0.0, 0.25, 1.5], []], 0, 2, ["a", "b"])
        sorting = to_spikeinterface(whole, 30_000)
        assert sorting.get_unit_spike_train("a").tolist() == [0, 7_500, 45_000]
        found = from_spikeinterface(sorting, period=(0, 2))
        assert (found.units, found.stop) == (("a", "b"), 2)
        np.testing.assert_array_equal(found.times[0], whole.times[0])
        assert any("does not tell when it recorded" in note for note in from_spikeinterface(sorting).notes)
        with pytest.raises(InvalidValue, match="spikes twice in one sample"):
            to_spikeinterface(whole, 1)

    def test_a_recording_tells_the_window_and_an_analyzer_the_places(self, si: Any) -> None:
        recording, sorting = si.generate_ground_truth_recording(durations=[2.0], num_channels=4, num_units=3, seed=0)
        sorting.register_recording(recording)
        found = from_spikeinterface(sorting)
        assert (found.start, found.stop, len(found.units)) == (0, 2, 3)
        for unit, times in zip(sorting.get_unit_ids(), found.times, strict=True):
            np.testing.assert_allclose(times, sorting.get_unit_spike_train(unit) / recording.get_sampling_frequency())
        analyzer = si.create_sorting_analyzer(sorting, recording, sparse=False)
        assert from_spikeinterface(analyzer).stop == 2 and from_spikeinterface(analyzer).positions is None

    def test_segments_are_named(self, si: Any) -> None:
        sorting = si.NumpySorting.from_unit_dict([{"a": np.array([1, 5])}, {"a": np.array([2, 9])}], 10.0)
        with pytest.raises(InvalidValue, match="the sorting has 2: give one of 0 to 1"):
            from_spikeinterface(sorting)
        assert from_spikeinterface(sorting, segment=1).times[0].tolist() == [0.2, 0.9]
        with pytest.raises(InvalidValue, match="a sorting and a SortingAnalyzer"):
            from_spikeinterface(object())


def test_elephant_there_and_back() -> None:
    whole = SpikeTrains([[0.05, 0.25, 0.26, 1.5], []], 0, 2)
    theirs = BinnedSpikeTrain(list(to_neo(whole).segments[0].spiketrains), bin_size=100 * pq.ms)
    found = from_elephant(theirs)
    assert (found.step, found.quantity) == (pytest.approx(0.1), "spikes")
    np.testing.assert_array_equal(found.values, theirs.to_array().T)
    mine = to_elephant(whole, 0.1)
    np.testing.assert_array_equal(mine.to_array(), theirs.to_array())
    with pytest.raises(InvalidValue, match="has gaps"):
        to_elephant(TRAINS, 0.1)
    with pytest.raises(InvalidValue, match="a BinnedSpikeTrain"):
        from_elephant(whole)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(2, 40)), min_size=1, max_size=5),
    st.sampled_from([1e-3, 0.02, 1 / 30, 7.0]),
    st.floats(-1e3, 1e3),
)
def test_the_clock_is_found(pieces: list[tuple[int, int]], step: float, start: float) -> None:
    position, edges, clock = 0, [], []
    for gap, count in pieces:
        position += gap + 1 if clock else 0
        edges.append((position, position + count))
        clock += list(range(position, position + count))
        position += count
    found, begin, gaps = steps_with_gaps("times", start + step * np.array(clock), "center")
    assert found == pytest.approx(step, rel=1e-6)
    assert begin == pytest.approx(start - step / 2, abs=1e-9 * (1 + abs(start)))
    expected = [(a, b) for (_, a), (b, _) in itertools.pairwise(edges)]
    for (low, high), (a, b) in zip(gaps, expected, strict=True):
        assert low == pytest.approx(start + step * (a - 0.5), abs=1e-6 * step * position + 1e-9)
        assert high == pytest.approx(start + step * (b - 0.5), abs=1e-9 * (1 + abs(start)))


def test_a_library_that_is_absent_is_named() -> None:
    with pytest.raises(MissingExtra, match="pip install no_such_library"):
        library("no_such_library.core")
