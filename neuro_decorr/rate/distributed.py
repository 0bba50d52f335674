"""Updates from the rows of all processes, so that D is the same in each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
import torch.distributed as dist
from torch import Tensor

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.rate.parameter_groups import Layer
from neuro_decorr.rate.record import Record
from neuro_decorr.rules import Joint, Needs
from neuro_decorr.rules._sums import cut, squares

Processes: TypeAlias = "bool | dist.ProcessGroup"
"""True: the default group of torch.distributed, if it is initialised; False: this process alone; or a process group."""


def check_processes(processes: Processes) -> Processes:
    """Check the processes whose passes drive an update, and return them.

    Raises:
        InvalidValue: The value is neither True nor False nor a process group.
    """
    of_torch = dist.is_available() and isinstance(processes, dist.ProcessGroup)
    if not isinstance(processes, bool) and not of_torch:
        raise InvalidValue(
            f"processes must be True (all of torch.distributed), False (this one alone), or a process group such as "
            f"the result of torch.distributed.new_group(), got {shown(processes)}."
        )
    return processes


def group_of(processes: Processes) -> dist.ProcessGroup | None:
    """Group of the processes that step together, or None if this process steps alone."""
    if processes is False or not dist.is_available() or not dist.is_initialized():
        return None
    group = dist.group.WORLD if processes is True else processes
    return group if group is not None and dist.get_world_size(group) > 1 else None


def _needs_of(layer: Layer, state: dict[str, Any]) -> Needs:
    """Rows or sums that the processes must send each other for the next update of a layer.

    Args:
        layer: Layer whose rule is asked.
        state: State of the plasticity for this layer.
    """
    module = layer.module
    if module.structure == "blocks":
        return Needs()  # every group of units has its own norms
    tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    if module.groups > 1:
        tensors = {name: tensor[0] for name, tensor in tensors.items()}
    needs = layer.settings.rule.needs(tensors, module.features)
    in_sums = module.structure == "centering" or (module.groups == 1 and module.structure != "sparse")
    return needs if in_sums else Needs(needs.rows)


@final
class _Summed(Joint):
    """Rows that all processes have of a layer, summed by all_reduce, which returns the same bits in every process."""

    def __init__(self, counts: Tensor, scales: Tensor, group: dist.ProcessGroup) -> None:
        self._group = group
        self.rows = int(counts[:, _ROWS].sum())
        self.rows_before = int(counts[: dist.get_rank(group), _ROWS].sum())
        self.input_squares, self.output_squares = (counts[:, _SQUARES:] * scales.square().unsqueeze(1)).sum(0).tolist()

    def total(self, part: Tensor) -> Tensor:
        dist.all_reduce(part, group=self._group)
        return part


_ROWS, _SEEN, _WEIGHT, _SQUARES = range(4)


@dataclass(frozen=True)
class _Part:
    """Part of a layer's rows that this process has.

    Attributes:
        record: Rows, scaled by their weight among the rows of all processes; none if the layer was not used here.
        counts: Rows, rows seen, mean weight, squares of inputs and of outputs of each process; (processes, 5), float64.
        needs: Rows or sums that the rule needs.
        joint: Rows of all processes, if sums take the place of rows.
    """

    record: Record
    counts: Tensor
    needs: Needs
    joint: _Summed | None

    @property
    def kept(self) -> list[int]:
        """Number of rows of each process."""
        return [int(count) for count in self.counts[:, _ROWS]]

    def message(self) -> Tensor:
        """Numbers that the rule reads of each row, shape (most rows of a process, ..., numbers)."""
        inputs, outputs, *_ = self.record
        if self.needs.rows == "inputs":
            sent = inputs
        elif self.needs.rows == "outputs":
            sent = torch.cat([outputs, torch.linalg.vector_norm(inputs, dim=-1, keepdim=True)], dim=-1)
        else:
            sent = torch.cat([inputs, outputs], dim=-1)
        message = sent.new_zeros(max(self.kept), *sent.shape[:-2], sent.shape[-1])  # of one shape in all processes
        message[: sent.shape[-2]] = sent.movedim(-2, 0)
        return message

    def read(self, messages: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs and outputs of all processes, in the order of the ranks."""
        rows = torch.cat([one[:count] for one, count in zip(messages, self.kept, strict=True)]).movedim(0, -2)
        if self.needs.rows == "inputs":
            return rows, rows
        if self.needs.rows == "outputs":
            outputs = rows[..., :-1]
            inputs = torch.zeros_like(outputs)
            inputs[..., 0] = rows[..., -1]  # any row of this norm will do
            return inputs, outputs
        inputs, outputs = rows.chunk(2, dim=-1)
        return inputs, outputs


def gathered(
    records: Sequence[Record | None], layers: Sequence[Layer], states: Mapping[Any, Any], group: dist.ProcessGroup
) -> list[Record | None]:
    """Join the records of all processes, layer by layer.

    Rows of all layers are gathered in one message. If the rule takes sums with fewer numbers, its update forms them
    (`Joint.total`). In a ring a process sends each number that it gathers about once, and each number that it sums
    twice.

    Args:
        records: Records of this process, one per layer; None for a layer that was not used here.
        layers: Layers, the same in all processes.
        states: States of the plasticity, by the mean of the layer.
        group: Processes, each of which must call this function.

    Returns:
        Record of every layer with the rows of all processes, in the order of the ranks and bitwise the same in all of
        them, or with the rows of this process and their `joint`; and the sum over all rows.
    """
    likes = [layer.module.mean for layer in layers]
    needs = [_needs_of(layer, states[like]) for layer, like in zip(layers, likes, strict=True)]
    counts = torch.tensor([_counts(record, of) for record, of in zip(records, needs, strict=True)], dtype=torch.float64)
    of_processes = torch.stack(_all_gather(counts.to(likes[0].device), group)).cpu()
    parts: dict[int, _Part] = {}
    kinds: dict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
    for index, (record, like, of) in enumerate(zip(records, likes, needs, strict=True)):
        if int(of_processes[:, index, _ROWS].sum()):
            parts[index] = _part(record, like, of, of_processes[:, index], group)
            kinds[like.device, like.dtype].append(index)
    joined: list[Record | None] = [None] * len(records)
    for indices in kinds.values():
        deviations = torch.cat([parts[index].record.deviation.flatten() for index in indices])
        dist.all_reduce(deviations, group=group)
        sent = [parts[index].message() for index in indices if parts[index].joint is None]
        received = _all_gather(torch.cat([each.flatten() for each in sent]), group) if sent else []
        unread = iter(zip(*(cut(one, sent) for one in received), strict=True))
        for index, deviation in zip(indices, cut(deviations, [likes[index] for index in indices]), strict=True):
            part = parts[index]
            inputs, outputs = part.read(next(unread)) if part.joint is None else part.record[:2]
            seen = float(part.counts[:, _SEEN].sum())
            joined[index] = Record(inputs, outputs, deviation, seen, joint=part.joint)
    return joined


def _counts(record: Record | None, needs: Needs) -> list[float]:
    if record is None:
        return [0.0, 0.0, 1.0, 0.0, 0.0]
    summed = (0.0, 0.0) if needs.sums is None else (squares(record.inputs), squares(record.outputs))
    return [record.inputs.shape[-2], float(record.seen), record.weight, *summed]


def _part(record: Record | None, like: Tensor, needs: Needs, counts: Tensor, group: dist.ProcessGroup) -> _Part:
    if record is None:
        nothing = like.new_zeros(*like.shape[:-1], 0, like.shape[-1])
        record = Record(nothing, nothing, torch.zeros_like(like), 0.0)
    weights, rows = counts[:, _WEIGHT], counts[:, _ROWS]
    present = weights[rows > 0]
    scales = torch.ones_like(weights)
    if bool((present != present[0]).any()):  # each process has scaled its rows by their own mean weight
        scales = (weights * rows.sum() / (weights @ rows)).sqrt()
        scale = float(scales[dist.get_rank(group)])
        record = record._replace(inputs=record.inputs * scale, outputs=record.outputs * scale)
    per_row = {
        "all": 2 * like.numel(),
        "inputs": like.numel(),
        "outputs": like.numel() + like.numel() // like.shape[-1],
    }
    in_sums = needs.sums is not None and 2 * needs.sums < int(rows.sum()) * per_row[needs.rows]
    return _Part(record, counts, needs, _Summed(counts, scales, group) if in_sums else None)


def _all_gather(message: Tensor, group: dist.ProcessGroup) -> list[Tensor]:
    received = [torch.empty_like(message) for _ in range(dist.get_world_size(group))]
    dist.all_gather(received, message, group=group)
    return received
