"""The commonest forward pass in as few calls as it takes: of a small layer, calls are what a step costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuro_decorr.rate.record import Record
from neuro_decorr.rate.steps import rows_of_pass

if TYPE_CHECKING:
    from neuro_decorr.rate.decorrelation import Decorrelation


def plain_pass(module: Decorrelation, inputs: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor | None:
    """The first pass of a batch since the last step, outside of everything that torch may wrap it in.

    It computes and remembers what `Decorrelation.run` does, to the last bit.

    Args:
        module: In train mode.
        inputs: z.
        compute: From z - mean to x; it may do so in the place of the rows.

    Returns:
        x; None, with nothing done, where this is another kind of pass.
    """
    if (
        torch.compiler.is_compiling()
        or module._record is not None
        or not module.remembers
        or module.trace is not None
        or torch._C._is_any_autocast_enabled()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._current_graph_task_id() != -1  # in backward: recomputed for a checkpoint
    ):
        return None
    mean: Tensor = module._buffers["mean"]  # type: ignore[assignment]  # never None
    shape = inputs.shape
    if len(shape) != 2 or shape[1] != module.features or not shape[0] or inputs.dtype != mean.dtype:
        return None
    centred, deviation = inputs, mean
    if module.center:
        centred = inputs - mean
        deviation = (centred.detach() if centred.requires_grad else centred).sum(dim=0)
    outputs = compute(centred)
    drive, activity = inputs if outputs is centred else centred, outputs
    if activity.requires_grad or drive.requires_grad:
        drive, activity = drive.detach(), activity.detach()
    rows = shape[0]
    kept = min(rows, int(module.sample * rows) + 1)
    spread = module._spread
    if spread is None or spread[0] != rows or spread[1] != kept:
        index = torch.arange(rows, device=inputs.device)[rows_of_pass(rows, kept, None)]
        spread = (rows, kept, index.contiguous())
        object.__setattr__(module, "_spread", spread)
    # One call that copies, where a slice and a copy of it would be two.
    drive, activity = drive.index_select(0, spread[2]), activity.index_select(0, spread[2])
    if outputs is centred and module.center:  # x has taken the place of z - mean
        drive.sub_(mean)
    object.__setattr__(module, "_record", Record(drive, activity, deviation, rows))
    return outputs
