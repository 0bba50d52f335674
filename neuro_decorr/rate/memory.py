"""What a forward pass leaves for the plasticity: sampled rows of z - mean and of x, and how far off the mean is.

Every pass goes one way: a `Taken` is taken of the input, and `Memory.put` adds the rows of x that belong to it. In a
small layer, calls are what a step costs: the commonest pass takes as few as it can.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, final

import torch
from torch import Tensor

from neuro_decorr.errors import Unsupported
from neuro_decorr.rate.precision import exactly
from neuro_decorr.rate.record import Record, check_can_leave, in_transform, joined, transformed, unwrapped
from neuro_decorr.rate.steps import flat_steps
from neuro_decorr.rate.weighing import Weighing


class Remembering(Protocol):
    """What a memory has to know of its Decorrelation, whose attributes these are."""

    features: int
    groups: int
    center: bool
    subtract: bool
    row_fraction: float
    weighing: Weighing | None

    @property
    def mean(self) -> Tensor:
        """Shape (features,), or (groups, features)."""

    @property
    def flat_mean(self) -> Tensor:
        """Shape (groups * features,)."""

    def transform_centred(self, centred: Tensor) -> Tensor:
        """D times rows, shape (rows, features), or (groups, rows, features)."""


class Taken(NamedTuple):
    """What is taken of a pass before x is computed, which may take the place of z - mean.

    Attributes:
        inputs: Sampled rows of z - mean, a copy, shape (rows, groups * features) or (groups, rows, features).
        deviation: Sum of z - mean over all rows by their weights, shape (groups * features,) or (groups, features).
        seen: How many rows these are, or the sum of their weights.
        chosen: Which rows of x belong to them; None: D times these rows.
        weights: Those of the sampled rows; None where each counts one.
    """

    inputs: Tensor
    deviation: Tensor
    seen: float
    chosen: Tensor | slice | None = None
    weights: Tensor | None = None


@final
class Memory:
    """The record of the passes since the last step, and what goes into it.

    Attributes:
        record: Of all passes so far; None before the first.
    """

    def __init__(self) -> None:
        self.record: Record | None = None
        self._spread: tuple[int, float, Tensor] | None = None  # rows, which fraction is sampled, which rows

    def take(self, layer: Remembering, centred: Tensor, mean: Tensor, plain: bool) -> Taken | None:
        """Take what one pass leaves.

        Args:
            layer: Whose memory this is.
            centred: What D acts on, shape (..., groups * features): z - mean, or z where the layer does not subtract.
            mean: Of the layer, shape (groups * features,).
            plain: Whether neither a compiler nor a transform of torch.func is at work.

        Returns:
            What `put` completes; None where no row counts.
        """
        drive = centred.detach() if centred.requires_grad else centred
        if not plain and in_transform():
            drive = unwrapped(drive)
        shape, counted = drive.shape, None
        if layer.weighing is not None:
            counted = layer.weighing.of_rows(drive, mapped=shape != centred.shape)
        if len(shape) != 2:
            drive = drive.reshape(-1, shape[-1])
        rows = drive.shape[0] if counted is None else len(counted.rows)  # the first several times faster than len
        if rows == 0:
            return None
        chosen = self._chosen(rows, layer.row_fraction, drive.device, plain)
        seen: float = rows
        weights = None
        if counted is not None:
            chosen = counted.rows[chosen]
            seen, weights = counted.total, counted.of_sampled(chosen)
        deviation = mean
        if layer.center:
            deviation = drive.sum(dim=0) if counted is None else counted.sum_of(drive)
        # Copies: the whole batch need not stay alive, and a later layer may work in place on it.
        drive = drive[chosen].clone() if isinstance(chosen, slice) else drive.index_select(0, chosen)
        if layer.center and not layer.subtract:
            return Taken(drive - mean, deviation - seen * mean, seen, None, weights)
        return Taken(drive, deviation, seen, chosen, weights)

    def put(
        self, layer: Remembering, taken: Taken, outputs: Tensor | None = None, plain: bool = False, passes: int = 1
    ) -> None:
        """Remember a pass, or several of one size.

        Args:
            layer: Whose memory this is.
            taken: Of their input.
            outputs: x, shape (..., groups * features); not needed where `taken` has D times its rows.
            plain: As in `take`.
            passes: How many these are.

        Raises:
            Unsupported: A compiled graph of a transform of torch.func, which no tensor can leave.
        """
        inputs, deviation, seen, chosen, weights = taken
        grouped = layer.groups > 1 and inputs.dim() == 2
        if grouped:
            inputs, deviation = _by_group(layer, inputs), _by_group(layer, deviation)
        if chosen is None or outputs is None:
            with torch.no_grad(), exactly(inputs):
                activity = layer.transform_centred(inputs)
        else:
            activity = outputs.detach() if outputs.requires_grad else outputs
            if not plain and in_transform():
                activity = unwrapped(activity)
            if activity.dim() != 2:
                activity = activity.reshape(-1, activity.shape[-1])
            activity = activity[chosen].clone() if isinstance(chosen, slice) else activity.index_select(0, chosen)
            activity = _by_group(layer, activity) if grouped else activity
        record = Record(inputs, activity, deviation, seen, None, weights)
        if not plain:
            check_can_leave()
        if self.record is not None or passes > 1 or (not plain and torch.compiler.is_compiling()):
            record = joined(self.record, record, passes)
        if not plain and in_transform() and transformed(record.deviation):
            # Inside torch.func.grad every result is seen through it.
            inputs, activity, deviation = map(unwrapped, record[:3])
            record = Record(inputs, activity, deviation, *record[3:])
        self.record = record

    @torch.no_grad()
    def put_steps(self, layer: Remembering, values: Tensor, signal: Tensor) -> None:
        """Remember rows of a signal at every time step: those that the steps would leave one after the other.

        Args:
            layer: Whose memory this is.
            values: z, shape (steps, batch, groups * features), or one step.
            signal: What drives the statistics, of the same shape.

        Raises:
            Unsupported: Rows have weights.
        """
        if layer.weighing is not None:
            raise Unsupported(
                "neuro_decorr.rate.row_weights does not reach a Decorrelation of time steps (signal 'trace' or 'rate', "
                "or a cell that carries a state): leave out what should not count before it."
            )
        values, signal = flat_steps(values), flat_steps(signal)
        steps, rows, features = signal.shape
        kept, mean = min(rows, int(layer.row_fraction * rows) + 1), layer.flat_mean
        if kept < rows:  # evenly spaced, other ones at every step
            stride = rows // kept
            first = self._first(rows, stride) + torch.arange(steps, device=signal.device).unsqueeze(1)
            chosen = first % stride + stride * torch.arange(kept, device=signal.device)
            signal = signal.gather(1, chosen.unsqueeze(2).expand(-1, -1, features))
        inputs, deviation = signal.reshape(-1, features), mean
        if layer.center:
            inputs, deviation = inputs - mean, (values.mean(dim=(0, 1)) - mean).mul_(steps * rows)
        else:
            inputs = inputs.clone()
        self.put(layer, Taken(inputs, deviation, steps * rows), passes=steps)

    @torch.no_grad()
    def put_rows(self, layer: Remembering, rows: Tensor, seen: int) -> None:
        """Remember rows of z that were sampled elsewhere.

        Args:
            layer: Whose memory this is.
            rows: Shape (rows, features), or (groups, rows, features) where there are several groups.
            seen: How many rows they were sampled from.
        """
        if layer.center:
            rows = rows - (layer.mean if layer.groups == 1 else layer.mean.unsqueeze(1))
        self.put(layer, Taken(rows, rows.mean(dim=-2).mul_(seen), seen))

    def _chosen(self, rows: int, fraction: float, device: torch.device, plain: bool) -> Tensor | slice:
        """Which rows of a pass are sampled, evenly spaced; those of the first pass since the last step are kept."""
        record, known = self.record, self._spread
        if plain and record is None and known is not None and known[0] == rows and known[1] == fraction:
            return known[2]
        kept = min(rows, int(fraction * rows) + 1)
        stride = rows // kept
        first = self._first(rows, stride)
        if isinstance(first, Tensor):
            return first + stride * torch.arange(kept, device=device)
        if not plain or record is not None:
            return slice(first, first + stride * kept, stride)
        index = torch.arange(first, first + stride * kept, stride, device=device)
        self._spread = (rows, fraction, index)
        return index

    def _first(self, rows: int, stride: int) -> int | Tensor:
        """The first row of a pass that is remembered: another one in every pass, so that all rows have their turn.

        In a network that runs step by step a row is one example: without this, only a few would ever be seen. In a
        compiled graph it is a tensor, since the graph must not depend on its value.
        """
        seen = 0 if self.record is None else self.record.seen
        if isinstance(seen, Tensor) and torch.compiler.is_compiling():
            return (seen / rows).long() % stride
        return int(seen) // rows % stride


def _by_group(layer: Remembering, tensor: Tensor) -> Tensor:
    """Rows (rows, groups * features) as (groups, rows, features), or one row (groups * features,) as a row a group."""
    split = tensor.view(*tensor.shape[:-1], layer.groups, layer.features)
    return split.transpose(0, 1).contiguous() if tensor.dim() == 2 else split
