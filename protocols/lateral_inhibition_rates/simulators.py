"""The same stimuli through a rate rule in torch and in Brian2: weights and D at equally many stimuli."""

from __future__ import annotations

import brian2
import torch
from torch import Tensor

import neuro_decorr as nd
from models.rate_units import rate_units
from neuro_decorr import study
from neuro_decorr.rules import Rule, Sample, dense_matrix, transform

MARKS = 30
"""Number of measurements of a course after its beginning."""


def in_torch(rule: Rule, stimuli: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weights and D at the marks: M of the pairs, or the synapses onto the interneurons."""
    units = stimuli.shape[1]
    state, found = rule.initial_state(units, dtype=torch.float64), []
    for update in range(len(stimuli) + 1):
        if update % (len(stimuli) // MARKS) == 0:
            matrix = dense_matrix(state, units, stimuli).clone()
            weights = state["synapses"].clone() if "synapses" in state else torch.linalg.inv(matrix) - torch.eye(units)
            found.append((weights, matrix))
        if update < len(stimuli):
            row = stimuli[update : update + 1]
            rule.update_(state, Sample(row, transform(state, row), torch.zeros(units)), rule.rate)
    return found


def in_brian(
    rule: nd.brian.RateRule, stimuli: Tensor, hold: float, step: float, recorder: study.Recorder
) -> list[tuple[Tensor, Tensor]]:
    """The same of rate units in continuous time.

    Args:
        rule: The rule.
        stimuli: One a row.
        hold: Duration of each stimulus, in time constants.
        step: Time step, in time constants.
        recorder: Is told how many stimuli have passed, and that none has while the code is compiled.
    """
    unit, count, size = 10 * brian2.ms, *stimuli.shape
    group = rate_units(stimuli, time_constant=unit, hold=hold * unit, step=step * unit)
    synapses = rule.synapses(
        group, output="x", inhibition="inhibition", inputs="z", hold=hold * unit, least_hold=0, name="lateral_synapses"
    )
    synapses.connect()
    interval = count // MARKS * hold * unit
    weights = brian2.StateMonitor(synapses, "w", record=True, dt=interval, name="weights_of_rate_units")
    network = brian2.Network(group, synapses, weights)
    through = isinstance(rule, nd.brian.InterneuronLocal)
    if through:
        gains = brian2.StateMonitor(synapses.companions.target, "gain", record=True, dt=interval, name="gains")
        network.add(gains)
    recorder.progress(0, count)  # compiling, on a target that does
    network.run(
        count * hold * unit + step * unit,  # weights move when the next stimulus begins
        report=lambda elapsed, completed, start, duration: recorder.progress(completed * count, count),
        report_period=0.2 * brian2.second,
    )
    found, identity = [], torch.eye(size, dtype=torch.float64)
    for mark in range(MARKS + 1):
        matrix = torch.from_numpy(weights.w[:, mark].reshape(size, -1))
        if through:
            between = (matrix * torch.from_numpy(gains.gain[:, mark])) @ matrix.T
        else:
            matrix = between = matrix.T
        found.append((matrix, torch.linalg.inv_ex(identity + between).inverse))
    return found
