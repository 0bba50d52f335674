"""Reports: covariances against those of traces that are computed from the spikes, verdicts where they are known."""

from __future__ import annotations

import itertools

import brian2
import numpy as np
import pytest
from brian2 import Network, NeuronGroup, Synapses, TimedArray, linked_var, ms

import neuro_decorr as nd
from neuro_decorr.brian._pairs import _pairs
from tests.brian.told import told

TRACE, CALIBRATION, LEARNING, ANNEALING, STEPS = 2, 300, 60, 60, 1000  # steps of 1 ms
STILL = CALIBRATION + LEARNING + ANNEALING


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def trains(steps: int, neurons: int, shared: float, seed: int = 0, rate: float = 0.1) -> np.ndarray:
    """Spikes, shape (steps, neurons): of a source of all, each taken or not, and of each neuron's own."""
    random = np.random.default_rng(seed)
    common = random.random((steps, 1)) < shared
    taken = random.random((steps, neurons)) < 0.5
    return (common & taken) | (random.random((steps, neurons)) < rate - shared / 2)


def learnt(spikes: np.ndarray, step: float = 1.0, connect: str = "i != j", **parameters: object) -> Synapses:
    """Synapses after a run of a schedule over given spikes."""
    brian2.defaultclock.dt = step * ms
    neurons = told(spikes, step=step)
    lateral = nd.brian.get("lateral_covariance", gain=None, **parameters).synapses(
        neurons, drive="g_post -= w*mV", name="lateral"
    )
    lateral.connect(condition=connect)
    network = Network(neurons, lateral)
    network.run((len(spikes) - 1) * step * ms)
    network.run(step * ms)
    return lateral


def homeostasis(calibration: float) -> nd.brian.Homeostasis:
    return nd.brian.Homeostasis(calibration=calibration * ms)


def schedule(learning: float, annealing: float) -> nd.brian.Schedule:
    return nd.brian.Schedule(learning=learning * ms, annealing=annealing * ms, consolidation=100 * ms)


def expected(samples: np.ndarray, odd: np.ndarray, pairs: list[tuple[int, int]]) -> dict[str, float]:
    """By numpy, from samples of the traces (samples, neurons), and which of them are of the odd half."""
    halves = [np.cov(samples[chosen].T, bias=True) for chosen in (~odd, odd)]
    deviation = np.sqrt(np.mean([np.diag(half) for half in halves], axis=0))
    found = {}
    for name, scale in (("covariance", np.ones_like(deviation)), ("correlation", deviation)):
        even, late = (np.array([half[i, j] / scale[i] / scale[j] for i, j in pairs]) for half in halves)
        found[name] = np.sqrt(max(np.mean(even * late), 0))
        found[f"{name}_noise"] = np.sqrt(np.mean((even - late) ** 2)) / 2
    return found | {"mean_correlation": np.mean([even, late]), "pairs": len(pairs)}


def test_covariances_are_those_of_traces_computed_from_the_spikes() -> None:
    """Of the pairs that are connected, which here are not all."""
    spikes = trains(STEPS, 6, shared=0.1)
    lateral = learnt(
        spikes,
        connect="i < 3 and i != j",
        rate=1e-3,
        trace_time=TRACE * ms,
        homeostasis=homeostasis(CALIBRATION),
        schedule=schedule(LEARNING, ANNEALING),
    )
    trace, traces = np.zeros(6), []
    for fired in spikes:
        trace = trace * np.exp(-1 / TRACE) + fired
        traces.append(trace)
    sampled = np.arange(0, STEPS, TRACE)  # at the end of these steps
    odd = np.arange(len(sampled)) // 40 % 2 == 1
    pairs = [(i, j) for i, j in itertools.combinations(range(6), 2) if i < 3]
    report = lateral.report()
    for found, chosen in ((report.before, sampled + 1 < CALIBRATION), (report.now, sampled + 1 >= STILL)):
        values = expected(np.array(traces)[sampled[chosen]], odd[chosen], pairs)
        assert found.covariance > 0.01
        for name, value in values.items():
            assert getattr(found, name) == pytest.approx(value, rel=1e-9), name
        assert found.seconds == pytest.approx(chosen.sum() * TRACE / 1e3)
        ratio = np.sqrt(1 + values["correlation"] ** 2 / values["correlation_noise"] ** 2 * 100 / found.seconds)
        assert found.times_floor == pytest.approx(ratio, rel=1e-9)
    lines = str(report).splitlines()
    assert lines[0] == "lateral_covariance: undecided" and lines[1].startswith("held, 1 s after the first run")
    assert [line.split(",")[0] for line in lines[2:4]] == ["before learning", "now"]
    weights = lateral.w[:]
    assert report.at_smallest == np.mean(weights == 0) and report.at_largest == 0
    after, before = spikes[STILL:].mean(axis=0), spikes[:CALIBRATION].mean(axis=0)
    assert report.rate == pytest.approx(after.sum() / before.sum(), rel=0.02)  # traces reach over the ends
    assert report.learned == pytest.approx((LEARNING + ANNEALING) / 1e3, abs=0.005) and report.phase == "held"


@pytest.mark.parametrize(("source", "target"), [(6, 6), (17, 17), (18, 18), (40, 40), (400, 400)])
def test_pairs_are_all_or_sixteen_partners_of_each_neuron(source: int, target: int) -> None:
    pre, post = _pairs(range(source), range(target), one_group=True)
    found = {frozenset(pair) for pair in zip(pre, post, strict=True)}
    assert len(found) == len(pre) and all(len(pair) == 2 for pair in found)
    if source <= 17:
        assert len(found) == source * (source - 1) / 2
    else:
        partners = np.bincount(np.concatenate([pre, post]), minlength=source)
        assert partners.min() > 8 and len(found) >= 7 * source
        assert len(set((post - pre) % source)) > 8  # near ones and far ones


def test_pairs_of_two_groups_and_of_parts_of_one() -> None:
    pre, post = _pairs(range(30), range(5, 9), one_group=False)
    assert set(post) == set(range(5, 9)) and len(pre) == 4 * 16 and set(pre) <= set(range(30))
    pre, post = _pairs(range(2, 5), range(3, 6), one_group=True)
    assert {tuple(pair) for pair in zip(pre, post, strict=True)} == {(2, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 5)}


SLOW = {"trace_time": 50 * ms, "homeostasis": None, "schedule": schedule(2_000, 1_000)}


def verdict(shared: float, caplog: pytest.LogCaptureFixture, **parameters: object) -> tuple[nd.brian.Report, int]:
    """On spikes that no weight changes, in steps of 50 ms; and how often it warned in two runs."""
    caplog.clear()
    brian2.start_scope()
    lateral = learnt(trains(500, 20, shared), step=50, **{**SLOW, **parameters})
    return lateral.report(), sum("have not converged" in record.getMessage() for record in caplog.records)


def test_verdicts_and_one_warning_where_a_population_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    independent, warnings = verdict(0, caplog, rate=1e-3)
    assert independent.converged and independent.advice == () and warnings == 0
    assert independent.now.correlation < 0.05 and independent.phase == "held"
    correlated, warnings = verdict(0.1, caplog, rate=1e-5)
    assert correlated.verdict == "not converged" and warnings == 1
    assert correlated.now.correlation > 0.1 and "raise rate" in correlated.advice[0]
    assert correlated.advice[0] in caplog.text
    bounded, warnings = verdict(0.1, caplog, rate=1e-2, largest_weight=1e-3)
    assert bounded.at_largest > 0.02 and warnings == 1 and "raise it" in bounded.advice[0]


def test_nothing_is_said_where_nothing_was_learnt(caplog: pytest.LogCaptureFixture) -> None:
    waiting, warnings = verdict(0.1, caplog, rate=1e-3, homeostasis=homeostasis(1e6))
    assert waiting.phase == "calibration" and waiting.verdict == "undecided" and waiting.now is None and warnings == 0
    assert waiting.before is not None and waiting.learned == 0 and "nothing is learnt yet" in waiting.advice[0]
    vogels = nd.brian.get("vogels", trace_time=50 * ms).synapses(
        told(trains(10, 3, 0), step=50), drive="g_post -= w*mV"
    )
    vogels.connect()
    assert vogels.report().verdict == "undecided" and vogels.report().before is None


def fixed(model: str, **namespace: object) -> Synapses:
    """Synapses of 20 correlated neurons with equations of the user's, in steps of 50 ms; not run yet."""
    neurons = told(trains(500, 20, 0.1), step=50)
    rule = nd.brian.get("lateral_covariance", gain=None, rate=1e-3, **SLOW)
    lateral = rule.synapses(neurons, drive="g_post -= w*mV", model=model, namespace=namespace)
    lateral.connect(condition="i != j")
    lateral.add_attribute("cells")
    lateral.cells = neurons
    return lateral


def test_a_report_is_of_the_synapses_that_learn() -> None:
    """Those that are fixed are at no bound, and their pairs are not measured."""
    brian2.defaultclock.dt = 50 * ms
    lateral = fixed("learning : 1")
    lateral.w = 7.0  # above largest_weight
    lateral.learning = "int(i < 5 and j < 5)"
    lateral.w["i < 5 and j < 5"] = 0.5
    Network(lateral.cells, lateral).run(25_000 * ms)
    report = lateral.report()
    assert report.now is not None and report.now.pairs == 10
    assert report.at_largest == 0 and not any("largest_weight" in line for line in report.advice)


@pytest.mark.parametrize("model", ["learning = gate(t) : 1 (shared)", "learning : 1 (linked, shared)"])
def test_weights_do_not_move_under_a_third_factor_of_zero(model: str) -> None:
    """On for one second of the three in which they could."""
    brian2.defaultclock.dt = 50 * ms
    lateral = fixed(model, gate=TimedArray([0.0, 1.0, 0.0], dt=1000 * ms))
    modulator = NeuronGroup(1, "level : 1 (shared)")
    modulator.run_regularly("level = int(t >= 1*second) - int(t >= 2*second)", dt=1000 * ms, when="start")
    if "linked" in model:
        lateral.learning = linked_var(modulator, "level")
    Network(modulator, lateral.cells, lateral).run(3000 * ms)
    assert lateral.report().learned == pytest.approx(1.0)
