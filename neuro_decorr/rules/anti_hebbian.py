"""Anti-Hebbian lateral plasticity (Foldiak, Plumbley): a linear and local rule that is not equivariant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._factor import Replacement
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Confinement, Equivariance, Rule
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import moment, output_power, row_count


@register
@dataclass(frozen=True, kw_only=True)
class AntiHebbian(Rule):
    r"""Anti-Hebbian lateral inhibition, which grows with the product of two units' activities and decays in silence.

    $$x = (I + M)^{-1} z, \quad \Delta M = \eta\, (\langle x x^T \rangle - p\, I), \quad I + M \succeq f I$$

    The fixed point is C = p I, with I + M = (S / p)^{1/2}. For D = (I + M)^{-1} the update is dD = -eta D (C - p I) D,
    while the relative gradient is -eta (C - p I) D: the course depends on S and not on C alone. Along an eigenvalue
    lambda of S every update shrinks the error by the factor 1 - 2 eta p^{3/2} / sqrt(lambda). So the smallest
    eigenvalue sets the largest stable rate, eta < sqrt(lambda_min) / p^{3/2}, and the largest eigenvalue sets the time:
    about the square root of the condition number in updates, where `lateral` and the equivariant rules need its
    logarithm.

    The published rule does not keep I + M positive: for a silent unit I + M passes through zero, where its inverse is
    infinite. The floor f prevents that and leaves C as it is wherever lambda > f^2 p. A unit that wakes is then seen
    through a gain of 1 / f. The square of its activity would raise inhibition far too much, and inhibition decays only
    at the rate per update. So the activity to which synapses answer saturates, far above the activity at rest.

    |D| <= 1 / f for all inputs. During silence inhibition decays at eta p per update until the floor holds it. One
    batch, however loud, adds at most eta s^2 p d, with s the saturation; this decays at eta p per update. A direction
    without variance ends at the floor. A batch that is not finite raises Diverged and changes nothing.

    A `connectivity` other than disjoint groups confines M, while D is full. If the connectivity is symmetric, the rule
    descends the gradient of the convex function $\operatorname{tr}((I + M)^{-1} S) + p \operatorname{tr} M$. It has one
    fixed point, at which connected units are uncorrelated and have the power p, whatever the correlations of the other
    pairs are.

    The target acts on all autapses, which is not a change of low rank. So each update inverts two matrices in float64,
    at a cost of about 2 k d^2 + 5 d^3 flop for k rows. The rule computes I + M = D^{-1} anew each time and holds no
    second matrix that could drift away from D.

    Source: Foldiak (1989), Adaptive network for optimal linear feature extraction, Proc. IEEE/INNS IJCNN 1, 401-405;
    Plumbley (1993), Efficient information transfer and anti-Hebbian neural networks, Neural Networks 6. The nonlinear
    network with thresholds is a different rule: Foldiak (1990), Forming sparse representations by local anti-Hebbian
    learning, doi:10.1007/BF02331346.

    Attributes:
        rate: eta, the plasticity rate per update, in units of amplitude / p^{3/2}.
        target: p, the power of every output at rest.
        floor: f, the smallest eigenvalue of (the symmetric part of) I + M; D is at most 1 / f.
        saturation: s, the largest activity to which synapses answer, in multiples of sqrt(p); infinity in the published
            rule.
    """

    name = "anti_hebbian"
    title = "whitens by lateral inhibition that grows with the product of the two units' activities"
    equation = "M <- M + rate (C - target I), D = (I + M)^-1"
    fixed_point_text = "C = target I"
    locality = "activities of i and j"
    cost = "2 k d^2 + 5 d^3"
    source = "Plumbley 1993, Neural Networks 6"
    structure = "dense"
    detects_divergence = True

    rate: float = 1e-2
    target: float = 1.0
    floor: float = 1e-2
    saturation: float = 10.0

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.number("target", self.target, above=0)
        yield checks.number("floor", self.floor, above=0)
        yield checks.number("saturation", self.saturation, above=1, finite=False, hint="1 is the activity at rest")

    @property
    def equivariance(self) -> Equivariance:
        """`covariant`, since M lives in the basis of the units: outputs rotate with the inputs, and no more holds."""
        return "covariant"

    @property
    def confinement(self) -> Confinement:
        """`inhibition`, since a connectivity confines M."""
        return "inhibition"

    def needs(self, state: State, features: int) -> Needs:
        """Outputs, or the second moment of the activity to which synapses answer, in float64."""
        return Needs("outputs", features * (features + 1))

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Set I + M <- D^{-1} + rate (X^T X / k - target I), lifted to the floor, and D to its inverse."""
        if not rate:
            return None
        output_power(sample)  # raises where they are not finite
        most = self.saturation * self.target**0.5
        outputs = sample.outputs.double().clamp(-most, most)
        synapses = torch.linalg.inv(state["matrix"].double())
        synapses.add_(moment(sample, outputs), alpha=rate / row_count(sample))
        synapses.diagonal().sub_(rate * self.target)
        pattern = self.pattern(len(synapses))
        if pattern is None:
            self._lift_(synapses)
        else:
            synapses *= pattern.matrix.to(synapses.device)
            least = float(torch.linalg.eigvalsh((synapses + synapses.T) / 2)[0])
            synapses.diagonal().add_(max(0.0, self.floor - least))
        return Replacement.apply_(state["matrix"], torch.linalg.inv(synapses))

    def _lift_(self, synapses: Tensor) -> None:
        """Raise eigenvalues of the symmetric part to the floor, so that the network settles and D is bounded."""
        symmetric = (synapses + synapses.T) / 2
        above = symmetric.clone()
        above.diagonal().sub_(self.floor)
        # A Cholesky decomposition tells at d^3 / 3 that there is nothing to lift, which is the usual case.
        if int(torch.linalg.cholesky_ex(above).info):
            values, vectors = torch.linalg.eigh(symmetric)
            synapses.add_((vectors * (self.floor - values).clamp_min(0)) @ vectors.T)

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound 1 / f on |D|."""
        return max(1.0, 1 / self.floor)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Target times the identity; eigenvalues lambda below floor^2 target stay below it, at lambda / floor^2."""
        values, vectors = torch.linalg.eigh(covariance)
        capped: Tensor = (vectors * (values / self.floor**2).clamp_max(self.target)) @ vectors.T
        return capped

    def stability_limit(self, covariance: Tensor) -> float:
        """Limit sqrt(lambda_min) / target^{3/2}, with lambda_min the least eigenvalue that the floor does not hold."""
        values = torch.linalg.eigvalsh(covariance)
        free = values[values > self.floor**2 * self.target]
        return float(free[0].sqrt()) / self.target**1.5 if len(free) else float("inf")
