"""Time steps of a sequence."""

from __future__ import annotations

from torch import Tensor

from neuro_decorr.errors import Unsupported
from neuro_decorr.rate.record import in_transform, unwrapped


def steps_of(values: Tensor) -> Tensor:
    """Sequence (steps, batch, features) unchanged; one step (batch, features) or (features,) as a sequence of one."""
    return values if values.dim() > 2 else values.unsqueeze(0)


def check_sequence(values: Tensor) -> None:
    """Raise Unsupported for a single time step if a trace must be computed and no state is carried."""
    if values.dim() < 3:
        raise Unsupported(
            f"Decorrelation: a trace drives its statistics, and an input of shape {tuple(values.shape)} is one time "
            f"step without the earlier ones: pass sequences (steps, batch, {values.shape[-1]}), or use "
            "neuro_decorr.norse.Decorrelation, which carries the state of the trace."
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
