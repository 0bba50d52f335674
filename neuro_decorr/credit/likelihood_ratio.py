"""Likelihood ratio: noisy copies of the network, each weighted by its loss."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._losses import SampleLosses
from neuro_decorr.credit._nodes import assign
from neuro_decorr.credit._perturbing import perturbed_passes
from neuro_decorr.credit._time import Hold
from neuro_decorr.credit.base import Credit, LossFunction
from neuro_decorr.credit.registry import register

Baseline: TypeAlias = Literal["none", "clean", "others"]
"""Baseline that is subtracted from the loss of a copy: none, the loss without noise, or the mean loss of the others."""

Presynaptic: TypeAlias = Literal["noisy", "clean"]
"""Pass from which a synapse takes its input: the noisy copy, or the pass without noise."""

Stored: TypeAlias = Literal["float", "sign"]
"""Form in which a node keeps its noise until the loss is known."""


@final
@register
class LikelihoodRatio(Credit):
    r"""Score of the noise of every node, times the loss of the noisy network.

    $$a_l = W_l x_{l-1} + b_l + \sigma \xi_l, \quad \xi \sim N(0, I), \qquad
    \hat\delta_l = \frac{L(a) - b}{\sigma}\, \xi_l, \qquad \Delta W_l = \sum_n \hat\delta_l\, x_{l-1}^T$$

    with x_{l-1} the input of the layer in the noisy network. If the baseline b does not depend on xi, the expectation
    is the gradient of the expected loss of the noisy network, E L, for every sigma. No other credit here is exact for
    noise of any size. `node_perturbation` is the case `presynaptic="clean"`, `baseline="clean"`.

    The variance divided by |g|^2, for a sample with N nodes and gradient g at them, one direction and a small sigma, is
    N + 1. It is (pi/2) N - 1 with `stored="sign"`, which replaces the noise by sqrt(pi/2) sign(xi) and is exact to
    O(sigma^2) only. `node_perturbation(noise="rademacher")` also needs one bit per node and has N - 1. Without a
    baseline (L / sigma)^2 is added, which is 1e6 L^2 at sigma 1e-3.

    `antithetic` runs every copy again with -xi. The two copies have the same x up to O(sigma), a difference that
    L / sigma multiplies. Without a baseline that is worse than one copy with a baseline. `presynaptic="clean"` removes
    the difference and leaves a central difference, (L(+xi) - L(-xi)) / (2 sigma).

    Batch normalisation in train mode acts as for `node_perturbation`. Cost: (1 + antithetic) directions + 1 forward
    passes and as many products per layer; no backward pass. Memory: the noise of all nodes of all copies (one byte per
    node with "sign"), and with noisy inputs also the inputs of all layers. Losses are compared in float64.

    Source: Zhang, Jiang, Liu et al. 2024, Approximated likelihood ratio: a forward-only and parallel framework for
    boosting neural network training, arXiv:2403.12320; Williams 1992, Simple statistical gradient-following algorithms
    for connectionist reinforcement learning, doi:10.1007/BF00992696.

    Args:
        model: Network in which every trainable parameter belongs to a layer whose output is one tensor (samples, ...),
            or (tensor, state).
        sigma: Standard deviation of the noise, in units of the nodes. None: `default_sigma(model, hold)`.
        baseline: "clean": the loss of the pass without noise; "others": the mean loss of the other directions for the
            same sample, which needs at least two directions; "none": no baseline.
        antithetic: True runs every direction and its negative.
        stored: "float" keeps the noise, "sign" keeps its sign.
        presynaptic: "noisy" or "clean" inputs of the layers.
        directions: Number of independent directions to average over; divides the variance.
        hold: Time for which a unit keeps its noise; see `NodePerturbation`.
        time_first: True if layers run over sequences (time, samples, units); see `NodePerturbation`.
        seed: Seed of the noise.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model holds layers that perturbation cannot treat.
    """

    name = "likelihood_ratio"
    signal = "the loss of the network with noise at every node, broadcast"
    bias = "none for the gradient of the expected loss of the noisy network, at any sigma; O(sigma^2) with signs"
    variance = (
        "(N + 1) |g|^2 per sample and direction; ((pi/2) N - 1) |g|^2 with signs; without a baseline (L / sigma)^2 more"
    )
    locality = "local given the broadcast loss; a neuron must know its own noise, or its sign"
    cost = "1 + directions forwards (antithetic: twice as many), no backward"
    memory = "the noise of all nodes (a byte each with signs) and the inputs of all layers, for every copy"
    needs_autograd = False
    source = (
        "Zhang, Jiang, Liu et al. 2024, Approximated likelihood ratio, arXiv:2403.12320; Williams 1992, Simple "
        "statistical gradient-following algorithms, doi:10.1007/BF00992696"
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        sigma: float | None = None,
        baseline: Baseline = "clean",
        antithetic: bool = False,
        stored: Stored = "float",
        presynaptic: Presynaptic = "noisy",
        directions: int = 1,
        hold: Hold = "step",
        time_first: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model)
        self._passes = perturbed_passes(
            self,
            sigma,
            "gaussian",
            hold,
            time_first,
            seed,
            checks.word("baseline", baseline, get_args(Baseline)),
            checks.flag("antithetic", antithetic),
            checks.word("stored", stored, get_args(Stored)),
            checks.word("presynaptic", presynaptic, get_args(Presynaptic)),
            checks.whole_number(
                "directions",
                directions,
                least=2 if baseline == "others" else 1,
                hint="baseline='others' is the mean of the other directions" if baseline == "others" else "",
            ),
        )
        self.baseline = baseline
        self.antithetic = antithetic
        self.stored = stored
        self.presynaptic = presynaptic
        self.directions = directions

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the likelihood ratio estimate to `.grad`; see `Credit.backward`."""
        self._checked_model(inputs)
        perturbed, clean = self._passes.run(
            inputs,
            SampleLosses(loss_function, targets),
            self.directions,
            "sign" if self.stored == "sign" else "noise",
            antithetic=self.antithetic,
            graphs=self.presynaptic == "noisy",
        )
        losses = torch.stack([one.losses for one in perturbed]).view(self.directions, -1, len(clean.losses))
        if self.baseline == "clean":
            losses = losses - clean.losses
        elif self.baseline == "others":
            # An antithetic pair shares its noise, so that its halves are not independent copies.
            of_direction = losses.mean(1, keepdim=True)
            losses = losses - (of_direction.sum(0) - of_direction) / (self.directions - 1)
        changes = losses * ((math.pi / 2) ** 0.5 if self.stored == "sign" else 1.0) / self._passes.sigma
        if self.antithetic:
            changes[:, 1].neg_()  # its noise was subtracted
        assign(perturbed, list(changes.flatten(0, 1)), clean, self._passes.layout)
        return clean.loss
