"""Registry of the credits by name."""

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
"""Names of all credits, sorted."""

table = _CREDITS.table
"""Table of all credits, one row per credit with its class attributes by column; see `Credit`. N is the number of nodes,
g the gradient at the nodes, and G the gradient of the weights."""


def get(name: str, model: nn.Module, **parameters: Any) -> Credit:
    """Make a credit by its name for a model.

    Args:
        name: One of `names()`.
        model: Network whose gradients are to be filled.
        **parameters: Parameters of the credit, see its class; missing ones take their defaults. Every credit takes
            `seed`.

    Returns:
        The credit, ready for `backward(loss_function, inputs, targets)`.

    Raises:
        UnknownName: No credit has the name; the message gives the nearest one.
        InvalidValue: A parameter is unknown or out of range.
        Unsupported: The credit cannot treat a layer of this model.
    """
    return _CREDITS.get(name, model, **parameters)
