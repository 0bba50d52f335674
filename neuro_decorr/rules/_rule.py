r"""What a rule is: a frozen description and the update of one layer's lateral weights.

Row form throughout, as torch stores batches: $x = D (z - \mu)$ for a column is
``outputs = inputs @ D.T`` for a batch of centred rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal, NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.rules._residual import Increment, add_

State = dict[str, Tensor]
"""The tensors of one layer: its transform (`matrix`, or `directions`, `suppression` and `gain`) and the rule's
statistics. Those of a grouped layer are stacked along a first dimension."""

Structure = Literal["centering", "dense", "low_rank"]
"""`centering`: D = I. `dense`: a full matrix. `low_rank`: D = g (I - U diag(s) U^T) with k columns and a scalar g."""

Equivariance = Literal["general", "orthogonal", "covariant", "none"]
"""Under which changes of basis of the inputs a rule takes the same course; see `Rule.equivariance`."""

TRANSFORM: dict[Structure, tuple[str, ...]] = {
    "centering": (),
    "dense": ("matrix",),
    "low_rank": ("directions", "suppression", "gain"),
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
        r"""What keeps the layer's function, exactly: rows of $W (D_{old} D_{new}^{-1} - I)$.

        The increment, not the new weight: it is small, and so is its rounding.

        Args:
            weight: W, shape (outputs, features).
        """

    @final
    def compensate_(self, weight: Tensor, residual: Tensor | None = None) -> None:
        r"""Keep the layer's function: $W \leftarrow W D_{old} D_{new}^{-1}$, in place.

        Args:
            weight: W, shape (outputs, features).
            residual: What the weight's floating type could not hold so far, see `residual_of`; updated.
        """
        add_(weight, self.increment(weight), residual)


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A plasticity rule for lateral weights: description, update and closed-form fixed point.

    A subclass is a frozen dataclass of the rule's parameters. It declares the class attributes below and
    implements `update_` and `fixed_point`; registering it (`neuro_decorr.rules.register`) gives it a row in
    the table of rules and the whole parametrised test suite.

    Attributes:
        name: What `get` calls it.
        title: What it does, in a line.
        equation: The update, as text.
        fixed_point_text: The outputs' covariance at rest, as text.
        locality: What a synapse has to know.
        cost: Flop of an update.
        source: Author, year, identifier.
        structure: What D is.
        fixed_point_up_to: What `fixed_point` leaves free.
        rate: Plasticity rate per update (dimensionless unless the rule says otherwise).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    equation: ClassVar[str]
    fixed_point_text: ClassVar[str]
    locality: ClassVar[str]
    cost: ClassVar[str]
    source: ClassVar[str]
    structure: ClassVar[Structure]
    fixed_point_up_to: ClassVar[Literal["nothing", "scale", "unit_scales"]] = "nothing"
    detects_divergence: ClassVar[bool] = False
    """Whether `update_` raises Diverged for rows that are not finite, before it moves anything; if not, they are
    looked at before every update, at the cost of one more pass over the sampled outputs."""
    largest_rate: ClassVar[float | None] = None
    """The largest rate that the rule can take, if there is one: 1 for a weight of the newest sample in an average."""

    rate: float

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: Some are outside their range; the message names all of them.
        """
        checks.refuse(self.name, *self.problems())

    def problems(self) -> Iterator[str | None]:
        """What is wrong with the parameters, by `neuro_decorr.checks`; a rule adds what its own must be."""
        yield checks.number("rate", self.rate, above=0, most=self.largest_rate)

    def check_rate(self, rate: float) -> None:
        """Raise InvalidValue unless a rate is one that the rule can take; at 0 the transform stays as it is.

        Args:
            rate: Of one update, as a schedule may have set it.
        """
        allowed = checks.number("the plasticity rate", rate, least=0, most=self.largest_rate, hint="0 freezes D")
        checks.refuse(self.name, allowed)

    @property
    def silent_units_bounded(self) -> bool:
        """Whether D stays bounded for ever where units are silent."""
        return True

    @property
    def equivariance(self) -> Equivariance:
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
        """The state before the first update: the transform is the identity. A low-rank rule has its own.

        Args:
            features: Number of units of the layer's input.
            dtype: Floating type of the state.
            device: Where the state lives.

        Returns:
            The tensors of the transform and of the rule's statistics.
        """
        if self.structure != "dense":
            return {}
        matrix = torch.eye(features, dtype=dtype, device=device)
        return {"matrix": matrix, **self.statistics(matrix)}

    def statistics(self, matrix: Tensor) -> State:
        """The tensors that a dense rule tracks besides its matrix, before the first update.

        Args:
            matrix: The initial matrix, on whose device they live.
        """
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

    def update_groups_(self, states: State, samples: Sample, rate: float) -> list[Change | None]:
        """One update of every group of a layer, in place: here one after the other.

        Args:
            states: The tensors of `initial_state`, stacked along a first dimension.
            samples: The same rows of every group: inputs and outputs (groups, rows, features), mean (groups, features).
            rate: As in `update_`.

        Returns:
            What happened to the transform of each.
        """
        groups = range(len(samples.mean))
        return [
            self.update_(
                {name: tensor[group] for name, tensor in states.items()},
                Sample(samples.inputs[group], samples.outputs[group], samples.mean[group]),
                rate,
            )
            for group in groups
        ]

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

    def largest_gain(self, features: int, least_power: float) -> float:
        """The largest singular value that D can ever have, whatever the inputs are; infinity where none is known.

        Args:
            features: Number of units.
            least_power: The least mean power of a batch that was not silent.
        """
        return math.inf


def transform(state: State, centred: Tensor) -> Tensor:
    """Apply the transform of a state to centred rows: x = D (z - mean).

    Args:
        state: Holds `matrix`, or `directions`, `suppression` and `gain`, or neither (D = I).
        centred: Shape (..., features); of a grouped layer (groups, rows, features).

    Returns:
        Decorrelated rows, of the same shape. Cost: features^2 a row dense, 2 k features low rank.
    """
    if "matrix" in state:
        matrix = state["matrix"]
        if matrix.dim() == 2:
            return torch.nn.functional.linear(centred, matrix)
        return (matrix @ centred.mT).mT  # several times as fast for many small groups as centred @ matrix.mT
    if "directions" in state:
        directions = state["directions"]
        if directions.dim() == 3:
            inhibition = (centred @ directions) * state["suppression"].unsqueeze(1)
            return (centred - inhibition @ directions.mT) * state["gain"].view(-1, 1, 1)
        inhibition = (centred @ directions) * state["suppression"]
        if inhibition.dim() == 2:  # one fused pass over the output
            return torch.addmm(centred, inhibition, directions.T, alpha=-1) * state["gain"]
        return (centred - inhibition @ directions.T) * state["gain"]
    return centred


def transform_(state: State, centred: Tensor) -> Tensor:
    """Apply a low-rank transform to centred rows in their place.

    Args:
        state: Holds `directions`, `suppression` and `gain`.
        centred: Shape (rows, features); overwritten.

    Returns:
        The same tensor. Cost: 4 k features a row.
    """
    directions, gain = state["directions"], state["gain"]
    inhibition = (centred @ directions) * state["suppression"]
    if gain.device.type == "cpu":  # a look at it costs nothing there, and saves a pass over the rows
        factor = float(gain)
        return centred.addmm_(inhibition, directions.T, beta=factor, alpha=-factor)
    return centred.addmm_(inhibition, directions.T, alpha=-1).mul_(gain)


def dense_matrix(state: State, features: int, like: Tensor) -> Tensor:
    """The dense equivalent D of a state's transform, shape (features, features), or (groups, features, features).

    Args:
        state: Holds the transform.
        features: Number of units.
        like: Any tensor of the layer's type and device, with the groups as its first dimension if it has groups and
            two dimensions, such as its mean.
    """
    if "matrix" in state:
        return state["matrix"]
    identity = torch.eye(features, dtype=like.dtype, device=like.device)
    if "directions" in state:
        grouped = state["directions"].dim() == 3
        return transform(state, identity.expand(len(state["gain"]), -1, -1) if grouped else identity)  # symmetric
    return identity
