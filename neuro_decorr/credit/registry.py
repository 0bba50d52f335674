"""The credits by name."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, TypeVar

from torch import nn

from neuro_decorr.credit.base import Credit, Description
from neuro_decorr.errors import InvalidValue, unknown_name

_CREDITS: dict[str, type[Credit]] = {}

C = TypeVar("C", bound=type[Credit])


def register(credit: C) -> C:
    """Class decorator that makes a credit known by the name in its description.

    Args:
        credit: A concrete subclass of `Credit` with a class attribute `description`. The keyword-only arguments of
            its `__init__` are the parameters that `get` accepts.

    Returns:
        The same class.

    Raises:
        InvalidValue: The class is not a concrete `Credit`, lacks its description, or its name is taken.
    """
    candidate: object = credit  # checked at run time too: a decorator is easily put on the wrong thing
    if not (isinstance(candidate, type) and issubclass(candidate, Credit)) or inspect.isabstract(candidate):
        raise InvalidValue(f"only a concrete subclass of Credit can be registered, got {credit!r}.")
    description = getattr(credit, "description", None)
    if not isinstance(description, Description):
        raise InvalidValue(f"{credit.__name__} needs a class attribute `description` of type Description.")
    if description.name in _CREDITS:
        raise InvalidValue(f"the credit '{description.name}' is registered already; choose another name.")
    _CREDITS[description.name] = credit
    return credit


def names() -> list[str]:
    """The names of all credits, sorted."""
    return sorted(_CREDITS)


def table() -> list[dict[str, str]]:
    """What each credit does, one row a credit, sorted by name.

    Returns:
        Rows with the keys of `Description`: name, signal, bias, variance, locality, cost, source.
    """
    return [dataclasses.asdict(_CREDITS[name].description) for name in names()]


def get(name: str, model: nn.Module, **parameters: Any) -> Credit:
    """Make the credit of a name for a model.

    Args:
        name: One of `names()`.
        model: The network whose gradients are to be filled.
        **parameters: The credit's own parameters; see its class.

    Returns:
        The credit, ready for `backward(loss_function, inputs, targets)`.

    Raises:
        UnknownName: There is no such credit.
        InvalidValue: A parameter is unknown or out of range.
        Unsupported: The credit cannot treat a layer of this model.
    """
    if name not in _CREDITS:
        raise unknown_name("credit", str(name), names())
    credit = _CREDITS[name]
    allowed = [
        parameter.name
        for parameter in inspect.signature(credit.__init__).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    unknown = sorted(set(parameters) - set(allowed))
    if unknown:
        raise InvalidValue(
            f"the credit '{name}' has no parameter {', '.join(map(repr, unknown))}; "
            f"allowed: {', '.join(allowed) or 'none'}."
        )
    return credit(model, **parameters)
