"""What a forward pass leaves for the plasticity: sampled rows of z - mean and of x, and how far off the mean is.

In a small layer, calls are what a step costs: the commonest pass takes as few as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from neuro_decorr.errors import Unsupported
from neuro_decorr.rate.precision import exactly
from neuro_decorr.rate.record import (
    Record,
    in_plain_python,
    in_transform,
    joined,
    traced_in_transform,
    transformed,
    unwrapped,
)
from neuro_decorr.rate.steps import flat_steps, rows_of_pass, rows_of_steps

if TYPE_CHECKING:
    from neuro_decorr.rate.decorrelation import Decorrelation


class Passing(NamedTuple):
    """What is taken of a forward pass before x is computed, which may take the place of z - mean.

    Attributes:
        drive: Sampled rows of z - mean, a copy, shape (rows, groups * features).
        deviation: Sum of z - mean over all rows, by their weights.
        seen: How many rows these are, or the sum of their weights.
        chosen: Which rows are sampled.
        weights: Those of the sampled rows; None where each counts one.
    """

    drive: Tensor
    deviation: Tensor
    seen: float
    chosen: Tensor | slice
    weights: Tensor | None = None


def begin(module: Decorrelation, centred: Tensor, mean: Tensor) -> Passing | None:
    """Take what a pass leaves before x is computed.

    Args:
        module: What remembers it.
        centred: What D acts on: z - mean, or z where the module does not subtract.
        mean: Of the module, shape (groups * features,).

    Returns:
        What `end` completes; None where no row counts.
    """
    drive = centred.detach() if centred.requires_grad else centred
    if in_transform():
        drive = unwrapped(drive)
    counted = None
    if module.weighing is not None:
        counted = module.weighing.of_rows(drive, mapped=drive.shape != centred.shape)
    if drive.dim() != 2:
        drive = drive.reshape(-1, drive.shape[-1])
    rows = drive.shape[0] if counted is None else len(counted.rows)  # several times faster than len of a large tensor
    if rows == 0:
        return None
    chosen = _spread(module, rows, drive)
    deviation, seen, weights = mean, float(rows), None
    if counted is not None:
        chosen, seen = counted.rows[chosen], counted.total
        weights = counted.of_sampled(chosen)
    if module.center:
        deviation = drive.sum(dim=0) if counted is None else counted.sum_of(drive)
    # One call that copies, where a slice and a copy of it would be two: the whole batch need not stay alive.
    drive = drive.index_select(0, chosen) if isinstance(chosen, Tensor) else drive[chosen].clone()
    if module.center and not module.subtract:
        drive, deviation = drive - mean, deviation - seen * mean
    return Passing(drive, deviation, seen, chosen, weights)


def end(module: Decorrelation, passing: Passing, outputs: Tensor) -> None:
    """Remember a pass.

    Args:
        module: What remembers it.
        passing: What `begin` took.
        outputs: x, shape (..., groups * features).
    """
    if module.center and not module.subtract:
        with torch.no_grad(), exactly(passing.drive):
            activity = module.transform_flat(passing.drive)
    else:
        activity = outputs.detach() if outputs.requires_grad else outputs
        if in_transform():
            activity = unwrapped(activity)
        if activity.dim() != 2:
            activity = activity.reshape(-1, activity.shape[-1])
        chosen = passing.chosen
        activity = activity.index_select(0, chosen) if isinstance(chosen, Tensor) else activity[chosen].clone()
    drive, deviation = passing.drive, passing.deviation
    if module.groups > 1:
        drive, activity, deviation = (by_group(module, tensor) for tensor in (drive, activity, deviation))
    add(module, Record(drive, activity, deviation, passing.seen, None, passing.weights))


@torch.no_grad()
def remember_steps(module: Decorrelation, values: Tensor, signal: Tensor) -> None:
    """Remember rows of a signal at every time step: those that the steps would leave one after the other.

    Args:
        module: What remembers them.
        values: z, shape (steps, batch, groups * features), or one step.
        signal: What drives the statistics, of the same shape.
    """
    if module.weighing is not None:
        raise Unsupported(
            "neuro_decorr.rate.row_weights does not reach a Decorrelation of time steps (signal 'trace' or 'rate', or "
            "a cell of neuro_decorr.norse): leave out what should not count before it."
        )
    values, signal = flat_steps(values), flat_steps(signal)
    steps, rows, _ = signal.shape
    drive = rows_of_steps(signal, min(rows, int(module.sample * rows) + 1), module._record)
    mean = module.flat_mean
    deviation = mean
    if module.center:
        drive, deviation = drive - mean, (values.mean(dim=(0, 1)) - mean).mul_(steps * rows)
    with exactly(drive):
        activity = module.transform_flat(drive)
    if module.groups > 1:
        drive, activity, deviation = (by_group(module, tensor) for tensor in (drive, activity, deviation))
    add(module, Record(drive, activity, deviation, steps * rows), passes=steps)


def add(module: Decorrelation, record: Record, passes: int = 1) -> None:
    """Add what one pass left, or several of one size, to what the module remembers.

    Args:
        module: What remembers it.
        record: Of the passes.
        passes: How many these are.

    Raises:
        Unsupported: A compiled graph of a transform of torch.func, which no tensor can leave.
    """
    if in_plain_python():
        if module._record is not None or passes > 1:
            record = joined(module._record, record, passes)
        module.__dict__["_record"] = record  # past nn.Module's slow way of setting
        return
    if traced_in_transform():
        raise Unsupported(
            "a compiled graph of vmap or grad of a model in train mode cannot hand out what the model remembers: "
            "compile with fullgraph=False, call model.eval(), or use neuro_decorr.rate.unremembered(model)."
        )
    if module._record is not None or passes > 1 or torch.compiler.is_compiling():
        record = joined(module._record, record, passes)
    if in_transform() and transformed(record.deviation):  # inside torch.func.grad every result is seen through it
        inputs, outputs, deviation = map(unwrapped, record[:3])
        record = Record(inputs, outputs, deviation, *record[3:])
    module._record = record


def by_group(module: Decorrelation, tensor: Tensor) -> Tensor:
    """Rows (rows, groups * features) as (groups, rows, features), or one row (groups * features,) as a row a group."""
    split = tensor.view(*tensor.shape[:-1], module.groups, module.features)
    return split.transpose(0, 1).contiguous() if tensor.dim() == 2 else split


def _spread(module: Decorrelation, rows: int, like: Tensor) -> Tensor | slice:
    """Which rows of a pass are sampled, evenly spaced; those of the first pass since the last step are kept."""
    kept = min(rows, int(module.sample * rows) + 1)
    if module._record is not None or not in_plain_python():
        return rows_of_pass(rows, kept, module._record)
    known = module._spread
    if known is None or known[0] != rows or known[1] != kept:
        index = torch.arange(rows, device=like.device)[rows_of_pass(rows, kept, None)]
        known = (rows, kept, index.contiguous())
        module.__dict__["_spread"] = known
    return known[2]
