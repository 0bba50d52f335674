"""Range of noise over which the loss answers linearly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._layers import walk
from neuro_decorr.credit._losses import SampleLosses
from neuro_decorr.credit._noise import Noise
from neuro_decorr.credit._passes import Passes
from neuro_decorr.credit._side_effects import SideEffects
from neuro_decorr.credit._time import Hold, layout_problems
from neuro_decorr.credit.base import LossFunction

_LEAST_EXPONENT, _MOST_ASYMMETRY = 2 / 3, 1.0


class Response(NamedTuple):
    """Response of the losses of the samples to noise of one size.

    Attributes:
        sigma: Standard deviation of the noise.
        unchanged: Fraction of the samples whose loss is the same to the last digit.
        slope: Root mean square over samples and directions of the odd part of the change of the loss, per sigma.
        exponent: Growth of the odd part with sigma, d log(odd) / d log(sigma), from the neighbouring sizes: 1 if the
            loss is linear, 1/2 if single spikes appear or vanish, 0 if the loss saturates.
        asymmetry: Root mean square of the even part over that of the odd part: 0 if the loss is linear.
    """

    sigma: float
    unchanged: float
    slope: float
    exponent: float
    asymmetry: float

    @property
    def linear(self) -> bool:
        """True if the exponent is at least 2/3, above the 1/2 of jumps, and the odd part is the larger one."""
        return self.exponent >= _LEAST_EXPONENT and self.asymmetry <= _MOST_ASYMMETRY


def linearity(
    model: nn.Module,
    loss_function: LossFunction,
    inputs: Any,
    targets: Any,
    sigmas: Sequence[float],
    *,
    directions: int = 4,
    hold: Hold = "step",
    time_first: bool | None = None,
    seed: int = 0,
) -> list[Response]:
    r"""Measure the sizes of the noise for which the loss answers linearly, to choose the sigma of a perturbation.

    $$
    o = \tfrac12 \big( L(a + \sigma \xi) - L(a - \sigma \xi) \big), \qquad
    e = \tfrac12 \big( L(a + \sigma \xi) + L(a - \sigma \xi) \big) - L(a)
    $$

    for the loss of every sample, with Gaussian noise xi that is the same for all sigma. In a smooth network o grows as
    sigma and e as sigma^2. In a spiking network a small sigma moves no spike in most samples and makes the loss jump in
    a few: o and e are alike, and o / sigma scatters as 1 / sqrt(sigma), and so does an estimate of the gradient. A
    sigma that moves many spikes averages over these jumps.

    The model stays as it was. Cost: 2 sigmas x (directions + 1) forward passes.

    Args:
        model: The network.
        loss_function: Maps (outputs, targets) to a scalar; see `Credit.backward`.
        inputs: Inputs of the model.
        targets: Targets for `loss_function`.
        sigmas: At least two sizes of the noise, in units of the nodes.
        directions: Number of draws of the noise.
        hold: Time for which a unit keeps its noise; see `NodePerturbation`.
        time_first: True if layers run over sequences (time, samples, units); see `NodePerturbation`.
        seed: Seed of the noise.

    Returns:
        One response per sigma, from the smallest to the largest.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model holds layers that perturbation cannot treat.
    """
    sizes = sorted(sigmas)
    checks.refuse(
        "linearity",
        *(checks.number("every sigma", sigma, above=0) for sigma in sizes),
        None if len(set(sizes)) == len(sizes) > 1 else f"sigmas must be two or more different numbers, got {sizes}",
        checks.whole_number("directions", directions, least=1),
        checks.whole_number("seed", seed, least=0),
        *layout_problems(time_first, hold),
    )

    def changes(sigma: float) -> Tensor:
        """Changes of the losses, shape (directions, samples)."""
        passes = Passes(model, sigma, Noise("gaussian", seed), time_first, hold)
        perturbed, clean = passes.run(inputs, SampleLosses(loss_function, targets), directions, "noise")
        return torch.stack([one.losses - clean.losses for one in perturbed])

    measured = []
    with SideEffects().restored(model, walk(model)):
        for sigma in sizes:
            up, down = changes(sigma), changes(-sigma)
            odd, even = ((up + sign * down).square().mean().sqrt().item() / 2 for sign in (-1, 1))
            unchanged = torch.cat([up, down]).eq(0).double().mean().item()
            measured.append((sigma, unchanged, odd, even))
    responses = []
    for index, (sigma, unchanged, odd, even) in enumerate(measured):
        below, above = measured[max(index - 1, 0)], measured[min(index + 1, len(measured) - 1)]
        exponent = math.nan
        if below[2] > 0 and above[2] > 0:
            exponent = math.log(above[2] / below[2]) / math.log(above[0] / below[0])
        asymmetry = even / odd if odd > 0 else math.nan
        responses.append(Response(sigma, unchanged, odd / sigma, exponent, asymmetry))
    return responses
