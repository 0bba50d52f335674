"""Check that a layer of a registered class computes the linear map as which it was registered.

Shapes do not show the order of a square weight, and a D on the wrong side would be folded into a wrong weight. So the
check runs the layer once on a few random rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr.errors import Unsupported
from neuro_decorr.rate.weights import Layout, WeightLayer, computes_of_its_own, features_of, layout_of, plain_class

_ROWS = 3
_PLACES = 8
_LEAST_TOLERANCE = 1e-2
"""Tolerance relative to the norm of the outputs: products of low precision stay below it, a wrong order does not."""


def problem_of_registered(layer: WeightLayer) -> str | None:
    r"""Problem of a layer of a registered class, as the end of a sentence that begins with its name.

    $$y = W x + b$$

    must be the result of its own forward, in eval mode, for random x and random W and b (or the present W and b, if a
    hook or a parametrization computes them). Subclasses with a forward of their own, layers that need further
    arguments, and layers on the meta device, which have no values, are not checked.

    Args:
        layer: Layer of a kind that can be decorrelated; torch's own layers need no check.

    Returns:
        The problem, with the other order if the layer computes with it; None if there is no problem.
    """
    layout = layout_of(layer)
    if layout is None or isinstance(layer, nn.Linear):
        return None
    try:
        features_of(layer)
    except Unsupported as error:
        return f"does not fit: {str(error).removesuffix('.')}"
    weight: Tensor = layer.weight
    if weight.is_meta or computes_of_its_own(layer) or _needs_more(layer):
        return None
    other: Layout = next(order for order in get_args(Layout) if order != layout)
    with torch.no_grad(), _at_random(layer):
        if _computes(layer, layout):
            return None
        if _computes(layer, other):
            return (
                f'is registered with weight="{layout}", but computes with its weight in the other order: use '
                f'nd.rate.register_linear({plain_class(layer).__name__}, weight="{other}") in a fresh process'
            )
    return (
        f'is registered with weight="{layout}", but its forward computes W x + b neither in this order nor with '
        f'weight="{other}", so that its input cannot be decorrelated'
    )


def _computes(layer: WeightLayer, layout: Layout) -> bool:
    """True if the layer, in its present state, computes W x + b with its weight in an order."""
    weight: Tensor = layer.weight
    matrix = weight if layout == "outputs_first" else weight.t()
    rows = torch.randn(_ROWS, matrix.shape[1], generator=torch.Generator().manual_seed(1)).to(weight)
    bias: Tensor | None = layer.bias
    if bias is not None and bias.shape != matrix.shape[:1]:
        return False
    try:
        outputs: Any = layer.forward(rows)
    except Exception:  # any error of a user's forward for rows of a size that it does not take
        return False
    expected = F.linear(rows, matrix, bias)
    if not isinstance(outputs, Tensor) or outputs.shape != expected.shape:
        return False
    expected, outputs = expected.double(), outputs.double()
    tolerance = max(_LEAST_TOLERANCE, _PLACES * torch.finfo(weight.dtype).eps)
    return bool((outputs - expected).norm() <= tolerance * expected.norm())


@contextmanager
def _at_random(layer: nn.Module) -> Iterator[None]:
    """Context with eval mode and random weights, since the initial weights can be zero or symmetric."""
    training = [module for module in layer.modules() if module.training]
    held = {name: p for name in ("weight", "bias") if (p := layer._parameters.get(name)) is not None}
    generator = torch.Generator().manual_seed(0)
    try:
        for module in training:
            module.training = False
        for name, parameter in held.items():
            values = torch.randn(parameter.shape, generator=generator).to(parameter)
            layer._parameters[name] = nn.Parameter(values, requires_grad=False)
        yield
    finally:
        layer._parameters.update(held)
        for module in training:
            module.training = True


def _needs_more(layer: nn.Module) -> bool:
    """True if the forward cannot be called with the input alone."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(layer.forward).parameters.values())
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return len(required) > 1 or any(p.kind not in positional for p in required)
