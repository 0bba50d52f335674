"""Local form of norm-preserving decorrelation: plasticity of lateral inhibition."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._bounded import Form, ImplicitFactor, Moment, bound, initial_bounded, published_moment
from neuro_decorr.rules._factor import InverseFactor, Replacement
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._rule import Confinement, Rule
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import moment_needs, row_count
from neuro_decorr.rules.norm_preserving import heard_moment, norm_gain, norm_preserving_fixed_point, row_norms


@register
@dataclass(frozen=True, kw_only=True)
class Lateral(Rule):
    r"""Hebbian growth of lateral inhibition between a unit's drive and its neighbours' activity.

    $$
    x = (I + M)^{-1} z, \quad \Delta M_{ij} = \eta_n\, \langle z_i x_j \rangle / c, \quad
    I + M \leftarrow (I + M) / g, \quad g = \langle \lVert z \rVert / \lVert x \rVert \rangle
    $$

    The synapse from j to i needs only what is present at unit i: the feedforward drive of i and the activity that
    arrives from j. The gain g is one scalar per layer, which scales all synapses, autapses included; the running power
    c of the drive and the size of the step are two further scalars.

    With D = (I + M)^{-1} and z = D^{-1} x the step is exactly $D \leftarrow g (I + \eta_n C / c)^{-1} D$. This is the
    implicit form of the step of `norm_preserving` and equals it up to eta^2. By the identity of Woodbury it costs two
    products with the k rows and one k x k system. It needs D only: M is D^{-1} - I by definition, so that no second
    matrix can drift away from D.

    The floor f adds isotropic drive of power f c: C becomes D (S_k + f c I) D^T, and a synapse from j to i grows by
    eta_n f D_ji in addition. The fixed point is that of `norm_preserving`, C = c' S (S + f c I)^{-1}. The step is
    eta_n = eta / (1 + eta |C / c|), which at most halves a direction. So the rule is stable at every rate and every
    scale, and |D| <= (20 (d / f + 1))^{1/2} e^2 for all inputs. A direction without variance rests at a gain of about
    (d / (f r))^{1/2}, with r the number of directions that have variance. A silent batch changes nothing. A batch that
    is louder than any before counts as at most 1e4 c. A batch that is not finite raises Diverged and changes nothing.

    A `connectivity` other than disjoint groups confines M, while D = (I + M)^{-1} is full; an update then costs 6 d^3:

    $$I + M \leftarrow P\bigl( (I + M)(I + \eta_n P(C) / c) \bigr) / g$$

    with P the projection on the connections. A synapse from j to i answers to the activity of j times the activity of
    the units that both hear. At rest $P((I + M) E) = 0$ with $E = P(C) - c' I$, so that
    $\operatorname{tr}(E^T (I + M) E) = 0$, and E = 0 since I + M is positive: connected units are uncorrelated,
    whatever the correlations of the other pairs are.

    `form="published"` has no floor, and both eta / c and eta_n are the rate as given. Directions without variance grow
    by the factor g at every update. Since the step is implicit, the shape of the spectrum is stable at every rate,
    lambda <- g^2 lambda / (1 + eta lambda)^2. Its scale alternates for eta c >= 4.

    Source: local form of Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780, derived here.

    Attributes:
        rate: eta, per update, relative to 1 / c; `published`: per update and per unit of input power.
        form: `bounded`, or `published`: the local form of the rule as published.
        floor: f, the power relative to the mean power below which a direction is not amplified fully; `bounded` only.
    """

    name = "lateral"
    title = "local form of norm_preserving: lateral inhibition learns from drive times activity"
    equation = "M_ij <- M_ij + rate (z_i x_j / c + floor D_ji), I + M <- (I + M) / g, D = (I + M)^-1"
    fixed_point_text = "C = c' S (S + floor c I)^-1, <|x|> about <|z|>"
    locality = "drive of unit i, activity of unit j, three scalars per layer"
    cost = "4 r d^2 + r^3, r = k + 4 rate d"
    source = "local form of Ahmad 2024, arXiv:2407.10780"
    structure = "dense"
    fixed_point_up_to = "scale"
    detects_divergence = True

    rate: float = 5e-3
    form: Form = "bounded"
    floor: float = 1e-4

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.word("form", self.form, get_args(Form))
        yield checks.number("floor", self.floor, above=0)

    @property
    def silent_units_bounded(self) -> bool:
        """True for the bounded form, whose floor bounds D."""
        return self.form == "bounded"

    def statistics(self, matrix: Tensor) -> State:
        """Running power and floor of the bounded form before the first batch; no tensors for the published form."""
        return initial_bounded(matrix) if self.form == "bounded" else {}

    def needs(self, state: State, features: int) -> Needs:
        """Outputs and the norms of the inputs, or the second moment of the outputs."""
        return moment_needs(features)

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Set D <- g (I + step R^T R)^{-1} D, with R^T R the moment with its floor; `published`: with C instead."""
        if not rate:
            return None
        matrix, residual = state["matrix"], state.get("matrix_residual")
        if self.form == "published":
            gain = norm_gain(sample, row_norms(sample.inputs), row_norms(sample.outputs))
            return _implicit(published_moment(sample), gain, rate / row_count(sample)).apply_(matrix, residual)
        heard = heard_moment(state, sample, rate, self.floor, slowing=1.0)
        if heard is None:
            return None
        gain, moment = heard
        pattern = self.pattern(len(matrix))
        if pattern is not None:
            return self._confined_(matrix, pattern.matrix.to(matrix.device), moment, gain, rate)
        step = rate / (1 + rate * moment.size)
        return _implicit(moment, gain, step).apply_(matrix, residual)

    @staticmethod
    def _confined_(matrix: Tensor, connected: Tensor, moment: Moment, gain: float, rate: float) -> Change:
        """Set I + M <- P((I + M)(I + step P(moment))) / g in float64, and D to its inverse."""
        full = moment.full if moment.rows is None else moment.rows.T @ moment.rows
        assert full is not None
        seen = full.double() * connected
        step = rate / (1 + rate * float(seen.norm()))
        synapses = torch.linalg.inv(matrix.double()) * connected
        synapses.add_((synapses @ seen) * connected, alpha=step).div_(gain)
        return Replacement.apply_(matrix, torch.linalg.inv(synapses))

    @property
    def confinement(self) -> Confinement:
        """`inhibition`, since a connectivity confines M; `groups` for the published form."""
        return "inhibition" if self.form == "bounded" else "groups"

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance S (S + f c I)^{-1}, scaled to the power of S; `published`: a multiple of the identity."""
        return norm_preserving_fixed_point(covariance, 0.0 if self.form == "published" else self.floor)

    def stability_limit(self, covariance: Tensor) -> float:
        """Infinity; `published`: 4 / c with c the mean power of the inputs, where the scale begins to alternate.

        Norm preservation moves the power p of the outputs by p <- c / (1 + rate p)^2. This is stable while q = rate p
        is below 1 at the fixed point q (1 + q)^2 = rate c. In the bounded form q < 1 at every rate.
        """
        return 4.0 * len(covariance) / float(covariance.trace()) if self.form == "published" else math.inf

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound (20 (d / f + 1))^{1/2} e^2 on |D|, whatever the power; `published`: infinity."""
        return math.inf if self.form == "published" else bound(features, self.floor)


def _implicit(moment: Moment, gain: float, weight: float) -> InverseFactor | ImplicitFactor:
    """Factor gain (I + weight M)^{-1}, in the form that is cheaper."""
    if moment.rows is not None:
        return InverseFactor(gain, weight, moment.rows)
    assert moment.full is not None
    return ImplicitFactor(gain, weight, moment.full)
