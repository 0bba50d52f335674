"""The local form of norm-preserving decorrelation: plasticity of lateral inhibition itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._bounded import Form, ImplicitFactor, bound, initial_bounded
from neuro_decorr.rules._factor import InverseFactor
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Change, Rule, Sample, State
from neuro_decorr.rules.norm_preserving import heard_moment, norm_gain, norm_preserving_fixed_point, row_norms


@register
@dataclass(frozen=True, kw_only=True)
class Lateral(Rule):
    r"""Hebbian growth of lateral inhibition between a unit's drive and its neighbours' activity.

    $$
    x = (I + M)^{-1} z, \quad \Delta M_{ij} = \eta_n\, \langle z_i x_j \rangle / c, \quad
    I + M \leftarrow (I + M) / g, \quad g = \langle \lVert z \rVert / \lVert x \rVert \rangle
    $$

    Everything the synapse from j to i needs is at i: its own feed-forward drive and the activity that arrives. The
    gain g is one scalar a layer, a multiplicative scaling of all synapses, autapses included; the running power c of
    the drive and the size of the step are two more.

    With D = (I + M)^{-1} and z = D^{-1} x the step is exactly $D \leftarrow g (I + \eta_n C / c)^{-1} D$: the
    implicit form of the step of `norm_preserving`, equal to it up to eta^2. By the identity of Woodbury it costs two
    products with the k rows and one k x k system, and needs D only: M is D^{-1} - I by definition, so no second matrix
    is held that could drift away from it.

    The floor f adds isotropic drive of power f c: C becomes D (S_k + f c I) D^T here, and a synapse from j to i grows
    by eta_n f D_ji besides. The fixed point is that of `norm_preserving`, C = c' S (S + f c I)^{-1}. The step is
    eta_n = eta / (1 + eta |C / c|): it at most halves a direction, so the rule is stable at every rate and every
    scale, and |D| <= (20 (d / f + 1))^{1/2} e^2, whatever the inputs are. A direction without variance rests at a gain
    of about (d / (f r))^{1/2}, with r the number of directions that have variance. A silent batch moves nothing, a
    batch that is louder than any before counts as at most 1e4 c, and one that is not finite raises Diverged before
    anything moves.

    `form="published"` has no floor, eta / c and eta_n are the rate as given, and directions without variance grow by g
    at every update. Being implicit, it keeps the shape of the spectrum stable at every rate,
    lambda <- g^2 lambda / (1 + eta lambda)^2. The scale alternates from eta c = 4 on.

    Source: local form of Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780, derived here.

    Attributes:
        rate: eta, per update, relative to 1 / c; published: per update and per unit of input power.
        form: `bounded`, or `published`: the local form of the rule as published.
        floor: f, the power relative to the mean below which a direction is not amplified fully. Used by `bounded`.
    """

    name = "lateral"
    title = "the local form of norm_preserving: lateral inhibition learns from drive times activity"
    equation = "M_ij <- M_ij + rate (z_i x_j / c + floor D_ji), I + M <- (I + M) / g, D = (I + M)^-1"
    fixed_point_text = "C = c' S (S + floor c I)^-1, <|x|> about <|z|>"
    locality = "drive of i, activity of j, and three scalars a layer"
    cost = "4 r d^2 + r^3, r = k + 4 rate d"
    source = "local form of Ahmad 2024, arXiv:2407.10780"
    structure = "dense"
    fixed_point_up_to = "scale"
    detects_divergence = True

    rate: float = 5e-3
    form: Form = "bounded"
    floor: float = 1e-4

    def problems(self) -> Iterator[str | None]:
        """What is wrong with the parameters."""
        yield from super().problems()
        yield checks.word("form", self.form, get_args(Form))
        yield checks.number("floor", self.floor, above=0)

    @property
    def silent_units_bounded(self) -> bool:
        """By the floor."""
        return self.form == "bounded"

    def statistics(self, matrix: Tensor) -> State:
        """Bounded: nothing has been heard."""
        return initial_bounded(matrix) if self.form == "bounded" else {}

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """D <- g (I + step R^T R)^{-1} D, with R^T R the moment with its floor; published: C."""
        if not rate:
            return None
        matrix, residual = state["matrix"], state.get("matrix_residual")
        if self.form == "published":
            gain = norm_gain(row_norms(sample.inputs), row_norms(sample.outputs))
            return InverseFactor(gain, rate / len(sample.outputs), sample.outputs).apply_(matrix, residual)
        heard = heard_moment(state, sample, rate, self.floor, slowing=1.0)
        if heard is None:
            return None
        gain, moment = heard
        step = rate / (1 + rate * moment.size)
        if moment.rows is not None:
            return InverseFactor(gain, step, moment.rows).apply_(matrix, residual)
        assert moment.full is not None
        return ImplicitFactor(gain, step, moment.full).apply_(matrix, residual)

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """S (S + f c I)^{-1} with the power of S; published: a multiple of the identity."""
        return norm_preserving_fixed_point(covariance, 0.0 if self.form == "published" else self.floor)

    def stability_limit(self, covariance: Tensor) -> float:
        """None; published: 4 / c, with c the mean power of the inputs: there the scale begins to alternate.

        Norm preservation moves the outputs' power p by p <- c / (1 + rate p)^2, stable while q = rate p < 1 at its
        fixed point q (1 + q)^2 = rate c. In the bounded form q < 1 whatever the rate is.
        """
        return 4.0 * len(covariance) / float(covariance.trace()) if self.form == "published" else math.inf

    def largest_gain(self, features: int, least_power: float) -> float:
        """(20 (d / f + 1))^{1/2} e^2, whatever the power; published: none."""
        return math.inf if self.form == "published" else bound(features, self.floor)
