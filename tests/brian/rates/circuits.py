"""A user's rate units for the tests, and float64 loops of what their synapses should do."""

from __future__ import annotations

import brian2
import numpy as np
import torch
from brian2 import NeuronGroup, TimedArray, ms
from numpy.typing import NDArray

from neuro_decorr.rules import Rule, Sample, State, transform

UNITS, STIMULI = 5, 30
TAU, STEP, HOLD = 10.0, 8.0, 800.0  # ms: held for 80 time constants, in 100 steps


def inputs(seed: int = 0, units: int = UNITS, stimuli: int = STIMULI) -> NDArray[np.float64]:
    """Correlated stimuli, shape (stimuli, units)."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(stimuli, units)) @ (np.eye(units) + 0.3 * generator.normal(size=(units, units)))


def rate_units(
    stimuli: NDArray[np.float64], hold: float = HOLD, name: str = "rates", answer: str = "z - inhibition"
) -> NeuronGroup:
    """The user's model; nothing of it knows of plasticity. `answer`: what the activity goes to."""
    return NeuronGroup(
        stimuli.shape[1],
        f"dx/dt = (-x + {answer})/tau : 1\nz = stimulus(t, i) : 1\ninhibition : 1",
        method="euler",
        name=name,
        namespace={"stimulus": TimedArray(stimuli, dt=hold * ms), "tau": TAU * ms},
    )


def course(rule: Rule, stimuli: NDArray[np.float64], synapses: float = 1.0) -> list[State]:
    """States of the library's float64 rule before and after every stimulus, from the stimuli alone.

    Args:
        rule: Of the library.
        stimuli: One a row.
        synapses: Factor of the interneurons' synapses at the start.
    """
    units = stimuli.shape[1]
    state = rule.initial_state(units, dtype=torch.float64)
    if "synapses" in state:
        state["synapses"].mul_(synapses)
    states = [state]
    for row in torch.tensor(stimuli)[:, None]:
        states.append(rule.update(states[-1], Sample(row, transform(states[-1], row), torch.zeros(units))))
    return states


def brian_time(stimuli: int, hold: float = HOLD) -> brian2.Quantity:
    """How long to run for so many updates: the last is at the beginning of the stimulus after."""
    return (stimuli * hold + STEP) * ms


def matrices(monitor: brian2.StateMonitor) -> NDArray[np.float64]:
    """Weights, all recorded, by time, source and target."""
    synapses = monitor.source
    return np.asarray(monitor.w).T.reshape(-1, len(synapses.source), len(synapses.target))
