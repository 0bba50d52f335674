"""Memory of a forward pass for the plasticity: sampled rows of z - mean and of x, and the deviation from the mean.

Every pass makes a `Taken` of the input, and `Memory.put` adds the rows of x that belong to it. In a small layer
function calls dominate the cost of a step, so that the most common pass makes as few as possible.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, final

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue, Unsupported, shown
from neuro_decorr.rate.precision import exactly
from neuro_decorr.rate.record import Record, check_can_leave, in_transform, joined, transformed, unwrapped
from neuro_decorr.rate.steps import flat_steps
from neuro_decorr.rate.weighing import Weighing
from neuro_decorr.row_choice import evenly, offset


class Remembering(Protocol):
    """Attributes of a Decorrelation that its memory reads."""

    features: int
    groups: int
    center: bool
    subtract: bool
    row_fraction: float
    weighing: Weighing | None

    @property
    def mean(self) -> Tensor:
        """Running mean, shape (features,), or (groups, features)."""

    @property
    def flat_mean(self) -> Tensor:
        """Running mean, shape (groups * features,)."""

    def transform_centred(self, centred: Tensor) -> Tensor:
        """Apply D to rows, shape (rows, features), or (groups, rows, features)."""


class Taken(NamedTuple):
    """Rows taken of a pass before x is computed, since x may overwrite z - mean.

    Attributes:
        inputs: Sampled rows of z - mean, a copy, shape (rows, groups * features) or (groups, rows, features).
        deviation: Weighted sum of z - mean over all rows, shape (groups * features,) or (groups, features).
        seen: Number of all rows, or the sum of their weights.
        chosen: Indices of the rows of x that belong to them; None: D times these rows.
        weights: Weights of the sampled rows; None if each counts one.
    """

    inputs: Tensor
    deviation: Tensor
    seen: float
    chosen: Tensor | slice | None = None
    weights: Tensor | None = None


@final
class Memory:
    """Record of the passes since the last step, and the choice of the rows in it.

    Args:
        updates: Number of updates that the layer has had.

    Attributes:
        record: Record of all passes so far; None before the first.
        updates: Number of updates that the layer has had. It sets which rows are remembered next.
    """

    def __init__(self, updates: int = 0) -> None:
        self.record: Record | None = None
        self._spread: tuple[int, int, Tensor] | None = None  # number of rows and of sampled ones; numerators of indices
        self.set_updates(updates)

    def set_updates(self, updates: int) -> None:
        """Let the next passes remember other rows than those before an update."""
        self.updates = updates
        self._updates = torch.tensor(updates, device="cpu")  # also under torch.device("meta")

    @property
    def turn(self) -> int | Tensor:
        """Number of updates; in a compiled graph, which must not depend on its value, a tensor (int64, on the CPU)."""
        return self._updates if torch.compiler.is_compiling() else self.updates

    def take(self, layer: Remembering, centred: Tensor, mean: Tensor, plain: bool) -> Taken | None:
        """Take the rows of one pass.

        Args:
            layer: Layer of this memory.
            centred: Rows on which D acts, shape (..., groups * features): z - mean, or z without subtraction.
            mean: Mean of the layer, shape (groups * features,).
            plain: True if neither a compiler nor a transform of torch.func is active.

        Returns:
            Rows for `put`; None if no row counts.
        """
        drive = centred.detach() if centred.requires_grad else centred
        if not plain and in_transform():
            drive = unwrapped(drive)
        shape, counted = drive.shape, None
        if layer.weighing is not None:
            counted = layer.weighing.of_rows(drive, mapped=shape != centred.shape)
        if len(shape) != 2:
            drive = drive.reshape(-1, shape[-1])
        rows = drive.shape[0] if counted is None else len(counted.rows)  # shape[0] is several times faster than len
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
        # Copies, so that the whole batch need not stay alive and a later layer may change it in place.
        drive = drive[chosen].clone() if isinstance(chosen, slice) else drive.index_select(0, chosen)
        if layer.center and not layer.subtract:
            return Taken(drive - mean, deviation - seen * mean, seen, None, weights)
        return Taken(drive, deviation, seen, chosen, weights)

    def put(
        self, layer: Remembering, taken: Taken, outputs: Tensor | None = None, plain: bool = False, passes: int = 1
    ) -> None:
        """Remember a pass, or several of one size.

        Args:
            layer: Layer of this memory.
            taken: Rows of their input.
            outputs: x, shape (..., groups * features); not needed if `taken` has D times its rows.
            plain: As in `take`.
            passes: Number of passes.

        Raises:
            Unsupported: The pass runs in a compiled graph of a transform of torch.func, which no tensor can leave.
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
            record = joined(self.record, record, passes, self.turn)
        if not plain and in_transform() and transformed(record.deviation):
            # Inside torch.func.grad every result is wrapped.
            inputs, activity, deviation = map(unwrapped, record[:3])
            record = Record(inputs, activity, deviation, *record[3:])
        self.record = record

    @torch.no_grad()
    def put_steps(self, layer: Remembering, values: Tensor, signal: Tensor) -> None:
        """Remember the rows of a signal that the time steps would leave one after the other.

        Args:
            layer: Layer of this memory.
            values: z, shape (steps, batch, groups * features), or one step.
            signal: Signal that drives the statistics, of the same shape.

        Raises:
            Unsupported: Rows have weights.
        """
        if layer.weighing is not None:
            raise Unsupported(
                "neuro_decorr.rate.row_weights cannot act on a Decorrelation of time steps (signal 'trace', 'rate', "
                "or a cell that carries a state): leave rows that should not count out of its input."
            )
        values, signal = flat_steps(values), flat_steps(signal)
        steps, rows, features = signal.shape
        kept, mean = min(rows, int(layer.row_fraction * rows) + 1), layer.flat_mean
        if kept < rows:  # different ones at every step
            steps_before = kept * torch.arange(steps, device=signal.device).unsqueeze(1)
            chosen = evenly(rows, kept, (self._first(rows, kept) + steps_before) % rows, signal.device)
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
            layer: Layer of this memory.
            rows: Sampled rows of z, shape (rows, features), or (groups, rows, features) for several groups.
            seen: Number of rows from which they were sampled.
        """
        if layer.center:
            rows = rows - (layer.mean if layer.groups == 1 else layer.mean.unsqueeze(1))
        self.put(layer, Taken(rows, rows.mean(dim=-2).mul_(seen), seen))

    def _chosen(self, rows: int, fraction: float, device: torch.device, plain: bool) -> Tensor | slice:
        """Indices of the sampled rows of a pass, evenly spaced; what all passes of a size share is kept."""
        kept = min(rows, int(fraction * rows) + 1)
        if kept == rows:
            return slice(None)
        first = self._first(rows, kept)
        if not plain:
            return evenly(rows, kept, first, device)
        if self._spread is None or self._spread[:2] != (rows, kept):
            self._spread = rows, kept, torch.arange(kept, device=device) * rows
        return (self._spread[2] + first) // kept

    def _first(self, rows: int, kept: int) -> int | Tensor:
        """Offset of the remembered rows of a pass: each pass remembers the next rows, so that all have their turn.

        In a network that runs step by step a row is one example, and in training on one batch a row is the same example
        at every step: a fixed offset would always choose the same few examples.
        """
        return (offset(self.turn, rows) + kept * self._passes(rows)) % rows

    def turn_of_pass(self, rows: int) -> int | Tensor:
        """Turn of the next pass of a convolution with so many rows: the updates and the passes since the last one."""
        return self.turn + self._passes(rows)

    def _passes(self, rows: int) -> int | Tensor:
        """Number of passes of so many rows since the last step."""
        seen: float | Tensor = 0 if self.record is None else self.record.seen
        counted = isinstance(seen, Tensor) and torch.compiler.is_compiling()
        return (seen / rows).long() if counted else int(seen) // rows  # type: ignore[union-attr]  # a tensor


def _by_group(layer: Remembering, tensor: Tensor) -> Tensor:
    """Rows (rows, groups * features) as (groups, rows, features), or one row (groups * features,) as one per group."""
    split = tensor.view(*tensor.shape[:-1], layer.groups, layer.features)
    return split.transpose(0, 1).contiguous() if tensor.dim() == 2 else split


def check_row_fraction(row_fraction: float) -> float:
    """Check the fraction of rows that is remembered, and return it.

    Raises:
        InvalidValue: The fraction is outside (0, 1].
    """
    if type(row_fraction) not in (int, float) or not 0 < row_fraction <= 1:
        raise InvalidValue(
            "row_fraction, the fraction of a batch's rows that drive the plasticity, must be in (0, 1], got "
            f"{shown(row_fraction)}."
        )
    return float(row_fraction)
