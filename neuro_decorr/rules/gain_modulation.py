"""Whitening by gains of interneurons whose synapses are fixed, or learn slowly what contexts share (Duong 2023)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules._factor import Replacement
from neuro_decorr.rules._power import present_power
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Equivariance, Rule, Sample, State

_MOST_UNITS = 128
"""With the default frame, of d (d + 1) / 2 interneurons, an update costs d^4: 0.5 Gflop at 128 units."""
_LIFTS = 20
_NEWTON = 60


@register
@dataclass(frozen=True, kw_only=True)
class GainModulation(Rule):
    r"""Interneurons with fixed or slow synapses and adapting gains; each brings the variance it sees to one.

    $$
    x = (I + W \operatorname{diag}(g) W^T)^{-1} z, \quad n = W^T x, \quad
    \Delta g_i = \eta\, (\langle n_i^2 \rangle - 1), \quad
    \Delta w_i = \eta_w\, g_i (\langle n_i x \rangle - w_i), \; |w_i| = 1
    $$

    W is a frame of K unit columns. From K = d (d + 1) / 2 on, its outer products span all symmetric matrices, and the
    only fixed point is C = I. Fewer interneurons fix the variance along their own directions. The frame is a random
    orthonormal basis followed by the normalised sums of its pairs, which conditions the problem far better than random
    columns do.

    Gains may be negative (a whitened weak direction is amplified). As published nothing keeps I + W diag(g) W^T
    positive; here interneurons that see a direction below the floor raise their gains in proportion to how well they
    see it, so D is at most about 2 / floor. A direction that wakes after long silence is then seen at (2 / floor)^2
    times its variance. Taken as it is, that would drive gains up by thousands in one update, to come back at the rate
    per update only; so the variance that an interneuron answers to saturates. Below that, the rule is as published.
    Silence lowers gains by eta per update until the floor holds them. One batch, however loud, raises a gain by at most
    eta (saturation - 1), which decays at eta per update. A batch that is not finite raises Diverged, and nothing moves.
    The frame has axes of its own: no equivariance, and only small layers.

    With a `synapse_rate` the synapses learn as well, by Hebb's rule times the gain, much more slowly: gains follow the
    statistics of the moment, synapses what the statistics of all moments share. If those of every context c are
    $S_c = (I + V \operatorname{diag}(\lambda_c) V^T)^2$ with one V, then W = V lets d gains whiten each of them, which
    otherwise takes d (d + 1) / 2. Columns are kept at length one, which the published equations are not: W and g matter
    by g w w^T alone, and otherwise wander along the scale that they share. The saturation holds for synapses too.

    For any number of interneurons the resting gains of fixed synapses minimise the convex function tr(D S) + sum g,
    whose gradient is 1 - w^T C w for each interneuron: C at rest is unique.

    Source: Duong, Lipshutz, Heeger, Chklovskii, Simoncelli (2023), Adaptive whitening in neural populations with
    gain-modulating interneurons, arXiv:2301.11955; synapses: the same but Heeger (2023), Adaptive whitening with fast
    gain modulation and slow synaptic plasticity, arXiv:2308.13633.

    Attributes:
        rate: eta, per update; the target of every variance is 1.
        interneurons: K, at most d (d + 1) / 2, which is what None stands for (up to 128 units).
        floor: Smallest eigenvalue of I + W diag(g) W^T that is left alone.
        saturation: Largest variance that an interneuron answers to, above 1; infinity as published.
        seed: Of the frame's basis.
        synapse_rate: eta_w, per update; 0: the synapses are fixed. Schedulers of the rate leave it. Costs 2 k d K more.
    """

    name = "gain_modulation"
    title = "whitens by the gains of interneurons with fixed or slow synapses (small layers)"
    equation = "g_i <- g_i + rate (<n_i^2> - 1), n = W^T x, D = (I + W diag(g) W^T)^-1"
    fixed_point_text = "C = I for d (d + 1) / 2 interneurons, or d with slow synapses; fewer: w^T C w = 1 for each"
    locality = "an interneuron's own activity and gain; with slow synapses also that of the unit"
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
        """What is wrong with the parameters."""
        yield from super().problems()
        if self.interneurons is not None:
            yield checks.whole_number("interneurons", self.interneurons, least=1, hint="None: one a pair of units")
        yield checks.number("floor", self.floor, above=0)
        yield checks.number("saturation", self.saturation, above=1, finite=False, hint="1 is the target")
        yield checks.whole_number("seed", self.seed, least=0)
        yield checks.number("synapse_rate", self.synapse_rate, least=0)

    @property
    def equivariance(self) -> Equivariance:
        """The frame is fixed."""
        return "none"

    def frame(self, features: int) -> Tensor:
        """The synapses W before any learning, shape (features, interneurons), float64, unit columns.

        Raises:
            InvalidValue: The default frame of a large layer, or more interneurons than pairs.
        """
        most = features * (features + 1) // 2
        if self.interneurons is None and features > _MOST_UNITS:
            raise InvalidValue(
                f"{self.name}: {features} units would need {most} interneurons to whiten, at 2 d K = "
                f"{2 * features * features * most:.1e} flop an update; up to {_MOST_UNITS} units that is the default, "
                "beyond it give interneurons=..., skip this layer or take the rule 'interneuron'."
            )
        count = most if self.interneurons is None else self.interneurons
        if count > most:
            raise InvalidValue(
                f"{self.name}: {count} interneurons are more than the {most} that {features} units can tell apart; "
                f"use interneurons <= {most}."
            )
        generator = torch.Generator().manual_seed(self.seed)
        basis = torch.linalg.qr(torch.randn(features, features, generator=generator, dtype=torch.float64)).Q
        first, second = torch.triu_indices(features, features, offset=1)[:, : max(0, count - features)]
        pairs = (basis[:, first] + basis[:, second]) / 2**0.5
        return torch.cat([basis[:, :count], pairs], dim=1)

    def statistics(self, matrix: Tensor) -> State:
        """All gains are zero."""
        frame = self.frame(len(matrix)).to(matrix)
        return {"frame": frame, "gains": frame.new_zeros(frame.shape[1])}

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Move the gains, then D is the inverse of I + W diag(g) W^T, in double precision."""
        if not rate:
            return None
        present_power(sample.outputs)  # raises where they are not finite
        frame, gains = state["frame"], state["gains"]
        outputs = sample.outputs.to(frame.dtype)
        seen = outputs @ frame
        variance = seen.double().square().mean(dim=0)
        answered = variance.clamp_max(self.saturation)
        gains.add_(answered - 1, alpha=rate)
        if self.synapse_rate:
            together = (outputs.T @ seen).double() / len(outputs) * (answered / variance.clamp_min(1e-300))
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
        """D of synapses on the principal axes that tr(D S) + tr(D^-1) falls most by, a (s - 1)^2 at deviation s."""
        values, vectors = torch.linalg.eigh(covariance)
        deviation = values.sqrt()
        whitened = (deviation - 1).square().argsort(descending=True)[:count]
        gains = torch.ones_like(values)
        gains[whitened] = 1 / deviation[whitened]
        matrix: Tensor = (vectors * gains) @ vectors.T
        return matrix

    def _length(self, frame: Tensor, gains: Tensor, step: Tensor, covariance: Tensor) -> float:
        """The first of 1, 1/2, 1/4, ... that lowers tr(D S) + sum g and keeps the synapses positive definite."""

        def height(moved: Tensor) -> float:
            factor, failed = torch.linalg.cholesky_ex(self._synapses(frame, moved))
            return math.inf if int(failed) else float(torch.cholesky_solve(covariance, factor).trace() + moved.sum())

        here = height(gains)
        here += 1e-12 * abs(here)  # what rounding may add close to the minimum
        lengths = (0.5**number for number in range(_NEWTON))
        return next((length for length in lengths if height(gains - length * step) <= here), 0.5**_NEWTON)

    def largest_gain(self, features: int, least_power: float) -> float:
        """2 / floor."""
        return max(1.0, 2 / self.floor)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """The identity for the full frame, or N slow interneurons; fewer: unit variance along the direction of each.

        Fewer slow interneurons K than units whiten p of the strongest axes, by positive gains, and K - p of the
        weakest, by negative ones. Each p has a stable fixed point, and the start decides. This is the one with the
        least tr(D S) + tr(D^-1): the K axes whose deviations are farthest from one.
        """
        matrix = self._resting_matrix(covariance)
        return matrix @ covariance @ matrix

    def stability_limit(self, covariance: Tensor) -> float:
        """1 / lambda_max(H), H = (W^T D W) o (W^T C W) at the fixed point (o elementwise): dg <- (1 - 2 rate H) dg.

        Of the gains, with the synapses before any learning.
        """
        matrix, frame = self._resting_matrix(covariance), self.frame(len(covariance)).to(covariance)
        response = (frame.T @ matrix @ frame) * (frame.T @ matrix @ covariance @ matrix @ frame)
        return 1 / float(torch.linalg.eigvalsh(response)[-1])
