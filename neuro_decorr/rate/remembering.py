"""What a forward pass leaves for the plasticity: sampled rows of z - mean and of x, and how far off the mean is.

In a small layer, calls are what a step costs: the commonest pass takes as few as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

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
from neuro_decorr.rate.weighing import Counted

if TYPE_CHECKING:
    from neuro_decorr.rate.decorrelation import Decorrelation


Passing: TypeAlias = tuple[Tensor, Tensor, float, Tensor | slice, Tensor | None]
"""What is taken of a forward pass before x is computed, which may take the place of z - mean: copies of sampled rows of
z - mean, shape (rows, groups * features); the sum of z - mean over all rows by their weights; how many rows these are,
or the sum of their weights; which are sampled; and the weights of those, None where each counts one."""


def begin(module: Decorrelation, centred: Tensor, mean: Tensor, plain: bool) -> Passing | None:
    """Take what a pass leaves before x is computed.

    Args:
        module: What remembers it.
        centred: What D acts on: z - mean, or z where the module does not subtract.
        mean: Of the module, shape (groups * features,).
        plain: Whether neither a compiler nor a transform of torch.func is at work.

    Returns:
        What `end` completes; None where no row counts.
    """
    drive = centred.detach() if centred.requires_grad else centred
    if not plain and in_transform():
        drive = unwrapped(drive)
    shape = drive.shape
    if module.weighing is not None:
        counted = module.weighing.of_rows(drive, mapped=shape != centred.shape)
        if counted is not None:
            return _weighted(module, drive.reshape(-1, shape[-1]), mean, counted)
    if len(shape) != 2:
        drive = drive.reshape(-1, shape[-1])
    rows = drive.shape[0]  # several times faster than len
    if rows == 0:
        return None
    chosen = _spread(module, rows, drive.device, plain)
    deviation = drive.sum(dim=0) if module.center else mean
    # Copies: the whole batch need not stay alive, and a later layer may work in place on it.
    drive = drive[chosen].clone() if isinstance(chosen, slice) else drive.index_select(0, chosen)
    if module.center and not module.subtract:
        drive, deviation = drive - mean, deviation - rows * mean
    return drive, deviation, rows, chosen, None


def _weighted(module: Decorrelation, drive: Tensor, mean: Tensor, counted: Counted) -> Passing | None:
    """What `begin` takes, where rows have weights."""
    rows = len(counted.rows)
    if rows == 0:
        return None
    chosen = counted.rows[_spread(module, rows, drive.device, plain=in_plain_python())]
    deviation = counted.sum_of(drive) if module.center else mean
    drive = drive.index_select(0, chosen)
    if module.center and not module.subtract:
        drive, deviation = drive - mean, deviation - counted.total * mean
    return drive, deviation, counted.total, chosen, counted.of_sampled(chosen)


def end(module: Decorrelation, passing: Passing, outputs: Tensor, plain: bool) -> None:
    """Remember a pass.

    Args:
        module: What remembers it.
        passing: What `begin` took.
        outputs: x, shape (..., groups * features).
        plain: As in `begin`.
    """
    drive, deviation, seen, chosen, weights = passing
    if module.center and not module.subtract:
        with torch.no_grad(), exactly(drive):
            activity = module.transform_flat(drive)
    else:
        activity = outputs.detach() if outputs.requires_grad else outputs
        if not plain and in_transform():
            activity = unwrapped(activity)
        if activity.dim() != 2:
            activity = activity.reshape(-1, activity.shape[-1])
        activity = activity[chosen].clone() if isinstance(chosen, slice) else activity.index_select(0, chosen)
    if module.groups > 1:
        drive, activity, deviation = (by_group(module, tensor) for tensor in (drive, activity, deviation))
    record = Record(drive, activity, deviation, seen, None, weights)
    if plain and module._record is None:
        module.__dict__["_record"] = record  # past nn.Module's slow way of setting
    else:
        add(module, record)


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
    drive = rows_of_steps(signal, min(rows, int(module.row_fraction * rows) + 1), module._record)
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


def _spread(module: Decorrelation, rows: int, device: torch.device, plain: bool) -> Tensor | slice:
    """Which rows of a pass are sampled, evenly spaced; those of the first pass since the last step are kept."""
    record, known, fraction = module._record, module._spread, module.row_fraction
    if plain and record is None and known is not None and known[0] == rows and known[1] == fraction:
        return known[2]
    spread = rows_of_pass(rows, min(rows, int(fraction * rows) + 1), record)
    if not plain or record is not None:
        return spread
    index = torch.arange(rows, device=device)[spread].contiguous()
    module.__dict__["_spread"] = (rows, fraction, index)
    return index
