"""Spiking network: linear layers with leaky integrate-and-fire neurons after every one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import final

import norse.torch
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from models._initialisation import drawn, generator
from neuro_decorr.errors import InvalidValue


def neurons(features: int) -> nn.Module:
    """The neurons of the networks here: threshold 0.5, membrane 10 ms, synapse 5 ms, steps of 1 ms."""
    return nd.norse.LIF(features, threshold=0.5)


@final
class Spiking(nn.Module):
    r"""A network in time, read out by the firing rates of its last neurons.

    .. math:: y = \frac{1}{T} \sum_{t=1}^{T} z_t

    Attributes:
        network: What runs in time: `norse.torch.SequentialState` of linear layers and neurons.
        steps: For how many time steps T a constant input lasts.
        stepwise: Whether the network runs one time step at a time, as Norse's own cells need.
    """

    def __init__(self, network: norse.torch.SequentialState, steps: int, stepwise: bool = False) -> None:
        """Put a network behind constant currents or sequences.

        Args:
            network: Takes currents and returns spikes and its state.
            steps: Time steps of a constant input.
            stepwise: One time step at a time; otherwise every layer runs over the whole sequence at once.
        """
        super().__init__()
        self.network = network
        self.steps = steps
        self.stepwise = stepwise

    def spikes(self, inputs: Tensor) -> Tensor:
        """The spikes of the last neurons, shape (steps, batch, outputs).

        Args:
            inputs: Constant currents (batch, features), or a sequence of currents or spikes (steps, batch, features).
        """
        sequence = inputs if inputs.dim() > 2 else inputs.expand(self.steps, *inputs.shape)
        if not self.stepwise:
            return self.network(sequence)[0]
        state, trains = None, []
        for step in sequence.unbind():
            spikes, state = self.network(step, state)
            trains.append(spikes)
        return torch.stack(trains)

    def forward(self, inputs: Tensor) -> Tensor:
        """Firing rates, spikes a step, of the last neurons: shape (batch, outputs).

        Args:
            inputs: Constant currents (batch, features), or a sequence of currents or spikes (steps, batch, features).
        """
        return self.spikes(inputs).mean(dim=0)


def spiking(
    sizes: Sequence[int],
    steps: int = 25,
    neuron: Callable[[int], nn.Module] = neurons,
    decorrelation: Callable[[int], nn.Module] | None = None,
    gain: float = 1.0,
    bias: bool = True,
    seed: int | None = None,
    stepwise: bool = False,
) -> Spiking:
    r"""A dense spiking network.

    .. math:: I_t^{l} = W_l z_t^{l-1} + b_l, \quad z^l = \mathrm{neurons}(I^l), \quad l = 1 \dots L

    Weights are drawn as :math:`W_l \sim N(0, g^2 / n_l)` with :math:`n_l` inputs; biases start at zero. To decorrelate
    the inputs of its layers give it to `nd.decorrelate`, which takes constant currents, Poisson spikes and hidden
    spikes alike, or place cells between its modules with `decorrelation`.

    Args:
        sizes: Units of every layer from input to output, such as `[64, 128, 10]`; at least input and output.
        steps: For how many time steps a constant input lasts.
        neuron: Makes the neurons that follow a linear layer, from their number.
        decorrelation: Makes the cell before every linear layer, from the number of its inputs, such as
            `nd.norse.Decorrelation`; None for none.
        gain: g.
        bias: Whether the linear layers have biases.
        seed: Seed of the weights, drawn apart from the global random state, which is not touched. None takes the
            seed from the global state, as layers of torch do.
        stepwise: Run one time step at a time, as Norse's own cells need.

    Returns:
        The network, float32, on the CPU.

    Raises:
        InvalidValue: Sizes that are not at least two positive integers, steps below one, or a negative seed.
    """
    units = list(sizes)
    if len(units) < 2 or any(type(size) is not int or size < 1 for size in units):
        raise InvalidValue(f"sizes: got {units}; allowed are two or more positive integers, input to output.")
    if type(steps) is not int or steps < 1:
        raise InvalidValue(f"steps: got {steps!r}; allowed is a positive integer, the time steps of a constant input.")
    weights = generator(seed, "spiking network")
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(units):
        if decorrelation is not None:
            modules.append(decorrelation(fan_in))
        layer = drawn(nn.Linear, fan_in, fan_out, bias=bias, gain_squared=gain**2, generator=weights)
        modules += [layer, neuron(fan_out)]
    return Spiking(norse.torch.SequentialState(*modules), steps, stepwise)
