"""Backpropagation: the exact gradient, the reference of all other credits."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._run import run
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register


@final
@register
class Backprop(Credit):
    r"""Exact gradient by reverse-mode differentiation.

    $$\delta_l = f'(a_l) \odot W_{l+1}^T \delta_{l+1}, \qquad \partial L / \partial W_l = \sum_n \delta_l x_l^T$$

    with a_l = W_l x_l, shape (features,), per sample and n over the samples. It does the same as `loss.backward()`. In
    a network that runs in time this is backpropagation through time, with the surrogate derivative for spikes. Cost:
    one forward and one backward pass. Memory: the activations of all steps.

    Source: Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors,
    doi:10.1038/323533a0.

    Args:
        model: Network whose gradients are to be filled; any differentiable module.
        seed: Unused, since nothing is random here; every credit takes a seed.
    """

    name = "backprop"
    signal = "the error, fed back through the transposed forward weights"
    bias = "none"
    variance = "none beyond that of the mini-batch"
    locality = "not local: a neuron needs the outgoing weights of the layers above (weight transport)"
    cost = "1 forward, 1 backward"
    memory = "the activations of all layers, in time of all steps"
    source = (
        "Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors, doi:10.1038/323533a0"
    )

    def __init__(self, model: nn.Module, *, seed: int = 0) -> None:
        super().__init__(model)
        checks.refuse(self.name, checks.whole_number("seed", seed, least=0))

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the exact gradient of the loss to `.grad`; see `Credit.backward`."""
        loss = scalar_loss(loss_function, run(self._checked_model(inputs), inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
