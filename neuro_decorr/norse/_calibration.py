"""Rounding of weights by the moments of their inputs: later weights compensate the errors of earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from neuro_decorr.norse._synapses import Synapses
from neuro_decorr.row_choice import patches

_DAMPING = 0.01
"""Damping of the second moments, relative to their mean: weights of silent inputs are plainly rounded."""


_STEPS = 41
"""Number of scales that are tried, eight per octave."""


class Moments(NamedTuple):
    """Moments of the inputs of a layer.

    Attributes:
        mean: Mean of x, shape (inputs,), float64.
        second: Second moments E x x^T, about the mean if the layer has a bias, shape (inputs, inputs), float64.
    """

    mean: Tensor
    second: Tensor


def moments_of(
    network: nn.Module, layers: list[Synapses], inputs: Tensor, run: Callable[[nn.Module, Tensor], Any] | None
) -> dict[nn.Module, Moments]:
    """Moments of the inputs of the layers of a network in eval mode, for layers whose inputs form a matrix."""
    found = {one.module: _Sums(one.module) for one in layers if _rows_of(one.module) is not None}
    training = network.training
    with ExitStack() as hooks, torch.no_grad():
        hooks.callback(network.train, training)
        for module, sums in found.items():
            hooks.callback(module.register_forward_pre_hook(sums.see).remove)
        network.eval()
        _ = network(inputs) if run is None else run(network, inputs)
    return {module: sums.moments() for module, sums in found.items() if sums.rows}


def fitted_scale(weight: Tensor, scale: Tensor, top: int, moments: Moments) -> Tensor:
    r"""Find the scale with the least error on the inputs; larger weights are clipped to the largest whole number.

    $$s = \operatorname{argmin}_{s_0 2^{-k/8},\ k = 0 \dots 40} E \big| (W - s n)\, x \big|^2$$

    The weight of a rarely active input may be large, for example after a whitening, and costs little if clipped.

    Cost: 41 outputs inputs^2 multiply-adds.

    Args:
        weight: W, shape (outputs, inputs).
        scale: $s_0$, the scale of the largest weight, shape () or (outputs, 1).
        top: Largest whole number.
        moments: Moments of the inputs.

    Returns:
        s, of the shape of `scale`.
    """
    values, best, least = weight.double(), scale, None
    for step in range(_STEPS):
        tried = scale * 2.0 ** (-step / 8)
        lost = torch.round(values / tried).clamp(-top, top) * tried - values
        errors = ((lost @ moments.second) * lost).sum(1, keepdim=True)
        error = errors if scale.dim() else errors.sum()
        best = tried if least is None else torch.where(error < least, tried, best)
        least = error if least is None else torch.minimum(error, least)
    return best


def compensated(weight: Tensor, scale: Tensor, top: int, moments: Moments) -> Tensor:
    r"""Round weights to whole numbers, one input after the other; the remaining weights compensate the error.

    $$n_i = \operatorname{round}(w_i / s), \qquad
    w_{j > i} \leftarrow \operatorname{argmin} E \big(\textstyle\sum_{k} (w_k - w^0_k)\, x_k\big)^2$$

    A weight of zero stays zero, and the weights of other inputs compensate for it. Cost: inputs^2 (inputs + outputs)
    flop.

    Source: Frantar, Ashkboos, Hoefler, Alistarh (2022), GPTQ: accurate post-training quantization for generative
    pre-trained transformers, arXiv:2210.17323.

    Args:
        weight: W, shape (outputs, inputs).
        scale: s, shape () or (outputs, 1).
        top: Largest whole number.
        moments: Moments of the inputs.

    Returns:
        The whole numbers n, shape (outputs, inputs), float64.
    """
    second = moments.second
    damping = _DAMPING * second.diagonal().mean().clamp(min=torch.finfo(torch.float64).tiny)
    damped = second + damping * torch.eye(len(second), dtype=second.dtype, device=second.device)
    # Each row of the factor tells how the later weights compensate one weight, given the earlier ones.
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    left, numbers = weight.double().clone(), torch.zeros_like(weight, dtype=torch.float64)
    connected = weight != 0
    scales = scale.expand(weight.shape[0], 1).squeeze(1)
    for place in range(weight.shape[1]):
        chosen = torch.round(left[:, place] / scales).clamp(-top, top) * connected[:, place]
        numbers[:, place] = chosen
        lost = (left[:, place] - chosen * scales) / factor[place, place]
        left[:, place:] -= lost[:, None] * factor[place, place:]
    return numbers


@final
class _Sums:
    """Sums over the inputs of a layer, taken by a forward pre-hook."""

    def __init__(self, module: nn.Module) -> None:
        self._rows_of = _rows_of(module)
        self._centred = module.bias is not None
        self.rows = 0
        self._sum: Tensor | float = 0.0
        self._products: Tensor | float = 0.0

    def see(self, _: nn.Module, given: tuple[Any, ...]) -> None:
        assert self._rows_of is not None  # only such layers get this hook
        rows = self._rows_of(given[0].double())
        self.rows += len(rows)
        self._sum = self._sum + rows.sum(0)
        self._products = self._products + rows.mT @ rows

    def moments(self) -> Moments:
        mean, second = torch.as_tensor(self._sum) / self.rows, torch.as_tensor(self._products) / self.rows
        return Moments(mean, second - torch.outer(mean, mean) if self._centred else second)


def _rows_of(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """Function that turns a layer's inputs into a matrix (rows, inputs of a unit); None for plain rounding."""
    if isinstance(module, nn.Linear):
        return lambda inputs: inputs.reshape(-1, inputs.shape[-1])
    if isinstance(module, nn.Conv2d) and module.groups == 1:
        return lambda maps: patches(module, maps if maps.dim() > 3 else maps[None])
    return None
