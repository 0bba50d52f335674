"""Measurement of the gain of a drive: one neuron that sums over the population, and variables of the companions."""

from __future__ import annotations

import numpy as np
from brian2 import Hz, NeuronGroup, Synapses, linked_var

from neuro_decorr.brian.gain import Gain

UNIT = "weight_unit : 1 (linked)"
"""Equation of the synapses."""
SETTLED = 0.5
"""Recent growth of ln A per period above which A had not settled at the end of the probing. While A is too small it
is near 1; afterwards it is 0 on average, with a standard deviation of 0.2 for 160 spikes in a period."""
LARGEST = 1e6
"""Largest A (Hz)."""
SCALE = "scaled_weight = {weight}*weight_unit"
"""Statement before a drive, which uses its result. It is a separate statement: if a drive changes a variable that is
constant while a neuron is refractory, Brian2's NumPy code expects one value per synapse of every variable in the
statement, and `weight_unit` is a single value. It is no equation of the model: Brian2 2.9 would load the weight under
two names, and its Cython code declares the type of the first only, which Cython 3.3 cannot compile."""
HELD = """\
probing = (1 - held)*calibrated*(1 - begun) : 1 (shared)
probe_direction = 1 - 2*((i + floor(2*(t + dt/2)/probe_period)) % 2) : 1
probe_answer : 1
probe_spikes : 1
probed : 1 (shared)
probe_amplitude : Hz (linked)
weight_unit : 1 (linked)"""
"""Equations of a companion: the additional bias of its neurons, and their response; `probed`: there was a bias."""
BIAS = "bias = dt*(weight_unit*({balance}) + probing*probe_amplitude*probe_direction) : 1"
ON_STEP = "probed = clip(probed + probing, 0, 1)"
ON_SPIKE = "probe_answer_post += probing_post*probe_direction_post\nprobe_spikes_post += probing_post"
EQUATIONS = """\
probe_amplitude : Hz
probe_slope : Hz**2
probe_power : Hz**2
probe_drift : 1
all_answer : 1
all_spikes : 1
answer_before : 1
spikes_before : 1
weight_unit : 1
probed_neurons : 1 (constant)
probe_response : 1 (constant)
probe_period : second (constant)
probe_gain = probe_slope/clip(probe_power, 1e-30*Hz**2, inf*Hz**2) : 1"""
"""Equations of the neuron that sums over the population."""
AT_PERIOD = f"""\
new_answer = all_answer - answer_before
new_spikes = all_spikes - spikes_before
answer_before = all_answer
spikes_before = all_spikes
probe_slope += probe_amplitude*new_answer/(probed_neurons*probe_period)
probe_power += probe_amplitude**2*int(new_spikes > 0)
probe_growth = clip(1 - new_answer/clip(new_spikes, 1, inf)/probe_response, -1, 1)*int(new_spikes > 0)
probe_drift += int(new_spikes > 0)*(probe_growth - probe_drift)/3
probe_amplitude = clip(probe_amplitude*exp(probe_growth), 1e-3*Hz, {LARGEST}*Hz)
weight_unit = 1 + int(probe_gain > 0)*int(probe_amplitude < {LARGEST}*Hz)*(1/clip(probe_gain, 1e-9, inf) - 1)"""
SUMS = "all_answer_post = probe_answer_pre : 1 (summed)\nall_spikes_post = probe_spikes_pre : 1 (summed)"


def printed_parts(gain: Gain) -> dict[str, str]:
    """Text of the additions for the measurement of the gain, by heading."""
    return {
        "the drive": "scaled_weight = w*weight_unit for w, with a weight_unit that is 1 until the gain is measured",
        f"population, one neuron, in steps of {gain.period}": f"{EQUATIONS}\nprobe_response = {gain.response}",
        "sums over the companion, at the start of a period": SUMS,
        "at the end of a period": AT_PERIOD,
    }


def attach(gain: Gain, synapses: Synapses, companions: list[NeuronGroup], part: slice) -> NeuronGroup:
    """Add the objects to synapses that measure the gain, and link the unit of their weights.

    Args:
        gain: Settings of the measurement.
        synapses: Synapses with the linked variable `weight_unit`.
        companions: Companion of the postsynaptic neurons, then others that read the unit.
        part: Indices of the postsynaptic neurons.

    Returns:
        The neuron that sums over the population.
    """
    name = f"{synapses.name}_population"
    population = NeuronGroup(1, EQUATIONS, dt=gain.period, name=name, namespace={})
    population.probe_amplitude = 1e-3 * Hz
    population.weight_unit = population.probe_drift = 1
    population.probed_neurons, population.probe_response = part.stop - part.start, gain.response
    population.probe_period = gain.period
    population.run_regularly(AT_PERIOD, clock=population.clock, when="end", name=f"{name}_period")
    sums = Synapses(companions[0], population, SUMS, clock=population.clock, name=f"{name}_sums", namespace={})
    sums.connect(i=np.arange(part.start, part.stop), j=0)
    for companion in companions:
        companion.probe_amplitude = linked_var(population, "probe_amplitude")
    for group in (*companions, synapses):
        group.weight_unit = linked_var(population, "weight_unit")
    synapses.contained_objects.extend([population, sums])
    return population
