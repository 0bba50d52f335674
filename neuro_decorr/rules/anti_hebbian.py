"""Anti-Hebbian lateral plasticity (Foldiak, Plumbley): linear and local, but not equivariant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._factor import Replacement
from neuro_decorr.rules._power import present_power
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Equivariance, Rule, Sample, State


@register
@dataclass(frozen=True, kw_only=True)
class AntiHebbian(Rule):
    r"""Lateral inhibition grows with the product of two units' activities, and decays where there is none.

    $$x = (I + M)^{-1} z, \quad \Delta M = \eta\, (\langle x x^T \rangle - p\, I), \quad I + M \succeq f I$$

    Fixed point C = p I, with I + M = (S / p)^{1/2}. For D = (I + M)^{-1} this is dD = -eta D (C - p I) D, while the
    relative gradient is -eta (C - p I) D: the course depends on S and not on C alone. Along an eigenvalue lambda of S
    the error shrinks by 1 - 2 eta p^{3/2} / sqrt(lambda) an update, so the smallest eigenvalue sets the largest stable
    rate, eta < sqrt(lambda_min) / p^{3/2}, and the largest the time: about sqrt(condition) updates, where `lateral` and
    the equivariant rules need the logarithm of the condition.

    As published nothing keeps I + M positive: under a silent unit it passes through zero, where its inverse is
    infinite. The floor f prevents that; it leaves C as it is wherever lambda > f^2 p. A unit that wakes is then seen
    through a gain of 1 / f, and its square would drive inhibition up by far too much, to decay at the rate per update
    only; so the activity that synapses answer to saturates, far above what occurs at rest.

    |D| <= 1 / f, whatever the inputs are. Silence lets inhibition decay at eta p per update until the floor holds it.
    One batch, however loud, adds at most eta s^2 p d, with s the saturation, which decays at eta p per update; a
    direction without variance ends at the floor. A batch that is not finite raises Diverged, and nothing moves.

    The pull of the target on all autapses is no change of low rank, so each update inverts twice, in double precision:
    about 5 d^3. I + M is D^{-1}, taken anew each time, so none is held that could drift away from D.

    Source: Foldiak (1989), Adaptive network for optimal linear feature extraction, Proc. IEEE/INNS IJCNN 1, 401-405;
    Plumbley (1993), Efficient information transfer and anti-Hebbian neural networks, Neural Networks 6. The nonlinear
    network with thresholds is another: Foldiak (1990), Forming sparse representations by local anti-Hebbian learning,
    doi:10.1007/BF02331346.

    Attributes:
        rate: eta, per update; in units of amplitude / p^{3/2}.
        target: p, the power of every output at rest.
        floor: f, the smallest eigenvalue of (the symmetric part of) I + M; D is at most 1 / f.
        saturation: Largest activity that synapses answer to, in multiples of sqrt(p); infinity as published.
    """

    name = "anti_hebbian"
    title = "whitens by inhibition that grows with the product of the two activities"
    equation = "M <- M + rate (C - target I), D = (I + M)^-1"
    fixed_point_text = "C = target I"
    locality = "activities of i and j"
    cost = "5 d^3"
    source = "Plumbley 1993, Neural Networks 6"
    structure = "dense"
    detects_divergence = True

    rate: float = 1e-2
    target: float = 1.0
    floor: float = 1e-2
    saturation: float = 10.0

    def problems(self) -> Iterator[str | None]:
        """What is wrong with the parameters."""
        yield from super().problems()
        yield checks.number("target", self.target, above=0)
        yield checks.number("floor", self.floor, above=0)
        yield checks.number("saturation", self.saturation, above=1, finite=False, hint="1 is the activity at rest")

    @property
    def equivariance(self) -> Equivariance:
        """M lives in the units' own basis: outputs rotate with the inputs, and that is all."""
        return "covariant"

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """I + M <- D^{-1} + rate (X^T X / k - target I), lifted to the floor; D is its inverse."""
        if not rate:
            return None
        present_power(sample.outputs)  # raises where they are not finite
        most = self.saturation * self.target**0.5
        outputs = sample.outputs.double().clamp(-most, most)
        synapses = torch.linalg.inv(state["matrix"].double())
        synapses.addmm_(outputs.T, outputs, alpha=rate / len(outputs))
        synapses.diagonal().sub_(rate * self.target)
        self._lift_(synapses)
        return Replacement.apply_(state["matrix"], torch.linalg.inv(synapses))

    def _lift_(self, synapses: Tensor) -> None:
        """Raise eigenvalues of the symmetric part to the floor: the recurrent network settles, and D is bounded."""
        symmetric = (synapses + synapses.T) / 2
        above = symmetric.clone()
        above.diagonal().sub_(self.floor)
        # Cholesky decomposition tells at d^3 / 3 that there is nothing to lift, which is the rule.
        if int(torch.linalg.cholesky_ex(above).info):
            values, vectors = torch.linalg.eigh(symmetric)
            synapses.add_((vectors * (self.floor - values).clamp_min(0)) @ vectors.T)

    def largest_gain(self, features: int, least_power: float) -> float:
        """1 / f."""
        return max(1.0, 1 / self.floor)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """The target times the identity; eigenvalues below floor^2 target stay below it, at lambda / floor^2."""
        values, vectors = torch.linalg.eigh(covariance)
        capped: Tensor = (vectors * (values / self.floor**2).clamp_max(self.target)) @ vectors.T
        return capped

    def stability_limit(self, covariance: Tensor) -> float:
        """sqrt(lambda_min) / target^{3/2}, of the eigenvalues that the floor does not hold."""
        values = torch.linalg.eigvalsh(covariance)
        free = values[values > self.floor**2 * self.target]
        return float(free[0].sqrt()) / self.target**1.5 if len(free) else float("inf")
