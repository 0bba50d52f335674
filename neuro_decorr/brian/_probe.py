"""Measuring the gain of a drive: one neuron that stands for the population, and what a companion holds for it."""

from __future__ import annotations

import numpy as np
from brian2 import Hz, NeuronGroup, Synapses, linked_var

from neuro_decorr.brian.gain import Gain

HELD = """\
probing = (1 - {held})*calibrated*(1 - begun) : 1 (shared)
direction = 1 - 2*((i + floor(2*(t + dt/2)/probe_period)) % 2) : 1
answer : 1
answers : 1
amplitude : Hz (linked)
weight_unit : 1 (linked)"""
"""Of a companion: what its neurons get in addition, and how they answer."""
ON_SPIKE = "answer_post += probing_post*direction_post\nanswers_post += probing_post"
EQUATIONS = """\
amplitude : Hz
probe_slope : Hz**2
probe_power : Hz**2
all_answer : 1
all_answers : 1
answer_before : 1
answers_before : 1
weight_unit : 1
probed_neurons : 1 (constant)
probe_response : 1 (constant)
probe_period : second (constant)
probe_gain = probe_slope/clip(probe_power, 1e-30*Hz**2, inf*Hz**2) : 1"""
"""Of the population."""
AT_PERIOD = """\
all_differ = all_answer - answer_before
all_asked = all_answers - answers_before
answer_before = all_answer
answers_before = all_answers
probe_slope += amplitude*all_differ/(probed_neurons*probe_period)
probe_power += amplitude**2*int(all_asked > 0)
amplitude = clip(amplitude*exp(int(all_asked > 0)*clip(1 - all_differ/clip(all_asked, 1, inf)/probe_response, -1, 1)), 1e-3*Hz, 1e6*Hz)
weight_unit = 1 + int(probe_gain > 0)*(1/clip(probe_gain, 1e-9, inf) - 1)"""
SUMS = "all_answer_post = answer_pre : 1 (summed)\nall_answers_post = answers_pre : 1 (summed)"


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
    population.amplitude = 1e-3 * Hz
    population.weight_unit = 1
    population.probed_neurons, population.probe_response = part.stop - part.start, gain.response
    population.probe_period = gain.period
    population.run_regularly(AT_PERIOD, clock=population.clock, when="end", name=f"{name}_period")
    sums = Synapses(companions[0], population, SUMS, clock=population.clock, name=f"{name}_sums", namespace={})
    sums.connect(i=np.arange(part.start, part.stop), j=0)
    for companion in companions:
        companion.amplitude = linked_var(population, "amplitude")
    for group in (*companions, synapses):
        group.weight_unit = linked_var(population, "weight_unit")
    synapses.contained_objects.extend([population, sums])
    return population
