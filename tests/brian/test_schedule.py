"""The phases of a schedule against a float64 loop, and what each of them leaves alone, bit by bit."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, ms, mV, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.brian.test_rules import NEURONS, STEPS, relay, spikes

BASELINE, CALIBRATION, LEARNING, ANNEALING, CONSOLIDATION = 40, 60, 120, 80, 60  # steps of 1 ms
SCHEDULE = nd.brian.Schedule(
    baseline=BASELINE * ms, learning=LEARNING * ms, annealing=ANNEALING * ms, consolidation=CONSOLIDATION * ms
)
BEGIN = BASELINE + CALIBRATION
STILL = BEGIN + LEARNING + ANNEALING
HELD = STILL + CONSOLIDATION


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def rule() -> nd.brian.SpikingRule:
    homeostasis = nd.brian.Homeostasis(calibration=CALIBRATION * ms, rate=3 * Hz, average_time=30 * ms)
    return nd.brian.get(
        rate=0.02, trace_time=20 * ms, mean_time=200 * ms, homeostasis=homeostasis, schedule=SCHEDULE, gain=None
    )


def loop(fired: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [step, pre, post], bias and its average [step, neuron] at the end of each step; ms and kHz."""
    weights, trace, mean = np.full((NEURONS, NEURONS), 0.1), np.zeros(NEURONS), np.zeros(NEURONS)
    counted, bias, average = np.zeros(NEURONS), np.zeros(NEURONS), np.zeros(NEURONS)
    courses: tuple[list[np.ndarray], ...] = ([], [], [])
    for step, now in enumerate(fired):
        pace = 1.0 if BEGIN <= step < STILL else 0.0
        if step > BEGIN + LEARNING:
            pace *= (STILL - step) / ANNEALING
        mean = mean + (trace * (1 + np.exp(-1 / 20)) / 2 - mean) / np.clip(step, 20, 200)
        trace = trace * np.exp(-1 / 20)
        moving = BEGIN <= step < HELD
        if moving:  # both by forward Euler, from the values before the step
            bias, average = bias + 3 * counted / CALIBRATION, average + (bias - average) / 30
        for pre, post in np.ndindex(NEURONS, NEURONS):
            if now[pre]:
                weights[pre, post] = np.clip(weights[pre, post] + pace * 0.02 * (trace[post] - mean[post]), 0, 1)
        seen = trace + now  # spikes of the same step count at the postsynaptic one
        for pre, post in np.ndindex(NEURONS, NEURONS):
            if now[post]:
                weights[pre, post] = np.clip(weights[pre, post] + pace * 0.02 * (seen[pre] - mean[pre]), 0, 1)
        trace, bias = trace + now, bias - 3 * now * moving
        counted = counted + now * (BASELINE <= step < BEGIN)
        for course, value in zip(courses, (weights, bias, average), strict=True):
            course.append(value.copy())
    return tuple(np.array(course) for course in courses)


def test_every_phase_is_that_of_the_loop_and_leaves_alone_what_it_should() -> None:
    trains = spikes(7, 0.1)
    source, neurons, telling = relay(trains)
    tested = rule()
    synapses = tested.synapses(neurons, drive="g_post -= w*mV")
    synapses.connect(condition="i != j")
    synapses.w = 0.1
    traces = synapses.companions.target
    weights = brian2.StateMonitor(synapses, "w", record=True, when="after_end")
    bias = brian2.StateMonitor(traces, ["bias_rate", "bias_average", "bias"], record=True, when="after_end")
    Network(source, neurons, telling, synapses, weights, bias).run(STEPS * ms)

    fired = np.vstack([np.zeros((1, NEURONS), dtype=bool), trains[:-1]])  # a neuron spikes a step after it is told
    counted = fired[BASELINE:BEGIN].sum(axis=0)
    assert counted.max() > 0 and np.array_equal(traces.counted, counted)
    expected, expected_bias, expected_average = loop(fired)
    pre, post = np.asarray(synapses.i), np.asarray(synapses.j)
    np.testing.assert_allclose(weights.w.T, expected[:, pre, post], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose((bias.bias_rate / Hz).T, expected_bias, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((bias.bias_average / Hz).T, expected_average, rtol=1e-9, atol=1e-9)

    assert float(tested.learnt / ms) == pytest.approx(HELD)
    assert np.all(weights.w[:, :BEGIN] == 0.1) and np.all(bias.bias_rate[:, :BEGIN] == 0 * Hz)
    assert np.all(weights.w[:, STILL:] == weights.w[:, [STILL - 1]])  # bit by bit
    assert np.ptp(np.asarray(bias.bias_rate[:, STILL:HELD]), axis=1).min() > 0
    for course in (bias.bias_rate, bias.bias_average, bias.bias):
        assert np.all(course[:, HELD:] == course[:, [HELD]])
    np.testing.assert_allclose(bias.bias[:, -1], bias.bias_average[:, -1] * ms)


def test_the_bias_that_is_frozen_by_hand_stays_at_its_average() -> None:
    source, neurons, telling = relay(spikes(8, 0.1))
    homeostasis = nd.brian.Homeostasis(target_rate=20 * Hz, average_time=30 * ms)
    synapses = nd.brian.get(homeostasis=homeostasis, gain=None).synapses(neurons, drive="g_post -= w*mV")
    synapses.connect(condition="i != j")
    network = Network(source, neurons, telling, synapses)
    network.run(200 * ms)
    nd.brian.freeze(synapses, homeostasis=True)
    held = synapses.companions.target.bias_average[:].copy()
    network.run(200 * ms)
    assert np.array_equal(synapses.companions.target.bias_average[:], held)


def test_without_homeostasis_learning_begins_after_the_baseline() -> None:
    source, neurons, telling = relay(spikes(9, 0.1))
    tested = nd.brian.get("vogels", schedule=SCHEDULE, largest_weight=1.0)
    synapses = tested.synapses(neurons, drive="g_post -= w*mV")
    synapses.connect(condition="i != j")
    network = Network(source, neurons, telling, synapses)
    network.run(BASELINE * ms)
    assert np.all(synapses.w[:] == 0)
    network.run((LEARNING + ANNEALING) * ms)
    learnt = synapses.w[:].copy()
    network.run(60 * ms)
    assert np.ptp(learnt) > 0 and np.array_equal(synapses.w[:], learnt)
    assert tested.learnt == SCHEDULE.baseline + SCHEDULE.learning + SCHEDULE.annealing + SCHEDULE.consolidation


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"annealing": 0 * second}, "annealing must be one finite quantity, positive"),
        ({"learning": 5 * mV}, "learning needs units of"),
        ({"baseline": -1 * second}, "baseline must be one finite quantity"),
        ({"consolidation": 80}, "consolidation needs units of"),
    ],
)
def test_durations_that_are_none(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        nd.brian.Schedule(**parameters)


def test_a_keyword_of_another_part_and_one_with_a_typing_error() -> None:
    for make, message in (
        (
            lambda: nd.brian.Schedule(calibration=9 * second),
            r"calibration belongs to Homeostasis\(calibration=\.\.\.\)",
        ),
        (lambda: nd.brian.Homeostasis(probing=9 * second), r"probing belongs to Gain\(probing=\.\.\.\)"),
        (lambda: nd.brian.Schedule(anealing=9 * second), "did you mean annealing"),
        (lambda: nd.brian.Gain(xyz=1), "allowed: probing, response, period"),
    ):
        with pytest.raises(InvalidValue, match=message):
            make()


def test_no_schedule() -> None:
    with pytest.raises(InvalidValue, match=r"must be nd\.brian\.Schedule"):
        nd.brian.get(schedule=100 * second)
    with pytest.raises(InvalidValue, match="learning never ends"):
        _ = nd.brian.get("vogels").learnt
