"""A network for working memory: selective populations, slow NMDA currents that saturate, an explicit Network.

Brunel, Wang (2001), Effects of neuromodulation in a cortical network model of object working memory dominated by
recurrent inhibition, doi:10.1023/A:1011204814320.
"""

import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, Synapses, TimedArray, ms, mV, nF, nS

MEMBRANE = """
dv/dt = (gl*(-70*mV - v) + (gext*outer + gampa*ampa + gnmda*nmda*opened)*(0*mV - v) + ggaba*gaba*(-70*mV - v))/C
        : volt (unless refractory)
opened = 1/(1 + exp(-0.062*v/mV)/3.57) : 1
douter/dt = -outer/(2*ms) : 1
dampa/dt = -ampa/(2*ms) : 1
dgaba/dt = -gaba/(5*ms) : 1
nmda : 1
"""
GATES = """
drise/dt = -rise/(2*ms) : 1
dgate/dt = -gate/(100*ms) + 0.5/ms*rise*(1 - gate) : 1
"""
PYRAMIDAL = {"C": 0.5 * nF, "gl": 25 * nS, "gext": 2.08 * nS, "gampa": 0.104 * nS, "gnmda": 0.327 * nS}
INTERNEURON = {"C": 0.2 * nF, "gl": 20 * nS, "gext": 1.62 * nS, "gampa": 0.081 * nS, "gnmda": 0.258 * nS}
STRONG, FRACTION, POPULATIONS = 2.1, 0.1, 5


def build(count: int = 1000, steps: int = 10000, seed: int = 1) -> Network:
    """Four fifths are pyramidal; conductances sum to those of 1000 neurons. Outer input is drawn for 0.1 ms steps."""
    random = np.random.default_rng(seed)
    first = count * 4 // 5
    spikes = random.poisson(800 * 3 * 1e-4, (steps, count))  # of 800 neurons of 3 Hz
    options = {"threshold": "v > -50*mV", "method": "euler"}
    pyramidal = NeuronGroup(
        first,
        MEMBRANE + GATES,
        reset="v = -55*mV\nrise += 1",
        refractory=2 * ms,
        namespace={**PYRAMIDAL, "ggaba": 1.25 * nS, "arriving": TimedArray(spikes[:, :first], dt=0.1 * ms)},
        **options,
    )
    interneurons = NeuronGroup(
        count - first,
        MEMBRANE,
        reset="v = -55*mV",
        refractory=1 * ms,
        namespace={**INTERNEURON, "ggaba": 0.973 * nS, "arriving": TimedArray(spikes[:, first:], dt=0.1 * ms)},
        **options,
    )
    pyramidal.v = random.uniform(-60, -50, first) * mV
    interneurons.v = random.uniform(-60, -50, count - first) * mV
    network = Network(pyramidal, interneurons)
    for group in (pyramidal, interneurons):
        group.run_regularly("outer += arriving(t, i)")
        excitation = Synapses(
            pyramidal,
            group,
            "strength : 1\nnmda_post = strength*gate_pre : 1 (summed)",
            on_pre="ampa_post += strength",
            delay=0.5 * ms,
        )
        excitation.connect()
        inhibition = Synapses(
            interneurons, group, on_pre="gaba_post += strength", delay=0.5 * ms, namespace={"strength": 1000 / count}
        )
        inhibition.connect()
        network.add(excitation, inhibition, SpikeMonitor(group))
        strengths = selectivity(first) if group is pyramidal else np.ones((first, count - first))
        excitation.strength = 1000 / count * strengths.ravel()
    return network


def selectivity(count: int) -> np.ndarray:
    """Potentiated within each selective population, depressed onto it from elsewhere, 1 onto all other neurons."""
    population = np.minimum(np.arange(count) // int(FRACTION * count), POPULATIONS)
    depressed = 1 - FRACTION * (STRONG - 1) / (1 - FRACTION)
    onto = np.where(population[:, np.newaxis] == population, STRONG, depressed)
    return np.where(population == POPULATIONS, 1, onto)
