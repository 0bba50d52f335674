"""Norm-preserving decorrelation (Ahmad 2024), as published or with a floor for directions without variance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from operator import truediv
from typing import Literal, get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import Diverged
from neuro_decorr.rules._bounded import (
    POWER_RATE,
    Form,
    Moment,
    all_at_once,
    bound,
    floored_moment,
    initial_bounded,
    patient_gain,
    published_moment,
    urgent,
)
from neuro_decorr.rules._factor import DenseFactor
from neuro_decorr.rules._power import hear_group_powers_, hear_power_, row_squares
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._residual import add_
from neuro_decorr.rules._rule import Confinement, Rule
from neuro_decorr.rules._sparse import pattern_in
from neuro_decorr.rules._state import Change, Needs, Sample, State
from neuro_decorr.rules._sums import LARGE, SMALL, input_power, moment_needs, row_count, total


def row_norms(rows: Tensor) -> list[float]:
    """Norm of every row, in float64 if squares would leave the range of the rows' own type."""
    # Python numbers: cheaper than three more operations on a few rows, and one look tells whether they are finite.
    norms: list[float] = torch.linalg.vector_norm(rows, dim=1).tolist()
    if not (min(norms, default=1.0) > SMALL and max(norms, default=1.0) < LARGE):
        norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).tolist()
    return norms


def norm_gain(sample: Sample, before: list[float], after: list[float]) -> float:
    """Mean of |z| / |x| over the rows whose x is not zero; 1 if there are none.

    Args:
        sample: Sample to which the rows belong.
        before: |z| of every row.
        after: |x| of every row.

    Raises:
        Diverged: A norm is not finite, or the gain is zero, which would set D to zero.
    """
    try:
        ratios = list(map(truediv, before, after))
    except ZeroDivisionError:  # a row of zeros carries no norm to preserve
        ratios = [z / x for z, x in zip(before, after, strict=True) if x]
    sums = [sum(ratios), float(len(ratios)), sum(before), sum(after)]
    if sample.joint is not None:
        sums = total(sample, sample.mean.new_tensor(sums, dtype=torch.float64))[0].tolist()
    gain = sums[0] / sums[1] if sums[1] else 1.0
    if not (0 < gain < math.inf and sums[2] < math.inf and sums[3] < math.inf):
        raise Diverged(
            "the norms of the decorrelated activity are not finite, or too large to work with: lower the plasticity "
            "rate of the rule or the learning rate of the weights."
        )
    return gain


def heard_moment(
    state: State, sample: Sample, rate: float, floor: float, slowing: float
) -> tuple[float, Moment] | None:
    """Gain that preserves norms, and moment M / c, for which the rate is relative; None for a silent batch.

    Args:
        state: State from `initial_bounded`; its power, axis and growth change in place.
        sample: Rows that drive the update.
        rate: eta.
        floor: f.
        slowing: s of the step eta / (1 + s eta |M|).

    Raises:
        Diverged: A row is not finite; nothing has changed.
    """
    before, after = row_norms(sample.inputs), row_norms(sample.outputs)
    gain = norm_gain(sample, before, after)
    rows, features = row_count(sample), sample.inputs.shape[1]
    alone = sample.joint is None
    present = sum(norm * norm for norm in before) / (rows * features) if alone else input_power(sample)
    heard = hear_power_(state, present, POWER_RATE)
    if heard is None:
        return None
    factor = math.sqrt(heard.scale / (rows * heard.power))
    if all_at_once(features, rows) and pattern_in(state) is None:
        return gain, floored_moment(state, sample, factor, floor, 0.0, urgent=False)
    trace = factor * factor * sum(norm * norm for norm in after)
    step = rate * trace / features / (1 + slowing * rate * trace / math.sqrt(rows))
    moment = floored_moment(state, sample, factor, floor, step, urgent(state))
    return patient_gain(state, gain, moment.axes), moment


@register
@dataclass(frozen=True, kw_only=True)
class NormPreserving(Rule):
    r"""Decorrelation that preserves the norm of the activity: bounded for all inputs, or as published in the paper.

    $$
    D \leftarrow g (D - \eta_n\, M D), \quad M = D\, (S_k / c + f I)\, D^T, \quad
    \eta_n = \frac{\eta}{1 + 3 \eta \lVert M \rVert_F}, \quad
    g = \langle \lVert z \rVert / \lVert x \rVert \rangle
    $$

    with S_k the covariance of the k sampled rows and c the running mean power of the inputs. The rule whitens up to
    one scalar, C = c' S (S + f c I)^{-1}: directions with much more power than f c become equally strong, and those
    with less power stay weaker. The rate is relative to 1 / c: a large eigenvalue lambda of C falls as c / (2 eta t),
    and small ones grow with g. The step removes at most a third of any direction, so that the rule is stable at every
    rate, in every dimension, for every number of rows and at every scale.

    D is at most about (d / (f r))^{1/2}, with r the number of directions that have variance, and never exceeds
    (20 (d / f + 1))^{1/2} e^2, whatever the inputs are. A direction without variance rests at a gain of about
    (d / (f r))^{1/2}. A silent batch changes nothing. A batch louder than any before counts as at most 1e4 c and moves
    no direction by more than a third; the gain follows it. A batch that is not finite raises Diverged and changes
    nothing.

    If the rows are fewer than half the units, an update applies the floor to a few columns of D only, axis by axis. If
    the gain would outgrow the floor, the rule takes a part of it at once and the rest later, see
    `_bounded.patient_gain`: the norm falls short for a while, and D does not overshoot. An update costs 4 r d^2 flop
    with r = k + 4 rate d.

    `form="published"` is the rule of the paper, with C the full second moment, diagonal included:

    $$D \leftarrow g (D - \eta\, C D), \quad C = \langle x x^T \rangle$$

    Its fixed point is C = c' I with g = 1 / (1 - eta c'); large eigenvalues fall to 1 / (2 eta t) after t updates. At
    the published rates (1e-4 to 1e-6, for layers of thousands of units) the rule flattens only the top of the spectrum.
    With exact statistics the shape of the spectrum is stable for eta c' < 1/2 and its scale for eta c' < 1/3, that is
    for eta c < 3/4. For single samples the condition is eta max |x|^2 < 1, so that the largest rate falls with the
    dimension and with loud batches. A direction without variance, which every layer behind a LayerNorm has, grows by
    the factor g at every update, without bound.

    Source: Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780; floor and step derived here.

    Attributes:
        rate: eta, per update, relative to 1 / c; `published`: per update and per unit of input power.
        form: `bounded`, or `published` as in the paper.
        floor: f, the power relative to the mean power below which a direction is not amplified fully; `bounded` only.
        norm_reference: Norm of z in g: `centered` takes |z - mean|; `raw`, for the published form only, takes |z|, as
            the code of the paper does, which adds the power of the mean to the outputs.
    """

    name = "norm_preserving"
    title = "whitens up to one scalar and keeps the norm of the activity"
    equation = "D <- g (D - rate M D), M = D (S / c + floor I) D^T, g = <|z| / |x|>"
    fixed_point_text = "C = c' S (S + floor c I)^-1, <|x|> about <|z|>"
    locality = "row of D and two scalars per layer (the rule lateral is its exactly local form)"
    cost = "4 r d^2, r = k + 4 rate d"
    source = "Ahmad 2024, arXiv:2407.10780"
    structure = "dense"
    fixed_point_up_to = "scale"
    detects_divergence = True

    rate: float = 5e-3
    form: Form = "bounded"
    floor: float = 1e-4
    norm_reference: Literal["centered", "raw"] = "centered"

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters."""
        yield from super().problems()
        yield checks.word("form", self.form, get_args(Form))
        yield checks.number("floor", self.floor, above=0)
        yield checks.word("norm_reference", self.norm_reference, ("centered", "raw"))
        if self.norm_reference == "raw" and self.form == "bounded":
            yield (
                "norm_reference 'raw' lets D grow as the mean outweighs the variance, so it needs form='published', "
                "got 'bounded'"
            )

    @property
    def confinement(self) -> Confinement:
        """`any`; `groups` for the published form, which never forms the moment."""
        return "any" if self.form == "bounded" else "groups"

    @property
    def silent_units_bounded(self) -> bool:
        """True for the bounded form, whose floor bounds D."""
        return self.form == "bounded"

    def statistics(self, matrix: Tensor) -> State:
        """Running power and floor of the bounded form before the first batch; no tensors for the published form."""
        return initial_bounded(matrix) if self.form == "bounded" else {}

    def needs(self, state: State, features: int) -> Needs:
        """Outputs and the norms of the inputs, or the second moment of the outputs; all rows for `raw` norms."""
        return moment_needs(features) if self.norm_reference == "centered" else Needs()

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Set D <- g D - (g step) R^T (R D), with R the rows of M; `published`: the rows of C."""
        if not rate:
            return None
        matrix, residual = state["matrix"], state.get("matrix_residual")
        if self.form == "published":
            reference = sample.inputs if self.norm_reference == "centered" else sample.inputs + sample.mean
            gain = norm_gain(sample, row_norms(reference), row_norms(sample.outputs))
            weight = gain * rate / row_count(sample)
            return published_moment(sample).factor(gain, weight).apply_(matrix, residual)
        heard = heard_moment(state, sample, rate, self.floor, slowing=3.0)
        if heard is None:
            return None
        gain, moment = heard
        return moment.factor(gain, gain * rate / (1 + 3 * rate * moment.size)).apply_(matrix, residual)

    def update_groups_(self, states: State, samples: Sample, rate: float) -> list[Change | None]:
        """Update all groups at once if an update visits all axes of the floor, else one after the other."""
        _, rows, features = samples.inputs.shape
        if not rate or self.form == "published" or not all_at_once(features, rows):
            return super().update_groups_(states, samples, rate)
        before, after = (row_squares(each).sqrt_() for each in samples[:2])
        spoken = after > 0
        gain = (before / after).where(spoken, 0).sum(dim=1) / spoken.sum(dim=1)
        gain = gain.where(spoken.any(dim=1), 1.0)
        if not bool(((before.sum(dim=1) + after.sum(dim=1) < math.inf) & (gain > 0) & (gain < math.inf)).all()):
            raise Diverged(
                "the norms of the decorrelated activity are not finite, or too large to work with: lower the "
                "plasticity rate of the rule or the learning rate of the weights."
            )
        heard = hear_group_powers_(states, before.square().mean(dim=1) / features, POWER_RATE)
        matrix = states["matrix"]
        factor = (heard.scale / (rows * heard.power)).sqrt().to(matrix.dtype)
        scaled = samples.outputs.to(matrix.dtype) * factor.view(-1, 1, 1)
        moment = torch.baddbmm(scaled.mT @ scaled, matrix, matrix.mT, alpha=self.floor)
        size = row_squares(moment.flatten(1)).sqrt_()
        weight = (gain * rate / (1 + 3 * rate * size)).where(heard.heard, 0.0)
        growth = moment.mul_(-weight.to(matrix.dtype).view(-1, 1, 1))
        growth.diagonal(dim1=1, dim2=2).add_((gain - 1).where(heard.heard, 0.0).to(matrix.dtype).unsqueeze(1))
        product, residual = growth @ matrix, states.get("matrix_residual")
        add_(matrix, lambda groups: product[groups], residual)
        return [
            DenseFactor(each) if moved else None
            for each, moved in zip(growth.unbind(), heard.heard.tolist(), strict=True)
        ]

    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance S (S + f c I)^{-1}, scaled to the power of S; `published`: a multiple of the identity."""
        return norm_preserving_fixed_point(covariance, 0.0 if self.form == "published" else self.floor)

    def stability_limit(self, covariance: Tensor) -> float:
        """Infinity; `published`: 0.75 / c with c the mean power of the inputs, where the scale begins to alternate.

        Norm preservation moves the power p of the outputs by p <- c (1 - rate p)^2. This is stable while q = rate p is
        below 1/3 at the fixed point q / (1 - q)^2 = rate c. The shape of the spectrum,
        lambda <- g^2 lambda (1 - rate lambda)^2, would be stable up to q = 1/2. In the bounded form q <= 1/3 at every
        rate.
        """
        return 0.75 * len(covariance) / float(covariance.trace()) if self.form == "published" else math.inf

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound (20 (d / f + 1))^{1/2} e^2 on |D|, whatever the power; `published`: infinity."""
        return math.inf if self.form == "published" else bound(features, self.floor)


def norm_preserving_fixed_point(covariance: Tensor, floor: float) -> Tensor:
    """Covariance S (S + f c I)^{-1}, scaled to the power of S, with c the mean power; a multiple of I for f = 0."""
    identity, power = torch.eye(len(covariance), dtype=covariance.dtype), covariance.trace() / len(covariance)
    if not floor:
        return identity * power
    floored: Tensor = torch.linalg.solve(covariance + floor * power * identity, covariance)
    return floored * (covariance.trace() / floored.trace())
