"""Networks of point neurons: current pulses, conductances, quadratic."""

from __future__ import annotations

from brian2 import NeuronGroup, Synapses, ms, mV

from tests.brian.published.common import Parts, Published, pairs, poisson, start


def _brunel() -> Parts:
    """Brunel (2000), Dynamics of sparsely connected networks, doi:10.1023/A:1008925309027: currents are pulses.

    Membrane 20 ms, threshold 20 mV, reset 10 mV, refractory 2 ms, delay 1.5 ms, g = 5; few neurons, so larger pulses.
    """
    neurons = NeuronGroup(
        40,
        "dv/dt = -v/(20*ms) : volt (unless refractory)",
        threshold="v > 20*mV",
        reset="v = 10*mV",
        refractory=2 * ms,
        method="exact",
    )
    start(neurons, "v", 0 * mV, 20 * mV, 1)
    external = poisson(40, 0.35, 2000, 0.5, 2)
    outside = Synapses(external, neurons, on_pre="v_post += 1.6*mV")
    outside.connect(j="i")
    excitation = Synapses(neurons[:32], neurons, on_pre="v_post += 0.8*mV", delay=1.5 * ms)
    excitation.connect(**pairs(32, 40, 0.1, 3))
    inhibition = Synapses(neurons[32:], neurons, on_pre="v_post -= 4*mV", delay=1.5 * ms)
    inhibition.connect(**pairs(8, 40, 0.1, 4))
    return Parts([neurons, external, outside, excitation, inhibition], neurons, neurons)


BRUNEL_2000 = Published(_brunel, "v_post -= w*mV", step=0.5, duration=400)


def _destexhe() -> Parts:
    """Destexhe (2009), Self-sustained asynchronous irregular states, doi:10.1007/s10827-009-0164-4.

    Adaptive exponential neurons, whose adaptation is called w, with conductances of 5 and 10 ms.
    """
    neurons = NeuronGroup(
        30,
        """dv/dt = (10*nS*(-60*mV - v) + 10*nS*2.5*mV*exp((v + 50*mV)/(2.5*mV)) - w
                    - ge*v + gi*(-80*mV - v) + 0.3*nA)/(200*pF) : volt (unless refractory)
           dw/dt = (1*nS*(v + 60*mV) - w)/(600*ms) : amp
           dge/dt = -ge/(5*ms) : siemens
           dgi/dt = -gi/(10*ms) : siemens""",
        threshold="v > -40*mV",
        reset="v = -60*mV; w += 0.02*nA",
        refractory=2.5 * ms,
        method="euler",
    )
    start(neurons, "v", -65 * mV, -50 * mV, 1)
    excitation = Synapses(neurons[:24], neurons, on_pre="ge_post += 3*nS")
    excitation.connect(**pairs(24, 30, 0.2, 2))
    inhibition = Synapses(neurons[24:], neurons, on_pre="gi_post += 15*nS")
    inhibition.connect(**pairs(6, 30, 0.2, 3))
    return Parts([neurons, excitation, inhibition], neurons, neurons)


DESTEXHE_2009 = Published(
    _destexhe,
    "gi_post += w_lateral*nS",
    step=0.2,
    duration=300,
    options={"weight": "w_lateral", "bias_drive": "ge_post += bias*nS"},
)


def _izhikevich() -> Parts:
    """Izhikevich (2003), Simple model of spiking neurons, doi:10.1109/TNN.2003.820440: the network of its figure 3.

    Steps of 1 ms, noise in every step from Brian2's own seed, pulses that last one step.
    """
    neurons = NeuronGroup(
        40,
        """dv/dt = (0.04*v**2 + 5*v + 140 - u + noise + pulses)/ms : 1
           du/dt = a*(b*v - u)/ms : 1
           dpulses/dt = -pulses/dt : 1
           noise : 1
           a : 1
           b : 1
           c : 1
           d : 1""",
        threshold="v >= 30",
        reset="v = c; u += d",
        method="euler",
    )
    neurons.run_regularly("noise = (2 + 3*int(i < 32))*randn()")
    neurons.a, neurons.b = "0.02 + 0.08*int(i >= 32)*i/40.", "0.2 + 0.05*int(i >= 32)*(1 - i/40.)"
    neurons.c, neurons.d = "-65 + 15*int(i < 32)*(i/32.)**2", "2 + 6*int(i < 32)*(1 - (i/32.)**2)"
    neurons.v, neurons.u = -65, "b*v"
    excitation = Synapses(neurons[:32], neurons, on_pre="pulses_post += 4")
    excitation.connect(**pairs(32, 40, 0.5, 1))
    inhibition = Synapses(neurons[32:], neurons, on_pre="pulses_post -= 8")
    inhibition.connect(**pairs(8, 40, 0.5, 2))
    return Parts([neurons, excitation, inhibition], neurons, neurons)


IZHIKEVICH_2003 = Published(_izhikevich, "pulses_post -= 20*w", step=1.0, duration=700)
