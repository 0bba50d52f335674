r"""D of disjoint groups of units: block-diagonal up to the order of the units, each block like a layer of its own.

A rule whose D is confined to groups acts in every group as in a layer: the update of a block needs the covariance
within the group only, and each group has its own statistics (power, gain, floor). Groups of one size are updated at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from neuro_decorr.rules._residual import Increment
from neuro_decorr.rules._state import Change, Sample, State

Update = Callable[[State, Sample], list[Change | None]]
"""Update of stacked groups, such as `Rule.update_groups_`."""


def sizes_in(state: Mapping[str, Tensor]) -> list[int]:
    """Sizes of the groups that a state holds."""
    return sorted(int(name.removeprefix("members_")) for name in state if name.startswith("members_"))


def initial_blocks(groups: Mapping[int, Tensor], state_of: Callable[[int], State]) -> State:
    """Blocks, members and statistics, stacked by size.

    Args:
        groups: Members of each group, by the size of the group.
        state_of: Function that returns the state of one group of a size before the first update.
    """
    made: State = {}
    for size, members in groups.items():
        for name, tensor in state_of(size).items():
            kept = "blocks" if name == "matrix" else name
            made[f"{kept}_{size}"] = tensor.expand(len(members), *tensor.shape).clone()
        made[f"members_{size}"] = members.to(made[f"blocks_{size}"].device)
    return made


def update_blocks_(state: State, sample: Sample, update: Update) -> Change | None:
    """Update every group once, in place."""
    changes: list[tuple[Tensor, Change]] = []
    for size in sizes_in(state):
        members = state[f"members_{size}"]
        ending = f"_{size}"
        kept = {name.removesuffix(ending): tensor for name, tensor in state.items() if name.endswith(ending)}
        del kept["members"]
        kept["matrix"] = kept.pop("blocks")
        count = len(members)
        inputs, outputs = (
            rows.index_select(1, members.flatten()).view(len(rows), count, size).transpose(0, 1).contiguous()
            for rows in sample[:2]
        )
        made = update(kept, Sample(inputs, outputs, sample.mean[members]))
        changes += [(of, change) for of, change in zip(members, made, strict=True) if change is not None]
    return BlocksChange(changes) if changes else None


def blocks_applied(state: Mapping[str, Tensor], rows: Tensor, transposed: bool) -> Tensor:
    """Rows D x, or D^T x if `transposed`; shape (..., features). Cost: 2 connections flop per row."""
    flat = rows.reshape(-1, rows.shape[-1])
    order, found = [], []
    for size in sizes_in(state):
        blocks, members = state[f"blocks_{size}"], state[f"members_{size}"].flatten()
        part = flat.index_select(1, members).view(len(flat), -1, size).transpose(0, 1)
        product = part @ (blocks if transposed else blocks.mT)
        found.append(product.transpose(0, 1).reshape(len(flat), -1))
        order.append(members)
    joined = found[0] if len(found) == 1 else torch.cat(found, dim=1)
    members = order[0] if len(order) == 1 else torch.cat(order)
    return joined.index_select(1, members.argsort()).view(rows.shape)


@final
@dataclass(frozen=True, eq=False)
class BlocksChange(Change):
    """Outcome of an update of the blocks.

    Attributes:
        changes: Members and change of every group whose block moved.
    """

    changes: list[tuple[Tensor, Change]]

    def increment(self, weight: Tensor) -> Increment:
        """Increment block by block. Cost: that of the blocks."""
        parts = [(members, change.increment(weight[:, members])) for members, change in self.changes]

        def rows_of(rows: slice) -> Tensor:
            made = torch.zeros_like(weight[rows], dtype=torch.promote_types(weight.dtype, torch.float32))
            for members, of_group in parts:
                made[:, members] = of_group(rows).to(made.dtype)
            return made

        return rows_of
