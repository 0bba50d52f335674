"""Connections of a layer, prepared once: disjoint groups, or rows of a sparse matrix with their triangles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import final

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rules.connectivity import Connectivity, chunks

_CHUNK = 1 << 18
"""Number of connections whose triangles are found at a time."""


@final
@dataclass(frozen=True, eq=False)
class Pattern:
    """Connections among the units of a layer.

    Attributes:
        connectivity: Description of the connections.
        features: Number of units.
    """

    connectivity: Connectivity
    features: int

    @cached_property
    def _pairs(self) -> tuple[Tensor, Tensor]:
        return self.connectivity.pairs(self.features)

    @cached_property
    def groups(self) -> dict[int, Tensor] | None:
        """Members of disjoint groups by the size of the group, shape (groups, size); None for other connections.

        The connections are disjoint groups if they are symmetric and transitive.
        """
        labels = self.connectivity.groups(self.features)
        if labels is None:
            rows, columns = self._pairs
            labels = torch.full((self.features,), self.features).scatter_reduce_(0, rows, columns, "amin")
            heard = torch.bincount(rows, minlength=self.features)
            members = torch.bincount(labels, minlength=self.features)
            if not bool((labels[rows] == labels[columns]).all()) or not torch.equal(heard, members[labels]):
                return None
        order = labels.argsort(stable=True)
        _, sizes = torch.unique_consecutive(labels[order], return_counts=True)
        of_member = sizes.repeat_interleave(sizes)
        return {size: order[of_member == size].view(-1, size) for size in sorted(set(sizes.tolist()))}

    @property
    def is_full(self) -> bool:
        """True if all units are connected with all."""
        return self.groups is not None and list(self.groups) == [self.features]

    @cached_property
    def columns(self) -> Tensor:
        """Units that send, row after row, int32."""
        return self._pairs[1].int()

    @cached_property
    def row_starts(self) -> Tensor:
        """Index of the first connection of each unit, and the number of connections, int32, shape (features + 1,)."""
        counts = torch.bincount(self._pairs[0], minlength=self.features)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()

    @cached_property
    def matrix(self) -> Tensor:
        """Connections as a boolean matrix."""
        return self.connectivity.matrix(self.features)

    @cached_property
    def own(self) -> Tensor:
        """Index of the connection of each unit with itself."""
        rows, columns = self._pairs
        return (rows == columns).nonzero().squeeze(1)

    @cached_property
    def triangles(self) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs of connections (i, k), (k, j) for every connection (i, j): indices of both, and starts; int32.

        Cost: 8 bytes per triangle.

        Raises:
            InvalidValue: There are more triangles than int32 can count.
        """
        rows, columns = self._pairs
        keys, counts = rows * self.features + columns, torch.bincount(rows, minlength=self.features)
        starts = counts.cumsum(0) - counts
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for first in chunks(len(rows), _CHUNK):
            fan = counts[columns[first]]
            one = first.repeat_interleave(fan)
            begins = starts[columns[first]] - (fan.cumsum(0) - fan)
            other = torch.arange(int(fan.sum())) + begins.repeat_interleave(fan)
            wanted = rows[one] * self.features + columns[other]
            closing = torch.searchsorted(keys, wanted).clamp_max_(len(keys) - 1)
            closed = keys[closing] == wanted
            found.append((closing[closed].int(), one[closed].int(), other[closed].int()))
        closing, one, other = (torch.cat(parts) for parts in zip(*found, strict=True))
        if len(closing) >= 2**31:
            raise InvalidValue(
                f"{self.connectivity} has {len(closing):.1e} triangles of connections, and at most {2**31:.1e} are "
                "allowed: use fewer connections."
            )
        order = closing.argsort(stable=True)
        ends = torch.bincount(closing, minlength=len(rows)).cumsum(0)
        return one[order], other[order], torch.cat([ends.new_zeros(1), ends]).int()


@lru_cache(maxsize=64)
def pattern_of(connectivity: Connectivity, features: int) -> Pattern:
    """Prepared connections of a layer; the same object for the same description."""
    return Pattern(connectivity, features)
