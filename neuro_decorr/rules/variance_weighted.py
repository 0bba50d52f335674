"""Decorrelation with a weighted target for the variances (decorrelated backpropagation), bounded or as published."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._bounded import PATIENCE, POWER_RATE, Form, floored_moment, initial_bounded
from neuro_decorr.rules._factor import DenseFactor, LowRankFactor
from neuro_decorr.rules._power import hear_, initial_memory, present_power, remember_
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Equivariance, Rule, Sample, State


@register
@dataclass(frozen=True, kw_only=True)
class VarianceWeighted(Rule):
    r"""Weigh decorrelation against unit variance.

    $$
    R \leftarrow R - \eta_n \bigl[ (1 - \kappa)\, \operatorname{offdiag}(M)
    + \kappa \operatorname{diag}(v - 1) \bigr] R, \quad M = R\, (S_k + f c\, I)\, R^T, \quad v_i = M_{ii}
    $$

    with S_k the covariance of the k sampled rows and c the running mean power of the inputs. Fixed point
    R (S + f c I) R^T = I, so that C = S (S + f c I)^{-1}: the identity but for directions with less power than f c.

    The step is normalised, eta_n = eta / (1 + eta |M|) with the Frobenius norm: no direction is overshot, whatever the
    rate, the dimension and the scale. The first batch sets the scale, R = c^{-1/2} I. kappa = 1/2 is the relative
    gradient of whitening at half the rate; the default rate is that of `whitening`.

    A direction without variance rests at (f c)^{-1/2}; |R| is never above e (d / (f c))^{1/2}, with c the least power
    that was tracked, or e where that is more. A silent batch moves nothing. A batch louder than any before counts as at
    most 1e4 c and shrinks no direction by more than the factor min(kappa, 1 - kappa). A batch that is not finite raises
    Diverged, and nothing moves. Where the rows are fewer than half the units, the floor comes axis by axis.

    `form="published"` has neither floor nor normalised step:

    $$
    R \leftarrow R - \eta \bigl[ (1 - \kappa)\, \operatorname{offdiag}(C)
    + \kappa \operatorname{diag}(\langle x_i^2 \rangle - 1) \bigr] R
    $$

    The term of the variances scales the rows of R. (The authors' code scales its columns, which whitens from a
    symmetric start only.) Rows of silent units grow by 1 + eta kappa at every update, without bound. Near C = I the
    off-diagonal errors shrink by 1 - 2 eta (1 - kappa) an update and those of the variances by 1 - 2 eta kappa, so
    eta max(kappa, 1 - kappa) < 1 is the limit there. Far from it eta times the largest eigenvalue of C has to stay
    below about 1.

    Source: Dalm, Offergeld, Ahmad, van Gerven (2024), Efficient deep learning with decorrelated backpropagation,
    arXiv:2405.02385; floor and step derived here.

    Attributes:
        rate: eta, per update; the outputs' target power is 1.
        form: `bounded`, or `published` as in the paper.
        floor: f, the power relative to the mean below which a direction is not amplified fully. Used by `bounded`.
        variance_weight: kappa, in (0, 1). The authors' layers use 1e-3 to 1e-2, their base class 0.5.
    """

    name = "variance_weighted"
    title = "removes correlations and, with its own weight, brings the variances to one"
    equation = "R <- R - rate [(1 - kappa) offdiag(M) + kappa diag(M - I)] R, M = R (S + floor c I) R^T"
    fixed_point_text = "C = S (S + floor c I)^-1"
    locality = "row of R and a scalar a layer"
    cost = "4 r d^2, r = k + 4 rate d"
    source = "Dalm, Offergeld, Ahmad, van Gerven 2024, arXiv:2405.02385"
    structure = "dense"
    detects_divergence = True

    rate: float = 2e-2
    form: Form = "bounded"
    floor: float = 1e-4
    variance_weight: float = 0.5

    def problems(self) -> Iterator[str | None]:
        """What is wrong with the parameters."""
        yield from super().problems()
        yield checks.word("form", self.form, get_args(Form))
        yield checks.number("floor", self.floor, above=0)
        yield checks.number(
            "variance_weight", self.variance_weight, above=0, below=1, hint="0 would be the rule 'decorrelating'"
        )

    @property
    def equivariance(self) -> Equivariance:
        """Published, the update is a function of outputs times R, so R absorbs any invertible map; a floor is round."""
        return "general" if self.form == "published" else "orthogonal"

    @property
    def silent_units_bounded(self) -> bool:
        """By the floor."""
        return self.form == "bounded"

    def statistics(self, matrix: Tensor) -> State:
        """Bounded: nothing has been heard."""
        return initial_bounded(matrix) | initial_memory(matrix) if self.form == "bounded" else {}

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """R <- diag(1 + step [(1 - 2 kappa) v + kappa]) R - step (1 - kappa) L^T (L R), with M = L^T L."""
        if not rate:
            return None
        matrix, residual = state["matrix"], state.get("matrix_residual")
        outputs, kappa = sample.outputs, self.variance_weight
        power = present_power(outputs)
        if self.form == "published":
            scale = outputs.square().mean(dim=0).mul_(rate * (1 - 2 * kappa)).add_(1 + rate * kappa)
            return LowRankFactor(scale, rate * (1 - kappa) / len(outputs), outputs, outputs).apply_(matrix, residual)
        heard = hear_(state, sample.inputs, POWER_RATE)
        if heard is None:
            return None
        rows, features = outputs.shape
        first = heard.power**-0.5 if heard.updates == 1 else 1.0
        trace = power * features * heard.scale * first**2
        unit = max(1.0, trace)  # M is formed in it, and cannot overflow
        due = rate * kappa / (1 + rate * trace / math.sqrt(rows))
        factor = first * math.sqrt(heard.scale / (rows * unit))
        floor = self.floor * remember_(state, heard.power, POWER_RATE) * first**2 / unit
        moment = floored_moment(state, outputs, factor, floor, due, urgent=False)
        step = rate / (1 + rate * moment.size * unit)
        step = min(step, PATIENCE * moment.axes / (features * kappa))  # so does no direction outgrow its axis
        change: DenseFactor | LowRankFactor
        if moment.rows is not None:
            scale = moment.rows.square().sum(dim=0).mul_(step * (1 - 2 * kappa) * unit).add_(1 + step * kappa)
            change = LowRankFactor(scale, step * (1 - kappa) * unit, moment.rows, moment.rows)
        else:
            assert moment.full is not None
            variances = moment.full.diagonal() * (step * (1 - 2 * kappa) * unit)
            growth = moment.full.mul_(-step * (1 - kappa) * unit)
            growth.diagonal().add_(variances.add_(step * kappa))
            change = DenseFactor(growth)
        return change.scaled(first).apply_(matrix, residual)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """S (S + f c I)^{-1}, whatever the weight; published: the identity."""
        identity = torch.eye(len(covariance), dtype=covariance.dtype)
        if self.form == "published":
            return identity
        power = covariance.trace() / len(covariance)
        whitened: Tensor = torch.linalg.solve(covariance + self.floor * power * identity, covariance)
        return whitened

    def stability_limit(self, covariance: Tensor) -> float:
        """None; published: 1 / max(kappa, 1 - kappa), whatever the inputs."""
        return 1 / max(self.variance_weight, 1 - self.variance_weight) if self.form == "published" else math.inf

    def largest_gain(self, features: int, least_power: float) -> float:
        """The larger of e and e (d / (f c))^{1/2}; published: none."""
        if self.form == "published":
            return math.inf
        return math.exp(PATIENCE) * max(1.0, math.sqrt(features / self.floor / least_power))
