"""A physics-informed network for -u'' = f on [-1, 1], with u = 0 at both ends: Adam or implicit steps."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

import neuro_decorr as nd
from models.dense import dense
from neuro_decorr.data import stream
from neuro_decorr.errors import Diverged
from neuro_decorr.study import Recorder
from protocols.implicit_steps.steps import ProximalStep

Solver = Literal["adam", "implicit"]
Arm = Literal["none", "center", "foof", "whitening", "whitening_uncompensated"]
SECOND = 0.1
"""Amplitude of the second frequency."""
RESIDUAL, BOUNDARY = 0.1, 10.0
"""Factors of the residual of the equation and of the squared boundary values in the loss."""


def solution(x: Tensor, frequency: int) -> Tensor:
    """u(x) = sin(pi x) + 0.1 sin(K pi x), with K the frequency."""
    made: Tensor = torch.sin(math.pi * x) + SECOND * torch.sin(frequency * math.pi * x)
    return made


def source(x: Tensor, frequency: int) -> Tensor:
    """Compute the right-hand side f = -u'' of the solution."""
    second = frequency * math.pi
    made: Tensor = math.pi**2 * torch.sin(math.pi * x) + SECOND * second**2 * torch.sin(second * x)
    return made


def residual(network: nn.Module, x: Tensor, frequency: int) -> Tensor:
    """Residual u'' + f of a network, by differentiating twice with respect to its input, shape (points, 1)."""
    x = x.detach().requires_grad_()
    value = network(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    return curvature + source(x, frequency)


def relative_error(network: nn.Module, frequency: int) -> float:
    """|u - u*| / |u*| on 1,001 even points."""
    x = torch.linspace(-1, 1, 1_001).unsqueeze(1)
    with torch.no_grad():
        exact = solution(x, frequency)
        return float((network(x) - exact).norm() / exact.norm())


def solve(
    solver: Solver, arm: Arm, rate: float, recorder: Recorder, *, hidden: tuple[int, ...], frequency: int, points: int,
    evaluations: int, inner: int, damping: float, seed: int,
) -> None:  # fmt: skip
    """Train a network and record its relative error, by evaluations of the gradient.

    Args:
        solver: Adam, or implicit steps whose inner problem L-BFGS solves, on the same points.
        arm: Transform of the inputs of all layers except the first (its input x keeps its scale), or of gradients.
        rate: Learning rate of Adam, or alpha of the implicit steps.
        recorder: Recorder of the errors, in rows `solutions`.
        hidden: Units of the hidden layers.
        frequency: K of the solution.
        points: Points in [-1, 1], drawn anew for every step.
        evaluations: Number of evaluations of the loss and its gradient in total.
        inner: Evaluations of one implicit step.
        damping: Damping of FOOF and whitening.
        seed: Seed of the weights and points.

    Raises:
        Diverged: The loss is not finite.
    """
    network: nn.Module = dense([1, *hidden, 1], activation=nn.Tanh, seed=seed)
    plasticity, signals = None, None
    if arm != "none":
        network = nd.decorrelate(network, skip=("hidden_1",))
        whitens = arm.startswith("whitening")
        rule = nd.rules.get("whitening", damping=damping) if whitens else nd.rules.get("center")
        plasticity = nd.Plasticity(network, rule, compensate=arm != "whitening_uncompensated", row_fraction=0.5)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    proximal = ProximalStep(network.parameters(), rate, inner)
    if arm == "foof":
        signals = nd.conditioning.Signals(network, skip=("hidden_1",))
    ends, generator = torch.tensor([[-1.0], [1.0]]), stream(seed, "points")
    count = inner if solver == "implicit" else 1
    for done in range(count, evaluations + 1, count):
        x = 2 * torch.rand(points, 1, generator=generator) - 1

        def loss(x: Tensor = x, *, heard: bool = solver == "adam") -> Tensor:
            with _unheard(network, plasticity is not None):
                boundary = network(ends).square().mean()
            with _unheard(network, plasticity is not None and not heard):
                equation = (RESIDUAL * residual(network, x, frequency)).square().mean()
            whole: Tensor = equation + BOUNDARY * boundary
            return whole

        if solver == "implicit":
            proximal(loss)
            network(x)  # what the rule hears: each point once
        else:
            optimiser.zero_grad()
            value = loss()
            if not torch.isfinite(value):
                raise Diverged(f"the loss of the network is {value.item()} after {done} evaluations.")
            torch.autograd.backward(value)
            for layer in signals or ():
                layer.gradient = nd.conditioning.foof(layer.gradient, layer.inputs, damping=damping)
            optimiser.step()
        if plasticity is not None:
            plasticity.step()
        if done % max(evaluations // 10, count) < count:
            error = relative_error(network, frequency)
            if not math.isfinite(error):
                raise Diverged(f"the network is not finite after {done} evaluations.")
            recorder.row("solutions", evaluations=done, error=error)
        recorder.progress(done, evaluations)


def _unheard(network: nn.Module, silenced: bool) -> AbstractContextManager[object]:
    """Passes that no rule hears, where there is one."""
    return nd.rate.unremembered(network) if silenced else nullcontext()
