"""Single neurons in plain float64 loops, with the derivatives of what they fire: no tensor library, no autograd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PARAMETERS = ("threshold", "leak", "reset", "membrane_time", "synapse_time")
DT, SLOPE = 1e-3, 10.0


@dataclass
class Neuron:
    """A neuron; without a membrane time it integrates."""

    threshold: float = 0.4
    leak: float = 0.05
    reset: float = -0.1
    membrane_time: float | None = 9e-3
    synapse_time: float = 4e-3
    refractory_steps: int = 0
    subtract: bool = False
    adaptation_time: float = 30e-3
    adaptation_strength: float = 0.0


def run(neuron: Neuron, currents: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spikes of a neuron, and the derivatives of their weighted sum by `PARAMETERS`.

    Args:
        neuron: The neuron.
        currents: Shape (steps,).
        weights: Of its spikes in the sum, shape (steps,).
    """
    by = dict(zip(PARAMETERS, np.eye(len(PARAMETERS)), strict=True))
    integrates = neuron.membrane_time is None
    start = "reset" if integrates else "leak"
    v, dv = getattr(neuron, start), by[start]
    i, di, a, left = 0.0, 0 * dv, 0.0, 0
    spikes, derivative = [], 0 * dv
    for current, weight in zip(currents, weights, strict=True):
        i = i + current
        if left == 0 and integrates:
            v = v + current
        elif left == 0:
            share = DT / neuron.membrane_time
            distance, away = neuron.leak - v + i, by["leak"] - dv + di
            dv = dv + share * away - share / neuron.membrane_time * distance * by["membrane_time"]
            v = v + share * distance
        above = v - neuron.threshold - neuron.adaptation_strength * a
        z = float(above > 0 and left == 0)
        if left == 0:
            derivative = derivative + weight * (dv - by["threshold"]) / (1 + SLOPE * abs(above)) ** 2
        a = (1 - DT / neuron.adaptation_time) * a + z
        if z and neuron.subtract:
            v, dv = v - neuron.threshold, dv - by["threshold"]
        elif z:
            v, dv = neuron.reset, by["reset"]
        left = neuron.refractory_steps if z else max(left - 1, 0)
        kept = 1 - DT / neuron.synapse_time
        di = kept * di + DT / neuron.synapse_time**2 * i * by["synapse_time"]
        i = kept * i
        spikes.append(z)
    return np.array(spikes), derivative
