"""The network of the protocol `deep_spiking`: layers of spiking neurons, one after the other, and a linear readout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from models._initialisation import drawn, generator
from neuro_decorr.norse import LIF, Homeostasis, LateralCovariance, LateralLIF

CELL: dict[str, Any] = {"threshold": 0.5, "membrane_time": 2e-3, "synapse_time": None, "slope": 1.0}
"""A membrane of two steps of 1 ms and no synapse, so that 12 layers answer within a few steps. With the slope 1 of the
surrogate and weights of gain 3 the exact gradient keeps its size through an untrained network."""


@final
class BatchNormalisation(nn.Module):
    r"""Batch normalisation of currents, over samples and time steps together.

    $$\hat I_{t,n,k} = g_k \frac{I_{t,n,k} - m_k}{\sqrt{v_k + \epsilon}} + b_k$$

    with m and v the mean and the variance over t and n, running averages of them in eval mode.

    Shapes: (steps, batch, features). That of torch would take the steps for samples.

    Source: Zheng, Wu, Deng, Hu and Li (2021), Going deeper with directly-trained larger spiking neural networks,
    arXiv:2011.05280, whose factor (the threshold) is left to the gain g, which is learnt.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int) -> None:
        """Start as torch's does: gain 1, bias 0."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, currents: Tensor) -> Tensor:
        """Normalise."""
        rows = currents.flatten(0, -2)
        normalised = F.batch_norm(rows, self.mean, self.variance, self.weight, self.bias, training=self.training)
        return normalised.view(currents.shape)


@final
class Block(nn.Module):
    """Weights, batch normalisation or nothing, and neurons; sequences (steps, batch, features) in and out."""

    def __init__(self, weights: nn.Linear, normalisation: nn.Module, neurons: LIF | LateralLIF) -> None:
        super().__init__()
        self.weights, self.normalisation, self.neurons = weights, normalisation, neurons

    def currents(self, spikes: Tensor) -> Tensor:
        """Currents into the neurons."""
        currents: Tensor = self.normalisation(self.weights(spikes))
        return currents

    def forward(self, spikes: Tensor) -> Tensor:
        """Compute the spikes of the neurons."""
        fired: Tensor = self.neurons(self.currents(spikes))[0]
        return fired


Layer: TypeAlias = Callable[[Block, Tensor], Tensor]


@final
class DeepSpiking(nn.Module):
    r"""Spiking layers and a linear readout of the last of them, averaged over the steps.

    $$z^l = \mathrm{LIF}(W_l z^{l-1} + b_l), \quad l = 1 \dots L, \qquad
    y = \frac{1}{T} \sum_t W_{L+1} z^L_t + b_{L+1}$$

    with z^0 the pixels as currents, the same at all T steps.
    """

    def __init__(self, blocks: list[Block], readout: nn.Linear, steps: int) -> None:
        super().__init__()
        self.blocks, self.readout, self.steps = nn.ModuleList(blocks), readout, steps

    def sequence(self, inputs: Tensor) -> Tensor:
        """Inputs of the first layer: (batch, features) as (steps, batch, features)."""
        return inputs.expand(self.steps, *inputs.shape)

    def hidden(self, inputs: Tensor, layer: Layer = Block.__call__) -> Iterator[Tensor]:
        """Compute the spikes of every layer, in order: (steps, batch, features)."""
        signal = self.sequence(inputs)
        for block in self.blocks:
            assert isinstance(block, Block)  # nn.ModuleList does not tell
            signal = layer(block, signal)
            yield signal

    def forward(self, inputs: Tensor, layer: Layer = Block.__call__) -> Tensor:
        """Logits, shape (batch, classes).

        Args:
            inputs: Pixels, (batch, features).
            layer: Function that runs a block on the spikes before it, where a credit replaces it.
        """
        *_, last = self.hidden(inputs, layer)
        logits: Tensor = self.readout(last).mean(dim=0)
        return logits

    @torch.no_grad()
    def rates(self, inputs: Tensor) -> list[tuple[float, float]]:
        """Count in every layer, in eval mode: spikes per neuron and step, and the part of neurons that never fire."""
        training = self.training
        found = [spikes.mean(dim=(0, 1)) for spikes in self.eval().hidden(inputs)]
        self.train(training)
        return [(float(rates.mean()), float((rates == 0).double().mean())) for rates in found]


def deep_spiking(
    sizes: list[int],
    steps: int,
    *,
    normalised: bool = False,
    inhibition: float | None = None,
    gain: float = 3.0,
    seed: int = 0,
) -> DeepSpiking:
    r"""A network of weights $W_l \sim N(0, g^2 / n_l)$ with $n_l$ inputs, the same for every arm of a seed.

    Args:
        sizes: Units from the input to the output, at least one hidden layer.
        steps: Time steps T.
        normalised: True for batch normalisation before the neurons.
        inhibition: Rate at which the neurons of a layer learn to inhibit each other; None for neurons that do not.
        gain: g.
        seed: Seed of the weights.
    """
    weights = generator(seed, "deep spiking network")
    layers = [drawn(nn.Linear, n, m, bias=True, gain_squared=gain**2, generator=weights) for n, m in pairwise(sizes)]
    blocks = [
        Block(layer, BatchNormalisation(units) if normalised else nn.Identity(), _neurons(units, steps, inhibition))
        for layer, units in zip(layers[:-1], sizes[1:-1], strict=True)
    ]
    return DeepSpiking(blocks, layers[-1], steps)


def _neurons(units: int, steps: int, inhibition: float | None) -> LIF | LateralLIF:
    if inhibition is None:
        return nd.norse.LIF(units, **CELL)
    # Neurons take a batch of sequences for one sequence: for the rule a study lasts as many of them as it has updates.
    batch = steps * 1e-3
    own_rate = Homeostasis(calibration=5 * batch, average_time=10 * batch)
    rule = LateralCovariance(rate=inhibition, trace_time=batch, mean_time=10 * batch, homeostasis=own_rate)
    return LateralLIF(units, rule=rule, **CELL)
