"""One update from the rows of all processes, so that D is the same in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.rate.record import Record

Processes: TypeAlias = "bool | dist.ProcessGroup"
"""True: all of torch.distributed's default group, where it is initialised; False: this one alone; or a group."""


def check_processes(processes: Processes) -> Processes:
    """Whose passes drive an update, checked.

    Raises:
        InvalidValue: Neither True nor False nor a process group.
    """
    of_torch = dist.is_available() and isinstance(processes, dist.ProcessGroup)
    if not isinstance(processes, bool) and not of_torch:
        raise InvalidValue(
            f"processes must be True (all of torch.distributed), False (this one alone), or a process group such as "
            f"torch.distributed.new_group() returns, got {shown(processes)}."
        )
    return processes


def group_of(processes: Processes) -> dist.ProcessGroup | None:
    """The group whose processes step together, or None where this process steps alone."""
    if processes is False or not dist.is_available() or not dist.is_initialized():
        return None
    group = dist.group.WORLD if processes is True else processes
    return group if group is not None and dist.get_world_size(group) > 1 else None


def gathered(
    records: Sequence[Record | None], likes: Sequence[Tensor], group: dist.ProcessGroup
) -> list[Record | None]:
    """The records of all processes joined, layer by layer, bitwise the same in all of them.

    Cost: one small message, and one of 2 rows + 1 times features numbers a layer that has been used anywhere.

    Args:
        records: Of this process, one a layer; None where it was not used here.
        likes: One tensor a layer, of the shape of its mean, on its device and of its type.
        group: The processes; each must call this with the same layers.

    Returns:
        For every layer the rows of all processes, in the order of the ranks, and the sum over all of them.
    """
    counts = torch.tensor(
        [[r.inputs.shape[-2], float(r.seen)] if r else [0.0, 0.0] for r in records], dtype=torch.float64
    )
    of_processes = torch.stack(_all_gather(counts.to(likes[0].device), group)).cpu()
    return [
        _gather_layer(record, like, of_processes[:, layer], group)
        for layer, (record, like) in enumerate(zip(records, likes, strict=True))
    ]


def _gather_layer(record: Record | None, like: Tensor, counts: Tensor, group: dist.ProcessGroup) -> Record | None:
    kept, seen = [int(count) for count in counts[:, 0]], counts[:, 1]
    most = max(kept)
    if most == 0:
        return None
    message = like.new_zeros(2 * most + 1, *like.shape)  # messages of one group must have one shape
    if record is not None:
        rows = record.inputs.shape[-2]
        message[:rows], message[most : most + rows] = record.inputs.movedim(-2, 0), record.outputs.movedim(-2, 0)
        message[-1] = record.deviation
    messages = _all_gather(message, group)
    inputs = torch.cat([one[:rows] for one, rows in zip(messages, kept, strict=True)])
    outputs = torch.cat([one[most : most + rows] for one, rows in zip(messages, kept, strict=True)])
    deviation = torch.stack([one[-1] for one in messages]).sum(dim=0)
    return Record(inputs.movedim(0, -2), outputs.movedim(0, -2), deviation, float(seen.sum()))


def _all_gather(message: Tensor, group: dist.ProcessGroup) -> list[Tensor]:
    received = [torch.empty_like(message) for _ in range(dist.get_world_size(group))]
    dist.all_gather(received, message, group=group)
    return received
