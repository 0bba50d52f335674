"""Centring alone: the control arm of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Rule
from neuro_decorr.rules._state import Change, Needs, Sample, State


@register
@dataclass(frozen=True, kw_only=True)
class Center(Rule):
    r"""Subtract the running mean and nothing else: $x = z - \mu$.

    This rule is the control arm: a gain counts as a gain of decorrelation only if centring alone does not bring it. The
    direction of the mean is usually the leading eigenvector of the second moment, and for many data sets centring
    brings nearly the whole gain. It costs d flop per row.

    Source: LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, doi:10.1007/3-540-49430-8_2.
    """

    name = "center"
    title = "subtracts the running mean and nothing else (control)"
    equation = "x = z - mean"
    fixed_point_text = "<x> = 0, covariance unchanged"
    locality = "the unit itself"
    cost = "d"
    source = "LeCun et al. 1998, doi:10.1007/3-540-49430-8_2"
    structure = "centering"

    rate: float = 1.0

    def needs(self, state: State, features: int) -> Needs:
        """No rows, since the layer tracks the mean."""
        return Needs("inputs", 0)

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Leave the transform at the identity; the mean belongs to the layer."""
        return None

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance of the inputs."""
        return covariance
