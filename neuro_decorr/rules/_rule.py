r"""Base class of the rules: a frozen description and the update of one layer's lateral weights.

Rules use the row form, in which torch stores batches: $x = D (z - \mu)$ for a column is ``outputs = inputs @ D.T`` for
a batch of centred rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.rules._blocks import initial_blocks, update_blocks_
from neuro_decorr.rules._pattern import Pattern, pattern_of
from neuro_decorr.rules._sparse import initial_sparse, seen_by_update
from neuro_decorr.rules._state import Change, Needs, Sample, State, Structure
from neuro_decorr.rules.connectivity import Connectivity

Confinement = Literal["none", "groups", "any", "inhibition"]
"""Connections to which a rule can be confined. `none`: the rule takes no connectivity; `groups`: disjoint groups of
units; `any`: D takes any connectivity; `inhibition`: the lateral inhibition M takes any connectivity, while
D = (I + M)^{-1} is full except for disjoint groups."""

_MOST_UNITS = 4096
"""Number of units up to which confined inhibition may have a full D: 4096^2 float64 entries are 134 MB."""

Equivariance = Literal["general", "orthogonal", "covariant", "none"]
"""Changes of basis of the inputs under which a rule takes the same course; see `Rule.equivariance`."""


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """Plasticity rule for lateral weights: description, update and closed-form fixed point.

    A subclass is a frozen dataclass of the rule's parameters. It declares the class attributes below and implements
    `update_` and `fixed_point`. Registration (`neuro_decorr.rules.register`) gives it a row in the table of rules and
    the whole parametrised test suite.

    Attributes:
        name: Name for `neuro_decorr.rules.get`.
        title: Summary of the rule in one line.
        equation: Update, as text.
        fixed_point_text: Covariance of the outputs at rest, as text.
        locality: Quantities that a synapse needs.
        cost: Flop per update.
        source: Author, year and identifier of the publication.
        structure: Structure of D.
        fixed_point_up_to: Scales that `fixed_point` leaves free: none, one for all units, or one for each unit.
        rate: Plasticity rate per update (dimensionless unless the rule says otherwise).
        connectivity: Pairs of units that D connects; None: all pairs. See `neuro_decorr.rules.connectivity`.

    Raises:
        InvalidValue: Parameters are outside their range; the message names all of them.
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
    """True if `update_` raises Diverged for rows that are not finite before it changes anything. If False, the
    plasticity checks the rows before every update, at the cost of one more pass over the sampled outputs."""
    largest_rate: ClassVar[float | None] = None
    """Largest rate that the rule can take: 1 for a weight of the newest sample in an average. None: no limit."""

    rate: float
    connectivity: Connectivity | None = None

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            InvalidValue: Parameters are outside their range; the message names all of them.
        """
        checks.refuse(self.name, *self.problems())

    def problems(self) -> Iterator[str | None]:
        """Problems of the parameters, by `neuro_decorr.checks`; a rule adds those of its own."""
        yield checks.number("rate", self.rate, above=0, most=self.largest_rate)
        given: object = self.connectivity
        if given is not None and not isinstance(given, Connectivity):
            yield f"connectivity must be one of neuro_decorr.rules.connectivity, such as Groups(16), got {shown(given)}"
        elif given is not None and self.confinement == "none":
            yield (
                f"connectivity confines a dense matrix D, and the D of this rule is {self.structure}: leave "
                "connectivity out"
            )

    def check_rate(self, rate: float) -> None:
        """Check the rate of an update.

        Args:
            rate: Rate of one update, as a schedule may have set it; 0 freezes the transform.

        Raises:
            InvalidValue: The rate is negative or above `largest_rate`.
        """
        allowed = checks.number("the plasticity rate", rate, least=0, most=self.largest_rate, hint="0 freezes D")
        checks.refuse(self.name, allowed)

    @property
    def silent_units_bounded(self) -> bool:
        """True if D stays bounded for ever although units are silent."""
        return True

    @property
    def equivariance(self) -> Equivariance:
        """Changes of basis A of the inputs under which the outputs take the same course, started from D A^{-1}.

        `general`: any invertible A. `orthogonal`: rotations; for a low-rank D, which cannot start from A^{-1}, the
        outputs rotate with the inputs. `covariant`: from D = I the outputs rotate with the inputs, but no other start
        absorbs the rotation. `none`: the course depends on the axes of the units.
        """
        return "orthogonal"

    def parameters(self) -> dict[str, object]:
        """Parameters of the rule by name, as `neuro_decorr.rules.get` takes them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @property
    def confinement(self) -> Confinement:
        """Connections to which D can be confined; `groups` needs no support of the rule, which acts on each group."""
        return "groups" if self.structure == "dense" else "none"

    @cached_property
    def unconfined(self) -> Rule:
        """Rule with the same parameters, without connectivity."""
        return self if self.connectivity is None else replace(self, connectivity=None)

    @final
    def structure_for(self, features: int) -> Structure:
        """Structure of D in a layer of so many units; a connectivity may change that of the rule to blocks or sparse.

        Raises:
            InvalidValue: The connectivity does not fit the layer, or the rule cannot be confined to it.
        """
        pattern = self.pattern(features)
        if pattern is None:
            return self.structure
        if pattern.groups is not None:
            return "blocks"
        if self.confinement == "any":
            return "sparse"
        if self.confinement == "inhibition" and features <= _MOST_UNITS:
            return "dense"
        published = " as published" if self.parameters().get("form") == "published" else ""
        only = f"with more than {_MOST_UNITS} units " if self.confinement == "inhibition" else ""
        raise InvalidValue(
            f"{self.name}{published} is confined to disjoint groups of units {only}only, got {self.connectivity}: use "
            "connectivity.Groups(...), or the rule 'whitening' or 'norm_preserving', which take any connections."
        )

    def pattern(self, features: int) -> Pattern | None:
        """Connections among the units of a layer; None if all units are connected."""
        pattern = None if self.connectivity is None else pattern_of(self.connectivity, features)
        return None if pattern is None or pattern.is_full else pattern

    @final
    def layer_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """State of a layer before the first update, with D confined to the connectivity of the rule.

        Args:
            features: Number of units of the layer's input.
            dtype: Floating type of the state.
            device: Device of the state.

        Returns:
            Tensors of the transform and of the rule's statistics.

        Raises:
            InvalidValue: The connectivity does not fit the layer, or the rule cannot be confined to it.
        """
        pattern, rule, structure = self.pattern(features), self.unconfined, self.structure_for(features)
        if pattern is None or structure == "dense":
            return rule.initial_state(features, dtype=dtype, device=device)
        if structure == "blocks":
            assert pattern.groups is not None
            return initial_blocks(pattern.groups, lambda size: rule.initial_state(size, dtype=dtype, device=device))
        made = initial_sparse(pattern, dtype, device)
        return {**made, **rule.statistics(made["values"])}

    @final
    def step_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Update a `layer_state` once, in place, as a `Plasticity` does; other arguments as of `update_`."""
        if self.connectivity is None or "matrix" in state:
            return self.update_(state, sample, rate)
        rule, features = self.unconfined, sample.inputs.shape[1]
        if "values" in state:
            return rule.update_(seen_by_update(state, pattern_of(self.connectivity, features)), sample, rate)
        return update_blocks_(state, sample, lambda states, samples: rule.update_groups_(states, samples, rate))

    @final
    def step_groups_(self, states: State, samples: Sample, rate: float) -> list[Change | None]:
        """Update every group of a grouped layer as `step_` does; arguments as of `update_groups_`."""
        if self.connectivity is None or "matrix" in states:
            return self.update_groups_(states, samples, rate)
        return [self.step_(state, sample, rate) for state, sample in _groups_of(states, samples)]

    def initial_state(
        self, features: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> State:
        """State before the first update, with the identity as the transform; low-rank rules override this method.

        Args:
            features: Number of units of the layer's input.
            dtype: Floating type of the state.
            device: Device of the state.

        Returns:
            Tensors of the transform and of the rule's statistics.
        """
        if self.structure != "dense":
            return {}
        matrix = torch.eye(features, dtype=dtype, device=device)
        return {"matrix": matrix, **self.statistics(matrix)}

    def statistics(self, matrix: Tensor) -> State:
        """Tensors that a dense rule tracks besides its matrix, before the first update.

        Args:
            matrix: Initial matrix, whose device and floating type the tensors share.
        """
        return {}

    @abstractmethod
    def update_(self, state: State, sample: Sample, rate: float) -> Change | None:
        """Update `state` once, in place (as the trailing underscore says in torch).

        Args:
            state: Tensors that `initial_state` made.
            sample: Rows that drive the update; their outputs are those of the current transform.
            rate: Plasticity rate of this update (a schedule may have changed the rate of the rule).

        Returns:
            Change of the transform, or None if it did not change.
        """

    def needs(self, state: State, features: int) -> Needs:
        """Rows, or sums over rows, that the next update needs; several processes send each other no more than that.

        Args:
            state: Tensors of the layer; the same in all processes.
            features: Number of units.

        Returns:
            All rows, unless the rule overrides this method. A rule that names fewer rows must not use the others, which
            hold arbitrary numbers. A rule that gives a number of `sums` may get a sample with a `joint`, and must use
            its rows only in sums by `Joint.total`.
        """
        return Needs()

    def update_groups_(self, states: State, samples: Sample, rate: float) -> list[Change | None]:
        """Update every group of a layer once, in place; the base class does so one group after the other.

        Args:
            states: Tensors of `initial_state`, stacked along a first dimension.
            samples: The same rows of every group: inputs and outputs (groups, rows, features), mean (groups, features).
            rate: Plasticity rate of this update.

        Returns:
            Change of the transform of each group, or None for a group whose transform did not change.
        """
        return [self.update_(state, sample, rate) for state, sample in _groups_of(states, samples)]

    def update(self, state: State, sample: Sample, rate: float | None = None) -> State:
        """Compute an update as a pure function, which leaves `state` as it is.

        Args:
            state: Tensors before the update.
            sample: Rows that drive the update.
            rate: Plasticity rate. None: the rate of the rule.

        Returns:
            Tensors after the update.
        """
        after = {name: tensor.clone() for name, tensor in state.items()}
        self.step_(after, sample, self.rate if rate is None else rate)
        return after

    @abstractmethod
    def fixed_point(self, covariance: Tensor) -> Tensor:
        """Covariance of the outputs at which the rule rests, in closed form.

        Args:
            covariance: Covariance of the inputs, shape (features, features), float64.

        Returns:
            Covariance of the outputs, determined up to the scales that `fixed_point_up_to` names.
        """

    def stability_limit(self, covariance: Tensor) -> float:
        """Largest rate at which the fixed point is locally stable, for exact statistics.

        Args:
            covariance: Covariance of the inputs, shape (features, features).

        Returns:
            The rate, or infinity if every allowed rate is stable.
        """
        return math.inf

    def largest_gain(self, features: int, least_power: float) -> float:
        """Bound on the largest singular value of D for all inputs.

        Args:
            features: Number of units.
            least_power: Least mean power of a batch that was not silent.

        Returns:
            The bound, or infinity if none is known.
        """
        return math.inf


def _groups_of(states: State, samples: Sample) -> Iterator[tuple[State, Sample]]:
    """State and sample of each group, as views, from those that are stacked along a first dimension."""
    for group, mean in enumerate(samples.mean):
        state = {name: tensor[group] for name, tensor in states.items()}
        yield state, Sample(samples.inputs[group], samples.outputs[group], mean)
