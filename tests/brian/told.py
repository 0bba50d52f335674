"""Neurons that spike exactly when told, with a variable that inhibition reaches."""

from __future__ import annotations

import numpy as np
from brian2 import NeuronGroup, TimedArray, ms

STEP = 1.0  # ms
NEURONS, STEPS = 6, 150


def trains(seed: int, probability: float = 0.05) -> np.ndarray:
    """Which neuron spikes at which step, shape (STEPS, NEURONS)."""
    return np.random.default_rng(seed).random((STEPS, NEURONS)) < probability


def told(spikes: np.ndarray, more: str = "", step: float = STEP) -> NeuronGroup:
    """Neurons of these spikes in time steps of so many milliseconds, with some variables more."""
    return NeuronGroup(
        spikes.shape[1],
        f"g : volt\n{more}",
        threshold="spiking(t, i) > 0.5",
        namespace={"spiking": TimedArray(spikes.astype(float), dt=step * ms)},
    )
