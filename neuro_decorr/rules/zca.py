"""ZCA whitening of a running covariance: a comparator that shows the best result, not a local rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._factor import Replacement
from neuro_decorr.rules._power import initial_memory, remember_
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Equivariance, Rule
from neuro_decorr.rules._running import follow_, initial_covariance
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import moment_needs


@register
@dataclass(frozen=True, kw_only=True)
class ZCA(Rule):
    r"""Batch comparator that sets D to the symmetric inverse root of the running covariance at every update.

    $$
    \hat S \leftarrow (1 - \eta_n) \hat S + \eta_n\, \langle z z^T \rangle, \quad
    D = (\hat S + \epsilon c^* I)^{-1/2}, \quad c = \operatorname{tr} \hat S / d
    $$

    with c* = c, or the power that the layer once had, which fades slowly. eta_n and the start, c I, are those of
    `whitening`: a plain average of few rows would have directions without power.

    With `damping` the rule is the soft cap of `whitening` and has exactly the same fixed point:

    $$D = \bigl( I + \hat S / (\text{damping}\; c) \bigr)^{-1/2}$$

    The root of the running covariance is exact, so every rate is stable and nothing needs tuning. The price is an
    eigendecomposition in float64 (about 11 d^3 flop per update) and a second matrix per layer. A direction without
    power is amplified by 1 / sqrt(epsilon c) at most. A batch that is not finite raises Diverged and changes nothing.

    Source: Huang, Yang, Lang, Deng (2018), Decorrelated batch normalization, arXiv:1804.08450.

    Attributes:
        rate: eta, weight of the newest sample in the running covariance, in (0, 1].
        epsilon: Power added to every direction, relative to the mean power c. Used with damping 0 only.
        damping: Soft cap relative to the mean power, as in `whitening`; a smaller value decorrelates more. The default
            is that of `whitening`, since a network behind full whitening needs far smaller learning rates and a
            comparator should do its best. 0 whitens fully, as published.
        preserve_power: True gives back, by one scalar, the power that damping takes.
    """

    name = "zca"
    title = "whitens a running covariance exactly (comparator)"
    equation = "D = (S + epsilon c I)^-1/2, S a running covariance"
    fixed_point_text = "C = S (S + epsilon c I)^-1, about I; damping: as whitening"
    locality = "not local: all pairs at once"
    cost = "2 k d^2 + 11 d^3"
    source = "Huang et al. 2018, arXiv:1804.08450"
    structure = "dense"
    largest_rate = 1.0

    rate: float = 0.1
    epsilon: float = 1e-5
    damping: float = 3.0
    preserve_power: bool = True

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.number("epsilon", self.epsilon, above=0)
        yield checks.number("damping", self.damping, least=0, hint="0 whitens fully, 'center' not at all")
        yield checks.flag("preserve_power", self.preserve_power)

    @property
    def gives_back(self) -> bool:
        """True if a scalar keeps the power of the inputs; full whitening gives every unit a power of one instead."""
        return self.preserve_power and self.damping > 0

    @property
    def equivariance(self) -> Equivariance:
        """`covariant`, since the symmetric root rotates with the inputs."""
        return "covariant"

    def statistics(self, matrix: Tensor) -> State:
        """Running covariance before the first batch."""
        return initial_covariance(matrix) | ({} if self.damping else initial_memory(matrix))

    def needs(self, state: State, features: int) -> Needs:
        """Inputs, or their second moment."""
        return moment_needs(features, "inputs")

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Update the running covariance, then set D to its inverse root."""
        covariance = follow_(state, sample, rate, self.rate, self.damping)
        if covariance is None:
            return None
        power = float(covariance.trace()) / len(covariance)
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp_min(0)  # rounding can make a variance negative
        if self.damping:
            root = (1 + values / (self.damping * power)).rsqrt()
        else:
            root = (values + self.epsilon * remember_(state, power, rate)).rsqrt()
        if self.gives_back:
            root *= (values.sum() / (values * root.square()).sum()).sqrt()
        return Replacement.apply_(state["matrix"], (vectors * root) @ vectors.T)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance S (S + epsilon c I)^-1; with damping S (I + S / (damping c))^-1, scaled to the power of S."""
        power = covariance.trace() / len(covariance)
        floored = covariance / (self.damping * power) if self.damping else covariance.clone()
        floored.diagonal().add_(1.0 if self.damping else self.epsilon * power)
        whitened: Tensor = torch.linalg.solve(floored, covariance)
        return whitened * (covariance.trace() / whitened.trace()) if self.gives_back else whitened

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound 1 / sqrt(epsilon c) undamped, 1 damped, times the gain, which is largest for inputs of one mode."""
        if not self.damping:
            return max(1.0, 1 / math.sqrt(self.epsilon * least_power))
        return math.sqrt(1 + features / self.damping) if self.gives_back else 1.0
