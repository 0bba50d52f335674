"""Every rule in six published models: weights are those that its spikes say, and nothing of the model changes."""

from __future__ import annotations

from functools import cache
from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Hz, Network, NeuronGroup, SpikeMonitor, Subgroup, Synapses, ms

import neuro_decorr as nd
from tests.brian.every_rule import spiking_rules
from tests.brian.published import MODELS, Published
from tests.brian.recomputed import Given, Trains, weights

pytestmark = pytest.mark.usefixtures("brian_on_numpy")

RULES = [*spiking_rules(), "clock"]
SHARE = 0.4  # of the time, without learning


def rule_of(name: str, length: float) -> nd.brian.SpikingRule:
    """A rule that learns enough within a fraction of a second; rates are counted before, and no bias until then."""
    options: dict[str, Any] = {"rate": 0.05, "trace_time": 20 * ms, "largest_weight": 0.3}
    homeostasis = nd.brian.Homeostasis(calibration=SHARE * length * ms, rate=1 * Hz)
    if name == "clock":
        options |= {"moved_by": "clock", "homeostasis": None, "schedule": None, "gain": None}
        return nd.brian.get("lateral_covariance", mean_time=80 * ms, **options)
    if name == "vogels":
        return nd.brian.get("vogels", target_rate=10 * Hz, **options | {"largest_weight": 5.0})
    if name == "foldiak":
        return nd.brian.get("foldiak", homeostasis=homeostasis, **options)
    if name == "feedback_inhibition":
        options |= {"interneurons": 4, "threshold": 0.5, "spontaneous_rate": 40 * Hz}
    if name != "correlation_measuring":
        options["homeostasis"] = homeostasis
    if name == "lateral_covariance":
        options |= {"schedule": None, "gain": None}
    return nd.brian.get(name, mean_time=80 * ms, **options)


class Simulated:
    """A model that runs, with a rule or without."""

    def __init__(self, model: Published, rule: nd.brian.SpikingRule | None) -> None:
        brian2.defaultclock.dt = model.step * ms
        brian2.seed(5)
        self.parts = model.build()
        self.described = self.description()
        self.monitors = [SpikeMonitor(_whole(group)) for group in (self.parts.source, self.parts.target)]
        self.network = Network(self.parts.objects, self.monitors)
        self.step = model.step
        if rule is not None:
            self.add(model, rule)

    def add(self, model: Published, rule: nd.brian.SpikingRule) -> None:
        """The two lines."""
        source, target = self.parts.source, self.parts.target
        if rule.name == "feedback_inhibition":
            source, target = target, None
        options = {k: v for k, v in model.options.items() if k != "bias_drive" or rule.homeostasis is not None}
        self.lateral: Synapses = rule.synapses(source, target, model.drive, **options)
        if rule.name == "feedback_inhibition":
            self.lateral.connect()
            self.monitors[0] = SpikeMonitor(self.lateral.source)
            self.network.add(self.monitors[0])
        else:
            offset = getattr(target, "start", 0) - getattr(source, "start", 0)
            self.lateral.connect(condition=f"i != j + {offset}")
        self.network.add(self.lateral)

    def description(self) -> list[object]:
        """What the objects of the model are."""
        found: list[object] = []
        for item in self.parts.objects:
            names = sorted(name for name in item.variables if not name.startswith("_"))
            found += [type(item), names, [type(inner) for inner in item.contained_objects]]
            found += [str(getattr(item, "equations", "")), str(getattr(item, "events", ""))]
            found += [pathway.code for pathway in getattr(item, "_pathways", [])]
        return found

    def states(self) -> dict[str, np.ndarray]:
        """All values of the model."""
        return {
            f"object {number}: {name}": np.copy(values)
            for number, item in enumerate(self.parts.objects)
            if isinstance(item, NeuronGroup | Synapses)
            for name, values in item.get_states(units=False).items()
        }

    def trains(self, side: int, group: Any) -> Trains:
        """The steps of the spikes of a group's neurons, or a subgroup's."""
        steps = np.rint(np.asarray(self.monitors[side].t) / (self.step * 1e-3)).astype(int)
        first = group.start if isinstance(group, Subgroup) else 0
        neurons = np.asarray(self.monitors[side].i) - first
        return [steps[neurons == neuron] for neuron in range(len(group))]


def _whole(group: Any) -> Any:
    return group.source if isinstance(group, Subgroup) else group


@cache
def plain(name: str) -> tuple[list[object], dict[str, np.ndarray], Trains]:
    """A model as it is: what it consists of, its values when learning would begin, and all spikes of the target."""
    model = MODELS[name]
    made = Simulated(model, None)
    made.network.run(SHARE * model.duration * ms)
    states = made.states()
    made.network.run((1 - SHARE) * model.duration * ms)
    return made.described, states, made.trains(1, _whole(made.parts.target))


def check(model_name: str, rule_name: str) -> None:
    """Nothing of the model differs until it learns; then weights are those computed from the spikes."""
    model = MODELS[model_name]
    rule = rule_of(rule_name, model.duration)
    described, states, alone = plain(model_name)
    made = Simulated(model, rule)
    assert made.described == described == made.description()
    weight = model.options.get("weight", "w")
    nd.brian.freeze(made.lateral)
    made.network.run(SHARE * model.duration * ms)
    first = round(SHARE * model.duration / model.step)
    assert not made.lateral.state(weight)[:].any()
    for name, values in made.states().items():
        np.testing.assert_array_equal(values, states[name], err_msg=name)
    nd.brian.thaw(made.lateral)
    made.network.run((1 - SHARE) * model.duration * ms)
    whole = made.trains(1, _whole(made.parts.target))
    assert all(np.array_equal(a[a < first], b[b < first]) for a, b in zip(whole, alone, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(whole, alone, strict=True))  # the drive reaches the neurons

    given = Given(
        source=made.trains(0, made.lateral.source),
        target=made.trains(1, made.lateral.target),
        pre=np.asarray(made.lateral.i),
        post=np.asarray(made.lateral.j),
        step=model.step * 1e-3,
        steps=round(model.duration / model.step),
        first=first,
    )
    expected = weights(rule, given)
    learning = sum((train >= first).sum() for train in given.target)
    assert learning > 2 * len(given.target) and len(np.unique(expected)) > 10 and np.ptp(expected) > 0.02
    # Thousands of additions round at 1e-16 each; a spike that is missed or seen in another step changes some 1e-3.
    np.testing.assert_allclose(made.lateral.state(weight)[:], expected, rtol=1e-9, atol=1e-12)


FEW = [
    ("current", "vogels"),
    ("conductance", "lateral_covariance"),
    ("izhikevich", "correlation_measuring"),
    ("hodgkin_huxley", "clock"),
    ("own_stdp", "foldiak"),
    ("subgroups_delays", "feedback_inhibition"),
]
MANY = [(model, rule) for model in MODELS for rule in RULES if (model, rule) not in FEW]


def test_every_rule_is_inserted() -> None:
    assert {rule for _, rule in FEW} == set(RULES) and [model for model, _ in FEW] == list(MODELS)


@pytest.mark.parametrize(("model", "rule"), FEW)
def test_a_rule_in_a_published_model(model: str, rule: str) -> None:
    check(model, rule)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "rule"), MANY)
def test_every_rule_in_every_published_model(model: str, rule: str) -> None:
    check(model, rule)
