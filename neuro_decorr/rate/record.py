"""What a Decorrelation remembers of the forward passes since the last step, until a plasticity consumes it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro_decorr.errors import Unsupported

MOST_ROWS = 1024
"""More rows than these are thinned out, so that passes without a step take bounded memory."""
_ROOM = 8
"""Passes whose rows a compiled graph keeps before it thins them out: its tensors must not change their shapes."""


class Record(NamedTuple):
    """Sampled rows of all forward passes in train mode since the last step (detached copies).

    Attributes:
        inputs: Sampled rows of z - mean, shape (rows, features), or (groups, rows, features).
        outputs: The same rows of x, of the same shape; D (z - mean) where the module does not subtract the mean.
        deviation: Sum of z - mean over all rows, sampled or not, by their weights, shape (features,), or (groups,
            features): what moves the mean. Without meaning where the module does not centre.
        seen: How many rows these are, or the sum of their weights.
        kept: How many rows of `inputs` and `outputs`, from the first on, are meant; all where None. Both counts are
            tensors in a compiled graph, which must not depend on their values.
        weights: Those of the sampled rows, shape (rows,), while passes are joined; None where each counts one.
    """

    inputs: Tensor
    outputs: Tensor
    deviation: Tensor
    seen: float | Tensor
    kept: Tensor | None = None
    weights: Tensor | None = None

    def settled(self) -> Record:
        """The same outside of a compiled graph: the rows that are meant, by their weights, and counts as numbers."""
        return self._counted()._weighed()

    def _counted(self) -> Record:
        if self.kept is None:
            return self
        kept = int(self.kept)
        return Record(self.inputs[..., :kept, :], self.outputs[..., :kept, :], self.deviation, float(self.seen))

    def _weighed(self) -> Record:
        r"""Rows scaled by $\sqrt{w / \bar w}$, so that their covariance is the weighted one.

        Rows of equal weight stay as they are.
        """
        weights = self.weights
        if weights is None or bool((weights == weights[0]).all()):
            return self._replace(weights=None)
        return self._scaled(weights)

    def _scaled(self, weights: Tensor) -> Record:
        scale = (weights / weights.mean()).sqrt_().unsqueeze(1)
        return self._replace(inputs=self.inputs * scale, outputs=self.outputs * scale, weights=None)


def joined(earlier: Record | None, later: Record, passes: int = 1) -> Record:
    """The record of all forward passes: the rows of the earlier ones and of the last, and the sum over all rows.

    Args:
        earlier: Of the passes so far.
        later: Of the last pass, or of several of one size.
        passes: How many these are. What is kept of them is what would be kept of one after the other.

    Returns:
        Rows one below the other. Where they would be more than `MOST_ROWS` and more than the last pass has alone,
        that many, evenly spaced, every pass in proportion to its size. In a compiled graph eight times as many rows as
        the first pass had, if these are fewer.
    """
    if torch.compiler.is_compiling():
        return _with_room(later) if earlier is None else _joined_in_graph(earlier, later)
    before, seen, inputs, outputs, deviation = 0, 0.0, later.inputs, later.outputs, later.deviation
    weights = later.weights
    if earlier is not None:
        earlier = earlier._counted()
        before, seen = earlier.inputs.shape[-2], float(earlier.seen)
        inputs = torch.cat((earlier.inputs, inputs), dim=-2)
        outputs = torch.cat((earlier.outputs, outputs), dim=-2)
        deviation = earlier.deviation + deviation
        if earlier.weights is not None or weights is not None:
            weights = torch.cat((_weights_of(earlier), _weights_of(later)))
    kept = _thinned(before, seen, later.inputs.shape[-2] // passes, later.seen / passes, passes, inputs.device)
    if kept is not None:
        inputs, outputs = inputs[..., kept, :], outputs[..., kept, :]
        weights = None if weights is None else weights[kept]
    return Record(inputs, outputs, deviation, seen + later.seen, None, weights)


def in_backward() -> bool:
    """Whether autograd is running backward, where a forward pass can only be a checkpoint that is recomputed."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def in_transform() -> bool:
    """Whether a transform of torch.func is running, eagerly."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


def in_plain_python() -> bool:
    """Whether neither a compiler nor a transform of torch.func is at work."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is None


def transformed(tensor: Tensor) -> bool:
    """Whether a tensor is seen through a transform of torch.func."""
    return not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def traced_in_transform() -> bool:
    """Whether a transform of torch.func is being compiled, where no wrapper can be taken off a tensor.

    The question itself breaks the graph there (torch 2.13), which comes to the same: eager, or refused by the compiler.
    """
    return torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level() is not None


def check_can_leave() -> None:
    """Raise Unsupported in a compiled graph of a transform of torch.func, which no tensor can leave."""
    if traced_in_transform():
        raise Unsupported(
            "a compiled graph of vmap or grad of a model in train mode cannot hand out what the model remembers: "
            "compile with fullgraph=False, call model.eval(), or use neuro_decorr.rate.unremembered(model)."
        )


def unwrapped(tensor: Tensor) -> Tensor:
    """A tensor outside of the transforms of torch.func: what is remembered outlives them.

    Mapped dimensions of `vmap` come first.
    """
    while transformed(tensor):
        mapped = torch._C._functorch.is_batchedtensor(tensor)
        axis = torch._C._functorch.maybe_get_bdim(tensor) if mapped else 0
        tensor = torch._C._functorch.get_unwrapped(tensor)
        tensor = tensor.movedim(axis, 0) if mapped else tensor
    return tensor


def _weights_of(record: Record) -> Tensor:
    """The weights of its rows, ones where each counts one."""
    rows = record.inputs
    return rows.new_ones(rows.shape[-2]) if record.weights is None else record.weights


def _thinned(
    before: int, seen: float, rows: int, size: float | Tensor, passes: int, device: torch.device
) -> Tensor | None:
    """Which rows stay after several passes, each of which may thin them out; None for all.

    Args:
        before: How many rows there are of earlier passes.
        seen: How many rows these have seen.
        rows: How many rows there are of each pass, below them.
        size: How many rows each pass has seen.
        passes: Number of passes.
        device: Where the indices live.
    """
    most = max(MOST_ROWS, rows)
    if before + passes * rows <= most:
        return None
    kept = torch.arange(before, device=device)
    for start in range(before, before + passes * rows, rows):
        earlier = len(kept)
        kept = torch.cat((kept, torch.arange(start, start + rows, device=device)))
        if len(kept) > most:
            kept = kept[_spread(torch.arange(most, device=device), earlier, earlier, rows, size / (seen + size))]
        seen = seen + float(size)
    return kept


def _spread(slots: Tensor, earlier: int | Tensor, start: int, later: int, share: float | Tensor) -> Tensor:
    """For every slot the index of a row, evenly spaced, with the fraction `share` of the slots for the later rows.

    Args:
        slots: 0, 1, ..., shape (kept,).
        earlier: How many of the earlier rows there are; their indices start at 0.
        start: Where the indices of the later rows start.
        later: How many of these there are.
        share: Fraction of all rows seen that are of the last pass.
    """
    place = (slots.double() + 0.5) / len(slots)
    before = 1 - share
    among_earlier = place / before * earlier
    among_later = start + (place - before) / share * later
    return torch.where(place < before, among_earlier, among_later).long().clamp_(max=start + later - 1)


def _with_room(record: Record) -> Record:
    """The first pass of a compiled graph, with room for the rows of others."""
    rows = record.inputs.shape[-2]
    room = max(rows, min(_ROOM * rows, MOST_ROWS)) - rows
    inputs, outputs = (F.pad(tensor, (0, 0, 0, room)) for tensor in (record.inputs, record.outputs))
    seen = record.deviation.new_full((), float(record.seen))
    return Record(inputs, outputs, record.deviation, seen, torch.full_like(seen, rows, dtype=torch.long))


def _joined_in_graph(earlier: Record, later: Record) -> Record:
    """Every tensor keeps its shape, so that however many passes there are they need no graph of their own."""
    if earlier.weights is not None:
        earlier = earlier._scaled(earlier.weights)
    room, rows = earlier.inputs.shape[-2], later.inputs.shape[-2]
    kept = earlier.kept if earlier.kept is not None else torch.full((), room, device=earlier.inputs.device)
    seen = earlier.seen + later.deviation.new_full((), float(later.seen))
    share = float(later.seen) / seen
    slots = torch.arange(room, device=earlier.inputs.device)
    appended = torch.where(slots < kept, slots, room + slots - kept).clamp_(max=room + rows - 1)
    index = torch.where(kept + rows <= room, appended, _spread(slots, kept, room, rows, share))
    inputs = torch.cat((earlier.inputs, later.inputs), dim=-2)[..., index, :]
    outputs = torch.cat((earlier.outputs, later.outputs), dim=-2)[..., index, :]
    deviation = earlier.deviation + later.deviation
    return Record(inputs, outputs, deviation, seen, (kept + rows).clamp(max=room))
