"""Every spiking rule, and what one says about populations, in one network: the scenario of test_targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import brian2
import numpy as np
from brian2 import Hz, Network, NeuronGroup, SpikeMonitor, StateMonitor, Synapses, ms

import neuro_decorr as nd
from neuro_decorr.errors import Unsupported
from tests.brian.on_target import Results

PHASE = 100 * ms
SIZE = 8


def spiking_rules() -> list[str]:
    """Names of all registered rules for spikes."""
    return [name for name in nd.brian.names() if isinstance(nd.brian.get(name), nd.brian.SpikingRule)]


def quick(name: str, **parameters: Any) -> nd.brian.SpikingRule:
    """A rule whose times fit into some hundred milliseconds."""
    usual = nd.brian.get(name)
    short: dict[str, Any] = {"rate": 0.01, "trace_time": 20 * ms, "mean_time": 80 * ms, "gain": None}
    if usual.homeostasis is not None:
        target = None if usual.homeostasis.target_rate is None else 40 * Hz
        short["homeostasis"] = nd.brian.Homeostasis(calibration=40 * ms, target_rate=target, average_time=50 * ms)
    known = {entry.name for entry in fields(usual)}
    return nd.brian.get(name, **{key: value for key, value in short.items() if key in known} | parameters)


def population(size: int = SIZE) -> NeuronGroup:
    """Neurons that spike regularly, each at a rate of its own."""
    cells = NeuronGroup(
        size,
        "dv/dt = (drive - v + gi)/(10*ms) : volt\ndgi/dt = -gi/(5*ms) : volt\ndrive : volt",
        threshold="v > 20*mV",
        reset="v = 0*mV",
        method="euler",
    )
    cells.drive = "25*mV + 4*sin(i)*mV"
    return cells


def circuits() -> dict[str, tuple[list[NeuronGroup], Synapses]]:
    """Synapses of each rule within a population of its own, with a delay; of one with a schedule; of one with a
    variance, whose weights a clock moves; between subgroups."""
    found = {}
    for name in spiking_rules():
        cells = population()
        lateral = quick(name).synapses(cells, drive="gi_post -= w*mV", delay=2 * ms)
        lateral.connect(condition="i != j")
        found[name] = ([cells], lateral)
    cells = population()
    schedule = nd.brian.Schedule(baseline=20 * ms, learning=180 * ms, annealing=90 * ms, consolidation=10 * ms)
    scheduled = quick("lateral_covariance", schedule=schedule).synapses(cells, drive="gi_post -= w*mV")
    scheduled.connect(condition="i != j")
    found["schedule"] = ([cells], scheduled)
    cells = population()
    variance = nd.brian.Variance(dispersion=0.3, rate=20 * Hz)
    clock = {"variance": variance, "moved_by": "clock"}
    white = quick("lateral_covariance", **clock).synapses(cells, drive="gi_post -= w*mV")
    white.connect(condition="i != j")
    found["variance"] = ([cells], white)
    before, after = population(), population(SIZE + 2)
    between = quick("lateral_covariance").synapses(before[3:7], after[2:8], drive="gi_post -= w*mV")
    between.connect(condition="(i + j) % 3 > 0")
    found["subgroups"] = ([before, after], between)
    return found


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """What a call answers that is refused."""
    try:
        call(*arguments)
    except (Unsupported, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"
    return "not refused"


def run(names: tuple[str, ...] | None = None) -> Callable[[], Results]:
    """Learning, frozen, learning again: all circuits, or those of some names."""
    brian2.defaultclock.dt = 0.5 * ms
    parts = {name: part for name, part in circuits().items() if names is None or name in names}
    watched, network = {}, Network()
    for name, (groups, synapses) in parts.items():
        shape = (len(synapses.source), len(synapses.target))
        nd.brian.set_weights(synapses, 0.3 + 0.01 * np.arange(shape[0] * shape[1]).reshape(shape))
        count = 16 if name == "subgroups" else SIZE * (SIZE - 1)  # counted by hand: not known before a program runs
        spikes = [SpikeMonitor(group) for group in groups]
        course = StateMonitor(synapses, "w", record=np.arange(count), dt=PHASE)
        watched[name] = (spikes, course)
        network.add(groups, synapses, spikes, course)
    reading = refusal(nd.brian.weights_to_matrix, synapses)
    storing = refusal(network.store)
    for switch in (None, nd.brian.freeze, nd.brian.thaw):
        for _, synapses in parts.values():
            if switch is not None:
                switch(synapses)
        network.run(PHASE)

    def results() -> Results:
        found = {}
        for name, (_, synapses) in parts.items():
            spikes, course = watched[name]
            for number, monitor in enumerate(spikes):
                found[f"{name} spikes {number}"] = np.stack([np.asarray(monitor.t) * 1e3, np.asarray(monitor.i)])
            found[f"{name} weights"] = nd.brian.weights_to_matrix(synapses)
            found[f"{name} course"] = np.asarray(course.w)
            if "bias_rate" in synapses.companions.target.variables:
                found[f"{name} bias"] = np.asarray(synapses.companions.target.bias_rate)
            if "self_weight" in synapses.companions.target.variables:
                found[f"{name} self"] = np.asarray(synapses.companions.target.self_weight)
        late = {call.__name__: refusal(call, synapses) for call in (nd.brian.freeze, nd.brian.thaw)}
        late["set_weights"] = refusal(nd.brian.set_weights, synapses, nd.brian.weights_to_matrix(synapses))
        refused = {"weights_to_matrix": reading, "store": storing, **late}
        return found | {f"refused {name}": np.array(text) for name, text in refused.items()}

    return results


def run_some() -> Callable[[], Results]:
    """What differs most, for a target that compiles every object for minutes: means and homeostasis, or neither."""
    return run(("vogels", "subgroups"))
