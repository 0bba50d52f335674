"""Time steps of a sequence, and which rows of each are remembered."""

from __future__ import annotations

import torch
from torch import Tensor

from neuro_decorr.errors import Unsupported
from neuro_decorr.rate.record import Record, in_transform, unwrapped


def steps_of(values: Tensor) -> Tensor:
    """A sequence (steps, batch, features) as it is; one step (batch, features) or (features,) as a sequence of one."""
    return values if values.dim() > 2 else values.unsqueeze(0)


def check_sequence(values: Tensor) -> None:
    """Raise Unsupported for a single time step, where a trace must be computed and no state is carried."""
    if values.dim() < 3:
        raise Unsupported(
            f"Decorrelation: a trace drives its statistics, and an input of shape {tuple(values.shape)} is one time "
            f"step, which remembers nothing of the last; pass sequences (steps, batch, {values.shape[-1]}), or use "
            "neuro_decorr.norse.Decorrelation, whose state it carries."
        )


def flat_steps(values: Tensor) -> Tensor:
    """All rows of every time step, shape (steps, rows, features), detached and outside of all transforms.

    Dimensions that `vmap` maps count as rows.
    """
    values = values.detach()
    values = values if values.dim() > 1 else values.unsqueeze(0)
    values = steps_of(values)
    between = values.dim() - 1
    if in_transform():
        values = unwrapped(values).movedim(-between - 1, 0)
    return values.reshape(len(values), -1, values.shape[-1])


def rows_of_steps(signal: Tensor, kept: int, record: Record | None) -> Tensor:
    """The rows of every time step that are remembered, a copy.

    Args:
        signal: Shape (steps, rows, features).
        kept: How many rows of each step.
        record: Of the passes so far.

    Returns:
        Step after step, shape (steps * kept, features): evenly spaced, other ones at every step.
    """
    steps, rows, features = signal.shape
    if kept == rows:
        return signal.reshape(-1, features).clone()
    stride = rows // kept
    first = _first_of_pass(record, rows, stride) + torch.arange(steps, device=signal.device).unsqueeze(1)
    chosen = first % stride + stride * torch.arange(kept, device=signal.device)
    return signal.gather(1, chosen.unsqueeze(2).expand(-1, -1, features)).reshape(-1, features)


def rows_of_pass(rows: int, kept: int, record: Record | None) -> slice | Tensor:
    """The rows of one pass that are remembered, evenly spaced.

    Args:
        rows: How many there are.
        kept: How many stay.
        record: Of the passes so far.

    Returns:
        What to index the rows with.
    """
    stride = rows // kept
    first = _first_of_pass(record, rows, stride)
    if isinstance(first, int):
        return slice(first, first + stride * kept, stride)
    return first + stride * torch.arange(kept, device=first.device)


def _first_of_pass(record: Record | None, rows: int, stride: int) -> int | Tensor:
    """The first row of a pass that is remembered: another one in every pass, so that all rows have their turn.

    In a network that runs step by step a row is one example: without this, only a few would ever be seen. In a
    compiled graph it is a tensor, since the graph must not depend on its value.
    """
    if record is None:
        return 0
    if isinstance(record.seen, Tensor) and torch.compiler.is_compiling():
        return (record.seen / rows).long() % stride
    return int(record.seen) // rows % stride
