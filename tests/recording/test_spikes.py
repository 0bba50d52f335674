"""Spike trains: counts against integer arithmetic, windows, and one clear line for every fault."""

from __future__ import annotations

import neo
import numpy as np
import pytest
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.recording import SpikeTrains, Trials

STEP = 1e-4  # s: the step of a simulation, which no power of two divides


@given(
    ticks=st.lists(st.lists(st.integers(0, 4999), unique=True).map(sorted), min_size=1, max_size=4),
    width=st.integers(1, 1200),
    origin=st.integers(-3000, 3000),
    rows=st.integers(1, 50),
)
def test_counts_are_those_of_integer_arithmetic(ticks: list[list[int]], width: int, origin: int, rows: int) -> None:
    """Spikes on the grid of a simulation lie on bin edges all the time; the grid is counted in integers."""
    bins = 5000 // width
    expected = np.zeros((bins, len(ticks)), dtype=int)
    for unit, times in enumerate(ticks):
        for tick in times:
            if tick // width < bins:
                expected[tick // width, unit] += 1
    trains = SpikeTrains(
        [[(origin + tick) * STEP for tick in times] for times in ticks], origin * STEP, (origin + 5000) * STEP
    )
    counts = trains.counts(width * STEP)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(np.concatenate(list(trains.counts_chunks(width * STEP, rows))), expected)


def test_counts_are_those_of_elephant() -> None:
    generator = np.random.default_rng(3)
    times = [np.sort(generator.uniform(0, 7.3, size=n)) for n in (400, 0, 90)]
    theirs = BinnedSpikeTrain(
        [neo.SpikeTrain(unit, t_stop=7.3, units="s") for unit in times], bin_size=20 * pq.ms
    ).to_array()
    np.testing.assert_array_equal(SpikeTrains(times, 0, 7.3).counts(0.02), theirs.T)


@pytest.mark.parametrize(("spikes", "dtype"), [(255, np.uint8), (256, np.uint16), (65536, np.uint32)])
def test_the_type_of_the_counts_is_the_smallest_that_holds_them(spikes: int, dtype: type) -> None:
    trains = SpikeTrains([np.linspace(0.2, 0.9, spikes), [1.5]], 0, 2)
    counts = trains.counts(1.0)
    assert counts.dtype == dtype
    np.testing.assert_array_equal(counts, [[spikes, 0], [0, 1]])


def test_no_dense_array_wider_than_a_byte() -> None:
    """Many spikes in all, few in a bin: still one byte a count."""
    trains = SpikeTrains([np.arange(1000) + 0.5], 0, 1000)
    assert trains.counts(1.0).dtype == np.uint8


def test_the_rest_of_a_bin_and_a_spike_at_the_end_are_left_out() -> None:
    trains = SpikeTrains([[0.0, 0.95, 1.0]], 0, 1)
    np.testing.assert_array_equal(trains.counts(0.3), [[1], [0], [0]])
    np.testing.assert_array_equal(trains.counts(0.5), [[1], [1]])


def test_rate_is_spikes_over_recorded_time() -> None:
    trains = SpikeTrains([[0.5, 1.0], []], 0, 10, gaps=[(2, 7)])
    np.testing.assert_allclose(trains.rate, [0.4, 0])
    assert trains.duration == 5


def test_trials_are_counted_from_their_own_start() -> None:
    trains = SpikeTrains([[0.1, 1.05, 1.15, 2.5]], 0, 3, trials=Trials([0.0, 1.0], [0.25, 1.25]))
    counts, trial = trains.trial_counts(0.1)
    np.testing.assert_array_equal(counts, [[0], [1], [1], [1]])
    np.testing.assert_array_equal(trial, [0, 0, 1, 1])
    counts, trial = trains.trial_counts()
    np.testing.assert_array_equal(counts, [[1], [2]])
    np.testing.assert_array_equal(trial, [0, 1])


def test_a_window_keeps_the_clock_and_tells_what_it_leaves_out() -> None:
    trains = SpikeTrains(
        [[1.0, 2.0, 3.0], [2.5]], 0, 4, ["a", "b"], Trials([0, 2], [2, 3], ["x", "y"]), gaps=[(3.2, 3.6)]
    )
    part = trains.window(2, 3.5)
    assert (part.start, part.stop, part.units, part.gaps) == (2, 3.5, ("a", "b"), ((3.2, 3.5),))
    np.testing.assert_array_equal(np.concatenate(part.times), [2.0, 3.0, 2.5])
    assert part.trials is not None and part.trials.conditions == ("y",)
    assert part.notes == ("1 of 2 trials are not wholly inside 2 to 3.5 s: left out",)
    np.testing.assert_array_equal(trains.window(2, 3).times[0], [2.0])  # half open, but for the recording's own end


def test_select_orders_as_asked() -> None:
    trains = SpikeTrains([[1.0], [2.0], [3.0]], 0, 4, [10, 20, 30])
    assert trains.select([30, "10"]).units == ("30", "10")
    assert trains.select(["30"]).times[0].tolist() == [3.0]
    with pytest.raises(UnknownName, match="no unit '40'"):
        trains.select(["40"])
    many = SpikeTrains([[1.0]] * 1000, 0, 4)
    with pytest.raises(UnknownName, match="there is no unit '1000'; the nearest of 1000 labels are 100, ") as caught:
        many.select(["1000"])
    assert len(str(caught.value)) < 200


def test_arrays_cannot_be_written_through() -> None:
    times = np.array([1.0, 2.0])
    trains = SpikeTrains([times], 0, 3)
    with pytest.raises(ValueError, match="read-only"):
        trains.times[0][0] = 5
    times[0] = 0.5  # the caller's own array stays the caller's
    assert trains.spikes == 2


def make(times: object, **changed: object) -> SpikeTrains:
    return SpikeTrains(times, **{"start": 0.0, "stop": 10.0, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("faulty", "told"),
    [
        (lambda: make([]), "got none; a recording has at least one unit"),
        (lambda: make([[1.0, np.nan]]), r"unit '0': 1 are NaN or infinite \(first: spike 1\)"),
        (lambda: make([[1.0], [3.0, 2.0]]), r"unit '1': out of order \(spike 1 at 2 s follows 3 s\).*sort=True"),
        (lambda: make([[1.0, 12.0]]), r"1 outside the window of 0 to 10 s \(first: 12 s\).*outside=\"drop\""),
        (lambda: make([[-1.0, 2.0]]), r"1 outside the window of 0 to 10 s \(first: -1 s\)"),
        (
            lambda: make([[1.0, 1.0]]),
            r"1 spike of 1 unit is there twice, first: unit '0' at 1 s, .*duplicates=\"drop\"",
        ),
        (
            lambda: make([[1.0], [2.0, 4.125, 4.125], [3.0, 3.0, 3.0]]),
            "3 spikes of 2 units are there twice, first: unit '1' at 4.125 s",
        ),
        (lambda: make([["a"]]), "got values of type <U1; allowed are real numbers"),
        (lambda: make([[[1.0]]]), r"shape \(1, 1\); allowed is one dimension"),
        (lambda: make([[[1.0], [1.0, 2.0]]]), "rows of unequal length"),
        (lambda: make([[1.0]], start=10.0), "got start 10 s and stop 10 s; the stop must follow"),
        (lambda: make([[1.0]], stop=np.inf), "stop: got inf"),
        (lambda: make([[1.0]], units=["a", "b"]), "got 2 labels for 1 units"),
        (lambda: make([[1.0], [2.0]], units=["a", "a"]), "the label 'a' is there twice"),
        (lambda: make([[1.0]], units=["a\n"]), "without blanks at the ends"),
        (lambda: make([[1.0]], units=[""]), "texts that can be read"),
        (lambda: make([[1.0]], gaps=[(5, 4)]), "allowed are periods inside the recording"),
        (lambda: make([[1.0]], gaps=[(0, 10)]), "nothing was recorded"),
        (lambda: make([[4.5]], gaps=[(4, 5)]), "1 spikes lie between 4 and 5 s, in a gap"),
        (lambda: make([[1.0]], trials=Trials([9], [11])), r"trial 0 \(9 to 11 s\) is not inside the recording"),
        (lambda: Trials([1, 3], [2, 4], ["a", np.nan]), r"the condition of trial 1 is missing \(nan\); name it, or"),
        (lambda: make([[1.0]]).counts(11), "got 11 s, wider than the 10 s that are there"),
        (lambda: make([[1.0]]).counts(0), "bin: got 0; allowed is a positive number of seconds"),
        (lambda: make([[1.0]]).counts("50ms"), "bin: got '50ms'; allowed is a positive number of seconds"),
        (lambda: make([[1.0]], gaps=[(4, 5)]).counts(5.5), "wider than the 5 s that are there"),
        (lambda: make([[1.0]]).counts_chunks(1, 0), "rows: got 0"),
        (lambda: make([[1.0]]).trial_counts(1), "the recording has none"),
        (lambda: make([[1.0]], trials=Trials([0, 2], [1, 4])).trial_counts(), "last from 1 to 2 s"),
        (lambda: make([[1.0]], trials=Trials([0], [1])).trial_counts(2), "wider than the 1 s"),
        (lambda: make([[1.0]], trials=Trials([3], [6]), gaps=[(4, 5)]).trial_counts(1), "trial 0 reaches into a gap"),
        (lambda: make([[1.0]]).window(3, 3), "period: got 3 to 3 s"),
        (lambda: make([[1.0]]).window(3, 12), "allowed are periods inside the recording, 0 to 10 s"),
        (lambda: make([[1.0]]).select([]), "got none"),
    ],
)
def test_a_fault_is_one_clear_line(faulty: object, told: str) -> None:
    with pytest.raises(InvalidValue, match=told) as caught:
        faulty()  # type: ignore[operator]
    assert "\n" not in str(caught.value)
