"""Decorrelation without a target for the variances (COPI)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._bounded import POWER_RATE, Form, floored_moment, published_moment
from neuro_decorr.rules._power import hear_, initial_power
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Confinement, Equivariance, Rule
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import moment_needs, output_power, row_count


@register
@dataclass(frozen=True, kw_only=True)
class Decorrelating(Rule):
    r"""Drive the off-diagonal entries of the second moment to zero and leave the variances free.

    $$
    D \leftarrow D - \eta_n \operatorname{offdiag}(M)\, D, \quad M = C / c, \quad
    \eta_n = \frac{\eta}{1 + \eta \lVert M \rVert_F}
    $$

    with C the second moment of the sampled outputs and c the running mean power of the inputs. The rate is relative to
    that power, and the step removes at most all of a direction. So the rule is stable at every rate, in every dimension
    and at every scale. A silent batch changes nothing. A batch louder than any before counts as at most 1e4 c. A batch
    that is not finite raises Diverged and changes nothing.

    D grows only through off-diagonal entries: silent units stay as they are, and for inputs of one covariance no
    variance of an output ever rises. So D is at most (max S_ii / lambda_min)^{1/2}. Along a direction without variance
    D grows while correlations remain: for two units that are always equal, both outputs fall while the gain of their
    difference grows as (1 + 2 eta t)^{1/2}, which is 10 after ten thousand updates at the default rate of 1e-2 and 50
    after 100,000. In one update no direction grows by more than a factor of 2, whatever the inputs are.

    `form="published"` is D <- D - eta offdiag(C) D. It is stable for eta (v_i + v_j) < 2 with v the output variances
    (for exact statistics); one loud batch can destroy D. An update costs about 4 k d^2 flop for k rows and d units.

    Source: Ahmad, Schrader, van Gerven (2023), Constrained parameter inference as a principle for learning,
    arXiv:2203.13203. With `compensate`, this is COPI's function-preserving form.

    Attributes:
        rate: eta, per update, relative to 1 / c; `published`: per update and per unit of input power.
        form: `bounded`, or `published` as in the paper.
    """

    name = "decorrelating"
    title = "removes correlations and leaves the variances free"
    equation = "D <- D - rate offdiag(C / c) D"
    fixed_point_text = "C diagonal"
    locality = "row of D and one scalar per layer"
    cost = "4 k d^2"
    source = "Ahmad, Schrader, van Gerven 2023, arXiv:2203.13203"
    structure = "dense"
    fixed_point_up_to = "unit_scales"
    detects_divergence = True

    rate: float = 1e-2
    form: Form = "bounded"

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.word("form", self.form, get_args(Form))

    @property
    def confinement(self) -> Confinement:
        """`any`; `groups` for the published form, which never forms the moment."""
        return "any" if self.form == "bounded" else "groups"

    @property
    def equivariance(self) -> Equivariance:
        """`orthogonal`, since only rotations keep c; `general` for the published form, whose D absorbs any basis."""
        return "general" if self.form == "published" else "orthogonal"

    def statistics(self, matrix: Tensor) -> State:
        """Running power of the bounded form before the first batch; no tensors for the published form."""
        return initial_power(matrix) if self.form == "bounded" else {}

    def needs(self, state: State, features: int) -> Needs:
        """Outputs and the power of the inputs, or the second moment of the outputs."""
        return moment_needs(features)

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Set D <- (I + step diag(v)) D - (step / k) X^T (X D), with v the mean squares of the outputs."""
        if not rate:
            return None
        matrix, residual = state["matrix"], state.get("matrix_residual")
        output_power(sample)  # raises where they are not finite
        if self.form == "published":
            moment, weight = published_moment(sample), rate / row_count(sample)
            return moment.factor(moment.variances.mul_(weight).add_(1), weight).apply_(matrix, residual)
        heard = hear_(state, sample, POWER_RATE)
        if heard is None:
            return None
        factor = math.sqrt(heard.scale / (row_count(sample) * heard.power))
        moment = floored_moment(state, sample, factor, floor=0.0, step=0.0, urgent=False)
        step = rate / (1 + rate * moment.size)
        return moment.factor(moment.variances.mul_(step).add_(1), step).apply_(matrix, residual)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Diagonal covariance, whose entries depend on the start."""
        return torch.diag(covariance.diagonal())

    def stability_limit(self, covariance: Tensor) -> float:
        """Infinity; for the published form 2 / (v_i + v_j), with v_i and v_j the two largest output variances.

        If the covariance of the inputs is diagonal, these are the variances of the inputs. From any other start the
        variances shrink on the way, so that the value is a lower bound.
        """
        if self.form == "bounded":
            return math.inf
        largest = covariance.diagonal().sort(descending=True).values[:2]
        return 2.0 / float(largest.sum())
