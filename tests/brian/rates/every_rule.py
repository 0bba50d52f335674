"""Every rate rule on a part of the units, some pairs unconnected: learning, frozen and learning again."""

from __future__ import annotations

from collections.abc import Callable

import brian2
import numpy as np
from brian2 import Network, StateMonitor, ms

import neuro_decorr as nd
from tests.brian.on_target import Results
from tests.brian.rates.circuits import STEP, UNITS, inputs, rate_units

HOLD = 10 * STEP  # ms
RULES = {
    "lateral": {"rate": 0.02},
    "anti_hebbian": {"rate": 0.02},
    "interneuron_local": {"rate": 0.1, "interneurons": 3},
}


def run() -> Callable[[], Results]:
    """A scenario for `simulate`: activities, and weights before, after learning, after freezing and at the end."""
    brian2.defaultclock.dt = STEP * ms
    network, found = Network(), {}
    for name, parameters in RULES.items():
        group = rate_units(inputs(), hold=HOLD, name=f"units_{name}")
        synapses = nd.brian.get(name, **parameters).synapses(
            group[1:], output="x", inhibition="inhibition", inputs="z", hold=HOLD * ms, name=f"synapses_{name}"
        )
        synapses.connect(condition="i != 1 or j != 0")
        if name != "interneuron_local":
            size = UNITS - 1
            nd.brian.set_weights(synapses, 0.01 * np.arange(size**2).reshape(size, size))
        count = (UNITS - 1) * parameters.get("interneurons", UNITS - 1) - 1  # by hand: unknown before a compiled run
        course = StateMonitor(group, "x", record=True, dt=HOLD * ms, when="before_start", name=f"course_{name}")
        weights = StateMonitor(
            synapses, "w", record=np.arange(count), dt=8 * HOLD * ms, when="after_start", name=f"weights_{name}"
        )
        network.add(group, synapses, course, weights)
        found[name] = (synapses, course, weights)
    network.run((8 * HOLD + STEP) * ms)
    for switch in (nd.brian.freeze, nd.brian.thaw):
        for synapses, _, _ in found.values():
            switch(synapses)
        network.run(8 * HOLD * ms)

    def results() -> Results:
        saved = {}
        for name, (synapses, course, weights) in found.items():
            saved[f"{name} course"] = course.x
            saved |= {f"{name} {what}": weights.w[:, at] for at, what in enumerate(("start", "learnt", "frozen"))}
            saved[f"{name} end"] = synapses.w[:]
        return saved

    return results
