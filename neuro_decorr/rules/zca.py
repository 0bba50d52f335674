"""ZCA whitening of a running covariance: what a rule could reach, not a local rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neuro_decorr.rules._factor import Replacement
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State, check_fraction, check_positive
from neuro_decorr.rules._running import follow_, initial_statistics


@register
@dataclass(frozen=True, kw_only=True)
class ZCA(Rule):
    r"""Batch comparator: the symmetric inverse root of the running covariance, at every update.

    .. math:: \hat S \leftarrow (1 - \eta) \hat S + \eta\, \langle z z^T \rangle, \quad
              D = (\hat S + \epsilon c I)^{-1/2}, \quad c = \operatorname{tr} \hat S / d

    Exact on the running covariance, so every rate is stable and nothing is tuned; the price is an eigendecomposition
    (in double precision) and a second matrix a layer. A direction without power is amplified by 1 / sqrt(epsilon c) at
    most.

    Source: Huang, Yang, Lang, Deng (2018), Decorrelated batch normalization, arXiv:1804.08450.

    Attributes:
        rate: eta, weight of the newest sample in the running covariance, in (0, 1].
        epsilon: Power added to every direction, relative to the mean power c.
    """

    name = "zca"
    title = "whitens a running covariance exactly (comparator)"
    equation = "D = (S + epsilon c I)^-1/2, S a running covariance"
    fixed_point_text = "C = S (S + epsilon c I)^-1, about I"
    locality = "not local: all pairs at once"
    cost = "k d^2 + 11 d^3"
    reference = "Huang et al. 2018, arXiv:1804.08450"
    structure = "dense"

    rate: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: A rate outside (0, 1], or an epsilon that is not positive.
        """
        super().__post_init__()
        check_positive(self, "epsilon")
        check_fraction(self, "rate")

    @property
    def equivariance(self) -> Literal["general", "orthogonal", "covariant", "none"]:
        """The symmetric root turns with the inputs."""
        return "covariant"

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """D = I, no covariance yet."""
        return initial_statistics(super().initial_state(features, dtype=dtype, device=device))

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Move the running covariance, then take its root anew."""
        covariance = follow_(state, sample, rate)
        floor = self.epsilon * float(covariance.trace()) / len(covariance)
        if floor == 0:
            return None  # no input has ever been active
        values, vectors = torch.linalg.eigh(covariance)
        root = (values.clamp_min(0) + floor).sqrt()  # rounding can make a variance negative
        return Replacement.apply_(state["matrix"], (vectors / root) @ vectors.T, (vectors * root) @ vectors.T)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """S (S + epsilon c I)^-1."""
        floored = covariance.clone()
        floored.diagonal().add_(self.epsilon * covariance.trace() / len(covariance))
        whitened: Tensor = torch.linalg.solve(floored, covariance)
        return whitened
