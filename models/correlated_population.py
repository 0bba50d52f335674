"""Population of leaky integrate-and-fire neurons that share sources of input, for Brian2 on every target.

    input = held_out(test=200 * second, phases=[100 * second, 320 * second], step=2 * ms, seed=0)
    neurons = correlated_population(100, TimedArray(input, dt=2 * ms))
    set_mixing(neurons, 3 * mV * mixing("positive", 100, seed=0))

The population has no plasticity itself. Inhibition comes from synapses that lower `inhibition`, for example with
`drive="inhibition_post -= 10*w*mV"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from brian2 import NeuronGroup, Quantity, TimedArray, linked_var, ms, mV
from numpy.typing import NDArray
from scipy.signal import lfilter

from neuro_decorr.errors import InvalidValue

Mixing: TypeAlias = Literal["positive", "mixed", "opposed", "antagonists"]
"""Distribution of the weights with which neurons mix the sources. `"positive"`: uniform, so that all pairs correlate
positively. `"mixed"`: Gaussian, of either sign. `"opposed"`: uniform, with the opposite sign in the second half of the
neurons. `"antagonists"`: each source drives two neurons, with opposite signs, and the other neurons have no source."""

SOURCE_TIME = 50 * ms
"""Correlation time of the sources."""

_EQUATIONS = """
dv/dt = (drive + common + inhibition - v)/(20*ms) + own_noise*xi*sqrt(2/(20*ms)) : volt (unless refractory)
common = {common} : volt
{parameters}
"""


def correlated_population(
    neurons: int, sources: TimedArray, *, own_noise: Quantity = 3 * mV, name: str = "neurons"
) -> NeuronGroup:
    r"""Make the population.

    $$
    \tau \dot v_i = I + \sum_k M_{ik} s_k(t) + g_i - v_i + \sigma \sqrt{2 \tau}\, \xi_i, \qquad
    \tau_g \dot g_i = -g_i
    $$

    with the threshold 20 mV, the reset 0 mV, $\tau$ 20 ms, $\tau_g$ 10 ms and a refractory time of 2 ms.

    Args:
        neurons: Number of neurons.
        sources: Courses of the sources, without unit, shape (steps, sources).
        own_noise: Standard deviation $\sigma$ of the independent noise on the potential of each neuron.
        name: Name of the group.

    Returns:
        The group; `drive` (I), `mixing_0`, `mixing_1`, ... (columns of M) and `inhibition` (g) are its variables.
    """
    count = sources.values.shape[1]
    parameters = ["drive : volt (constant)", *(f"mixing_{k} : volt (constant)" for k in range(count))]
    parameters.append("dinhibition/dt = -inhibition/(10*ms) : volt")
    common = " + ".join(f"mixing_{k}*sources(t, {k})" for k in range(count))
    return _group(neurons, common, parameters, {"sources": sources, "own_noise": own_noise}, name)


def yoked(population: NeuronGroup, sources: TimedArray, *, lead: Quantity = 0 * ms, name: str = "yoked") -> NeuronGroup:
    """Make a copy with independent noise that gets the inhibition of the original: replayed inhibition, no feedback.

    Its neurons have the parameters of the original and, at every time, the same `inhibition`, including the bias of the
    homeostasis. Their spikes change nothing.

    Source: Tetzlaff, Helias, Einevoll, Diesmann (2012), Decorrelation of neural-network activity by inhibitory
    feedback, doi:10.1371/journal.pcbi.1002596.

    Args:
        population: From `correlated_population`.
        sources: Sources of the original.
        lead: Time by which the input of the copy is earlier than that of the original; 0 for the same input.
        name: Name of the group.

    Returns:
        The group.
    """
    count = sources.values.shape[1]
    shared = ["drive", "inhibition", *(f"mixing_{k}" for k in range(count))]
    common = " + ".join(f"mixing_{k}*sources(t - lead, {k})" for k in range(count))
    constants = {"sources": sources, "lead": lead, "own_noise": population.namespace["own_noise"]}
    copy = _group(len(population), common, [f"{name} : volt (linked)" for name in shared], constants, name)
    for parameter in shared:
        setattr(copy, parameter, linked_var(population, parameter))
    return copy


def _group(neurons: int, common: str, parameters: list[str], constants: dict[str, object], name: str) -> NeuronGroup:
    return NeuronGroup(
        neurons,
        _EQUATIONS.format(common=common, parameters="\n".join(parameters)),
        threshold="v > 20*mV",
        reset="v = 0*mV",
        refractory=2 * ms,
        method="euler",
        namespace=constants,
        name=name,
    )


def mixing(kind: Mixing, neurons: int, seed: int, sources: int = 5) -> NDArray[np.float64]:
    """Draw the weights of the sources. The inputs of two neurons correlate by the product of their rows.

    Args:
        kind: Distribution of the weights, see `Mixing`.
        neurons: Number of neurons.
        seed: Seed of the draw.
        sources: Number of sources.

    Returns:
        Shape (neurons, sources); every row has length one, or is zero where a neuron has no source.

    Raises:
        InvalidValue: An unknown kind, or too few neurons for antagonists.
    """
    if kind not in get_args(Mixing):
        raise InvalidValue(f"mixing: got {kind!r}; allowed are {', '.join(map(repr, get_args(Mixing)))}.")
    if kind == "antagonists" and neurons < 2 * sources:
        raise InvalidValue(f"mixing: got {neurons} neurons; {sources} antagonist pairs need at least {2 * sources}.")
    generator = np.random.default_rng([seed, 1])
    if kind == "antagonists":
        matrix = np.zeros((neurons, sources))
        matrix[: 2 * sources] = np.kron(np.eye(sources), [[1.0], [-1.0]])
        return matrix
    drawn = generator.normal if kind == "mixed" else generator.random
    matrix = drawn(size=(neurons, sources))
    if kind == "opposed":
        matrix[neurons // 2 :] *= -1
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def set_mixing(population: NeuronGroup, matrix: Quantity) -> None:
    """Set the weights of the sources in every neuron.

    Args:
        population: From `correlated_population`.
        matrix: Weights (volt), shape (neurons, sources).
    """
    for source in range(matrix.shape[1]):
        setattr(population, f"mixing_{source}", matrix[:, source])


def course(duration: Quantity, step: Quantity, seed: int | list[int], sources: int = 5) -> NDArray[np.float64]:
    r"""Draw stationary Ornstein-Uhlenbeck processes whose sample has mean zero, variance one and no correlation.

    $$s(t + \Delta) = a\, s(t) + \sqrt{1 - a^2}\, z, \qquad a = e^{-\Delta / \tau_s}$$

    The moments of a finite draw differ from those of the process; with two such draws of 100 s the rates of a
    population differ by several per cent. So the draw is whitened.

    Args:
        duration: Duration, many times the correlation time `SOURCE_TIME`.
        step: Time between two values.
        seed: Seed of the draw.
        sources: Number of sources.

    Returns:
        Shape (steps, sources), without unit.
    """
    decay = float(np.exp(-step / SOURCE_TIME))
    noise = np.random.default_rng(seed).normal(size=(round(float(duration / step)), sources))
    noise[1:] *= np.sqrt(1 - decay**2)
    drawn = lfilter([1.0], [1.0, -decay], noise, axis=0)
    drawn -= drawn.mean(axis=0)
    return np.asarray(drawn @ np.linalg.inv(np.linalg.cholesky(drawn.T @ drawn / len(drawn))).T)


def held_out(
    test: Quantity, phases: Sequence[Quantity], step: Quantity, seed: int, sources: int = 5
) -> NDArray[np.float64]:
    """Make a test input, other input for each phase, and the same test input again.

    Learning between the two tests never has their input, and both tests have the same input.

    Args:
        test: Duration of the test input.
        phases: Durations of the phases between the tests.
        step: Time between two values.
        seed: Seed of the draws.
        sources: Number of sources.

    Returns:
        Shape (steps, sources), without unit.
    """
    parts = [course(duration, step, [seed, 2, k], sources) for k, duration in enumerate([test, *phases])]
    return np.concatenate([*parts, parts[0]])
