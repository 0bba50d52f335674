r"""Parts of the bounded forms of the explicit rules: a floor for directions without variance and a bounded step.

With c the running mean power of the inputs (`hear_`), each rule acts on the moment

$$M = D\, (S_k + f c\, I)\, D^T = R^T R$$

of the k sampled rows and of isotropic inputs of power f c. Its rows R are those of the batch and some columns of D
(`floor_rows`). If the rows are at least half as many as the units, the rule forms M instead, which is then cheaper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged
from neuro_decorr.rules._factor import DenseFactor, LowRankFactor
from neuro_decorr.rules._floor import axes_due, floor_rows, initial_axis
from neuro_decorr.rules._power import initial_power
from neuro_decorr.rules._residual import Increment
from neuro_decorr.rules._sparse import SparseFactor, SparseMoment, pattern_in, units_of
from neuro_decorr.rules._state import Change, Sample, State
from neuro_decorr.rules._sums import moment, row_count

Form = Literal["bounded", "published"]
"""`bounded`: directions without variance have a floor, rates are relative to the power, and no step is too large.
`published`: the rule of the paper, with its instabilities."""

POWER_RATE = 0.1
"""Weight of the newest batch in the running power c."""
PATIENCE = 1.0
"""Largest growth of the logarithm of D along axes of the floor that wait for their turn."""
_FEWEST = 16
"""Number of axes whose cost is negligible, however few the rows are."""


def initial_bounded(matrix: Tensor) -> State:
    """Running power, axis to visit next and growth so far."""
    return initial_power(matrix) | initial_axis(matrix) | {"growth": matrix.new_zeros((), dtype=torch.float64)}


class Moment(NamedTuple):
    """Moment M in the form that is cheaper.

    Attributes:
        rows: R, shape (rows + axes, features); None if M is formed.
        full: M, shape (features, features); None if M is not formed.
        size: Frobenius norm of M, which is at least its largest eigenvalue; nan if no step needs it.
        axes: Number of axes of the floor in M.
        connected: P(M), if D is confined to some connections; `rows` and `full` are then None.
    """

    rows: Tensor | None
    full: Tensor | None
    size: float
    axes: int
    connected: SparseMoment | None = None

    @property
    def variances(self) -> Tensor:
        """Diagonal of M, shape (features,)."""
        if self.connected is not None:
            return self.connected.variances
        if self.rows is not None:
            return self.rows.square().sum(dim=0)
        assert self.full is not None
        return self.full.diagonal().clone()

    def factor(self, scale: float | Tensor, weight: float) -> LowRankFactor | DenseFactor | SparseFactor:
        """Factor diag(scale) - weight M of D; the call overwrites M.

        Args:
            scale: A number, or a tensor of shape (features,).
            weight: A number.
        """
        if self.connected is not None:
            return self.connected.factor(scale, weight)
        if self.rows is not None:
            return LowRankFactor(scale, weight, self.rows, self.rows)
        assert self.full is not None
        growth = self.full.mul_(-weight)
        growth.diagonal().add_(scale - 1)
        return DenseFactor(growth)


_FEW_UNITS = 64
"""Number of units up to which products of full matrices are cheaper than the calls that avoid them."""


def all_at_once(features: int, rows: int) -> bool:
    """True if the rule forms M, with all axes of the floor."""
    return features <= max(_FEW_UNITS, 2 * rows)


def published_moment(sample: Sample) -> Moment:
    """Moment X^T X of the outputs without a floor: as their rows, or formed for rows of several processes."""
    outputs = sample.outputs
    if sample.joint is None:
        return Moment(outputs, None, math.nan, 0)
    return Moment(None, moment(sample, outputs), math.nan, 0)


def floored_moment(state: State, sample: Sample, factor: float, floor: float, step: float, urgent: bool) -> Moment:
    """Moment M of the outputs times a factor, in the unit in which the floor is given.

    Args:
        state: State with `matrix` and `axis`; `axis` moves on unless the update visits all axes.
        sample: Sample with the outputs.
        factor: Factor of the outputs, small enough for their squares not to overflow.
        floor: Power of the isotropic inputs; 0 for none.
        step: Weight of an update in the fixed point, which sets the number of axes that are due.
        urgent: True visits as many axes as there are rows.

    Raises:
        Diverged: M is not finite.
    """
    matrix = state["matrix"]
    rows, features = row_count(sample), sample.outputs.shape[1]
    scaled = sample.outputs.to(matrix.dtype) * factor
    axes, kept, full, pattern, connected = 0, None, None, pattern_in(state), None
    if all_at_once(features, rows) and pattern is None:
        full = moment(sample, scaled)
        if floor:
            axes = features
            full.addmm_(matrix, matrix.T, alpha=floor)
        size = float(torch.linalg.vector_norm(full, dtype=torch.float64))
    else:
        kept = scaled
        if floor:
            most = max(rows, _FEWEST)
            axes = min(most if urgent else axes_due(features, rows, step), most, features)
            kept = torch.cat([scaled, floor_rows(state, floor, axes)])
        if pattern is None:
            size = float(torch.linalg.vector_norm(kept @ kept.T, dtype=torch.float64))
        else:
            connected, kept = SparseMoment.of_rows(pattern, kept), None
            size = connected.size
    if not size < math.inf:
        raise Diverged(
            "the decorrelated activity is not finite, or too large to work with: lower the plasticity rate of the "
            "rule or the learning rate of the weights."
        )
    return Moment(kept, full, size, axes, connected)


def patient_gain(state: State, gain: float, axes: int) -> float:
    r"""Gain that does not outgrow the floor.

    A direction without variance grows by every gain and shrinks only when its axis has its turn. So the logarithms of
    the gains may add up to `PATIENCE`, and to as much again in the d / a updates in which every axis has its turn. The
    rule takes the part of the gain above that limit in later updates. If every update visits all axes, the limit does
    not apply.

    Args:
        state: State with `matrix` and `growth`; `growth` changes in place.
        gain: Gain that preserves the norm.
        axes: a, the number of axes that this update visits.
    """
    features = units_of(state)
    if axes == features:
        return gain
    before, wanted = float(state["growth"]), math.log(gain)
    taken = min(wanted, PATIENCE - before)
    state["growth"].fill_(max(0.0, before + taken - PATIENCE * axes / features))
    return gain if taken == wanted else math.exp(taken)


def urgent(state: State) -> bool:
    """True if growth has used up half of the patience."""
    return float(state["growth"]) > PATIENCE / 2


def bound(features: int, floor: float) -> float:
    r"""Bound on the largest singular value of a norm-preserving D with a floor, $(20\, (d / f + 1))^{1/2} e^2$.

    $Q = (D^T D)^{-1}$ follows, up to scale, a sum of the S_k + f c I with positive weights. In this sum c is at least a
    tenth of the power with which every batch counts, so that no eigenvalue of Q is more than 10 d / f + 1 times
    another. A step takes up to twice its first order. The gain makes the smallest singular value at most 1, since it
    preserves norms on average. Axes that wait may grow by e^2, see `patient_gain`.
    """
    return math.sqrt(20 * (features / floor + 1)) * math.exp(2 * PATIENCE)


@dataclass(frozen=True, eq=False)
class ImplicitFactor(Change):
    """Factor A = scale (I + weight * M)^{-1} with M in full: like `InverseFactor`, for many rows.

    Attributes:
        scale: g, a number.
        weight: w > 0, a number.
        moment: M, shape (features, features), symmetric.
    """

    scale: float
    weight: float
    moment: Tensor

    def apply_(self, matrix: Tensor, residual: Tensor | None = None) -> ImplicitFactor:
        """Set D <- A D in place. Cost: 8/3 features^3 flop."""
        grown = self.moment.double() * self.weight
        # A - I = (I + w M)^{-1} ((g - 1) I - w M), in which no terms cancel.
        passed = -grown
        passed.diagonal().add_(self.scale - 1)
        grown.diagonal().add_(1)
        growth = torch.linalg.solve(grown, passed).to(matrix.dtype)
        DenseFactor(growth).apply_(matrix, residual)
        return self

    def increment(self, weight: Tensor) -> Increment:
        """Increment to W A^{-1} = (W + w W M) / g, which is exact and local. Cost: 2 outputs features^2 flop."""
        activity = (weight.to(self.moment.dtype) @ self.moment).mul_(self.weight / self.scale)
        growth = 1 / self.scale - 1
        return lambda rows: torch.add(activity[rows], weight[rows], alpha=growth)
