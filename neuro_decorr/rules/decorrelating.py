"""Decorrelation without a target for the variances (COPI)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neuro_decorr.rules._factor import LowRankFactor
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State


@register
@dataclass(frozen=True, kw_only=True)
class Decorrelating(Rule):
    r"""Drive the off-diagonal of the second moment to zero and leave the variances free.

    .. math:: D \leftarrow D - \eta\, \operatorname{offdiag}(C)\, D

    Stable for eta (v_i + v_j) < 2 with v the output variances (exact statistics). Nothing ever grows but through
    the off-diagonal: silent units stay silent and bounded.

    Source: Ahmad, Schrader, van Gerven (2022), Constrained parameter inference as a principle for learning,
    arXiv:2203.13203. With `compensate`, this is COPI's function-preserving form.

    Attributes:
        rate: eta, per update and per unit of input power.
    """

    name = "decorrelating"
    title = "removes correlations, leaves the variances free"
    equation = "D <- D - rate offdiag(C) D"
    fixed_point_text = "C diagonal"
    locality = "row of D"
    cost = "2 k d^2"
    reference = "Ahmad, Schrader, van Gerven 2022, arXiv:2203.13203"
    structure = "dense"
    fixed_point_up_to = "unit_scales"

    rate: float = 1e-2

    @property
    def equivariance(self) -> Literal["general", "orthogonal", "none"]:
        """The update is a function of the outputs times D, so any invertible map of the inputs is absorbed by D."""
        return "general"

    def update_(self, state: State, sample: Sample, rate: float) -> Change:
        """D <- (I + rate diag(v)) D - (rate / k) X^T (X D), v the mean squares of the outputs."""
        outputs = sample.outputs
        scale = outputs.square().mean(dim=0).mul_(rate).add_(1)
        return LowRankFactor(scale, rate / len(outputs), outputs, outputs).apply_(
            state["matrix"], state.get("matrix_residual")
        )

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """A diagonal covariance; its entries depend on the start."""
        return torch.diag(covariance.diagonal())

    def stability_limit(self, covariance: Tensor) -> float:
        """2 / (v_i + v_j) for the two largest output variances.

        For a covariance that is diagonal already these are the inputs' variances; from elsewhere they shrink on
        the way, so this is a lower bound there.
        """
        largest = covariance.diagonal().sort(descending=True).values[:2]
        return 2.0 / float(largest.sum())
