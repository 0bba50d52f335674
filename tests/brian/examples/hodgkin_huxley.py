"""A network of Hodgkin-Huxley neurons with synaptic conductances.

Brette et al. (2007), Simulation of networks of spiking neurons: a review of tools and strategies, benchmark 3,
doi:10.1007/s10827-007-0038-6; kinetics of Traub, Miles (1991), Neuronal Networks of the Hippocampus.
"""

import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, Synapses, cm, collect, ms, msiemens, mV, nS, siemens, uF, um

MEMBRANE = """
dv/dt = (leak + sodium + potassium + ge*(0*mV - v) + gi*(-80*mV - v))/C : volt
leak = gl*(-60*mV - v) : amp
sodium = gna*m**3*h*(50*mV - v) : amp
potassium = gk*n**4*(-90*mV - v) : amp
dge/dt = -ge/(5*ms) : siemens
dgi/dt = -gi/(10*ms) : siemens
u = (v - VT)/mV : 1
dm/dt = (1.28/exprel((13 - u)/4)*(1 - m) - 1.4/exprel((u - 40)/5)*m)/ms : 1
dh/dt = (0.128*exp((17 - u)/18)*(1 - h) - 4/(1 + exp((40 - u)/5))*h)/ms : 1
dn/dt = (0.16/exprel((15 - u)/5)*(1 - n) - 0.5*exp((10 - u)/40)*n)/ms : 1
"""
AREA = 20000 * um**2
CONSTANTS = {
    "C": 1 * uF / cm**2 * AREA,
    "gl": 5e-5 * siemens / cm**2 * AREA,
    "gna": 100 * msiemens / cm**2 * AREA,
    "gk": 30 * msiemens / cm**2 * AREA,
    "VT": -63 * mV,
}


def build(count: int = 4000, seed: int = 1) -> Network:
    """Four fifths are excitatory; every neuron has 80 inputs on average, whatever the size."""
    random = np.random.default_rng(seed)
    neurons = NeuronGroup(
        count,
        MEMBRANE,
        threshold="v > -20*mV",
        refractory=3 * ms,
        method="exponential_euler",
        namespace=CONSTANTS,
    )
    neurons.v = random.uniform(-70, -60, count) * mV
    neurons.ge = random.uniform(20, 60, count) * nS
    neurons.gi = random.uniform(50, 300, count) * nS
    pre, post = np.nonzero(random.random((count, count)) < 80 / count)
    excitatory = pre < 0.8 * count
    excitation = Synapses(neurons, on_pre="ge_post += 6*nS")
    excitation.connect(i=pre[excitatory], j=post[excitatory])
    inhibition = Synapses(neurons, on_pre="gi_post += 67*nS")
    inhibition.connect(i=pre[~excitatory], j=post[~excitatory])
    return Network(collect(), SpikeMonitor(neurons))
