"""Measuring the gain of a drive: one neuron that stands for the population, and what a companion holds for it."""

from __future__ import annotations

import numpy as np
from brian2 import Hz, NeuronGroup, Synapses, linked_var

from neuro_decorr.brian.gain import Gain

SCALED = "weight_unit : 1 (linked)\nscaled_weight = {weight}*weight_unit : 1"
"""Of synapses: what a drive sees. By a name of its own: where a drive reaches a variable that stays while a neuron is
refractory, Brian2's numpy code takes every variable of a statement for one value a synapse, and the unit is one."""
HELD = """\
probing = (1 - held)*calibrated*(1 - begun) : 1 (shared)
probe_direction = 1 - 2*((i + floor(2*(t + dt/2)/probe_period)) % 2) : 1
probe_answer : 1
probe_spikes : 1
probe_amplitude : Hz (linked)
weight_unit : 1 (linked)"""
"""Of a companion: what its neurons get in addition, and how they answer."""
BIAS = "bias = dt*(weight_unit*({balance}) + probing*probe_amplitude*probe_direction) : 1"
ON_SPIKE = "probe_answer_post += probing_post*probe_direction_post\nprobe_spikes_post += probing_post"
EQUATIONS = """\
probe_amplitude : Hz
probe_slope : Hz**2
probe_power : Hz**2
all_answer : 1
all_spikes : 1
answer_before : 1
spikes_before : 1
weight_unit : 1
probed_neurons : 1 (constant)
probe_response : 1 (constant)
probe_period : second (constant)
probe_gain = probe_slope/clip(probe_power, 1e-30*Hz**2, inf*Hz**2) : 1"""
"""Of the population."""
AT_PERIOD = """\
new_answer = all_answer - answer_before
new_spikes = all_spikes - spikes_before
answer_before = all_answer
spikes_before = all_spikes
probe_slope += probe_amplitude*new_answer/(probed_neurons*probe_period)
probe_power += probe_amplitude**2*int(new_spikes > 0)
probe_growth = clip(1 - new_answer/clip(new_spikes, 1, inf)/probe_response, -1, 1)*int(new_spikes > 0)
probe_amplitude = clip(probe_amplitude*exp(probe_growth), 1e-3*Hz, 1e6*Hz)
weight_unit = 1 + int(probe_gain > 0)*int(probe_amplitude < 1e6*Hz)*(1/clip(probe_gain, 1e-9, inf) - 1)"""
SUMS = "all_answer_post = probe_answer_pre : 1 (summed)\nall_spikes_post = probe_spikes_pre : 1 (summed)"


def printed_parts(gain: Gain) -> dict[str, str]:
    """What is added, each part under its heading."""
    return {
        "the drive": "scaled_weight for w, with a weight_unit that is 1 until the gain is measured",
        f"population, one neuron, in steps of {gain.period}": f"{EQUATIONS}\nprobe_response = {gain.response}",
        "sums over the companion, at the start of a period": SUMS,
        "at the end of a period": AT_PERIOD,
    }


def attach(gain: Gain, synapses: Synapses, companions: list[NeuronGroup], part: slice) -> NeuronGroup:
    """Let synapses bring along what measures the gain, and see the unit of their weights.

    Args:
        gain: How.
        synapses: With `weight_unit`, to be linked.
        companions: Of the postsynaptic neurons, and others that are to see it.
        part: Which postsynaptic neurons there are.

    Returns:
        The population, one neuron.
    """
    name = f"{synapses.name}_population"
    population = NeuronGroup(1, EQUATIONS, dt=gain.period, name=name, namespace={})
    population.probe_amplitude = 1e-3 * Hz
    population.weight_unit = 1
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
