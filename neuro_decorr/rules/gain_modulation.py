"""Whitening by gains of interneurons whose synapses are fixed or slowly learn what contexts share (Duong 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules._factor import Replacement
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Equivariance, Rule
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import output_power, row_count, total

_MOST_UNITS = 128
"""Largest layer with the default frame of d (d + 1) / 2 interneurons, whose update costs d^4: 0.5 Gflop."""
_LIFTS = 20
_NEWTON = 60


@register
@dataclass(frozen=True, kw_only=True)
class GainModulation(Rule):
    r"""Interneurons with adapting gains and fixed or slow synapses; each brings the variance that it sees to one.

    $$
    x = (I + W \operatorname{diag}(g) W^T)^{-1} z, \quad n = W^T x, \quad
    \Delta g_i = \eta\, (\langle n_i^2 \rangle - 1), \quad
    \Delta w_i = \eta_w\, g_i (\langle n_i x \rangle - w_i), \; |w_i| = 1
    $$

    W is a frame of K unit columns. With K >= d (d + 1) / 2 its outer products span all symmetric matrices, and the only
    fixed point is C = I. Fewer interneurons fix the variance along their own directions only. The frame is a random
    orthonormal basis followed by the normalised sums of its pairs; this gives a far smaller condition number than
    random columns do.

    Gains may be negative: a weak direction is amplified until it is white. The published rule does not keep
    I + W diag(g) W^T positive. Here interneurons that see a direction below the floor raise their gains in proportion
    to how well they see it, so that D is at most about 2 / floor. A direction that wakes after long silence is then
    seen at (2 / floor)^2 times its variance. That would raise gains by thousands in one update, while they decay only
    at the rate per update. So the variance to which an interneuron answers saturates; below the saturation the rule is
    as published. During silence gains fall by eta per update until the floor holds them. One batch, however loud,
    raises a gain by at most eta (saturation - 1), which decays at eta per update. A batch that is not finite raises
    Diverged and changes nothing. The frame has its own axes, so that the rule has no equivariance, and the size of the
    frame limits the rule to small layers.

    With a `synapse_rate` the synapses learn as well, much more slowly, by Hebb's rule times the gain: gains follow the
    statistics of the present context, and synapses follow what all contexts share. If the covariance in every context c
    is $S_c = (I + V \operatorname{diag}(\lambda_c) V^T)^2$ with one V, then W = V lets d gains whiten each context,
    which otherwise takes d (d + 1) / 2. The rule keeps columns at length one, while the published equations do not: W
    and g act through g w w^T alone and would otherwise drift along the scale that they share. The saturation holds for
    synapses too.

    For any number of interneurons the resting gains of fixed synapses minimise the convex function tr(D S) + sum g,
    whose gradient is 1 - w^T C w for each interneuron: C at rest is unique.

    Source: Duong, Lipshutz, Heeger, Chklovskii, Simoncelli (2023), Adaptive whitening in neural populations with
    gain-modulating interneurons, arXiv:2301.11955; synapses: the same but Heeger (2023), Adaptive whitening with fast
    gain modulation and slow synaptic plasticity, arXiv:2308.13633.

    Attributes:
        rate: eta, the plasticity rate per update; the target of every variance is 1.
        interneurons: K, at most d (d + 1) / 2. None: d (d + 1) / 2 (for layers of up to 128 units).
        floor: Smallest eigenvalue of I + W diag(g) W^T that the rule leaves as it is.
        saturation: Largest variance to which an interneuron answers, above 1; infinity in the published rule.
        seed: Seed of the basis of the frame.
        synapse_rate: eta_w, per update; 0 fixes the synapses. Schedulers of the rate do not change it. It costs
            2 k d K flop more.
    """

    name = "gain_modulation"
    title = "whitens by adapting the gains of interneurons with fixed or slow synapses (small layers)"
    equation = "g_i <- g_i + rate (<n_i^2> - 1), n = W^T x, D = (I + W diag(g) W^T)^-1"
    fixed_point_text = "C = I for d (d + 1) / 2 interneurons, or d with slow synapses; fewer: w^T C w = 1 for each"
    locality = "activity and gain of the interneuron; with slow synapses also the activity of the unit"
    cost = "K d (2 k + 2 d) + 12 d^3"
    source = "Duong et al. 2023, arXiv:2301.11955"
    structure = "dense"
    detects_divergence = True

    rate: float = 1e-2
    interneurons: int | None = None
    floor: float = 1e-2
    saturation: float = 10.0
    seed: int = 0
    synapse_rate: float = 0.0

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        if self.interneurons is not None:
            yield checks.whole_number("interneurons", self.interneurons, least=1, hint="None: one per pair of units")
        yield checks.number("floor", self.floor, above=0)
        yield checks.number("saturation", self.saturation, above=1, finite=False, hint="1 is the target")
        yield checks.whole_number("seed", self.seed, least=0)
        yield checks.number("synapse_rate", self.synapse_rate, least=0)

    @property
    def equivariance(self) -> Equivariance:
        """`none`, since the frame is fixed."""
        return "none"

    def frame(self, features: int) -> Tensor:
        """Synapses W before any learning: shape (features, interneurons), float64, columns of length one.

        Args:
            features: d, the number of units.

        Raises:
            InvalidValue: The layer is too large for the default frame, or has more interneurons than pairs of units.
        """
        most = features * (features + 1) // 2
        if self.interneurons is None and features > _MOST_UNITS:
            raise InvalidValue(
                f"{self.name}: {features} units would need {most} interneurons to whiten fully, at 2 d^2 K = "
                f"{2 * features * features * most:.1e} flop per update. This default is allowed for layers of up to "
                f"{_MOST_UNITS} units: set interneurons=..., skip this layer or use the rule 'interneuron'."
            )
        count = most if self.interneurons is None else self.interneurons
        if count > most:
            raise InvalidValue(
                f"{self.name}: {features} units can have at most d (d + 1) / 2 = {most} distinct interneurons, got "
                f"{count}: set interneurons <= {most}."
            )
        generator = torch.Generator().manual_seed(self.seed)
        basis = torch.linalg.qr(torch.randn(features, features, generator=generator, dtype=torch.float64)).Q
        first, second = torch.triu_indices(features, features, offset=1)[:, : max(0, count - features)]
        pairs = (basis[:, first] + basis[:, second]) / 2**0.5
        return torch.cat([basis[:, :count], pairs], dim=1)

    def statistics(self, matrix: Tensor) -> State:
        """Frame, and gains of zero."""
        frame = self.frame(len(matrix)).to(matrix)
        return {"frame": frame, "gains": frame.new_zeros(frame.shape[1])}

    def needs(self, state: State, features: int) -> Needs:
        """Outputs, or the variances of the interneurons and, if synapses learn, their products with units."""
        return Needs("outputs", state["gains"].numel() * (2 + (features if self.synapse_rate else 0)))

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Update the gains, then set D to the inverse of I + W diag(g) W^T, computed in float64."""
        if not rate:
            return None
        output_power(sample)  # raises where they are not finite
        frame, gains = state["frame"], state["gains"]
        outputs = sample.outputs.to(frame.dtype)
        seen = outputs @ frame
        (squares,) = total(sample, seen.double().square().sum(dim=0))
        variance = squares / row_count(sample)
        answered = variance.clamp_max(self.saturation)
        gains.add_(answered - 1, alpha=rate)
        if self.synapse_rate:
            (products,) = total(sample, outputs.T @ seen)
            together = products.double() / row_count(sample) * (answered / variance.clamp_min(1e-300))
            moved = frame + self.synapse_rate * gains * (together - frame)
            frame.copy_(moved / moved.norm(dim=0))
        synapses = self._synapses(frame, gains)
        for _ in range(_LIFTS):
            values, vectors = torch.linalg.eigh(synapses)
            if float(values[0]) >= self.floor / 2:
                break
            shares = (vectors.T @ frame.double()).square()
            gains.add_(((self.floor - values).clamp_min(0) / shares.square().sum(dim=1).clamp_min(1e-12)) @ shares)
            synapses = self._synapses(frame, gains)
        return Replacement.apply_(state["matrix"], torch.linalg.inv(synapses))

    @staticmethod
    def _synapses(frame: Tensor, gains: Tensor) -> Tensor:
        wide = frame.double()
        synapses = (wide * gains.double()) @ wide.T
        synapses.diagonal().add_(1)
        return synapses

    def _resting_matrix(self, covariance: Tensor) -> Tensor:
        features = len(covariance)
        frame = self.frame(features).to(covariance)
        count = frame.shape[1]
        if self.synapse_rate or count == features * (features + 1) // 2:
            return self._resting_on_axes(covariance, min(count, features))
        gains = frame.new_zeros(frame.shape[1])
        for _ in range(_NEWTON):
            matrix = torch.linalg.inv(self._synapses(frame, gains))
            seen = frame.T @ matrix @ covariance @ matrix @ frame
            slope = 1 - seen.diagonal()
            if float(slope.abs().max()) < 1e-12:
                break
            # Twice the elementwise product is the Hessian of tr(D S) + sum g.
            step = torch.linalg.lstsq((frame.T @ matrix @ frame) * seen, slope / 2).solution
            gains = gains - self._length(frame, gains, step, covariance) * step
        resting: Tensor = matrix
        return resting

    @staticmethod
    def _resting_on_axes(covariance: Tensor, count: int) -> Tensor:
        """D for synapses on those principal axes that lower tr(D S) + tr(D^-1) most, by (s - 1)^2 at deviation s."""
        values, vectors = torch.linalg.eigh(covariance)
        deviation = values.sqrt()
        whitened = (deviation - 1).square().argsort(descending=True)[:count]
        gains = torch.ones_like(values)
        gains[whitened] = 1 / deviation[whitened]
        matrix: Tensor = (vectors * gains) @ vectors.T
        return matrix

    def _length(self, frame: Tensor, gains: Tensor, step: Tensor, covariance: Tensor) -> float:
        """First length of 1, 1/2, 1/4, ... that lowers tr(D S) + sum g and keeps the synapses positive definite."""

        def height(moved: Tensor) -> float:
            factor, failed = torch.linalg.cholesky_ex(self._synapses(frame, moved))
            return math.inf if int(failed) else float(torch.cholesky_solve(covariance, factor).trace() + moved.sum())

        here = height(gains)
        here += 1e-12 * abs(here)  # rounding may add as much close to the minimum
        lengths = (0.5**number for number in range(_NEWTON))
        return next((length for length in lengths if height(gains - length * step) <= here), 0.5**_NEWTON)

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound 2 / floor on |D|."""
        return max(1.0, 2 / self.floor)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Identity for the full frame or d slow interneurons; with fewer, unit variance along the direction of each.

        K slow interneurons, fewer than units, whiten p of the strongest axes by positive gains and K - p of the weakest
        axes by negative gains. Each p has a stable fixed point, and the start decides between them. This method returns
        the fixed point with the least tr(D S) + tr(D^-1): it whitens the K axes whose standard deviations are farthest
        from one.
        """
        matrix = self._resting_matrix(covariance)
        return matrix @ covariance @ matrix

    def stability_limit(self, covariance: Tensor) -> float:
        """Limit 1 / lambda_max(H) of the gains, with the synapses before any learning.

        H = (W^T D W) o (W^T C W) at the fixed point, with o the elementwise product; a small deviation follows
        dg <- (1 - 2 rate H) dg.
        """
        matrix, frame = self._resting_matrix(covariance), self.frame(len(covariance)).to(covariance)
        response = (frame.T @ matrix @ frame) * (frame.T @ matrix @ covariance @ matrix @ frame)
        return 1 / float(torch.linalg.eigvalsh(response)[-1])
