r"""What the bounded forms of the explicit rules share: a floor under directions without variance, and a step that fits.

With c the running mean power of the inputs (`hear_`), each acts on the moment

$$M = D\, (S_k + f c\, I)\, D^T = R^T R$$

of the k sampled rows and of isotropic inputs of power f c. Its rows R are those of the batch and some columns of D
(`floor_rows`), or, where the rows are at least half as many as the units, M is formed: that is cheaper then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neuro_decorr.errors import Diverged
from neuro_decorr.rules._factor import DenseFactor
from neuro_decorr.rules._floor import axes_due, floor_rows, initial_axis
from neuro_decorr.rules._power import initial_power
from neuro_decorr.rules._residual import Increment
from neuro_decorr.rules._rule import Change, State

Form = Literal["bounded", "published"]
"""`bounded`: directions without variance have a floor, rates are relative, and no step is too large. `published`: the
rule of the paper, faults included."""

POWER_RATE = 0.1
"""Weight of the newest batch in the running power c."""
PATIENCE = 1.0
"""The most by which the logarithm of D may grow along axes of the floor that wait for their turn."""
_FEWEST = 16
"""So many axes cost nothing to speak of, however few the rows are."""


def initial_bounded(matrix: Tensor) -> State:
    """The running power, the axis to visit next and the growth since then."""
    return initial_power(matrix) | initial_axis(matrix) | {"growth": matrix.new_zeros((), dtype=torch.float64)}


class Moment(NamedTuple):
    """M in the form that is cheaper.

    Attributes:
        rows: R, shape (rows + axes, features); None where M is formed.
        full: M, shape (features, features); None where it is not.
        size: The Frobenius norm of M, at least its largest eigenvalue.
        axes: How many axes came.
    """

    rows: Tensor | None
    full: Tensor | None
    size: float
    axes: int


_FEW_UNITS = 64
"""Up to so many, products of full matrices are cheaper than the calls that avoid them."""


def all_at_once(features: int, rows: int) -> bool:
    """Whether M is formed, with all axes."""
    return features <= max(_FEW_UNITS, 2 * rows)


def floored_moment(state: State, outputs: Tensor, factor: float, floor: float, step: float, urgent: bool) -> Moment:
    """M of the outputs times a factor, in the units in which the floor is given.

    Args:
        state: Holds `matrix` and `axis`, which moves on where not all axes come.
        outputs: Shape (rows, features).
        factor: Of the outputs; with it they must not overflow when squared.
        floor: Power of the isotropic inputs; 0 for none.
        step: Weight of an update in the fixed point, which tells how many axes are due.
        urgent: As many axes as there are rows.

    Raises:
        Diverged: M is not finite.
    """
    matrix = state["matrix"]
    rows, features = outputs.shape
    scaled = outputs.to(matrix.dtype) * factor
    axes, kept, full = 0, None, None
    if all_at_once(features, rows):
        full = scaled.T @ scaled
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
        size = float(torch.linalg.vector_norm(kept @ kept.T, dtype=torch.float64))
    if not size < math.inf:
        raise Diverged("the decorrelated activity is not finite, or too large to work with.")
    return Moment(kept, full, size, axes)


def patient_gain(state: State, gain: float, axes: int) -> float:
    r"""A gain that does not outgrow the floor.

    A direction without variance grows by every gain and shrinks only when its axis has its turn. So the logarithms of
    the gains may add up to `PATIENCE`, and to as much again in the d / a updates in which all axes have theirs; of
    what is above, the gain takes the rest later. Where all axes come at every update, there is nothing to wait for.

    Args:
        state: Holds `matrix` and `growth`, changed in place.
        gain: What preserves the norm.
        axes: a, how many come in this update.
    """
    features = len(state["matrix"])
    if axes == features:
        return gain
    before, wanted = float(state["growth"]), math.log(gain)
    taken = min(wanted, PATIENCE - before)
    state["growth"].fill_(max(0.0, before + taken - PATIENCE * axes / features))
    return gain if taken == wanted else math.exp(taken)


def urgent(state: State) -> bool:
    """Whether growth has used up half of the patience."""
    return float(state["growth"]) > PATIENCE / 2


def bound(features: int, floor: float) -> float:
    r"""The largest singular value of a norm-preserving D with a floor, $(20\, (d / f + 1))^{1/2} e^2$.

    $Q = (D^T D)^{-1}$ follows, up to scale, a sum of the S_k + f c I with positive weights, in which c is at
    least a tenth of the power of every batch as loud as it counts: no eigenvalue of Q is more than 10 d / f + 1 times
    another. A step takes up to twice its first order. The gain makes the smallest singular value at most 1, since it
    preserves norms on the average; and axes that wait may grow by e^2, see `patient_gain`.
    """
    return math.sqrt(20 * (features / floor + 1)) * math.exp(2 * PATIENCE)


@dataclass(frozen=True, eq=False)
class ImplicitFactor(Change):
    """A = scale (I + weight * M)^{-1} with M in full: as `InverseFactor`, for rows that are not few.

    Attributes:
        scale: g, a number.
        weight: w > 0, a number.
        moment: M, shape (features, features), symmetric.
    """

    scale: float
    weight: float
    moment: Tensor

    def apply_(self, matrix: Tensor, residual: Tensor | None = None) -> ImplicitFactor:
        """D <- A D in place. Cost: 8/3 features^3 flop."""
        grown = self.moment.double() * self.weight
        # A - I = (I + w M)^{-1} ((g - 1) I - w M): nothing cancels.
        passed = -grown
        passed.diagonal().add_(self.scale - 1)
        grown.diagonal().add_(1)
        growth = torch.linalg.solve(grown, passed).to(matrix.dtype)
        DenseFactor(growth).apply_(matrix, residual)
        return self

    def increment(self, weight: Tensor) -> Increment:
        """W <- W A^{-1} = (W + w W M) / g: exact, and local as it stands. Cost: 2 outputs features^2 flop."""
        activity = (weight.to(self.moment.dtype) @ self.moment).mul_(self.weight / self.scale)
        growth = 1 / self.scale - 1
        return lambda rows: torch.add(activity[rows], weight[rows], alpha=growth)
