"""An E-I circuit as in King, Zylberberg, DeWeese (2013), doi:10.1523/JNEUROSCI.4188-12.2013: Dale's law holds."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Network, NeuronGroup, SpikeMonitor, StateMonitor, TimedArray, ms

import neuro_decorr as nd

EXCITATORY, INHIBITORY, STEPS = 12, 4, 1500


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def given_input() -> np.ndarray:
    """Of two halves of the excitatory neurons, each with a slow source of its own, in mV: shape (STEPS, neurons)."""
    random = np.random.default_rng(0)
    sources = np.zeros((STEPS, 2))
    for step in range(1, STEPS):
        sources[step] = sources[step - 1] * (1 - 1 / 30) + random.standard_normal(2) * np.sqrt(2 / 30)
    shared = np.repeat(sources, EXCITATORY // 2, axis=1)
    own = random.standard_normal((STEPS, EXCITATORY))
    return np.hstack([18 + 6 * shared + 8 * own, 16 + 4 * random.standard_normal((STEPS, INHIBITORY))])


def test_signs_never_change_and_a_pairs_two_weights_become_one() -> None:
    neurons = NeuronGroup(
        EXCITATORY + INHIBITORY,
        """dv/dt = (arriving(t, i)*mV + ge + gi - v)/(10*ms) : volt
           dge/dt = -ge/(5*ms) : volt
           dgi/dt = -gi/(5*ms) : volt""",
        threshold="v > 20*mV",
        reset="v = 0*mV",
        method="euler",
        namespace={"arriving": TimedArray(given_input(), dt=1 * ms)},
    )
    excitatory, inhibitory = neurons[:EXCITATORY], neurons[EXCITATORY:]
    rule = nd.brian.get("correlation_measuring", rate=0.1, trace_time=20 * ms, mean_time=500 * ms)
    onto = rule.synapses(excitatory, inhibitory, drive="ge_post += 4*w*mV")
    back = rule.synapses(inhibitory, excitatory, drive="gi_post -= 4*w*mV")
    among = rule.synapses(inhibitory, inhibitory, drive="gi_post -= 4*w*mV")
    onto.connect()
    back.connect()
    among.connect(condition="i != j")
    courses = []
    for synapses in (onto, back, among):
        synapses.w = np.random.default_rng(1).uniform(0, 1, len(synapses))
        courses.append(StateMonitor(synapses, "w", record=True))
    received = StateMonitor(neurons, ["ge", "gi"], record=True)
    spikes = SpikeMonitor(neurons)
    Network(neurons, onto, back, among, courses, received, spikes).run(STEPS * ms)
    # Signs: what arrives is never of the other sign, at no step; no weight passes zero, though some come to it.
    assert received.ge.min() >= 0 and received.ge.max() > 0
    assert received.gi.max() <= 0 and received.gi.min() < 0
    assert all(course.w.min() >= 0 and np.ptp(course.w, axis=1).min() > 0.01 for course in courses)
    assert any((course.w == 0).any() for course in courses)
    # A pair's two synapses see the same spikes: from wherever they start, their difference shrinks.
    there, back_again = (
        course.w.reshape(len(synapses.source), len(synapses.target), STEPS)
        for synapses, course in ((onto, courses[0]), (back, courses[1]))
    )
    apart = np.abs(there - back_again.swapaxes(0, 1))
    assert apart[..., 0].mean() > 0.2 and apart[..., -1].mean() < 0.5 * apart[..., 0].mean()
    fired = np.zeros((EXCITATORY + INHIBITORY, STEPS), dtype=bool)
    fired[spikes.i, np.round(spikes.t / ms).astype(int)] = True
    alone = ~(fired[:EXCITATORY, np.newaxis] & fired[EXCITATORY:])[..., :-1]  # of both at once, one goes first
    assert (np.diff(apart, axis=2)[alone] < 1e-12).all()
    # And they differ between the sources: an interneuron is for one half of the excitatory neurons or the other.
    halves = there[..., -1].reshape(2, -1, INHIBITORY).mean(axis=1)
    assert spikes.count[:].min() > 5 and np.abs(halves[0] - halves[1]).max() > 0.2
