"""Weight perturbation: noise on all weights at once."""

from __future__ import annotations

from typing import Any, final, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._losses import SampleLosses
from neuro_decorr.credit._noise import Distribution, Noise
from neuro_decorr.credit._run import run
from neuro_decorr.credit._side_effects import RandomState, SideEffects, last_pass
from neuro_decorr.credit.base import Credit, LossFunction
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import Unsupported


@final
@register
class WeightPerturbation(Credit):
    r"""Noise on all weights at once, weighted by the change of the batch's loss that it causes.

    $$\Delta \theta = \frac{L(\theta + \sigma \xi) - L(\theta)}{\sigma} \, \xi$$

    with xi of the shape of all trainable parameters theta, drawn anew for every step and the same for all samples. The
    credit makes no assumption about the model: it takes any layer, recurrence, state or loss, also a penalty on the
    weights.

    The estimate is unbiased up to O(sigma^2). Its variance divided by |g|^2, with g the gradient of the batch, is N + 1
    for Gaussian noise and N - 1 for Rademacher noise, with N parameters. Node perturbation has the number of nodes of
    one sample in place of N, and averages over samples. For the same precision weight perturbation therefore takes
    N / nodes times as many directions, times the number of samples of a batch. Losses are compared in float64. Cost:
    1 + `directions` forward passes; no backward pass. Memory: one copy of the parameters for any number of directions,
    since their noise is drawn twice.

    Source: Jabri & Flower 1992, Weight perturbation: an optimal architecture and learning technique for analog VLSI
    feedforward and recurrent multilayer networks, doi:10.1109/72.105429; Cauwenberghs 1992, A fast stochastic
    error-descent algorithm for supervised learning and optimization, NeurIPS 5.

    Args:
        model: Network whose trainable parameters are float32 or float64.
        sigma: Standard deviation of the noise, in units of the parameters.
        noise: "gaussian" or "rademacher" (+1 or -1).
        directions: Number of independent directions to average over; divides the variance.
        seed: Seed of the noise.

    Raises:
        InvalidValue: A parameter is out of range.
    """

    name = "weight_perturbation"
    signal = "the change of the batch's loss under noise on every weight, broadcast"
    bias = "none up to O(sigma^2)"
    variance = "(N + 1) |g|^2 per step and direction (Gaussian noise; N - 1 for Rademacher noise), N the parameters"
    locality = "local given the broadcast change of the loss; a synapse must know its own noise"
    cost = "1 + directions forwards, no backward"
    memory = "a copy of the parameters, no activations"
    needs_autograd = False
    source = (
        "Jabri & Flower 1992, Weight perturbation, doi:10.1109/72.105429; Cauwenberghs 1992, A fast stochastic "
        "error-descent algorithm for supervised learning and optimization, NeurIPS 5"
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        sigma: float = 1e-3,
        noise: Distribution = "gaussian",
        directions: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(model)
        checks.refuse(
            self.name,
            checks.number("sigma", sigma, above=0),
            checks.word("noise", noise, get_args(Distribution)),
            checks.whole_number("directions", directions, least=1),
            checks.whole_number("seed", seed, least=0),
        )
        self.sigma = sigma
        self.directions = directions
        self.noise = Noise(noise, seed)
        self._side_effects = SideEffects()

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the weight perturbation estimate to `.grad`; see `Credit.backward`."""
        model, modules, effects = self._checked_model(inputs), self._modules_of_model, self._side_effects
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not learning:
            raise Unsupported("weight_perturbation needs a model with trainable parameters; this one has none.")
        if any(parameter.dtype not in (torch.float32, torch.float64) for parameter in learning):
            raise Unsupported(
                "weight_perturbation needs parameters in float32 or float64, since half precision rounds a small "
                "perturbation away: call model.float()."
            )
        losses = SampleLosses(loss_function, targets)
        random_state = RandomState({parameter.device for parameter in learning})
        known = effects.are_known(modules)
        start = self.noise.get_extra_state()
        with torch.no_grad():
            clean = [parameter.clone() for parameter in learning]
            perturbed = []
            for _ in range(self.directions):
                try:
                    for parameter in learning:
                        parameter.add_(self.noise.draw(parameter), alpha=self.sigma)
                    with effects.restored(model, modules):
                        perturbed.append(losses.loss(run(model, inputs)).item())
                finally:
                    for parameter, before in zip(learning, clean, strict=True):
                        parameter.copy_(before)
                random_state.restore()
            loss = losses.loss(last_pass(model, inputs, modules, effects, random_state, known))
            self.noise.set_extra_state(start)
            estimates = [before.zero_() for before in clean]
            for moved in perturbed:
                change = (moved - loss.item()) / (self.sigma * self.directions)
                for parameter, estimate in zip(learning, estimates, strict=True):
                    estimate.add_(self.noise.draw(parameter), alpha=change)
        for parameter, estimate in zip(learning, estimates, strict=True):
            parameter.grad = estimate if parameter.grad is None else parameter.grad.add_(estimate)
        return loss.to(learning[0].dtype)
