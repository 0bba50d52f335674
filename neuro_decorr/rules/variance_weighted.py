"""Decorrelation with a weighted target for the variances (decorrelated backpropagation), bounded or as published."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._bounded import PATIENCE, POWER_RATE, Form, floored_moment, initial_bounded, published_moment
from neuro_decorr.rules._power import hear_, initial_memory, remember_
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Confinement, Equivariance, Rule
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import moment_needs, output_power, row_count


@register
@dataclass(frozen=True, kw_only=True)
class VarianceWeighted(Rule):
    r"""Decorrelation weighed against unit variance.

    $$
    R \leftarrow R - \eta_n \bigl[ (1 - \kappa)\, \operatorname{offdiag}(M)
    + \kappa \operatorname{diag}(v - 1) \bigr] R, \quad M = R\, (S_k + f c\, I)\, R^T, \quad v_i = M_{ii}
    $$

    with S_k the covariance of the k sampled rows and c the running mean power of the inputs. At the fixed point
    R (S + f c I) R^T = I, so that C = S (S + f c I)^{-1}: the identity, except for directions with less power than f c.
    The step is normalised, eta_n = eta / (1 + eta |M|) with the Frobenius norm, so that no direction is overshot at any
    rate, dimension or scale. The first batch sets the scale, R = c^{-1/2} I. kappa = 1/2 is the relative gradient of
    whitening at half the rate; the default rate is that of `whitening`. An update costs 4 r d^2 flop with
    r = k + 4 rate d.

    A direction without variance rests at a gain of (f c)^{-1/2}. |R| never exceeds e (d / (f c))^{1/2}, with c the
    least power that was tracked, or e if that is more. A silent batch changes nothing. A batch louder than any before
    counts as at most 1e4 c and shrinks no direction by more than the factor min(kappa, 1 - kappa). A batch that is not
    finite raises Diverged and changes nothing. If the rows are fewer than half the units, an update applies the floor
    to a few columns of R only, axis by axis.

    `form="published"` has neither floor nor normalised step:

    $$
    R \leftarrow R - \eta \bigl[ (1 - \kappa)\, \operatorname{offdiag}(C)
    + \kappa \operatorname{diag}(\langle x_i^2 \rangle - 1) \bigr] R
    $$

    The term of the variances scales the rows of R. (The authors' code scales the columns of R, which whitens from a
    symmetric start only.) Rows of silent units grow by the factor 1 + eta kappa at every update, without bound. Near
    C = I every update shrinks the off-diagonal errors by 1 - 2 eta (1 - kappa) and the errors of the variances by
    1 - 2 eta kappa, so that the limit there is eta max(kappa, 1 - kappa) < 1. Far from C = I, eta times the largest
    eigenvalue of C has to stay below about 1.

    Source: Dalm, Offergeld, Ahmad, van Gerven (2025), Efficient deep learning with decorrelated backpropagation,
    arXiv:2405.02385; floor and step derived here.

    Attributes:
        rate: eta, per update; the target power of the outputs is 1.
        form: `bounded`, or `published` as in the paper.
        floor: f, the power relative to the mean power below which a direction is not amplified fully; `bounded` only.
        variance_weight: kappa, in (0, 1). The authors' layers use 1e-3 to 1e-2, their base class uses 0.5.
    """

    name = "variance_weighted"
    title = "removes correlations and brings the variances to one, each with its own weight"
    equation = "R <- R - rate [(1 - kappa) offdiag(M) + kappa diag(M - I)] R, M = R (S + floor c I) R^T"
    fixed_point_text = "C = S (S + floor c I)^-1"
    locality = "row of R and one scalar per layer"
    cost = "4 r d^2, r = k + 4 rate d"
    source = "Dalm, Offergeld, Ahmad, van Gerven 2025, arXiv:2405.02385"
    structure = "dense"
    detects_divergence = True

    rate: float = 2e-2
    form: Form = "bounded"
    floor: float = 1e-4
    variance_weight: float = 0.5

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.word("form", self.form, get_args(Form))
        yield checks.number("floor", self.floor, above=0)
        yield checks.number(
            "variance_weight", self.variance_weight, above=0, below=1, hint="for 0 use the rule 'decorrelating'"
        )

    @property
    def confinement(self) -> Confinement:
        """`any`; `groups` for the published form, which never forms the moment."""
        return "any" if self.form == "bounded" else "groups"

    @property
    def equivariance(self) -> Equivariance:
        """`orthogonal`, since the floor is isotropic; `general` for the published form, whose R absorbs any basis."""
        return "general" if self.form == "published" else "orthogonal"

    @property
    def silent_units_bounded(self) -> bool:
        """True for the bounded form, whose floor bounds R."""
        return self.form == "bounded"

    def statistics(self, matrix: Tensor) -> State:
        """Running power and floor of the bounded form before the first batch; no tensors for the published form."""
        return initial_bounded(matrix) | initial_memory(matrix) if self.form == "bounded" else {}

    def needs(self, state: State, features: int) -> Needs:
        """Outputs and the power of the inputs, or the second moment of the outputs."""
        return moment_needs(features)

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Set R <- diag(1 + step [(1 - 2 kappa) v + kappa]) R - step (1 - kappa) L^T (L R), with M = L^T L."""
        if not rate:
            return None
        matrix, residual = state["matrix"], state.get("matrix_residual")
        kappa, rows, features = self.variance_weight, row_count(sample), sample.outputs.shape[1]
        power = output_power(sample)
        if self.form == "published":
            moment = published_moment(sample)
            scale = moment.variances.mul_(rate * (1 - 2 * kappa) / rows).add_(1 + rate * kappa)
            return moment.factor(scale, rate * (1 - kappa) / rows).apply_(matrix, residual)
        heard = hear_(state, sample, POWER_RATE)
        if heard is None:
            return None
        first = heard.power**-0.5 if heard.updates == 1 else 1.0
        trace = power * features * heard.scale * first**2
        unit = max(1.0, trace)  # unit in which M is formed, so that it cannot overflow
        due = rate * kappa / (1 + rate * trace / math.sqrt(rows))
        factor = first * math.sqrt(heard.scale / (rows * unit))
        floor = self.floor * remember_(state, heard.power, POWER_RATE) * first**2 / unit
        moment = floored_moment(state, sample, factor, floor, due, urgent=False)
        step = rate / (1 + rate * moment.size * unit)
        step = min(step, PATIENCE * moment.axes / (features * kappa))  # so does no direction outgrow its axis
        scale = moment.variances.mul_(step * (1 - 2 * kappa) * unit).add_(1 + step * kappa)
        return moment.factor(scale, step * (1 - kappa) * unit).scaled(first).apply_(matrix, residual)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance S (S + f c I)^{-1} for every weight; `published`: the identity."""
        identity = torch.eye(len(covariance), dtype=covariance.dtype)
        if self.form == "published":
            return identity
        power = covariance.trace() / len(covariance)
        whitened: Tensor = torch.linalg.solve(covariance + self.floor * power * identity, covariance)
        return whitened

    def stability_limit(self, covariance: Tensor) -> float:
        """Infinity; `published`: 1 / max(kappa, 1 - kappa), whatever the inputs are."""
        return 1 / max(self.variance_weight, 1 - self.variance_weight) if self.form == "published" else math.inf

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound max(e, e (d / (f c))^{1/2}) on |R|; `published`: infinity."""
        if self.form == "published":
            return math.inf
        return math.exp(PATIENCE) * max(1.0, math.sqrt(features / self.floor / least_power))
