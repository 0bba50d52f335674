"""The control: centring alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State


@register
@dataclass(frozen=True, kw_only=True)
class Center(Rule):
    r"""Subtract the running mean and nothing else: $x = z - \mu$.

    The control without which no gain counts as a gain of decorrelation: the mean direction is usually the leading
    eigenvector of the second moment, and on many data centring does nearly everything.

    Source: LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, doi:10.1007/3-540-49430-8_2.
    """

    name = "center"
    title = "centring alone (the control)"
    equation = "x = z - mean"
    fixed_point_text = "<x> = 0, covariance unchanged"
    locality = "the unit itself"
    cost = "d"
    source = "LeCun et al. 1998, doi:10.1007/3-540-49430-8_2"
    structure = "centering"

    rate: float = 1.0

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """The transform stays the identity; the mean belongs to the layer."""
        return None

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """The covariance of the inputs."""
        return covariance
