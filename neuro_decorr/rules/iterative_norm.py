"""Whitening of a running covariance by a few Newton steps: a batch comparator without eigendecomposition."""

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
class IterativeNorm(Rule):
    r"""Batch comparator that takes T Newton steps towards the inverse root of the running covariance.

    $$
    P_0 = I, \quad P_{t} = \tfrac12 (3 P_{t-1} - P_{t-1}^3\, \hat S / \operatorname{tr} \hat S), \quad
    D = P_T / \sqrt{\operatorname{tr} \hat S}
    $$

    An eigenvalue lambda of S becomes lambda p^2 / tr S with p from the same recursion: this is one where
    lambda / tr S is well above (4/9)^T, and less below. A direction without power is amplified by 1.5^T / sqrt(tr S) at
    most. As published, S is the running covariance plus epsilon c* I. c* is the mean power, or the power that the layer
    once had, which fades slowly (see `whitening`), so that D of a layer that falls silent stays bounded.

    The rule computes the same P by the coupled recursion H = (3 I - Y) / 2, P <- P H, Y <- H Y H from Y = S / tr S. The
    recursion as written amplifies rounding errors after it has converged and overflows within 25 steps. An update costs
    about 2 k d^2 + 6 T d^3 flop for k rows and d units. A batch that is not finite raises Diverged and changes nothing.

    Source: Huang, Zhou, Zhu, Liu, Shao (2019), Iterative normalization, arXiv:1904.03441.

    Attributes:
        rate: Weight of the newest sample in the running covariance, in (0, 1].
        iterations: T, the number of Newton steps.
        epsilon: Power added to every direction, relative to c*.
    """

    name = "iterative_norm"
    title = "whitens the top of the spectrum of a running covariance by Newton steps (comparator)"
    equation = "D = P_T / sqrt(tr S), P <- (3 P - P^3 S / tr S) / 2, S a running covariance"
    fixed_point_text = "C = S P_T^2 / tr S, I for many steps"
    locality = "not local: all pairs at once"
    cost = "2 k d^2 + 6 T d^3"
    source = "Huang et al. 2019, arXiv:1904.03441"
    structure = "dense"
    largest_rate = 1.0

    rate: float = 0.1
    iterations: int = 5
    epsilon: float = 1e-5

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.whole_number("iterations", self.iterations, least=1)
        yield checks.number("epsilon", self.epsilon, above=0)

    @property
    def equivariance(self) -> Equivariance:
        """`covariant`, since a polynomial of the covariance rotates with the inputs."""
        return "covariant"

    def statistics(self, matrix: Tensor) -> State:
        """Running covariance before the first batch."""
        return initial_covariance(matrix) | initial_memory(matrix)

    def needs(self, state: State, features: int) -> Needs:
        """Inputs, or their second moment."""
        return moment_needs(features, "inputs")

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Update the running covariance, then run the Newton steps on it from the start."""
        covariance = follow_(state, sample, rate, self.rate)
        if covariance is None:
            return None
        present = float(covariance.trace()) / len(covariance)
        covariance = covariance.clone()  # a float64 covariance is the tensor of the state
        covariance.diagonal().add_(self.epsilon * remember_(state, present, rate))
        power = covariance.trace()
        covariance = covariance / power
        root = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        for _ in range(self.iterations):
            half = -0.5 * covariance
            half.diagonal().add_(1.5)
            root, covariance = root @ half, half @ covariance @ half
        return Replacement.apply_(state["matrix"], root / power.sqrt())

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance with eigenvalues lambda p_T^2 / tr(S + epsilon c I), p_T from the recursion for each lambda."""
        values, vectors = torch.linalg.eigh(covariance)
        floored = values + self.epsilon * values.mean()
        shares = floored / floored.sum()
        root = torch.ones_like(shares)
        for _ in range(self.iterations):
            root = 1.5 * root - 0.5 * root**3 * shares
        whitened: Tensor = (vectors * (values / floored.sum() * root**2)) @ vectors.T
        return whitened

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound 1.5^T / sqrt(epsilon d c): after all power has faded the floor alone makes up the trace."""
        return max(1.0, 1.5**self.iterations / math.sqrt(self.epsilon * features * least_power))
