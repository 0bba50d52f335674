r"""Connectivity of units, which confines the D of a rule, or its lateral inhibition, to some pairs of units.

A connectivity is a frozen description, given to a rule: ``nd.rules.get("whitening", connectivity=Band(4))``. Every unit
is connected with itself. The page docs/locality.md gives the confined update and its fixed point for every rule.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from torch import Tensor

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown

_CHUNK = 1 << 22
"""Number of pairs examined at a time, which bounds the entries of a dense matrix that exist at once."""


class Connectivity(ABC):
    """Set of pairs of units that contains (i, i) for every unit i."""

    @abstractmethod
    def pairs(self, features: int) -> tuple[Tensor, Tensor]:
        """Connections among the units of a layer.

        Args:
            features: Number of units.

        Returns:
            Receiving unit and sending unit of each connection, int64, shape (connections,), sorted.

        Raises:
            InvalidValue: The description does not fit that number of units.
        """

    def groups(self, features: int) -> Tensor | None:  # a subclass may know them without a search
        """Group of every unit, shape (features,), if the connectivity is known to be disjoint groups; else None."""
        return None

    @final
    def matrix(self, features: int) -> Tensor:
        """Connections as a boolean matrix, shape (features, features): row i marks the units that unit i hears."""
        rows, columns = self.pairs(features)
        made = torch.zeros(features, features, dtype=torch.bool)
        made[rows, columns] = True
        return made


@final
@dataclass(frozen=True)
class Groups(Connectivity):
    """Disjoint groups of neighbouring units, connected all to all within a group; the last group may be smaller.

    Attributes:
        size: Number of units in a group, at least one.
    """

    size: int

    def __post_init__(self) -> None:
        """Raise InvalidValue unless the size is a whole number of at least one."""
        checks.refuse("Groups", checks.whole_number("size", self.size, least=1))

    def groups(self, features: int) -> Tensor:
        """Group of every unit: units in order, `size` at a time."""
        return torch.arange(features) // self.size

    def pairs(self, features: int) -> tuple[Tensor, Tensor]:
        """All pairs within a group."""
        first = self.groups(features) * self.size
        others = first.unsqueeze(1) + torch.arange(min(self.size, features))
        return _kept(others, others < features)


@final
@dataclass(frozen=True)
class Band(Connectivity):
    """Units in a row, each connected with its neighbours up to a distance.

    Attributes:
        width: Largest distance, a whole number of units; a unit has up to 2 width neighbours.
    """

    width: int

    def __post_init__(self) -> None:
        """Raise InvalidValue unless the width is a whole number of at least zero."""
        checks.refuse("Band", checks.whole_number("width", self.width, least=0))

    def pairs(self, features: int) -> tuple[Tensor, Tensor]:
        """All pairs with |i - j| <= width."""
        width = min(self.width, features - 1)
        others = torch.arange(features).unsqueeze(1) + torch.arange(-width, width + 1)
        return _kept(others, (others >= 0) & (others < features))


@final
@dataclass(frozen=True)
class Neighbourhood(Connectivity):
    """Units on a grid, each connected with those within a radius.

    If a layer has more units than the grid has positions, every channel has the whole grid, in the order (channels,
    height, width) of `torch.nn.Flatten`; units of different channels are neighbours if their positions are.

    Attributes:
        shape: Shape of the grid, such as (28, 28); any number of dimensions.
        radius: Largest Euclidean distance, in steps of the grid: 1 reaches the next units along an axis, 1.5 also the
            next ones along a diagonal.
    """

    shape: tuple[int, ...]
    radius: float

    def __post_init__(self) -> None:
        """Raise InvalidValue unless the shape is a tuple of sizes and the radius is not negative."""
        checks.refuse("Neighbourhood", _grid_problem(self.shape), checks.number("radius", self.radius, least=0))

    def pairs(self, features: int) -> tuple[Tensor, Tensor]:
        """All pairs whose positions are at most the radius apart."""
        channels = _channels("Neighbourhood", self.shape, features)
        reach = min(math.floor(self.radius), max(self.shape))
        steps = torch.cartesian_prod(*[torch.arange(-reach, reach + 1)] * len(self.shape)).view(-1, len(self.shape))
        return _shifted(self.shape, steps[steps.square().sum(dim=1) <= self.radius**2], channels)


@final
@dataclass(frozen=True)
class Nearest(Connectivity):
    """Units on a grid, each of which hears its k nearest others: a limit of the fan-in that depends on the position.

    Attributes:
        shape: Shape of the grid, with channels as in `Neighbourhood`; (features,) for units in a row.
        count: k. Among units at the same distance, those of smaller index come first.
    """

    shape: tuple[int, ...]
    count: int

    def __post_init__(self) -> None:
        """Raise InvalidValue unless the shape is a tuple of sizes and the count a whole number of at least zero."""
        checks.refuse("Nearest", _grid_problem(self.shape), checks.whole_number("count", self.count, least=0))

    def pairs(self, features: int) -> tuple[Tensor, Tensor]:
        """Pairs of each unit with itself and with the k others at the smallest Euclidean distance."""
        _channels("Nearest", self.shape, features)
        positions = torch.cartesian_prod(*[torch.arange(size, dtype=torch.float64) for size in self.shape])
        positions = positions.view(-1, len(self.shape)).repeat(features // math.prod(self.shape), 1)
        found = []
        for part in chunks(features, max(1, _CHUNK // features)):
            distance = torch.cdist(positions[part], positions)
            distance[torch.arange(len(part)), part] = -1
            found.append(distance.argsort(dim=1, stable=True)[:, : self.count + 1].sort(dim=1).values)
        others = torch.cat(found)
        return _kept(others, torch.ones_like(others, dtype=torch.bool))


@final
@dataclass(frozen=True)
class FanIn(Connectivity):
    """Limited fan-in, as many chips have: every unit hears a number of other units, drawn at random.

    Attributes:
        count: Number of other units that each unit hears; a smaller layer is connected all to all.
        seed: Seed of the draw.
    """

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise InvalidValue unless the count and the seed are whole numbers of at least zero."""
        least = 0
        checks.refuse("FanIn", *(checks.whole_number(n, getattr(self, n), least=least) for n in ("count", "seed")))

    def pairs(self, features: int) -> tuple[Tensor, Tensor]:
        """Pairs of each unit with itself and with others drawn without repetition."""
        generator = torch.Generator().manual_seed(self.seed)
        count = min(self.count, features - 1)
        found = []
        for part in chunks(features, max(1, _CHUNK // features)):
            order = torch.rand(len(part), features, generator=generator)
            order[torch.arange(len(part)), part] = 2
            found.append(order.topk(count + 1, dim=1).indices.sort(dim=1).values)
        others = torch.cat(found)
        return _kept(others, torch.ones_like(others, dtype=torch.bool))


@final
class Mask(Connectivity):
    """Any connections: the nonzero entries of a matrix, and the connection of each unit with itself."""

    def __init__(self, matrix: Tensor) -> None:
        """Keep the positions of the nonzero entries. Memory: 8 bytes per connection.

        Args:
            matrix: Boolean or numbers, shape (features, features), dense or a sparse tensor of torch; row i marks the
                units that unit i hears.

        Raises:
            InvalidValue: The matrix is not a square tensor.
        """
        given: object = matrix  # users may err
        if not isinstance(given, Tensor) or given.dim() != 2 or given.shape[0] != given.shape[1]:
            got = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else shown(given)
            raise InvalidValue(f"the matrix of a Mask must be a square tensor of shape (units, units), got {got}.")
        places = matrix.detach().cpu()
        if places.layout == torch.strided:
            self._keep(len(matrix), *places.nonzero(as_tuple=True))
        else:
            places = places.to_sparse().coalesce()
            self._keep(len(matrix), *places.indices()[:, places.values() != 0])

    def _keep(self, features: int, rows: Tensor, columns: Tensor) -> None:
        own = torch.arange(features)
        self.features = features
        self._keys = torch.unique(torch.cat([rows * features + columns, own * features + own]))

    @classmethod
    def of_pairs(cls, features: int, rows: Tensor, columns: Tensor) -> Mask:
        """Make the mask of a list of connections.

        Args:
            features: Number of units.
            rows: Receiving units, shape (connections,).
            columns: Sending units, shape (connections,).
        """
        made = cls.__new__(cls)
        made._keep(features, rows, columns)
        return made

    def pairs(self, features: int) -> tuple[Tensor, Tensor]:
        """Connections as given, and those of each unit with itself."""
        if features != self.features:
            raise InvalidValue(
                f"this Mask connects {self.features} units, and the layer has {features}: give a Mask of shape "
                f"({features}, {features}), or a connectivity per parameter group."
            )
        return self._keys // features, self._keys % features

    def __eq__(self, other: object) -> bool:
        """True if the connections are the same."""
        return isinstance(other, Mask) and self.features == other.features and torch.equal(self._keys, other._keys)

    def __hash__(self) -> int:
        """Hash of the connections."""
        return hash((self.features, len(self._keys), int(self._keys.sum())))

    def __repr__(self) -> str:
        """Number of units and of connections."""
        return f"Mask({self.features} units, {len(self._keys)} connections)"


Relation = Literal["inclusion", "equality"]
"""`inclusion`: i hears j if all outputs that read i also read j. `equality`: the same outputs read i and j."""


def of_weight(weight: Tensor, relation: Relation = "inclusion") -> Mask:
    r"""Connections for which D leaves the zeros of a weight where they are when D is folded into the weight.

    $$(W D)_{oj} = \sum_i W_{oi} D_{ij}, \qquad
    D_{ij} \ne 0 \text{ only if every output that reads } i \text{ reads } j$$

    Then no output reads through D an input that it did not read before, and no larger set of connections has that
    property for every W with these zeros. The relation is transitive, so that products and inverses of such D have the
    same zeros. `equality` requires both directions: it gives disjoint groups of inputs with the same readers, which
    every rule can learn and compensation can follow.

    An unstructured mask leaves almost no connections: if each of m outputs reads each input with probability p, two
    inputs are connected with probability $(1 - p (1 - p))^m$, which is $8 \cdot 10^{-5}$ for m = 100 and p = 0.1. Masks
    with structure (blocks, groups of channels, whole inputs pruned, few outputs) leave that structure. An input that no
    output reads is connected with itself only.

    Args:
        weight: W, shape (outputs, features), or (groups, outputs, features) for connections that suit all groups.
        relation: `inclusion` or `equality`.

    Returns:
        The connections. Cost: 2 outputs features^2 flop, and memory in proportion to features.

    Raises:
        InvalidValue: The weight has another shape, or the relation is unknown.
    """
    checks.refuse("of_weight", checks.word("relation", relation, get_args(Relation)))
    if weight.dim() not in (2, 3):
        raise InvalidValue(
            "of_weight: weight must have the shape (outputs, features) or (groups, outputs, features), got "
            f"{tuple(weight.shape)}."
        )
    reads = (weight.detach().flatten(0, -2) != 0).cpu()
    features = reads.shape[1]
    wide = reads.to(torch.float32)
    read = reads.any(dim=0)
    rows, columns = [], []
    for part in chunks(features, max(1, _CHUNK // features)):
        alone = wide[:, part].T @ (1 - wide)  # number of outputs that read i and not j
        related = alone == 0
        if relation == "equality":
            related &= (1 - wide[:, part]).T @ wide == 0
        receiving, sending = (related & read[part].unsqueeze(1)).nonzero(as_tuple=True)
        rows.append(part[receiving])
        columns.append(sending)
    return Mask.of_pairs(features, torch.cat(rows), torch.cat(columns))


def chunks(count: int, size: int) -> Iterator[Tensor]:
    """Numbers from 0 to count - 1, in tensors of up to `size` numbers."""
    for start in range(0, count, size):
        yield torch.arange(start, min(count, start + size))


def _kept(others: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    rows = torch.arange(len(others)).unsqueeze(1).expand_as(others)
    return rows[keep], others[keep]


def _grid_problem(shape: object) -> str | None:
    sizes = isinstance(shape, tuple) and shape and all(type(size) is int and size > 0 for size in shape)
    return None if sizes else f"shape must be a tuple of sizes such as (28, 28), got {shown(shape)}"


def _channels(kind: str, shape: tuple[int, ...], features: int) -> int:
    positions = math.prod(shape)
    if features % positions:
        raise InvalidValue(
            f"{kind}: the {features} units of the layer are not a multiple of the {positions} positions of a grid of "
            f"{' x '.join(map(str, shape))}: give the shape of this layer's images, or a connectivity per parameter "
            "group."
        )
    return features // positions


def _shifted(shape: tuple[int, ...], steps: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """All pairs of units at given steps from each other on a grid."""
    positions = torch.cartesian_prod(*[torch.arange(size) for size in shape]).view(-1, len(shape))
    sizes = torch.tensor(shape)
    reached = positions.unsqueeze(1) + steps
    inside = ((reached >= 0) & (reached < sizes)).all(dim=2)
    strides = torch.tensor([math.prod(shape[axis + 1 :]) for axis in range(len(shape))])
    others = (reached * strides).sum(dim=2)
    if channels > 1:
        offsets = torch.arange(channels) * len(positions)
        others = (others.unsqueeze(2) + offsets).transpose(1, 2).flatten(1).repeat(channels, 1)
        inside = inside.unsqueeze(1).expand(-1, channels, -1).flatten(1).repeat(channels, 1)
    return _kept(others, inside)
