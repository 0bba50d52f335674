"""Record of the forward passes of a Decorrelation since the last step, until a plasticity consumes it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neuro_decorr.errors import Unsupported
from neuro_decorr.row_choice import offset
from neuro_decorr.rules import Joint

MOST_ROWS = 1024
"""Largest number of rows that is kept, so that passes without a step take bounded memory."""
_ROOM = 8
"""Number of passes whose rows a compiled graph keeps, since its tensors must not change their shapes."""
_PHASES = 2**20
"""Number of phases of the rows that stay, in whole numbers as the offsets of `row_choice`."""


class Record(NamedTuple):
    """Sampled rows of all forward passes in train mode since the last step (detached copies).

    Attributes:
        inputs: Sampled rows of z - mean, shape (rows, features), or (groups, rows, features).
        outputs: Same rows of x, of the same shape; D (z - mean) if the module does not subtract the mean.
        deviation: Weighted sum of z - mean over all rows, sampled or not, shape (features,), or (groups, features); it
            moves the mean. Without meaning if the module does not centre.
        seen: Number of all rows, or the sum of their weights.
        kept: Number of valid rows of `inputs` and `outputs`, from the first on. None: all. Both counts are tensors in a
            compiled graph, which must not depend on their values.
        weights: Weights of the sampled rows, shape (rows,), while passes are joined; None if each counts one.
        weight: Mean weight of the sampled rows, relative to which they were scaled.
        joint: Rows of all processes, of which these rows are a part; None if these are all.
    """

    inputs: Tensor
    outputs: Tensor
    deviation: Tensor
    seen: float | Tensor
    kept: Tensor | None = None
    weights: Tensor | None = None
    weight: float = 1.0
    joint: Joint | None = None

    @property
    def sizes(self) -> tuple[Tensor, Tensor]:
        """Inputs and outputs; for rows of several processes numbers of the same total size."""
        joint = self.joint
        if joint is None:
            return self.inputs, self.outputs
        return self.inputs.new_tensor([joint.input_squares**0.5]), self.inputs.new_tensor([joint.output_squares**0.5])

    def settled(self) -> Record:
        """Record outside of a compiled graph: the valid rows, scaled by their weights, and counts as numbers."""
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
        if weights is None:
            return self
        if bool((weights == weights[0]).all()):
            return self._replace(weights=None, weight=float(weights[0]))
        return self._scaled(weights)

    def _scaled(self, weights: Tensor) -> Record:
        mean = weights.mean()
        scale = (weights / mean).sqrt_().unsqueeze(1)
        return self._replace(inputs=self.inputs * scale, outputs=self.outputs * scale, weights=None, weight=float(mean))


def joined(earlier: Record | None, later: Record, passes: int = 1, turn: int | Tensor = 0) -> Record:
    """Record of all forward passes: the rows of the earlier and of the last passes, and the sum over all rows.

    Args:
        earlier: Record of the passes so far.
        later: Record of the last pass, or of several passes of one size.
        passes: Number of the last passes; the kept rows are those of one pass after the other.
        turn: Number of updates so far, by which the rows that stay are shifted.

    Returns:
        Rows one below the other: at most `MOST_ROWS`, or as many as the last pass alone, evenly spaced, with every pass
        in proportion to its size. A compiled graph keeps at most eight times as many rows as the first pass had.
    """
    if torch.compiler.is_compiling():
        return _with_room(later) if earlier is None else _joined_in_graph(earlier, later, turn)
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
    rows, size = later.inputs.shape[-2] // passes, float(later.seen) / passes
    kept = _thinned(before, seen, rows, size, passes, inputs.device, turn)
    if kept is not None:
        inputs, outputs = inputs[..., kept, :], outputs[..., kept, :]
        weights = None if weights is None else weights[kept]
    return Record(inputs, outputs, deviation, seen + later.seen, None, weights)


def in_transform() -> bool:
    """True if a transform of torch.func is running eagerly."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


def in_plain_python() -> bool:
    """True if neither a compiler nor a transform of torch.func is active."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is None


def transformed(tensor: Tensor) -> bool:
    """True if a transform of torch.func wraps a tensor."""
    return not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def traced_in_transform() -> bool:
    """True if a transform of torch.func is being compiled, where no wrapper can be removed from a tensor.

    The check breaks the graph there (torch 2.13), with the same result: the pass runs eagerly, or the compiler refuses.
    """
    return torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level() is not None


def check_can_leave() -> None:
    """Raise Unsupported in a compiled graph of a transform of torch.func, which no tensor can leave."""
    if traced_in_transform():
        raise Unsupported(
            "a compiled graph of vmap or grad of a model in train mode cannot return the rows that the model "
            "remembers: compile with fullgraph=False, call model.eval(), or use neuro_decorr.rate.unremembered(model)."
        )


def unwrapped(tensor: Tensor) -> Tensor:
    """Tensor without the wrappers of torch.func, since remembered rows outlive the transforms.

    Mapped dimensions of `vmap` come first.
    """
    while transformed(tensor):
        mapped = torch._C._functorch.is_batchedtensor(tensor)
        axis = torch._C._functorch.maybe_get_bdim(tensor) if mapped else 0
        tensor = torch._C._functorch.get_unwrapped(tensor)
        tensor = tensor.movedim(axis, 0) if mapped else tensor
    return tensor


def _weights_of(record: Record) -> Tensor:
    """Weights of the rows of a record; ones if each counts one."""
    rows = record.inputs
    return rows.new_ones(rows.shape[-2]) if record.weights is None else record.weights


def _thinned(
    before: int, seen: float, rows: int, size: float, passes: int, device: torch.device, turn: int | Tensor
) -> Tensor | None:
    """Indices of the rows that stay after several passes, each of which may thin them out; None: all.

    Args:
        before: Number of kept rows of earlier passes.
        seen: Number of rows that the earlier passes have seen.
        rows: Number of kept rows of each later pass.
        size: Number of rows that each later pass has seen.
        passes: Number of later passes.
        device: Device of the indices.
        turn: Number of updates so far.
    """
    most = max(MOST_ROWS, rows)
    if before + passes * rows <= most:
        return None
    kept = torch.arange(before, device=device)
    for start in range(before, before + passes * rows, rows):
        earlier = len(kept)
        kept = torch.cat((kept, torch.arange(start, start + rows, device=device)))
        if len(kept) > most:
            slots, phase = torch.arange(most, device=device), _phase(int(seen / size) + turn)
            kept = kept[_spread(slots, earlier, earlier, rows, size / (seen + size), phase)]
        seen = seen + size
    return kept


def _phase(turn: int | Tensor) -> float | Tensor:
    """Phase of the rows that stay, between 0 and 1: another one at every pass and every update.

    At a fixed phase every pass would thin out the same places, and the rows before the first of them would always stay.
    """
    return (offset(turn, _PHASES) + 0.5) / _PHASES


def _spread(
    slots: Tensor, earlier: int | Tensor, start: int, later: int, share: float | Tensor, phase: float | Tensor
) -> Tensor:
    """Indices of evenly spaced rows, one for every slot, with the fraction `share` of the slots for the later rows.

    Args:
        slots: 0, 1, ..., shape (kept,).
        earlier: Number of earlier rows; their indices start at 0.
        start: First index of the later rows.
        later: Number of later rows.
        share: Fraction of the last pass in all rows seen.
        phase: Place of the first row within its slot, from 0 to 1.
    """
    place = (slots.double() + phase) / len(slots)
    before = 1 - share
    among_earlier = place / before * earlier
    among_later = start + (place - before) / share * later
    return torch.where(place < before, among_earlier, among_later).long().clamp_(max=start + later - 1)


def _with_room(record: Record) -> Record:
    """Record of the first pass of a compiled graph, with room for the rows of further passes."""
    rows = record.inputs.shape[-2]
    room = max(rows, min(_ROOM * rows, MOST_ROWS)) - rows
    inputs, outputs = (F.pad(tensor, (0, 0, 0, room)) for tensor in (record.inputs, record.outputs))
    seen = record.deviation.new_full((), float(record.seen))
    return Record(inputs, outputs, record.deviation, seen, torch.full_like(seen, rows, dtype=torch.long))


def _joined_in_graph(earlier: Record, later: Record, turn: int | Tensor) -> Record:
    """Join records without changing the shape of a tensor, so that any number of passes uses one graph."""
    if earlier.weights is not None:
        earlier = earlier._scaled(earlier.weights)
    room, rows = earlier.inputs.shape[-2], later.inputs.shape[-2]
    kept = earlier.kept if earlier.kept is not None else torch.full((), room, device=earlier.inputs.device)
    seen = earlier.seen + later.deviation.new_full((), float(later.seen))
    share = float(later.seen) / seen
    phase = _phase((seen / float(later.seen)).long() - 1 + turn)  # a pass earlier, as in `_thinned`
    slots = torch.arange(room, device=earlier.inputs.device)
    appended = torch.where(slots < kept, slots, room + slots - kept).clamp_(max=room + rows - 1)
    index = torch.where(kept + rows <= room, appended, _spread(slots, kept, room, rows, share, phase))
    inputs = torch.cat((earlier.inputs, later.inputs), dim=-2)[..., index, :]
    outputs = torch.cat((earlier.outputs, later.outputs), dim=-2)[..., index, :]
    deviation = earlier.deviation + later.deviation
    return Record(inputs, outputs, deviation, seen, (kept + rows).clamp(max=room))
