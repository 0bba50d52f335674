"""A small network whose copies have weights of their own, and the closed forms of what perturbing its nodes gives."""

from __future__ import annotations

import itertools
import math
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd

Form: TypeAlias = Literal["gaussian", "sign", "rademacher"]
"""Signal from which a node learns: its Gaussian noise; sqrt(pi/2) times the sign of that noise; noise of +1 or -1."""


class _Copies(nn.Module):
    """Linear layer that gives every sample its own copy of the weights and biases."""

    def __init__(self, weight: Tensor, samples: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.expand(samples, *weight.shape).clone())
        self.bias = nn.Parameter(weight.new_zeros(samples, len(weight)))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.einsum("sof,sf->so", self.weight, inputs) + self.bias


class Estimates(NamedTuple):
    """Estimates of every copy: shape (copies, nodes) at the nodes, (copies, weights) at the weights."""

    nodes: Tensor
    weights: Tensor


class Copied:
    """A tanh network on copies of one sample, of which every copy gets an estimate of its own.

    Args:
        sizes: Units from input to output.
        samples: Number of copies.
        seed: Seed of weights and sample.
    """

    def __init__(self, sizes: tuple[int, ...], samples: int, seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draws, dtype=torch.float64)

        weights = [normal(outputs, inputs) / inputs**0.5 for inputs, outputs in itertools.pairwise(sizes)]
        self.samples, self.weights, self.sample = samples, weights, normal(sizes[0])
        layers: list[nn.Module] = []
        for weight in weights:
            layers += [_Copies(weight, samples), nn.Tanh()]
        self.model = nn.Sequential(*layers[:-1])
        self.targets = torch.full((samples,), 1)

    def estimates(self, name: str, **options: object) -> Estimates:
        """Estimates of a credit."""
        self.model.zero_grad()
        credit = nd.credit.get(name, self.model, **options)
        credit.backward(F.cross_entropy, self.sample.expand(self.samples, -1), self.targets)
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        for layer in self.model:
            if isinstance(layer, _Copies):
                assert layer.weight.grad is not None and layer.bias.grad is not None
                found[0].append(layer.bias.grad * self.samples)  # the loss is the mean over copies
                found[1].append(layer.weight.grad.flatten(1) * self.samples)
        return Estimates(torch.cat(found[0], 1), torch.cat(found[1], 1))

    def exact(self) -> tuple[list[Tensor], list[Tensor], float]:
        """Gradients at the nodes and squared inputs, layer by layer, and the loss, without noise."""
        errors, powers, shifts, activity = [], [], [], self.sample
        for weight in self.weights:
            powers.append(activity.detach().square().sum())
            shifts.append(weight.new_zeros(len(weight)).requires_grad_())
            activity = weight @ activity + shifts[-1]
            activity = activity if weight is self.weights[-1] else activity.tanh()
        loss = F.cross_entropy(activity[None], self.targets[:1])
        errors = list(torch.autograd.grad(loss, shifts))
        return errors, powers, float(loss.detach())


def node_variance(form: Form, nodes: int) -> float:
    r"""Variance of an estimate at the nodes over $|g|^2$: N + 1 (Gaussian), (pi/2) N - 1 (sign), N - 1 (Rademacher)."""
    factor, less = _LAWS[form]
    return factor * nodes - less


def weight_variance(form: Form, errors: list[Tensor], powers: list[Tensor]) -> float:
    r"""The same at the weights, over the squared gradient there.

    $$\frac{\sum_l |x_l|^2 (f N_l |g|^2 - s |g_l|^2)}{\sum_l |x_l|^2 |g_l|^2}$$

    with the factor f of N and the s of the nodes' law (f = 1, s = -1: Gaussian). For small noise; N_l nodes of layer l
    have the gradient g_l, all nodes g, and receive x_l.

    Args:
        form: Signal from which a node learns.
        errors: g_l of every layer, shape (nodes,).
        powers: |x_l|^2 of every layer, shape ().
    """
    gradient = [power * error.square().sum() for error, power in zip(errors, powers, strict=True)]
    return float(spread(form, errors, powers) / torch.stack(gradient).sum())


def spread(form: Form, errors: list[Tensor], powers: list[Tensor]) -> Tensor:
    """The numerator of `weight_variance`; with errors (samples, nodes) and powers (samples,) its sum over samples."""
    factor, less = _LAWS[form]
    every = torch.stack([error.square().sum(-1) for error in errors]).sum(0)
    parts = [
        power * (factor * error.shape[-1] * every - less * error.square().sum(-1))
        for error, power in zip(errors, powers, strict=True)
    ]
    return torch.stack(parts).sum()


_LAWS: dict[Form, tuple[float, int]] = {"gaussian": (1.0, -1), "sign": (math.pi / 2, 1), "rademacher": (1.0, 1)}
"""Factor of the number of nodes, and what is subtracted."""
