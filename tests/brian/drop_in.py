"""The published models of `examples`, as they are and with lateral plasticity: the scenario of test_drop_in."""

from __future__ import annotations

import difflib
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2 import Hz, Network, SpikeMonitor, Synapses, get_device, ms

import neuro_decorr as nd
from tests.brian.on_target import Results

CONNECT = 'lateral.connect(condition="i != j")'
PAIRED = {"rate": 0.05, "trace_time": 20 * ms, "gain": None}
HOMEOSTASIS = nd.brian.Homeostasis(target_rate=10 * Hz)


@dataclass(frozen=True)
class Model:
    """A published model at a small size, the lines that are added at its end, and the rule that they name."""

    rule: nd.brian.SpikingRule
    lines: tuple[str, ...]
    frozen: float  # ms
    learning: float  # ms
    size: dict[str, int] = field(default_factory=dict)


MODELS = {
    "current_based": Model(
        rule=nd.brian.get("lateral_covariance", mean_time=80 * ms, homeostasis=HOMEOSTASIS, **PAIRED),
        lines=('lateral = rule.synapses(neurons, drive="gi_post -= w*mV")', CONNECT),
        frozen=60,
        learning=60,
        size={"count": 400},
    ),
    "hodgkin_huxley": Model(
        rule=nd.brian.get("foldiak", homeostasis=HOMEOSTASIS, rate=0.3, trace_time=20 * ms),
        lines=(
            'lateral = rule.synapses(neurons, drive="gi_post += 20*w*nS", bias_drive="ge_post += bias*nS")',
            CONNECT,
        ),
        frozen=12,
        learning=14,
        size={"count": 200},
    ),
    "vogels_2011": Model(
        rule=nd.brian.get("lateral_covariance", mean_time=80 * ms, homeostasis=HOMEOSTASIS, **PAIRED),
        lines=(
            'lateral = rule.synapses(excitatory, drive="g_gaba_post += w*nS", bias_drive="g_ampa_post += bias*nS")',
            CONNECT,
        ),
        frozen=30,
        learning=20,
        size={"count": 400},
    ),
    "brunel_wang_2001": Model(
        rule=nd.brian.get("correlation_measuring", mean_time=80 * ms, **PAIRED),
        lines=('lateral = rule.synapses(pyramidal, drive="gaba_post += 20*w")', CONNECT, "network.add(lateral)"),
        frozen=45,
        learning=35,
        size={"count": 100, "steps": 800},
    ),
}


def source(name: str) -> str:
    """The text of a model's module."""
    return Path(str(import_module(f"tests.brian.examples.{name}").__file__)).read_text()


def with_lines(text: str, lines: tuple[str, ...]) -> str:
    """The text with lines before the last that its `build` has; nothing else differs."""
    before, last, after = text.partition("    return ")
    changed = before + "".join(f"    {line}\n" for line in lines) + last + after
    signs = [line[0] for line in difflib.ndiff(text.splitlines(), changed.splitlines())]
    assert signs.count("+") == len(lines) and set(signs) == {" ", "+"}
    return changed


def builder(text: str, **names: Any) -> Callable[..., Network]:
    """The function `build` of a module's text."""
    namespace: dict[str, Any] = dict(names)
    exec(compile(text, "model", "exec"), namespace)
    build: Callable[..., Network] = namespace["build"]
    return build


def lateral_synapses(network: Network) -> Synapses:
    """The only synapses of a rule in a network."""
    (found,) = [item for item in network.objects if isinstance(item, Synapses) and "learning_rate" in item.variables]
    return found


def monitors(network: Network) -> list[SpikeMonitor]:
    """Its monitors of spikes, the one of the most neurons first."""
    found = [item for item in network.objects if isinstance(item, SpikeMonitor)]
    return sorted(found, key=lambda monitor: -len(monitor.source))


def spikes(network: Network) -> Results:
    """All spikes: which monitor's, at which time step, of which neuron."""
    found = monitors(network)
    return {
        "monitors": np.repeat(np.arange(len(found)), [monitor.num_spikes for monitor in found]),
        "steps": np.concatenate([np.round(np.asarray(monitor.t) / 1e-4).astype(int) for monitor in found]),
        "neurons": np.concatenate([np.asarray(monitor.i) for monitor in found]),
    }


def run(name: str) -> Callable[[], Results]:
    """One model as it is, and with its lines: frozen at zero weights first, then learning."""
    model = MODELS[name]
    brian2.defaultclock.dt = 0.1 * ms
    plain = import_module(f"tests.brian.examples.{name}").build(**model.size)
    plain.run((model.frozen + model.learning) * ms)
    expected: Callable[[], Results] = partial(spikes, plain)
    if not hasattr(get_device(), "has_been_run"):  # gone, it leaves its names, and so its compiled code, to the other
        known = expected()
        expected = partial(dict, known)
        del plain
        gc.collect()
    dropped = builder(with_lines(source(name), model.lines), rule=model.rule)(**model.size)
    lateral = lateral_synapses(dropped)
    nd.brian.freeze(lateral, homeostasis=model.rule.homeostasis is not None)
    dropped.run(model.frozen * ms)
    nd.brian.thaw(lateral)
    dropped.run(model.learning * ms)

    def results() -> Results:
        found = {f"plain_{key}": values for key, values in expected().items()}
        found |= {f"dropped_{key}": values for key, values in spikes(dropped).items()}
        found["weights"] = nd.brian.weights_to_matrix(lateral)
        return found

    return results
