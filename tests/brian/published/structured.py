"""Models with more structure: channels and summed gates, plasticity of their own, a chain of subgroups with delays."""

from __future__ import annotations

from brian2 import NeuronGroup, Synapses, ms, mV

from tests.brian.published.common import Parts, Published, pairs, poisson, start


def _wang_buzsaki() -> Parts:
    """Wang, Buzsaki (1996), Gamma oscillation by synaptic inhibition, doi:10.1523/JNEUROSCI.16-20-06402.1996.

    Interneurons of Hodgkin-Huxley type; the synaptic gate of a neuron follows its potential and is summed by others.
    """
    neurons = NeuronGroup(
        12,
        """dv/dt = (applied - 35*m**3*h*(v - 55*mV)/mV - 9*n**4*(v + 90*mV)/mV - 0.1*(v + 65*mV)/mV
                    - gates*(v + 75*mV)/mV)*mV/ms : volt
           m = alpha_m/(alpha_m + 4*exp(-(v + 60*mV)/(18*mV))/ms) : 1
           alpha_m = 1/exprel(-(v + 35*mV)/(10*mV))/ms : Hz
           dh/dt = 5*(0.07*exp(-(v + 58*mV)/(20*mV))/ms*(1 - h) - 1/(1 + exp(-(v + 28*mV)/(10*mV)))/ms*h) : 1
           dn/dt = 5*(0.1/exprel(-(v + 34*mV)/(10*mV))/ms*(1 - n) - 0.125*exp(-(v + 44*mV)/(80*mV))/ms*n) : 1
           ds/dt = 12/(1 + exp(-v/(2*mV)))/ms*(1 - s) - 0.1*s/ms : 1
           gates : 1
           applied : 1 (constant)""",
        threshold="v > 0*mV",
        refractory="v > -20*mV",
        method="euler",
    )
    start(neurons, "v", -70 * mV, -50 * mV, 1)
    start(neurons, "applied", 3.0, 6.0, 2)
    neurons.h, neurons.n = 0.78, 0.09
    gating = Synapses(neurons, neurons, "gates_post = s_pre*0.1/12 : 1 (summed)")
    gating.connect(condition="i != j")
    return Parts([neurons, gating], neurons, neurons)


WANG_BUZSAKI_1996 = Published(_wang_buzsaki, "v_post -= w*mV", step=0.05, duration=80)


def _song() -> Parts:
    """Song, Miller, Abbott (2000), Competitive Hebbian learning, doi:10.1038/78829: many neurons that learn as its one.

    Conductances relative to the leak, depression 1.05 times as much as potentiation.
    """
    neurons = NeuronGroup(
        10,
        """dv/dt = (-74*mV - v - ge*v + gi*(-70*mV - v))/(20*ms) : volt
           dge/dt = -ge/(5*ms) : 1
           dgi/dt = -gi/(5*ms) : 1""",
        threshold="v > -54*mV",
        reset="v = -60*mV",
        method="euler",
    )
    neurons.v = -60 * mV
    inputs = poisson(60, 0.01, 2000, 0.5, 1)
    own = Synapses(
        inputs,
        neurons,
        """strength : 1
           dearlier/dt = -earlier/(20*ms) : 1 (event-driven)
           dlater/dt = -later/(20*ms) : 1 (event-driven)""",
        on_pre="""ge_post += strength
                  earlier += 0.01
                  strength = clip(strength + 0.15*later, 0, 0.15)""",
        on_post="""later -= 1.05*0.01
                   strength = clip(strength + 0.15*earlier, 0, 0.15)""",
    )
    own.connect(**pairs(60, 10, 0.7, 2))
    own.strength = "0.15*(0.3 + 0.5*i/60)"
    return Parts([neurons, inputs, own], neurons, neurons)


SONG_2000 = Published(_song, "gi_post += 0.1*w", step=0.5, duration=400, options={"bias_drive": "ge_post += 0.02*bias"})


def _diesmann() -> Parts:
    """Diesmann, Gewaltig, Aertsen (1999), Stable propagation of synchronous spiking, doi:10.1038/990101.

    A chain of groups that are parts of one, each driving the next with a delay, and noise from Brian2's own seed.
    """
    neurons = NeuronGroup(
        32,
        """dv/dt = (-70*mV - v + x)/(10*ms) : volt (unless refractory)
           dx/dt = (y - x)/(0.325*ms) : volt
           dy/dt = -y/(0.325*ms) + 25.27*mV/(0.325*ms) + 39.24*mV*xi*sqrt(1/(0.325*ms)) : volt""",
        threshold="v > -55*mV",
        reset="v = -70*mV",
        refractory=1 * ms,
        method="euler",
    )
    start(neurons, "v", -70 * mV, -55 * mV, 1)
    pulse = poisson(1, 0.008, 8000, 0.1, 2)
    begin = Synapses(pulse, neurons[:8], on_pre="y_post += 90*mV")
    begin.connect()
    chain = [Synapses(neurons[k : k + 8], neurons[k + 8 : k + 16], on_pre="y_post += 25*mV") for k in (0, 8, 16)]
    for link in chain:
        link.connect()
        link.pre.delay = "5*ms + 0.1*j*ms"
    return Parts([neurons, pulse, begin, *chain], neurons[4:20], neurons[10:28])


DIESMANN_1999 = Published(_diesmann, "y_post -= 20*w*mV", step=0.1, duration=250, options={"delay": 1.5 * ms})
