"""Forward gradient: exact derivatives along random directions, without a backward pass."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, final, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from neuro_decorr import checks
from neuro_decorr.credit._forward_mode import derivative, with_tangent
from neuro_decorr.credit._layers import Forward, check_differentiated, own_parameters, replaced_forwards
from neuro_decorr.credit._losses import SampleLosses
from neuro_decorr.credit._nodes import assign
from neuro_decorr.credit._noise import Distribution, Noise
from neuro_decorr.credit._passes import Passes
from neuro_decorr.credit._run import output_of
from neuro_decorr.credit._side_effects import RandomState, SideEffects, last_pass
from neuro_decorr.credit._time import Hold, layout_problems
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import Unsupported

Tangents: TypeAlias = Literal["weights", "activities"]
"""Quantities that move along the random direction: all trainable parameters, or the nodes of every sample."""


@final
@register
class ForwardGradient(Credit):
    r"""Derivative of the loss along a random direction, times that direction.

    $$\hat g = (\nabla L \cdot v) \, v, \quad v \sim N(0, I)$$

    The derivative is exact: forward-mode differentiation computes it together with the forward pass. With
    `tangents="weights"` v is a direction of all trainable parameters. With `tangents="activities"` every sample has a
    direction xi of all its nodes (the outputs of the layers that own parameters), and a layer takes the outer product
    with its input, as `node_perturbation` does:

    $$\hat\delta_l = \Big(\sum_k \frac{\partial L}{\partial a_k} \cdot \xi_k\Big) \xi_l,
    \qquad \Delta W_l = \sum_n \hat\delta_l x_l^T$$

    This is the limit of node perturbation for sigma to 0, without its O(sigma^2) bias. Both estimates are unbiased.
    Their variance divided by |g|^2 is N + 1 for Gaussian v and N - 1 for Rademacher v, with N the number of parameters,
    or of nodes per sample. Spikes have their surrogate derivative, so that the estimate is unbiased for the surrogate
    gradient. Batch normalisation in train mode couples samples; "activities" leaves out the gradient through its
    statistics.

    Cost: 1 forward pass and `directions` passes with derivatives, each about two forward passes; no backward pass.
    Memory: "weights" keeps only the direction, "activities" keeps the noise of all nodes and one product per layer.

    Source: Baydin, Pearlmutter, Syme, Wood & Torr 2022, Gradients without backpropagation, arXiv:2202.08587; for the
    activities Ren, Kornblith, Liao & Hinton 2023, Scaling forward gradient with local losses, arXiv:2210.03310.

    Args:
        model: Network whose operations all have a forward-mode derivative; the neurons of Norse have none.
        tangents: "weights" or "activities".
        noise: Distribution of the direction: "gaussian" or "rademacher" (+1 or -1).
        directions: Number of independent directions to average over; divides the variance.
        hold: For activities, the time for which a unit keeps its direction; see `NodePerturbation`.
        time_first: For activities, True if layers run over sequences (time, samples, units); see `NodePerturbation`.
        seed: Seed of the directions.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model holds layers without a forward-mode derivative, or, for activities, layers that
            perturbation cannot treat.
    """

    name = "forward_gradient"
    signal = "the derivative of the loss along a random direction of all weights, or all nodes, broadcast"
    bias = "none (for spikes: of the surrogate gradient)"
    variance = (
        "(N + 1) |g|^2 per direction (Gaussian; N - 1 for Rademacher), N the parameters; for activities per "
        "sample, N the nodes"
    )
    locality = "local given the broadcast derivative, but every signal must carry its derivative along"
    cost = "1 forward and directions passes with derivatives (2 forwards each), no backward"
    memory = "a direction and a sum per weight, no activations; for activities as node_perturbation"
    needs_autograd = False
    source = (
        "Baydin, Pearlmutter, Syme, Wood & Torr 2022, Gradients without backpropagation, arXiv:2202.08587; Ren, "
        "Kornblith, Liao & Hinton 2023, Scaling forward gradient with local losses, arXiv:2210.03310"
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        tangents: Tangents = "weights",
        noise: Distribution = "gaussian",
        directions: int = 1,
        hold: Hold = "step",
        time_first: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model)
        checks.refuse(
            self.name,
            checks.word("tangents", tangents, get_args(Tangents)),
            checks.word("noise", noise, get_args(Distribution)),
            checks.whole_number("directions", directions, least=1),
            checks.whole_number("seed", seed, least=0),
            *layout_problems(time_first, hold),
        )
        self.tangents = tangents
        self.directions = directions
        self.noise = Noise(noise, seed)
        self._side_effects = SideEffects()
        self._passes = Passes(model, 1.0, self.noise, time_first, hold) if tangents == "activities" else None

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the forward gradient to `.grad`; see `Credit.backward`."""
        model = self._checked_model(inputs)
        if self._passes is None:
            return self._along_weights(model, loss_function, inputs, targets)
        losses = SampleLosses(loss_function, targets)
        perturbed, clean = self._passes.run(inputs, losses, self.directions, "tangent")
        assign(perturbed, [one.losses for one in perturbed], clean, self._passes.layout)
        return clean.loss

    def _along_weights(self, model: nn.Module, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        if not learning:
            raise Unsupported("forward_gradient needs a model with trainable parameters; this one has none.")
        random_state = RandomState({parameter.device for parameter in learning.values()})
        estimates = [torch.zeros_like(parameter) for parameter in learning.values()]
        known = self._side_effects.are_known(self._modules_of_model)
        checked = replaced_forwards((m, _checked(model, m)) for m in self._modules_of_model if own_parameters(m))
        with torch.no_grad(), checked:
            for _ in range(self.directions):
                directions = [self.noise.draw(parameter) for parameter in learning.values()]

                def moved_loss(directions: list[Tensor] = directions) -> Tensor:
                    moved = {
                        name: with_tangent(parameter.detach(), direction)
                        for (name, parameter), direction in zip(learning.items(), directions, strict=True)
                    }
                    return scalar_loss(loss_function, output_of(functional_call(model, moved, (inputs,))), targets)

                with self._side_effects.restored(model, self._modules_of_model):
                    slope = derivative(moved_loss).item() / self.directions
                random_state.restore()
                for estimate, direction in zip(estimates, directions, strict=True):
                    estimate.add_(direction, alpha=slope)
            outputs = last_pass(model, inputs, self._modules_of_model, self._side_effects, random_state, known)
        loss = SampleLosses(loss_function, targets).loss(outputs).to(next(iter(learning.values())).dtype)
        for parameter, estimate in zip(learning.values(), estimates, strict=True):
            parameter.grad = estimate if parameter.grad is None else parameter.grad.add_(estimate)
        return loss


def _checked(model: nn.Module, layer: nn.Module) -> Forward:
    """Forward of a layer that refuses to be called where its derivative would be lost."""
    forward = layer.forward

    def called(*arguments: Any, **keywords: Any) -> Any:
        check_differentiated(model, layer)
        return forward(*arguments, **keywords)

    return called
