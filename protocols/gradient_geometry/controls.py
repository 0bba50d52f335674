"""Controls of damped ZCA: parts of it, as rules of this protocol alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from neuro_decorr import metrics
from neuro_decorr.rate import Decorrelation, decorrelated_layers
from neuro_decorr.rules import ZCA, Replacement, Rule, Sample, State

PartName = Literal["scalar", "diagonal", "rotated"]


@final
@dataclass(frozen=True, kw_only=True)
class Part(Rule):
    r"""A part of damped ZCA, from the same running covariance S of the inputs; c is its mean power.

    - `scalar`: $D = c^{-1/2} I$, which makes the mean power one.
    - `diagonal`: $D = g\, (I + \operatorname{diag} S / (\text{damping}\; c))^{-1/2}$, g giving the power back.
    - `rotated`: $D = R\, g\, (I + S / (\text{damping}\; c))^{-1/2}$, R orthogonal, drawn once.
    """

    name = "zca_part"
    title = "a part of damped ZCA (a control of this protocol)"
    equivariance = "none"
    equation = "D = c^-1/2 I, or the diagonal of, or R times, g (I + S / (damping c))^-1/2"
    fixed_point_text = "of a part: see the class"
    locality = "not local: all pairs at once"
    cost = "that of zca"
    source = "this protocol"
    structure = "dense"
    largest_rate = 1.0

    rate: float = 0.1
    damping: float
    part: PartName
    seed: int = 0

    @property
    def whole(self) -> ZCA:
        """Rule of which this is a part."""
        return ZCA(rate=self.rate, damping=self.damping)

    def statistics(self, matrix: Tensor) -> State:
        """Those of the whole rule, and R."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(matrix.shape, generator=generator, dtype=torch.float64)
        orthogonal, triangle = torch.linalg.qr(drawn)
        # With signs that make it even over all rotations and reflections (Mezzadri 2007, arXiv:math-ph/0609050).
        rotation = orthogonal * triangle.diagonal().sign()
        return self.whole.statistics(matrix) | {"rotation": rotation.to(matrix)}

    def update_(self, state: State, sample: Sample, rate: float) -> Replacement | None:
        """Let the whole rule move, then keep a part of what it made."""
        matrix = state["matrix"]
        before = matrix.clone()
        if self.whole.update_(state, sample, rate) is None:
            return None
        variances = state["covariance"].diagonal()
        power = variances.mean()
        if self.part == "scalar":
            matrix.copy_(torch.eye(len(matrix)).to(matrix) / power.sqrt())
        elif self.part == "diagonal":
            scale = (1 + variances / (self.damping * power)).rsqrt()
            matrix.copy_(torch.diag(scale * (variances.sum() / (variances * scale.square()).sum()).sqrt()))
        else:
            matrix.copy_(state["rotation"] @ matrix)
        return Replacement(before, matrix)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """D S D^T, with the D of the class for the covariance S."""
        state = self.initial_state(len(covariance), dtype=covariance.dtype)
        if self.part == "rotated":
            rotation = state["rotation"]
            return rotation @ self.whole.fixed_point(covariance) @ rotation.T
        variances = covariance.diagonal()
        scale = torch.ones_like(variances) / variances.mean().sqrt()
        if self.part == "diagonal":
            scale = (1 + variances / (self.damping * variances.mean())).rsqrt()
            scale *= (variances.sum() / (variances * scale.square()).sum()).sqrt()
        return scale * covariance * scale[:, None]


@torch.no_grad()
def freeze(model: nn.Module, inputs: Tensor, damping: float) -> None:
    """Set every D and mean of a decorrelated network to the damped ZCA of what reaches it, from the first layer on.

    Args:
        model: Model returned by `nd.decorrelate`, with dense D.
        inputs: Inputs of the network.
        damping: Relative to the mean power.
    """
    for _, module, _ in decorrelated_layers(model):
        names = {found: name for name, found in model.named_modules() if isinstance(found, Decorrelation)}
        received = metrics.layer_inputs(model, inputs, Decorrelation)[names[module]].double()
        centred = received - received.mean(0)
        covariance = centred.T @ centred / len(centred)
        values, vectors = torch.linalg.eigh(covariance)
        root = (1 + values / (damping * values.mean())).rsqrt()
        root *= (values.sum() / (values * root.square()).sum()).sqrt()
        module.mean.copy_(received.mean(0))
        module.matrix.copy_((vectors * root) @ vectors.T)
