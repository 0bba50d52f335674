"""Decorrelation without a target for the variances (COPI)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._bounded import POWER_RATE, Form, floored_moment
from neuro_decorr.rules._factor import DenseFactor, LowRankFactor
from neuro_decorr.rules._power import hear_, initial_power, present_power
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Equivariance, Rule, Sample, State


@register
@dataclass(frozen=True, kw_only=True)
class Decorrelating(Rule):
    r"""Drive the off-diagonal of the second moment to zero and leave the variances free.

    $$
    D \leftarrow D - \eta_n \operatorname{offdiag}(M)\, D, \quad M = C / c, \quad
    \eta_n = \frac{\eta}{1 + \eta \lVert M \rVert_F}
    $$

    with C the second moment of the sampled outputs and c the running mean power of the inputs. The rate is relative,
    and the step removes at most all of a direction, so the rule is stable at every rate, in every dimension and at
    every scale. A silent batch moves nothing. A batch louder than any before counts as at most 1e4 c. A batch that is
    not finite raises Diverged, and nothing moves.

    Nothing grows but through the off-diagonal: silent units stay as they are, and for inputs of one covariance no
    variance of an output ever rises. So D is at most (max S_ii / lambda_min)^{1/2}, and along a direction without
    variance it grows while correlations remain: of two units that are always equal both outputs fall as the difference
    grows, as (1 + 2 eta t)^{1/2}, 10 after ten thousand updates at the default rate of 1e-2 and 50 after 100,000. In
    one update no direction grows by more than a factor of 2, whatever the inputs are.

    `form="published"` is D <- D - eta offdiag(C) D, stable for eta (v_i + v_j) < 2 with v the output variances (exact
    statistics); one loud batch can destroy D.

    Source: Ahmad, Schrader, van Gerven (2022), Constrained parameter inference as a principle for learning,
    arXiv:2203.13203. With `compensate`, this is COPI's function-preserving form.

    Attributes:
        rate: eta, per update, relative to 1 / c; published: per update and per unit of input power.
        form: `bounded`, or `published` as in the paper.
    """

    name = "decorrelating"
    title = "removes correlations, leaves the variances free"
    equation = "D <- D - rate offdiag(C / c) D"
    fixed_point_text = "C diagonal"
    locality = "row of D and a scalar a layer"
    cost = "2 k d^2"
    source = "Ahmad, Schrader, van Gerven 2022, arXiv:2203.13203"
    structure = "dense"
    fixed_point_up_to = "unit_scales"
    detects_divergence = True

    rate: float = 1e-2
    form: Form = "bounded"

    def problems(self) -> Iterator[str | None]:
        """What is wrong with the parameters."""
        yield from super().problems()
        yield checks.word("form", self.form, get_args(Form))

    @property
    def equivariance(self) -> Equivariance:
        """Published, the update is a function of outputs times D, so D absorbs any invertible map; c turns only."""
        return "general" if self.form == "published" else "orthogonal"

    def statistics(self, matrix: Tensor) -> State:
        """Bounded: nothing has been heard."""
        return initial_power(matrix) if self.form == "bounded" else {}

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """D <- (I + step diag(v)) D - (step / k) X^T (X D), v the mean squares of the outputs."""
        if not rate:
            return None
        matrix, residual = state["matrix"], state.get("matrix_residual")
        outputs = sample.outputs
        present_power(outputs)  # raises where they are not finite
        if self.form == "published":
            scale = outputs.square().mean(dim=0).mul_(rate).add_(1)
            return LowRankFactor(scale, rate / len(outputs), outputs, outputs).apply_(matrix, residual)
        heard = hear_(state, sample.inputs, POWER_RATE)
        if heard is None:
            return None
        factor = math.sqrt(heard.scale / (len(outputs) * heard.power))
        moment = floored_moment(state, outputs, factor, floor=0.0, step=0.0, urgent=False)
        step = rate / (1 + rate * moment.size)
        if moment.rows is not None:
            scale = moment.rows.square().sum(dim=0).mul_(step).add_(1)
            return LowRankFactor(scale, step, moment.rows, moment.rows).apply_(matrix, residual)
        assert moment.full is not None
        growth = moment.full.mul_(-step)
        growth.diagonal().zero_()
        return DenseFactor(growth).apply_(matrix, residual)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """A diagonal covariance; its entries depend on the start."""
        return torch.diag(covariance.diagonal())

    def stability_limit(self, covariance: Tensor) -> float:
        """None; published: 2 / (v_i + v_j) for the two largest output variances.

        For a covariance that is diagonal already these are the inputs' variances; from elsewhere they shrink on
        the way, so this is a lower bound there.
        """
        if self.form == "bounded":
            return math.inf
        largest = covariance.diagonal().sort(descending=True).values[:2]
        return 2.0 / float(largest.sum())
