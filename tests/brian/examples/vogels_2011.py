"""A balanced network whose inhibitory synapses onto excitatory neurons learn a rate: it has plasticity of its own.

Vogels, Sprekeler, Zenke, Clopath, Gerstner (2011), Inhibitory plasticity balances excitation and inhibition in sensory
pathways and memory networks, doi:10.1126/science.1211095.
"""

import numpy as np
from brian2 import Hz, Network, NeuronGroup, SpikeMonitor, Synapses, collect, ms, mV, pA

MEMBRANE = """
dv/dt = (10*nS*(-60*mV - v) + g_ampa*(0*mV - v) + g_gaba*(-80*mV - v) + background)/(200*pF) : volt (unless refractory)
dg_ampa/dt = -g_ampa/(5*ms) : siemens
dg_gaba/dt = -g_gaba/(10*ms) : siemens
background : amp (shared)
"""
TRACES = """
w : 1
dbefore/dt = -before/(20*ms) : 1 (event-driven)
dafter/dt = -after/(20*ms) : 1 (event-driven)
"""


def build(count: int = 10000, seed: int = 1) -> Network:
    """Four fifths are excitatory; every neuron has 200 inputs on average, whatever the size."""
    random = np.random.default_rng(seed)
    first = count * 4 // 5
    neurons = NeuronGroup(
        count, MEMBRANE, threshold="v > -50*mV", reset="v = -60*mV", refractory=5 * ms, method="euler"
    )
    excitatory, inhibitory = neurons[:first], neurons[first:]
    neurons.v = random.uniform(-60, -50, count) * mV
    neurons.background = 200 * pA
    pre, post = np.nonzero(random.random((count, count)) < 200 / count)
    from_excitatory = pre < first
    excitation = Synapses(excitatory, neurons, on_pre="g_ampa_post += 0.3*nS")
    excitation.connect(i=pre[from_excitatory], j=post[from_excitatory])
    within = ~from_excitatory & (post >= first)
    inhibition = Synapses(inhibitory, inhibitory, on_pre="g_gaba_post += 3*nS")
    inhibition.connect(i=pre[within] - first, j=post[within] - first)
    learning = ~from_excitatory & (post < first)
    balancing = Synapses(
        inhibitory,
        excitatory,
        TRACES,
        on_pre="g_gaba_post += w*nS\nbefore += 1\nw = clip(w + 0.01*(after - 2*target*20*ms), 0, 100)",
        on_post="after += 1\nw = clip(w + 0.01*before, 0, 100)",
        namespace={"target": 3 * Hz},
    )
    balancing.connect(i=pre[learning] - first, j=post[learning])
    return Network(collect(), SpikeMonitor(neurons))
