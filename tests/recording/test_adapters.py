"""Adapters to Brian2, Neo, torch and arrays, both ways, against what these libraries themselves say."""

from __future__ import annotations

import brian2 as b2
import neo
import numpy as np
import pytest
import quantities as pq
import torch
from elephant.conversion import BinnedSpikeTrain
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import (
    Rates,
    SpikeTrains,
    Trials,
    from_brian,
    from_events,
    from_neo,
    from_tensor,
    from_times,
    to_brian,
    to_neo,
    to_tensor,
)


@pytest.fixture
def simulation() -> tuple[b2.SpikeMonitor, b2.StateMonitor, b2.PopulationRateMonitor]:
    b2.prefs.codegen.target = "numpy"
    b2.start_scope()
    b2.defaultclock.dt = 0.1 * b2.ms  # one clock a process: other tests set it too
    group = b2.NeuronGroup(
        4, "dv/dt = (drive - v) / (10*ms) : 1\ndrive : 1\nu = v*mV : volt", threshold="v > 1", reset="v = 0"
    )
    group.drive = [0, 2, 2, 2]
    spikes, state, rate = (
        b2.SpikeMonitor(group),
        b2.StateMonitor(group, "u", record=[1, 3]),
        b2.PopulationRateMonitor(group),
    )
    b2.Network(group, spikes, state, rate).run(50 * b2.ms)
    return spikes, state, rate


def test_spike_monitor_there_and_back(simulation: tuple[b2.SpikeMonitor, ...]) -> None:
    spikes, state, rate = simulation
    found = from_brian(spikes)
    assert isinstance(found, SpikeTrains)
    assert (found.start, found.units) == (0, ("0", "1", "2", "3")) and found.stop == pytest.approx(0.05)
    theirs = spikes.spike_trains()
    assert len(found.times[0]) == 0 and len(found.times[1]) > 2
    for unit in range(4):
        np.testing.assert_array_equal(found.times[unit], np.asarray(theirs[unit]))
    again = b2.SpikeMonitor(replay := to_brian(found))
    b2.Network(replay, again).run(50 * b2.ms)
    np.testing.assert_allclose(np.concatenate(from_brian(again).times), np.concatenate(found.times), atol=1e-12)

    voltage = from_brian(state)
    assert isinstance(voltage, Rates) and voltage.quantity == "V" and voltage.units == ("1", "3")
    np.testing.assert_array_equal(voltage.values.T, np.asarray(state.u))
    assert voltage.step == pytest.approx(1e-4)
    population = from_brian(rate)
    assert isinstance(population, Rates) and population.quantity == "Hz"
    assert population.values.mean() * 4 * 0.05 == pytest.approx(found.spikes)
    array = to_brian(voltage)
    np.testing.assert_allclose(array(0.02 * b2.second, 0), voltage.values[200, 0])


def test_what_brian_cannot_give_is_told(simulation: tuple[b2.SpikeMonitor, ...]) -> None:
    with pytest.raises(InvalidValue, match="got 'v'; the monitor records u"):
        from_brian(simulation[1], "v")
    with pytest.raises(InvalidValue, match="got int; allowed are SpikeMonitor"):
        from_brian(3)
    with pytest.raises(InvalidValue, match="outside the window"):
        from_brian(simulation[0], stop=0.01)
    b2.start_scope()
    new = b2.SpikeMonitor(b2.NeuronGroup(2, "v : 1", threshold="v > 1", clock=b2.Clock(1 * b2.ms)))
    with pytest.raises(InvalidValue, match="has not run"):
        from_brian(new)
    with pytest.raises(InvalidValue, match=r"give nd\.recording\.from_brian\(monitor\)"):
        metrics.summary(new)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match=r"make brian2.defaultclock.dt shorter"):
        to_brian(SpikeTrains([[0.01001, 0.01002]], 0, 1))


def test_neo_in_milliseconds_is_exact_to_one_rounding() -> None:
    milliseconds = np.sort(np.random.default_rng(1).uniform(0, 2e6, 500))
    train = neo.SpikeTrain(milliseconds, t_start=0, t_stop=2e6, units="ms", name="a")
    found = from_neo([train])
    assert (found.units, found.stop) == (("a",), 2000)
    np.testing.assert_array_max_ulp(found.times[0], milliseconds / 1000, 1)  # type: ignore[union-attr]


def test_what_goes_to_neo_is_what_elephant_counts() -> None:
    trains = SpikeTrains([[0.1, 0.15, 1.2], []], 0, 2, ["a", "b"], Trials([0, 1], [0.5, 1.5], ["x", "y"]))
    block = to_neo(trains)
    theirs = BinnedSpikeTrain(block.segments[0].spiketrains, bin_size=100 * pq.ms).to_array()
    np.testing.assert_array_equal(trains.counts(0.1), theirs.T)
    cut = to_neo(trains, segments=True)
    assert [segment.annotations["condition"] for segment in cut.segments] == ["x", "y"]
    found = from_neo(cut)
    assert isinstance(found, SpikeTrains) and found.trials is not None
    assert found.gaps == ((0.5, 1.0),) and found.trials.conditions == ("x", "y") and found.units == ("a", "b")
    np.testing.assert_array_equal(found.times[0], trains.times[0])


def test_segments_with_a_clock_of_their_own_are_laid_end_to_end() -> None:
    block = neo.Block()
    for times in ([0.1], [0.2, 0.9]):
        segment = neo.Segment(name="s")
        segment.spiketrains.append(neo.SpikeTrain(times, t_stop=1, units="s"))
        block.segments.append(segment)
    found = from_neo(block)
    assert isinstance(found, SpikeTrains)
    np.testing.assert_allclose(found.times[0], [0.1, 1.2, 1.9])
    assert found.notes == ("every segment has its own clock: the trials were laid end to end",)


def test_neo_signals_keep_their_unit() -> None:
    signal = neo.AnalogSignal(np.arange(6.0).reshape(3, 2), units="mV", sampling_rate=250 * pq.Hz, t_start=5 * pq.ms)
    found = from_neo(signal)
    assert isinstance(found, Rates)
    assert (found.quantity, found.step, found.start) == ("mV", 0.004, 0.005)
    np.testing.assert_array_equal(found.values, [[0, 1], [2, 3], [4, 5]])


def unequal() -> list[neo.SpikeTrain]:
    return [neo.SpikeTrain([0.5], t_stop=1, units="s"), neo.SpikeTrain([1.5], t_start=0.25, t_stop=2, units="s")]


def test_unequal_durations() -> None:
    with pytest.raises(InvalidValue, match=r"unit '0' was observed from 0 to 1 s, unit '1' from 0.25 to 2 s") as caught:
        from_neo(unequal())
    assert "\n" not in str(caught.value)
    shared = from_neo(unequal(), durations="common")
    assert (shared.start, shared.stop) == (0.25, 1)
    assert shared.notes == ("units were observed at different times: only what all share is kept, 0.25 to 1 s",)
    assert from_neo(unequal(), period=(0.3, 0.9)).notes == ()
    with pytest.raises(InvalidValue, match="unit '0' was observed from 0 to 1 s: choose a period that begins and ends"):
        from_neo(unequal(), period=(0.5, 1.5))
    apart = [neo.SpikeTrain([], t_stop=1, units="s"), neo.SpikeTrain([], t_start=1, t_stop=2, units="s")]
    with pytest.raises(InvalidValue, match="no time is common"):
        from_neo(apart, durations="common")


def test_epochs_that_mean_something_else_are_told() -> None:
    segment = neo.Segment()
    segment.spiketrains.append(neo.SpikeTrain([0.1], t_stop=1, units="s"))
    segment.epochs.append(neo.Epoch([0.2] * pq.s, [0.1] * pq.s, ["on"], name="light"))
    assert from_neo(segment).notes == ("epochs that were not read (trials are the epoch 'trials'): light",)


def test_what_neo_does_not_hold_is_told() -> None:
    with pytest.raises(InvalidValue, match="allowed are a neo Block"):
        from_neo([1, 2])
    with pytest.raises(InvalidValue, match="got 0 analog signals"):
        from_neo(neo.Segment())
    with pytest.raises(InvalidValue, match="for spike trains with trials only"):
        to_neo(SpikeTrains([[0.5]], 0, 1), segments=True)


def test_tensor_there_and_back() -> None:
    spikes = (torch.rand(50, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    found = from_tensor(spikes, 1e-3, start=0.25, units="abcd", conditions=["x", "y", "x"])
    assert isinstance(found, SpikeTrains) and found.trials is not None
    assert found.trials.conditions == ("x", "y", "x") and found.stop == pytest.approx(0.4)
    row = int(spikes[:, 1, 2].nonzero()[0])
    assert found.times[2][np.searchsorted(found.times[2], 0.3 - 1e-9)] == pytest.approx(0.3 + row * 1e-3)
    assert torch.equal(to_tensor(found, 1e-3), spikes)
    values = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_tensor(from_tensor(values, 1e-3, rates=True)), values)
    alone = from_tensor(spikes[:, 0], 1e-3)
    assert alone.trials is None and torch.equal(to_tensor(alone, 1e-3), spikes[:, :1])


def test_one_list_of_spikes() -> None:
    found = from_events([0.2, 0.5, 0.3], [2, 0, 2], 0, 1, units=["a", "b", "c"])
    assert [unit.tolist() for unit in found.times] == [[0.5], [], [0.2, 0.3]]
    assert from_events([0.2, 0.5], ["y", "x"], 0, 1).units == ("x", "y")


@given(
    unit=st.one_of(
        st.lists(st.integers(-3, 12), min_size=1, max_size=40),
        st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=10),
        st.lists(st.sampled_from(["b", "a", "10", "9"]), min_size=1, max_size=20),
    )
)
def test_spikes_go_to_their_units_whatever_these_are_called(unit: list[int] | list[str]) -> None:
    times = np.arange(len(unit)) / 100
    found = from_events(times, np.array(unit), 0, 1)
    assert found.units == tuple(str(label) for label in sorted(set(unit)))
    for label, own in zip(sorted(set(unit)), found.times, strict=True):
        np.testing.assert_array_equal(own, [time for time, of in zip(times, unit, strict=True) if of == label])


def test_mends_are_asked_for_and_told() -> None:
    mended = from_times([[3.0, 1.0, 1.0, 12.0], [2.0]], 0, 10, sort=True, outside="drop", duplicates="drop")
    assert mended.times[0].tolist() == [1, 3]
    assert mended.notes == (
        "1 units had spikes out of order: sorted",
        "1 spikes outside 0 to 10 s: dropped",
        "1 spikes at the time of another of the same unit: dropped",
    )
    with pytest.raises(InvalidValue, match="are NaN"):
        from_times([[1.0, np.nan]], 0, 10, sort=True, outside="drop", duplicates="drop")


@pytest.mark.parametrize(
    ("faulty", "told"),
    [
        (lambda: from_tensor(torch.ones(3), 1), r"got shape \(3,\)"),
        (lambda: from_tensor(torch.full((3, 2), 2.0), 1), "other values than 0 and 1"),
        (lambda: to_tensor(SpikeTrains([[0.1]], 0, 1)), "spikes need the length of a step"),
        (lambda: to_tensor(SpikeTrains([[0.1, 0.2]], 0, 1), 0.5), "spikes more than once"),
        (lambda: to_tensor(Rates([[1.0]], 1), 1), "rates have a step of their own, 1 s"),
        (
            lambda: to_tensor(SpikeTrains([[0.1]], 0, 3, trials=Trials([0, 1], [1, 3])), 0.5),
            "different numbers of steps",
        ),
        (lambda: from_events([0.1], [3], 0, 1, units=["a"]), "got the position 3; allowed are 0 to 0"),
        (lambda: from_events([0.1], [0, 1], 0, 1), "give one unit per spike"),
        (lambda: from_times([[0.1]], 0, 1, outside="clip"), "allowed are 'error' and 'drop'"),  # type: ignore[arg-type]
    ],
)
def test_a_fault_is_one_clear_line(faulty: object, told: str) -> None:
    with pytest.raises(InvalidValue, match=told) as caught:
        faulty()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
