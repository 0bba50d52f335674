"""What a Plasticity is given to act on: a model, or parameter groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.rate.copying import check_model


def groups_of(given: object) -> list[Mapping[str, Any]]:
    """The parameter groups that a Plasticity is given; a model is one.

    Raises:
        InvalidValue: Neither a model nor parameter groups.
        Unsupported: A model that was scripted or traced.
    """
    if isinstance(given, nn.Module):
        check_model("Plasticity", given)
        return [{"modules": given}]
    listed = isinstance(given, Iterable) and not isinstance(given, str | Mapping | Tensor | type)
    groups = list(given) if listed else []  # type: ignore[call-overload]  # an Iterable
    if not groups or not all(isinstance(group, Mapping) for group in groups):
        raise InvalidValue(
            "Plasticity: pass a torch.nn.Module, or a list of parameter groups such as "
            f'[{{"modules": model.features}}]; got {shown(given)}.'
        )
    return groups


def check_group(group: object) -> None:
    """Raise InvalidValue unless a parameter group is a dictionary."""
    if not isinstance(group, Mapping):
        raise InvalidValue(
            f'a parameter group is a dictionary such as {{"modules": model.features}}, got {shown(group)}.'
        )
