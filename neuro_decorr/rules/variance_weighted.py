"""Decorrelation with a weighted target for the variances (decorrelated backpropagation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules._factor import LowRankFactor
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State, check_positive


@register
@dataclass(frozen=True, kw_only=True)
class VarianceWeighted(Rule):
    r"""Weigh decorrelation against unit variance.

    .. math:: R \leftarrow R - \eta \bigl[ (1 - \kappa)\, \operatorname{offdiag}(C)
              + \kappa \operatorname{diag}(\langle x_i^2 \rangle - 1) \bigr] R

    The term of the variances scales the rows of R. (The authors' code scales its columns, which whitens from a
    symmetric start only.) kappa = 1/2 is the relative gradient of whitening at half the rate. As published, silent
    units are not bounded: their rows grow by 1 + eta kappa at every update.

    Near C = I the off-diagonal errors shrink by 1 - 2 eta (1 - kappa) an update and those of the variances by
    1 - 2 eta kappa, so eta max(kappa, 1 - kappa) < 1 is the limit there. Far from it eta times the largest eigenvalue
    of C has to stay below about 1.

    Source: Dalm, Offergeld, Ahmad, van Gerven (2024), Efficient deep learning with decorrelated backpropagation,
    arXiv:2405.02385.

    Attributes:
        rate: eta, per update; the outputs' target power is 1.
        variance_weight: kappa, in (0, 1). The authors' layers use 1e-3 to 1e-2, their base class 0.5.
    """

    name = "variance_weighted"
    title = "removes correlations and, with its own weight, brings the variances to one"
    equation = "R <- R - rate [(1 - kappa) offdiag(C) + kappa diag(<x^2> - 1)] R"
    fixed_point_text = "C = I"
    locality = "row of R"
    cost = "2 k d^2"
    reference = "Dalm, Offergeld, Ahmad, van Gerven 2024, arXiv:2405.02385"
    structure = "dense"
    silent_units_bounded = False

    rate: float = 1e-2
    variance_weight: float = 0.5

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A rate that is not positive, or a weight outside (0, 1).
        """
        super().__post_init__()
        check_positive(self, "variance_weight")
        if self.variance_weight >= 1:
            raise InvalidValue(
                f"{self.name}: variance_weight must lie in (0, 1), got {self.variance_weight!r}; at 1 nothing would be "
                "decorrelated (and at 0 the variances would be free: that is the rule 'decorrelating')."
            )

    @property
    def equivariance(self) -> Literal["general", "orthogonal", "covariant", "none"]:
        """The update is a function of the outputs times R, so any invertible map of the inputs is absorbed by R."""
        return "general"

    def update_(self, state: State, sample: Sample, rate: float) -> Change:
        """R <- diag(1 + rate [(1 - 2 kappa) v + kappa]) R - rate (1 - kappa) / k X^T (X R), v the mean squares."""
        outputs, kappa = sample.outputs, self.variance_weight
        scale = outputs.square().mean(dim=0).mul_(rate * (1 - 2 * kappa)).add_(1 + rate * kappa)
        return LowRankFactor(scale, rate * (1 - kappa) / len(outputs), outputs, outputs).apply_(
            state["matrix"], state.get("matrix_residual")
        )

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """The identity, whatever the weight."""
        return torch.eye(len(covariance), dtype=covariance.dtype)

    def stability_limit(self, covariance: Tensor) -> float:
        """1 / max(kappa, 1 - kappa), whatever the inputs."""
        return 1 / max(self.variance_weight, 1 - self.variance_weight)
