"""A current-based network of integrate-and-fire neurons that sustains its activity.

Vogels, Abbott (2005), Signal propagation and logic gating in networks of integrate-and-fire neurons,
doi:10.1523/JNEUROSCI.3508-05.2005; parameters as in Brette et al. (2007), Simulation of networks of spiking neurons,
benchmark 2, doi:10.1007/s10827-007-0038-6.
"""

import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, Synapses, collect, ms, mV


def build(count: int = 4000, seed: int = 1) -> Network:
    """Four fifths are excitatory; every neuron has 80 inputs on average, whatever the size."""
    random = np.random.default_rng(seed)
    neurons = NeuronGroup(
        count,
        """dv/dt = (ge + gi - (v + 49*mV))/(20*ms) : volt (unless refractory)
           dge/dt = -ge/(5*ms) : volt
           dgi/dt = -gi/(10*ms) : volt""",
        threshold="v > -50*mV",
        reset="v = -60*mV",
        refractory=5 * ms,
        method="exact",
    )
    neurons.v = random.uniform(-60, -50, count) * mV
    pre, post = np.nonzero(random.random((count, count)) < 80 / count)
    excitatory = pre < 0.8 * count
    excitation = Synapses(neurons, on_pre="ge_post += 1.62*mV")
    excitation.connect(i=pre[excitatory], j=post[excitatory])
    inhibition = Synapses(neurons, on_pre="gi_post -= 9*mV")
    inhibition.connect(i=pre[~excitatory], j=post[~excitatory])
    return Network(collect(), SpikeMonitor(neurons))
