"""Parameters of neurons: numbers, which become buffers, or nn.Parameters, which are learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue
from neuro_decorr.rate.record import in_transform, unwrapped

PerNeuron: TypeAlias = float | Sequence[float] | Tensor
"""Parameter of neurons: one number for all, or one for each; a nn.Parameter is learnt."""

ResetMethod: TypeAlias = Literal["value", "subtract"]
"""Effect of a spike on the potential: `value` sets it to the reset, `subtract` subtracts the threshold from it."""


def per_neuron(
    what: str,
    value: PerNeuron,
    features: int,
    least: float = -math.inf,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Check a parameter of neurons, and copy it to one number per neuron; a nn.Parameter is not copied.

    Args:
        what: Name of the parameter for messages.
        value: One number, or one per neuron.
        features: Number of neurons.
        least: Smallest allowed number.
        device: Device of the copy.
        dtype: Type of the copy.

    Returns:
        The numbers, shape (features,); or the nn.Parameter that was given.

    Raises:
        InvalidValue: The shape is another, a number is not finite or too small, a nn.Parameter has another type, or a
            tensor requires a gradient and is no nn.Parameter.
    """
    try:
        given = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise InvalidValue(f"{what} must be one number, or {features} of them, got {value!r}.") from None
    values = given.detach()
    if values.shape not in ((), (features,)) or not bool(torch.isfinite(values).all()) or bool((values < least).any()):
        bound = "" if least == -math.inf else f" >= {least:g}"
        raise InvalidValue(f"{what} must be one finite number{bound}, or {features} of them, got {value!r}.")
    if not isinstance(value, nn.Parameter):
        if given.requires_grad:
            raise InvalidValue(f"{what} requires a gradient: give a nn.Parameter to have it learnt, or detach it.")
        return values.expand(features).to(device=device, dtype=dtype, copy=True).contiguous()
    if value.dtype != dtype:
        raise InvalidValue(
            f"{what} must be of type {dtype}, as the neurons, got a nn.Parameter of type {value.dtype}: give the "
            f"neurons dtype={value.dtype}, or convert the parameter."
        )
    return value


def check_learnt(cell: nn.Module, least: dict[str, float]) -> None:
    """Raise InvalidValue if learning has taken a parameter out of its range, where neurons would diverge.

    In a compiled graph the error is a RuntimeError with the same message.

    Args:
        cell: The neurons.
        least: Smallest allowed value of each parameter that is learnt.

    Raises:
        InvalidValue: A parameter is out of its range.
    """
    for name, bound in least.items():
        values: Tensor = getattr(cell, name).detach()
        allowed = (values >= bound).all()
        told = (
            f"{type(cell).__name__}: {name} was learnt out of its range, >= {bound:g}; bound it after each step of "
            f"the optimiser: with torch.no_grad(): cell.{name}.clamp_(min={bound:g})."
        )
        if torch.compiler.is_compiling():
            torch._assert_async(allowed, told)
        elif not bool((unwrapped(allowed) if in_transform() else allowed).all()):
            raise InvalidValue(told)


def whole_steps(name: str, time: float, dt: float) -> int:
    """Number of time steps of a refractory time.

    Args:
        name: Name of the cell for messages.
        time: Refractory time (s).
        dt: Time step (s).

    Returns:
        The number of steps.

    Raises:
        InvalidValue: The time is no multiple of dt.
    """
    steps = round(time / dt)
    if abs(time / dt - steps) > 1e-6 * max(steps, 1):
        raise InvalidValue(f"{name}: refractory_time must be a multiple of dt, {dt:g} s, got {time!r}.")
    return steps
