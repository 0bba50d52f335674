"""The credits by name."""

from __future__ import annotations

from typing import Any

from torch import nn

from neuro_decorr.credit.base import Credit
from neuro_decorr.registry import Registry

_CREDITS: Registry[Credit] = Registry(
    "credit",
    ("name", "signal", "bias", "variance", "locality", "cost", "memory", "dense", "convolutional", "source"),
    Credit,
)

register = _CREDITS.register
"""Class decorator that makes a concrete `Credit` known by its name; the arguments of its `__init__` after the model are
the parameters that `get` accepts."""

names = _CREDITS.names
"""The names of all credits, sorted."""

table = _CREDITS.table
"""What each credit does, one row a credit: its class attributes by column; see `Credit`."""


def get(name: str, model: nn.Module, **parameters: Any) -> Credit:
    """Make the credit of a name for a model.

    Args:
        name: One of `names()`.
        model: The network whose gradients are to be filled.
        **parameters: The credit's own parameters; see its class. Every credit takes `seed`.

    Returns:
        The credit, ready for `backward(loss_function, inputs, targets)`.

    Raises:
        UnknownName: There is no such credit.
        InvalidValue: A parameter is unknown or out of range.
        Unsupported: The credit cannot treat a layer of this model.
    """
    return _CREDITS.get(name, model, **parameters)
