"""Spiking networks for the tests, and what the credits should do to them: loops over samples and time, no autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from models.spiking import Spiking, spiking

THETA, SLOPE, MEMBRANE, SYNAPSE = 0.5, 10.0, 1e-3 / 10e-3, 1 - 1e-3 / 5e-3
"""Of the neurons of `models.spiking`, as shares of a time step of 1 ms."""


@dataclass
class SpikingCase:
    """A spiking network with a batch of sequences."""

    model: Spiking
    inputs: Tensor
    targets: Tensor

    @property
    def layers(self) -> list[nn.Linear]:
        """Its linear layers."""
        return [module for module in self.model.modules() if isinstance(module, nn.Linear)]


@dataclass
class Course:
    """What one layer does for one sample: arrays (steps, units)."""

    inputs: np.ndarray
    currents: np.ndarray
    potentials: np.ndarray
    spikes: np.ndarray


def make_spiking_case(
    sizes: tuple[int, ...] = (5, 7, 6, 3),
    steps: int = 15,
    batch: int = 4,
    stepwise: bool = False,
    constant: bool = False,
    neuron: Callable[[int], nn.Module] | None = None,
    seed: int = 0,
) -> SpikingCase:
    """A float64 network whose layers all spike, with random targets for its rates."""
    model = spiking(sizes, steps=steps, gain=3.0, stepwise=stepwise, seed=seed, neuron=neuron or exact_neurons).double()
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    case = SpikingCase(
        model, uniform(batch, sizes[0]) if constant else uniform(steps, batch, sizes[0]), uniform(batch, sizes[-1])
    )
    for layer in case.layers:
        layer.bias.data = 0.3 + 0.3 * uniform(layer.out_features)
    layer.bias.data += 0.4
    return case


def exact_neurons(features: int) -> nn.Module:
    """The neurons of `models.spiking`, with time constants that were never float32."""
    return nd.norse.LIF(features, threshold=THETA, dtype=torch.float64)


def neurons(currents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Potentials before their reset and spikes of neurons that get currents (steps, units)."""
    potential, current = np.zeros(currents.shape[1]), np.zeros(currents.shape[1])
    potentials, spikes = [], []
    for arriving in currents:
        current = current + arriving
        potential = potential + MEMBRANE * (current - potential)
        fired = (potential > THETA).astype(float)
        potentials.append(potential)
        spikes.append(fired)
        potential = np.where(fired > 0, 0.0, potential)
        current = SYNAPSE * current
    return np.array(potentials), np.array(spikes)


def forward(
    case: SpikingCase, sequence: np.ndarray, noise: list[np.ndarray] | None = None
) -> tuple[list[Course], np.ndarray]:
    """The course of every layer for one sample, with noise added to its currents, and the rates at the end."""
    courses, signal = [], sequence
    for number, layer in enumerate(case.layers):
        currents = signal @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if noise is not None:
            currents = currents + noise[number]
        potentials, spikes = neurons(currents)
        courses.append(Course(signal, currents, potentials, spikes))
        signal = spikes
    return courses, signal.mean(0)


def surrogate(potentials: np.ndarray) -> np.ndarray:
    """The derivative of a spike by its potential."""
    return 1 / (1 + SLOPE * np.abs(potentials - THETA)) ** 2


def backward_in_time(course: Course, to_spikes: np.ndarray) -> np.ndarray:
    """From dL/d(spikes) (steps, units) to dL/d(currents), through membrane and synapse, not through the reset."""
    to_currents = np.zeros_like(to_spikes)
    later_potential, later_current = np.zeros(to_spikes.shape[1]), np.zeros(to_spikes.shape[1])
    slopes = surrogate(course.potentials)
    for step in reversed(range(len(to_spikes))):
        to_potential = slopes[step] * to_spikes[step] + (1 - course.spikes[step]) * later_potential
        to_currents[step] = MEMBRANE * to_potential + SYNAPSE * later_current
        later_current = to_currents[step]
        later_potential = (1 - MEMBRANE) * to_potential
    return to_currents


def samples_of(case: SpikingCase) -> np.ndarray:
    """The inputs as sequences, shape (samples, steps, units)."""
    inputs = case.inputs
    return (inputs if inputs.dim() > 2 else inputs.expand(case.model.steps, *inputs.shape)).transpose(0, 1).numpy()


def zeros(case: SpikingCase) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradients of weights and biases to add to."""
    return [np.zeros(tuple(layer.weight.shape)) for layer in case.layers], [
        np.zeros(layer.out_features) for layer in case.layers
    ]


def feedback_loop(
    case: SpikingCase, send_back: Callable[[int, np.ndarray, np.ndarray], np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradients of the mean squared error of the rates, with any rule for what a layer sends back.

    Args:
        case: The network and its batch.
        send_back: From the number of a layer, its deltas (steps, units) and the error at the rates (outputs,) to the
            signal at its input (steps, inputs).
    """
    weights, biases = zeros(case)
    targets = case.targets.numpy()
    for sequence, target in zip(samples_of(case), targets, strict=True):
        courses, rates = forward(case, sequence)
        error = 2 * (rates - target) / targets.size
        to_spikes = np.tile(error / len(sequence), (len(sequence), 1))
        for number in reversed(range(len(courses))):
            deltas = backward_in_time(courses[number], to_spikes)
            weights[number] += deltas.T @ courses[number].inputs
            biases[number] += deltas.sum(0)
            if number:
                to_spikes = send_back(number, deltas, error)
    return weights, biases


def perturbation_loop(
    case: SpikingCase, noise: list[np.ndarray], sigma: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Node perturbation of the mean squared error of the rates for given noise, (steps, samples, units) a layer."""
    weights, biases = zeros(case)
    targets = case.targets.numpy()
    for index, (sequence, target) in enumerate(zip(samples_of(case), targets, strict=True)):
        own = [xi[:, index] for xi in noise]
        courses, clean = forward(case, sequence)
        _, noisy = forward(case, sequence, [sigma * xi for xi in own])
        change = (((noisy - target) ** 2).mean() - ((clean - target) ** 2).mean()) / sigma / len(targets)
        for number, course in enumerate(courses):
            weights[number] += change * own[number].T @ course.inputs
            biases[number] += change * own[number].sum(0)
    return weights, biases


def trace_of(steps: np.ndarray, time: float) -> np.ndarray:
    """Each step with all before it, decayed."""
    return np.array([sum(np.exp(-(t - s) / time) * steps[s] for s in range(t + 1)) for t in range(len(steps))])


def activity_loop(
    case: SpikingCase, noise: list[np.ndarray], sigma: float, time: float, held: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Activity perturbation on traces of the currents, of the mean squared error of the rates."""
    weights, biases = zeros(case)
    targets = case.targets.numpy()
    nodes = sum(layer.out_features for layer in case.layers) * (1 if held else case.model.steps)
    for index, (sequence, target) in enumerate(zip(samples_of(case), targets, strict=True)):
        courses, clean = forward(case, sequence)
        perturbed, noisy = forward(case, sequence, [sigma * xi[:, index] for xi in noise])
        change = (((noisy - target) ** 2).mean() - ((clean - target) ** 2).mean()) / len(targets)
        moved = [trace_of(b.currents - a.currents, time) for a, b in zip(courses, perturbed, strict=True)]
        factor = nodes * change / sum((m**2).sum() for m in moved)
        for number, course in enumerate(courses):
            weights[number] += factor * moved[number].T @ trace_of(course.inputs, time)
            biases[number] += factor * moved[number].T @ trace_of(np.ones(len(sequence)), time)
    return weights, biases
