"""Local forward gradients of spiking layers: every layer learns from a loss of its own, along held directions."""

from __future__ import annotations

from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit import Credit
from neuro_decorr.credit.base import LossFunction, scalar_loss
from neuro_decorr.data import stream
from neuro_decorr.rate import Decorrelation
from protocols.deep_spiking.network import Block, DeepSpiking


@final
class LocalForwardGradient(Credit):
    r"""The derivative of a layer's own loss along a random current that is held over the trial, by groups of neurons.

    $$
    \hat\delta_k = \Big(\sum_{j \in g(k)} \xi_j \sum_t \frac{\partial L_l}{\partial I_{t,j}}\Big) \xi_k, \qquad
    \Delta W_l = \sum_n \hat\delta_n \Big(\sum_t z^{l-1}_{t,n}\Big)^T
    $$

    with L_l the cross-entropy of a linear readout of the layer's spikes, averaged over the steps, and I the currents
    that the neurons receive. No error crosses from layer to layer. The readouts learn by their exact gradient, and
    start at zero; they receive what the weights of the next layer receive, its D included. Batch normalisation between
    weights and neurons counts as part of the weights.

    Unbiased for the gradient of L_l with respect to held currents, of the variance $(N_g + 1) |\delta|^2$ for the
    $N_g$ neurons of a group. The sum in brackets is a derivative along one direction, which neurons can carry forward
    in time. Here it is computed backwards within the layer, the same number at the price of one pass for all groups;
    where neurons of several groups inhibit each other, going forward takes a pass a group.

    Source: Ren, Kornblith, Liao and Hinton (2023), Scaling forward gradient with local losses, arXiv:2210.03310: there
    of units without time, which is `nd.credit.LocalForwardGradient`.

    Attributes:
        readouts: Readouts of every layer, which are `parameters()`.
        counter: Buffer, how many passes have drawn directions, shape ().
    """

    name: ClassVar[str] = "local_forward_gradient"
    counter: Tensor

    def __init__(self, model: DeepSpiking, *, groups: int = 8, seed: int = 0) -> None:
        """Make the readouts.

        Args:
            model: The network.
            groups: Groups of neurons, which have derivatives of their own; divides the neurons of every layer.
            seed: Seed of the directions.
        """
        super().__init__(model)
        self.groups, self.seed = groups, seed
        classes = model.readout.out_features
        self.readouts = nn.ModuleList(nn.Linear(block.weights.out_features, classes) for block in _blocks(model))
        for parameter in self.readouts.parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("counter", torch.zeros((), dtype=torch.int64))

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the estimates to `.grad`; see `Credit.backward`."""
        model = self._checked_model(inputs)
        assert isinstance(model, DeepSpiking)  # __init__ takes no other
        directions = stream(self.seed, f"directions {int(self.counter)}")
        self.counter += 1
        blocks = _blocks(model)
        following = iter([*(block.weights for block in blocks[1:]), model.readout])
        readouts = iter(self.readouts)

        def alone(block: Block, spikes: Tensor) -> Tensor:
            currents = block.currents(spikes)
            held = torch.zeros_like(currents[0], requires_grad=True)
            fired: Tensor = block.neurons(currents.detach() + held)[0]
            readout = next(readouts)
            local = scalar_loss(loss_function, readout(received(next(following), fired)).mean(dim=0), targets)
            slopes, *exact = torch.autograd.grad(local, [held, *readout.parameters()])
            for parameter, gradient in zip(readout.parameters(), exact, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            noise = torch.randn(slopes.shape, generator=directions, dtype=slopes.dtype)
            currents.backward(self.estimate(slopes, noise).expand_as(currents))  # type: ignore[no-untyped-call]
            return fired.detach()

        loss = scalar_loss(loss_function, model(inputs, alone), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def estimate(self, slopes: Tensor, noise: Tensor) -> Tensor:
        """The derivative along the noise, of every group of neurons, times the noise: shape (samples, neurons)."""
        shape = len(noise), self.groups, -1
        along = (slopes * noise).reshape(shape).sum(dim=-1, keepdim=True)
        return (along * noise.reshape(shape)).flatten(1)


def received(layer: nn.Linear, spikes: Tensor) -> Tensor:
    """Spikes as the weights of a layer receive them: D (z - mean) where it is decorrelated."""
    held = layer._modules.get("decorrelation")
    if not isinstance(held, Decorrelation):
        return spikes
    transformed: Tensor = held.transform_centred(spikes - held.subtracted())
    return transformed


def _blocks(model: DeepSpiking) -> list[Block]:
    return [block for block in model.blocks if isinstance(block, Block)]
