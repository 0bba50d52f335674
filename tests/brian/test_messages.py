"""What a user is told and shown: units, plain and numpy numbers, whose line it was, everything that is added."""

from __future__ import annotations

import re
import traceback
from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, Quantity, Synapses, ms, second

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.brian.every_rule import quick
from tests.brian.told import STEP, told, trains

pytestmark = pytest.mark.usefixtures("brian_on_numpy")


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = STEP * ms


@pytest.mark.parametrize(
    ("make", "written"),
    [
        (lambda: nd.brian.get("vogels", trace_time=0.02), "write trace_time=20*ms"),
        (lambda: nd.brian.get("vogels", trace_time=np.float32(0.5)), "write trace_time=500*ms"),
        (lambda: nd.brian.get("vogels", target_rate=5), "write target_rate=5*Hz"),
        (lambda: nd.brian.get("vogels", trace_time=3 * Hz), "write trace_time=20*ms"),
        (lambda: nd.brian.get("vogels", trace_time="20 ms"), "write trace_time=20*ms"),
        (lambda: nd.brian.get(mean_time=12), "write mean_time=12*second"),
        (lambda: nd.brian.Homeostasis(target_rate=10), "write target_rate=10*Hz"),
        (lambda: nd.brian.Homeostasis(target_rate=[1.0, 2.5]), "write target_rate=[1, 2.5]*Hz"),
        (lambda: nd.brian.Homeostasis(target_rate=np.arange(1, 9)), "write target_rate=[1, 2, ...]*Hz"),
        (lambda: nd.brian.Homeostasis(calibration=30), "write calibration=30*second"),
        (lambda: nd.brian.Schedule(learning=160), "write learning=160*second"),
        (lambda: nd.brian.Schedule(baseline=5), "write baseline=5*second"),
        (lambda: nd.brian.Variance(rate=0.5), "write rate=0.5*Hz"),
    ],
)
def test_a_missing_unit_is_written_out(make: Any, written: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(written)) as caught:
        make()
    assert "\n" not in str(caught.value)


NUMBERS = [
    ("lateral_covariance", "rate", 0.25),
    ("lateral_covariance", "largest_weight", 2),
    ("vogels", "smallest_weight", -1),
    ("feedback_inhibition", "interneurons", 4),
    ("feedback_inhibition", "excess", 0.5),
    ("interneuron_local", "interneurons", 4),
    ("anti_hebbian", "rate", 0.25),
]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.array], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(("name", "parameter", "value"), NUMBERS)
def test_numbers_of_numpy_are_numbers(name: str, parameter: str, value: float, kind: Any) -> None:
    if kind is np.int64 and value != int(value):
        pytest.skip("not a whole number")
    if kind in {np.float64, np.float32} and parameter == "interneurons":
        with pytest.raises(Exception, match="whole number"):
            nd.brian.get(name, **{parameter: kind(value)})
        return
    rule = nd.brian.get(name, **{parameter: kind(value)})
    plain = nd.brian.get(name, **{parameter: value})
    assert rule == plain and hash(rule) == hash(plain)


def test_parts_of_a_rule_take_numbers_of_numpy() -> None:
    assert nd.brian.Homeostasis(largest_bias=np.int64(5)) == nd.brian.Homeostasis(largest_bias=5)
    assert nd.brian.Variance(dispersion=np.array(0.25)) == nd.brian.Variance(dispersion=0.25)
    assert nd.brian.Schedule(learning=np.float32(8) * second) == nd.brian.Schedule(learning=8 * second)
    rates = nd.brian.Homeostasis(target_rate=np.array([4.0, 5.0]) * Hz)
    assert rates == nd.brian.Homeostasis(target_rate=[4, 5] * Hz)
    with pytest.raises(InvalidValue, match="rate must be a finite number > 0"):
        nd.brian.get(rate=np.array([0.1, 0.2]))
    with pytest.raises(InvalidValue, match="rate must be a finite number > 0"):
        nd.brian.get(rate=np.bool_(True))


def rules() -> list[Any]:
    """Each unlike the others, made anew at every call."""
    homeostasis = [
        nd.brian.Homeostasis(),
        nd.brian.Homeostasis(target_rate=5 * Hz),
        nd.brian.Homeostasis(target_rate=[5, 6] * Hz),
        nd.brian.Homeostasis(target_rate=[5, 7] * Hz),
    ]
    schedules = [nd.brian.Schedule(baseline=1 * second), nd.brian.Schedule(learning=3 * second)]
    variances = [nd.brian.Variance(), nd.brian.Variance(rate=3 * Hz)]
    learners = [
        *(nd.brian.get(name) for name in nd.brian.names()),
        *(nd.brian.get(homeostasis=kept) for kept in homeostasis[1:]),
        *(nd.brian.get(schedule=course) for course in schedules),
        *(nd.brian.get(variance=white) for white in variances),
        *(nd.brian.get(trace_time=time * ms) for time in (20, 30)),
    ]
    return [*homeostasis, *schedules, *variances, *learners]


def test_rules_are_keys() -> None:
    """Equal ones are one key, made of equal values, and no others are."""
    first, again = rules(), rules()
    assert all(hash(one) == hash(other) and one == other for one, other in zip(first, again, strict=True))
    assert len(set(first + again)) == len(first)
    milliseconds = Quantity(20, dim=second.dim) / 1000
    assert {nd.brian.get(trace_time=20 * ms): 1}[nd.brian.get(trace_time=milliseconds)] == 1


def users_line() -> tuple[Synapses, str]:
    """Synapses of a drive with a constant that no run will know, and the line where they were made."""
    neurons = told(trains(0))
    (frame,) = traceback.extract_stack(limit=1)
    synapses = nd.brian.get("feedback_inhibition").synapses(neurons, drive="g_post -= w*unknown_unit")
    synapses.connect()
    synapses.add_attribute("cells")
    synapses.cells = neurons
    return synapses, f"{__file__}', line {frame.lineno + 1}, in users_line"


def test_errors_of_a_run_name_the_users_line() -> None:
    """Brian2's own, and those of what is checked when a run starts."""
    synapses, line = users_line()
    with pytest.raises(brian2.BrianObjectException, match="users_line") as caught:
        Network(synapses.cells, synapses).run(1 * ms)
    assert line in str(caught.value)
    neurons = NeuronGroup(3, "g : volt", threshold="rand() < 0.1")
    brian2.defaultclock.dt = 0.1 * ms
    (frame,) = traceback.extract_stack(limit=1)
    short = nd.brian.get("vogels", trace_time=0.7 * ms).synapses(neurons, drive="g_post -= w*mV")
    short.connect()
    brian2.defaultclock.dt = 1 * ms
    with pytest.raises(brian2.BrianObjectException) as caught:
        Network(neurons, short).run(1 * ms)
    assert f"line {frame.lineno + 1}, in test_errors_of_a_run_name_the_users_line" in str(caught.value)
    assert "trace_time must be at least" in str(caught.value.__cause__)


def test_samples_that_would_fall_within_a_step_are_refused() -> None:
    """A clock that moves weights every 10 ms, and time steps that are changed after it was made."""
    neurons = NeuronGroup(3, "g : volt", threshold="rand() < 0.1")
    rule = nd.brian.get(trace_time=20 * ms, homeostasis=None, moved_by="clock")
    synapses = rule.synapses(neurons, drive="g_post -= w*mV")
    synapses.connect()
    network = Network(neurons, synapses)
    brian2.defaultclock.dt = 0.5 * ms  # a step that divides 10 ms
    network.run(3 * ms)
    brian2.defaultclock.dt = 3 * ms
    with pytest.raises(brian2.BrianObjectException) as caught:
        network.run(3 * ms)
    assert "weights move every 10. ms" in str(caught.value.__cause__)
    assert "make the synapses after it" in str(caught.value.__cause__)


@pytest.mark.parametrize("name", ["lateral_covariance", "feedback_inhibition"])
def test_what_is_printed_is_all_that_is_added(name: str) -> None:
    """The slot and the order of every object that acts in a network, every statement, every link."""
    variance = {"variance": nd.brian.Variance()} if name == "lateral_covariance" else {}
    rule, neurons = quick(name, **variance), told(trains(0))
    synapses = rule.synapses(neurons, drive="g_post -= w*mV", name="lateral", delay=2 * ms)
    synapses.connect()
    text = str(rule)
    network = Network(neurons, synapses)
    network.run(0 * ms)
    acting = [item for item in network.sorted_objects if item.code_objects and item.group.name != neurons.name]
    assert len(acting) > 5
    for item in acting:
        assert f"({item.when}, order {item.order})" in text, item
    links = dict(re.findall(r"^(\w+) = linked_var\(companions\.\w+, '(\w+)'", text, flags=re.MULTILINE))
    assert set(links) == synapses._linked_variables - {"weight_unit"}
    assert set(links.values()) <= set(synapses.companions.target.variables)
    assert ("-bias" in text) is (rule.homeostasis is not None)
