r"""What a rule is: a frozen description and the update of one layer's lateral weights.

Row form throughout, as torch stores batches: :math:`x = D (z - \mu)` for a column is
``outputs = inputs @ D.T`` for a batch of centred rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules._residual import Increment, add_

State = dict[str, Tensor]
"""The tensors of one layer: its transform (`matrix`, or `directions` and `suppression`) and the rule's statistics."""

Structure = Literal["centering", "dense", "low_rank"]
"""`centering`: D = I. `dense`: a full matrix. `low_rank`: D = I - U diag(s) U^T with k columns."""

TRANSFORM: dict[Structure, tuple[str, ...]] = {
    "centering": (),
    "dense": ("matrix",),
    "low_rank": ("directions", "suppression"),
}
"""Which tensors of a state are the transform; the rest are statistics of the rule."""


class Sample(NamedTuple):
    """Rows of one layer's activity on which a rule acts.

    Attributes:
        inputs: Centred drive z - mean, shape (rows, features).
        outputs: Decorrelated activity x = D (z - mean), shape (rows, features).
        mean: The mean that was subtracted, shape (features,).
    """

    inputs: Tensor
    outputs: Tensor
    mean: Tensor


class Change(ABC):
    """What one update did to the transform, kept so that the weights behind it can be compensated."""

    @abstractmethod
    def increment(self, weight: Tensor) -> Increment:
        r"""What keeps the layer's function, exactly: rows of :math:`W (D_{old} D_{new}^{-1} - I)`.

        The increment, not the new weight: it is small, and so is its rounding.

        Args:
            weight: W, shape (outputs, features).
        """

    def first_order_increment(self, weight: Tensor) -> Increment:
        """The same to first order in the plasticity rate, where that is local or cheaper; else exactly.

        Args:
            weight: W, shape (outputs, features).
        """
        return self.increment(weight)

    @abstractmethod
    def moment_increment(self, moment: Tensor) -> Increment:
        r"""What a mean of gradients of W gains when W is compensated: rows of :math:`m (A^T - I)`.

        With W A^{-1} for W and A x for its inputs x, where A = D_new D_old^{-1}, a gradient delta x^T turns into
        delta x^T A^T.

        Args:
            moment: m, shape (outputs, features).
        """

    @final
    def compensate_(self, weight: Tensor, residual: Tensor | None = None, *, first_order: bool = False) -> None:
        r"""Keep the layer's function: :math:`W \leftarrow W D_{old} D_{new}^{-1}`, in place.

        Args:
            weight: W, shape (outputs, features).
            residual: What the weight's floating type could not hold so far, see `residual_of`; updated.
            first_order: Take the first-order form.
        """
        add_(weight, self.first_order_increment(weight) if first_order else self.increment(weight), residual)


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A plasticity rule for lateral weights: description, update and closed-form fixed point.

    A subclass is a frozen dataclass of the rule's parameters. It declares the class attributes below and
    implements `update_` and `fixed_point`; registering it (`neuro_decorr.rules.register`) gives it a row in
    the table of rules and the whole parametrised test suite.

    Attributes:
        rate: Plasticity rate per update (dimensionless unless the rule says otherwise).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    fixed_point_text: ClassVar[str]
    locality: ClassVar[str]
    cost: ClassVar[str]
    reference: ClassVar[str]
    structure: ClassVar[Structure]
    fixed_point_up_to: ClassVar[Literal["nothing", "scale", "unit_scales"]] = "nothing"
    silent_units_bounded: ClassVar[bool] = True
    detects_divergence: ClassVar[bool] = False
    """Whether `update_` raises Diverged for rows that are not finite, before it moves anything; if not, they are
    looked at before every update, at the cost of one more pass over the sampled outputs."""

    rate: float

    def __post_init__(self) -> None:
        """Check the parameters that every rule has.

        Raises:
            InvalidValue: The rate is not a positive finite number.
        """
        check_positive(self, "rate")

    @property
    def equivariance(self) -> Literal["general", "orthogonal", "covariant", "none"]:
        """Under which changes of basis A of the inputs the outputs take the same course, started from D A^{-1}.

        `general`: any invertible A; `orthogonal`: rotations (for a low-rank D, which cannot start from A^{-1}, the
        outputs rotate with the inputs); `covariant`: from D = I the outputs rotate with the inputs, though no other
        start absorbs the rotation; `none`: the axes of the units matter.
        """
        return "orthogonal"

    def parameters(self) -> dict[str, object]:
        """The rule's parameters by name, as `neuro_decorr.rules.get` takes them."""
        return asdict(self)

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """The state before the first update: the transform is the identity.

        Args:
            features: Number of units of the layer's input.
            dtype: Floating type of the state.
            device: Where the state lives.

        Returns:
            The tensors of the transform and of the rule's statistics.
        """
        if self.structure == "dense":
            return {"matrix": torch.eye(features, dtype=dtype, device=device)}
        return {}

    @abstractmethod
    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """One update of `state`, in place (the trailing underscore is torch's).

        Args:
            state: The tensors that `initial_state` made.
            sample: The rows that drive the update; their outputs are those of the current transform.
            rate: Plasticity rate of this update (a schedule may have changed the rule's own).

        Returns:
            What happened to the transform, or None when it did not move.
        """

    def update(self, state: State, sample: Sample, rate: float | None = None) -> State:
        """One update as a pure function: `state` stays as it is.

        Args:
            state: The tensors before the update.
            sample: The rows that drive the update.
            rate: Plasticity rate; the rule's own where None.

        Returns:
            The tensors after the update.
        """
        after = {name: tensor.clone() for name, tensor in state.items()}
        self.update_(after, sample, self.rate if rate is None else rate)
        return after

    @abstractmethod
    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance of the outputs at which the rule rests, in closed form.

        Args:
            covariance: Covariance of the inputs, shape (features, features), float64.

        Returns:
            Covariance of the outputs, determined up to what `fixed_point_up_to` names.
        """

    def stability_limit(self, covariance: Tensor) -> float:
        """The largest rate at which the fixed point is locally stable, for exact statistics.

        Args:
            covariance: Covariance of the inputs, shape (features, features).

        Returns:
            The rate, or infinity where every allowed rate is stable.
        """
        return math.inf


def check_positive(rule: Rule, *names: str) -> None:
    """Raise InvalidValue unless the named parameters of `rule` are positive finite numbers."""
    for name in names:
        value = getattr(rule, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < math.inf):
            raise InvalidValue(f"{rule.name}: {name} must be a positive finite number, got {value!r}.")


def check_fraction(rule: Rule, *names: str) -> None:
    """Raise InvalidValue unless the named parameters of `rule`, rates of forgetting or of growth, lie in (0, 1]."""
    check_positive(rule, *names)
    for name in names:
        value = getattr(rule, name)
        if value > 1:
            raise InvalidValue(f"{rule.name}: {name} must lie in (0, 1], got {value!r}.")


def check_damping(rule: Rule) -> None:
    """Raise InvalidValue unless the `damping` of `rule` is a finite number >= 0."""
    value = getattr(rule, "damping")  # noqa: B009  # not every rule has it
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value < math.inf):
        raise InvalidValue(
            f"{rule.name}: damping must be a finite number >= 0 (0 whitens fully), got {value!r}; "
            "for no whitening at all use the rule 'center'."
        )


def transform(state: State, centred: Tensor) -> Tensor:
    """Apply the transform of a state to centred rows: x = D (z - mean).

    Args:
        state: Holds `matrix`, or `directions` and `suppression`, or neither (D = I).
        centred: Shape (..., features).

    Returns:
        Decorrelated rows, shape (..., features). Cost: features^2 a row dense, 2 k features low rank.
    """
    if "matrix" in state:
        return torch.nn.functional.linear(centred, state["matrix"])
    if "directions" in state:
        directions = state["directions"]
        inhibition = (centred @ directions) * state["suppression"]
        if inhibition.dim() == 2:  # one fused pass over the output
            return torch.addmm(centred, inhibition, directions.T, alpha=-1)
        return centred - inhibition @ directions.T
    return centred


def transform_(state: State, centred: Tensor) -> Tensor:
    """Apply a low-rank transform to centred rows in their place.

    Args:
        state: Holds `directions` and `suppression`.
        centred: Shape (rows, features); overwritten.

    Returns:
        The same tensor. Cost: 4 k features a row.
    """
    directions = state["directions"]
    inhibition = (centred @ directions) * state["suppression"]
    return centred.addmm_(inhibition, directions.T, alpha=-1)


def dense_matrix(state: State, features: int, like: Tensor) -> Tensor:
    """The dense equivalent D of a state's transform, shape (features, features)."""
    if "matrix" in state:
        return state["matrix"]
    matrix = torch.eye(features, dtype=like.dtype, device=like.device)
    if "directions" in state:
        directions = state["directions"]
        matrix.addmm_(directions * state["suppression"], directions.T, alpha=-1)
    return matrix
