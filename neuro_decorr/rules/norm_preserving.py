"""Norm-preserving decorrelation (Ahmad 2024), with a floor under directions without variance or as published."""

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
    urgent,
)
from neuro_decorr.rules._factor import DenseFactor, LowRankFactor
from neuro_decorr.rules._power import LARGE, SMALL, hear_group_powers_, hear_power_, row_squares
from neuro_decorr.rules._registry import register
from neuro_decorr.rules._residual import add_
from neuro_decorr.rules._rule import Change, Rule, Sample, State


def row_norms(rows: Tensor) -> list[float]:
    """The norm of every row; in double precision where the squares of their own type would leave its range."""
    # Numbers of Python: cheaper than three more operations on a few rows, and one look tells whether they are finite.
    norms: list[float] = torch.linalg.vector_norm(rows, dim=1).tolist()
    if not (min(norms) > SMALL and max(norms) < LARGE):
        norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).tolist()
    return norms


def norm_gain(before: list[float], after: list[float]) -> float:
    """The mean of |z| / |x| over rows that have an x; 1 where none has.

    Args:
        before: |z| of every row.
        after: |x| of every row.

    Raises:
        Diverged: A norm is not finite, or the gain is zero, which would wipe out D.
    """
    gain: float
    try:
        gain = sum(map(truediv, before, after)) / len(after)
    except ZeroDivisionError:  # a row of zeros carries no norm to preserve
        ratios = [z / x for z, x in zip(before, after, strict=True) if x]
        gain = sum(ratios) / len(ratios) if ratios else 1.0
    if not (0 < gain < math.inf and sum(after) < math.inf and sum(before) < math.inf):
        raise Diverged(
            "the norms of the decorrelated activity are not finite, or too large to work with; lower the rate of the "
            "plasticity or of the weights."
        )
    return gain


def heard_moment(
    state: State, sample: Sample, rate: float, floor: float, slowing: float
) -> tuple[float, Moment] | None:
    """The gain that preserves norms and M / c, in which the rate is relative; None for a silent batch.

    Args:
        state: From `initial_bounded`; its power, axis and growth move.
        sample: The rows.
        rate: eta.
        floor: f.
        slowing: s of the step eta / (1 + s eta |M|).

    Raises:
        Diverged: A row is not finite; nothing has moved.
    """
    before, after = row_norms(sample.inputs), row_norms(sample.outputs)
    gain = norm_gain(before, after)
    rows, features = sample.inputs.shape
    present = sum(norm * norm for norm in before) / (rows * features)
    heard = hear_power_(state, present, POWER_RATE)
    if heard is None:
        return None
    factor = math.sqrt(heard.scale / (rows * heard.power))
    if all_at_once(features, rows):
        return gain, floored_moment(state, sample.outputs, factor, floor, 0.0, urgent=False)
    trace = factor * factor * sum(norm * norm for norm in after)
    step = rate * trace / features / (1 + slowing * rate * trace / math.sqrt(rows))
    moment = floored_moment(state, sample.outputs, factor, floor, step, urgent(state))
    return patient_gain(state, gain, moment.axes), moment


@register
@dataclass(frozen=True, kw_only=True)
class NormPreserving(Rule):
    r"""The rule of the paper that this library starts from, made safe, or as published.

    $$
    D \leftarrow g (D - \eta_n\, M D), \quad M = D\, (S_k / c + f I)\, D^T, \quad
    \eta_n = \frac{\eta}{1 + 3 \eta \lVert M \rVert_F}, \quad
    g = \langle \lVert z \rVert / \lVert x \rVert \rangle
    $$

    with S_k the covariance of the k sampled rows and c the running mean power of the inputs. The rule whitens up to
    one scalar, C = c' S (S + f c I)^{-1}: directions with much more power than f c become equally strong, and those
    with less stay below. The rate is relative: an eigenvalue lambda of C falls as c / (2 eta t), small ones grow with
    g. The step removes at most a third of any direction, so the rule is stable at every rate, in every dimension, for
    every number of rows and every scale.

    D is at most about (d / (f r))^{1/2}, with r the number of directions that have variance, and never above
    (20 (d / f + 1))^{1/2} e^2, whatever the inputs are. A direction without variance rests at that gain. A silent
    batch moves nothing. A batch louder than any before counts as at most 1e4 c and moves no direction by more than a
    third; the gain follows it. A batch that is not finite raises Diverged, and nothing moves.

    Where the rows are fewer than half the units, the floor comes axis by axis, a few columns of D at every update. A
    gain that would outgrow them is taken in part at once and in part later, see `_bounded.patient_gain`: the norm
    falls short for a while, D does not overshoot.

    `form="published"` is the rule of the paper, with C the full second moment, diagonal included:

    $$D \leftarrow g (D - \eta\, C D), \quad C = \langle x x^T \rangle$$

    Its fixed point is C = c' I with g = 1 / (1 - eta c'); large eigenvalues fall to 1 / (2 eta t) after t updates. At
    the published rates (1e-4 to 1e-6, for layers of thousands) only the top of the spectrum is flattened. With exact
    statistics the spectrum's shape is stable for eta c' < 1/2 and its scale for eta c' < 1/3, that is for eta c < 3/4.
    For single samples eta max |x|^2 < 1, which falls with the dimension and with loud batches. A direction without
    variance, such as every layer behind a LayerNorm has, grows by g at every update, without bound.

    Source: Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780; floor and step derived here.

    Attributes:
        rate: eta, per update, relative to 1 / c; published: per update and per unit of input power.
        form: `bounded`, or `published` as in the paper.
        floor: f, the power relative to the mean below which a direction is not amplified fully. Used by `bounded`.
        norm_reference: Norms of z in g: `centered` compares z - mean with x; `raw`, of the published form only,
            compares z itself, as the paper's code does, which adds the power of the mean to the outputs.
    """

    name = "norm_preserving"
    title = "whitens up to one scalar, keeping the norm of the activity"
    equation = "D <- g (D - rate M D), M = D (S / c + floor I) D^T, g = <|z| / |x|>"
    fixed_point_text = "C = c' S (S + floor c I)^-1, <|x|> about <|z|>"
    locality = "row of D and two scalars a layer (exactly local in its lateral form)"
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
        """What is wrong with the parameters."""
        yield from super().problems()
        yield checks.word("form", self.form, get_args(Form))
        yield checks.number("floor", self.floor, above=0)
        yield checks.word("norm_reference", self.norm_reference, ("centered", "raw"))
        if self.norm_reference == "raw" and self.form == "bounded":
            yield (
                "norm_reference 'raw' lets D grow as the mean outweighs the variance; it needs form='published', got "
                "'bounded'"
            )

    @property
    def silent_units_bounded(self) -> bool:
        """By the floor."""
        return self.form == "bounded"

    def statistics(self, matrix: Tensor) -> State:
        """Bounded: nothing has been heard."""
        return initial_bounded(matrix) if self.form == "bounded" else {}

    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """D <- g D - (g step) R^T (R D), with R the rows of M; published: of C."""
        if not rate:
            return None
        matrix, residual = state["matrix"], state.get("matrix_residual")
        if self.form == "published":
            reference = sample.inputs if self.norm_reference == "centered" else sample.inputs + sample.mean
            gain = norm_gain(row_norms(reference), row_norms(sample.outputs))
            weight = gain * rate / sample.outputs.shape[0]
            return LowRankFactor(gain, weight, sample.outputs, sample.outputs).apply_(matrix, residual)
        heard = heard_moment(state, sample, rate, self.floor, slowing=3.0)
        if heard is None:
            return None
        gain, moment = heard
        weight = gain * rate / (1 + 3 * rate * moment.size)
        if moment.rows is not None:
            return LowRankFactor(gain, weight, moment.rows, moment.rows).apply_(matrix, residual)
        assert moment.full is not None
        growth = moment.full.mul_(-weight)
        growth.diagonal().add_(gain - 1)
        return DenseFactor(growth).apply_(matrix, residual)

    def update_groups_(self, states: State, samples: Sample, rate: float) -> list[Change | None]:
        """All groups at once, where all axes come at every update."""
        _, rows, features = samples.inputs.shape
        if not rate or self.form == "published" or not all_at_once(features, rows):
            return super().update_groups_(states, samples, rate)
        before, after = (row_squares(each).sqrt_() for each in samples[:2])
        spoken = after > 0
        gain = (before / after).where(spoken, 0).sum(dim=1) / spoken.sum(dim=1)
        gain = gain.where(spoken.any(dim=1), 1.0)
        if not bool(((before.sum(dim=1) + after.sum(dim=1) < math.inf) & (gain > 0) & (gain < math.inf)).all()):
            raise Diverged("the norms of the decorrelated activity are not finite, or too large to work with.")
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
        """S (S + f c I)^{-1} with the power of S; published: a multiple of the identity."""
        return norm_preserving_fixed_point(covariance, 0.0 if self.form == "published" else self.floor)

    def stability_limit(self, covariance: Tensor) -> float:
        """None; published: 0.75 / c, with c the mean power of the inputs: there the scale begins to alternate.

        Norm preservation moves the outputs' power p by p <- c (1 - rate p)^2, stable while q = rate p < 1/3 at its
        fixed point q / (1 - q)^2 = rate c. The shape of the spectrum, lambda <- g^2 lambda (1 - rate lambda)^2, would
        hold until q = 1/2. In the bounded form q <= 1/3 whatever the rate is.
        """
        return 0.75 * len(covariance) / float(covariance.trace()) if self.form == "published" else math.inf

    def largest_gain(self, features: int, least_power: float) -> float:
        """(20 (d / f + 1))^{1/2} e^2, whatever the power; published: none."""
        return math.inf if self.form == "published" else bound(features, self.floor)


def norm_preserving_fixed_point(covariance: Tensor, floor: float) -> Tensor:
    """S (S + f c I)^{-1} with the power of S, c the mean power; for f = 0 a multiple of the identity."""
    identity, power = torch.eye(len(covariance), dtype=covariance.dtype), covariance.trace() / len(covariance)
    if not floor:
        return identity * power
    floored: Tensor = torch.linalg.solve(covariance + floor * power * identity, covariance)
    return floored * (covariance.trace() / floored.trace())
