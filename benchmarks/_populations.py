"""Populations of six kinds of neurons that share five slow sources and have noise of their own, and know no plasticity.

Each is a group and the arguments of the two lines, `drive` and where inhibition is a conductance `bias_drive`.
"""

from __future__ import annotations

from collections.abc import Callable

from brian2 import NeuronGroup, TimedArray, ms, mV

from models.correlated_population import correlated_population, mixing, set_mixing

Population = tuple[NeuronGroup, dict[str, str]]
SOURCES = 5
STEPS = {"hodgkin_huxley": 0.1, "izhikevich": 0.25, "adex": 0.2}
"""Time steps in ms; 0.5 for others."""

_SHARED = "\n".join(
    [
        "common = " + " + ".join(f"mixing_{k}*sources(t, {k})" for k in range(SOURCES)) + " : 1",
        *(f"mixing_{k} : 1 (constant)" for k in range(SOURCES)),
    ]
)


def _group(
    neurons: int, seed: int, sources: TimedArray, equations: str, method: str = "euler", **options: object
) -> NeuronGroup:
    """Neurons with `common`, a mixture of the sources, and `own`, noise of their own; both of variance 1."""
    model = f"{equations}\n{_SHARED}\nown : 1"
    group = NeuronGroup(neurons, model, method=method, namespace={"sources": sources}, **options)
    group.run_regularly("own = exp(-0.2)*own + sqrt(1 - exp(-0.4))*randn()", dt=1 * ms)  # 5 ms, in steps of 1 ms
    set_mixing(group, mixing("positive", neurons, seed, SOURCES))
    return group


def current(neurons: int, seed: int, sources: TimedArray) -> Population:
    """Leaky integrate-and-fire; inhibition is a current that decays."""
    group = correlated_population(neurons, sources)
    group.drive = 16 * mV
    set_mixing(group, 3 * mV * mixing("positive", neurons, seed, SOURCES))
    return group, {"drive": "inhibition_post -= w*mV"}


def delta(neurons: int, seed: int, sources: TimedArray) -> Population:
    """The same; an inhibitory spike lowers the potential at once."""
    return current(neurons, seed, sources)[0], {"drive": "v_post -= w*mV"}


def conductance(neurons: int, seed: int, sources: TimedArray) -> Population:
    """Leaky integrate-and-fire; inhibition, excitation and all input are conductances."""
    group = _group(
        neurons,
        seed,
        sources,
        """dv/dt = (10*nS*(-70*mV - v) + excitation*(0*mV - v) + gi*(-80*mV - v))/(200*pF) : volt (unless refractory)
           excitation = clip(3.2*nS + 0.8*nS*common + 1.5*nS*own, 0*nS, inf*nS) + ge : siemens
           dge/dt = -ge/(5*ms) : siemens
           dgi/dt = -gi/(10*ms) : siemens""",
        threshold="v > -50*mV",
        reset="v = -60*mV",
        refractory=2 * ms,
    )
    group.v = -60 * mV
    return group, {"drive": "gi_post += w*nS", "bias_drive": "ge_post += bias*nS"}


def izhikevich(neurons: int, seed: int, sources: TimedArray) -> Population:
    """Regular spiking neurons of Izhikevich (2003), doi:10.1109/TNN.2003.820440."""
    group = _group(
        neurons,
        seed,
        sources,
        """dv/dt = (0.04*v**2 + 5*v + 140 - u + 4 + 2*common + 4*own + inhibition)/ms : 1
           du/dt = 0.02*(0.2*v - u)/ms : 1
           dinhibition/dt = -inhibition/(10*ms) : 1""",
        threshold="v > 30",
        reset="v = -65; u += 8",
    )
    group.v, group.u = -65, -13
    return group, {"drive": "inhibition_post -= w"}


def adex(neurons: int, seed: int, sources: TimedArray) -> Population:
    """Adaptive exponential neurons of Brette and Gerstner (2005), doi:10.1152/jn.00686.2005."""
    group = _group(
        neurons,
        seed,
        sources,
        """dv/dt = (30*nS*(-70.6*mV - v) + 60*nS*mV*exp((v + 50.4*mV)/(2*mV)) + input - adaptation)/(281*pF) : volt
           dadaptation/dt = (4*nS*(v + 70.6*mV) - adaptation)/(144*ms) : amp
           input = 0.6*nA + 0.2*nA*common + 0.3*nA*own + I : amp
           dI/dt = -I/(10*ms) : amp""",
        threshold="v > -20*mV",
        reset="v = -70.6*mV; adaptation += 0.0805*nA",
    )
    group.v = -70.6 * mV
    return group, {"drive": "I_post -= w*pA"}


def hodgkin_huxley(neurons: int, seed: int, sources: TimedArray) -> Population:
    """Make neurons of Traub and Miles, as in benchmark 3 of Brette et al. (2007), doi:10.1007/s10827-007-0038-6."""
    group = _group(
        neurons,
        seed,
        sources,
        """dv/dt = (10*nS*(-60*mV - v) - 20*uS*m**3*h*(v - 50*mV) - 6*uS*n**4*(v + 90*mV) + input)/(200*pF) : volt
           input = 90*pA + 40*pA*common + 60*pA*own - ge*v + gi*(-80*mV - v) : amp
           dm/dt = alpha_m*(1 - m) - beta_m*m : 1
           dn/dt = alpha_n*(1 - n) - beta_n*n : 1
           dh/dt = alpha_h*(1 - h) - beta_h*h : 1
           x = (v + 63*mV)/mV : 1
           alpha_m = 0.32*4/exprel((13 - x)/4)/ms : Hz
           beta_m = 0.28*5/exprel((x - 40)/5)/ms : Hz
           alpha_h = 0.128*exp((17 - x)/18)/ms : Hz
           beta_h = 4/(1 + exp((40 - x)/5))/ms : Hz
           alpha_n = 0.032*5/exprel((15 - x)/5)/ms : Hz
           beta_n = 0.5*exp((10 - x)/40)/ms : Hz
           dge/dt = -ge/(5*ms) : siemens
           dgi/dt = -gi/(10*ms) : siemens""",
        threshold="v > -20*mV",
        refractory="v > -40*mV",
        method="exponential_euler",
    )
    group.v, group.h, group.n = -63 * mV, 1, 0.1
    return group, {"drive": "gi_post += w*nS", "bias_drive": "ge_post += bias*nS"}


POPULATIONS: dict[str, Callable[[int, int, TimedArray], Population]] = {
    made.__name__: made for made in (current, delta, conductance, izhikevich, adex, hodgkin_huxley)
}
