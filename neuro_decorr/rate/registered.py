"""Whether a layer of a registered class computes the linear map that it was registered as.

Shapes do not tell the order of a square weight, and D in front of the wrong side of it would be folded into nonsense:
so the layer is asked, once, with a few random rows.
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
"""Of the norm of the outputs; processors with short products come as close, and a wrong order is off by the whole."""


def problem_of_registered(layer: WeightLayer) -> str | None:
    r"""What is wrong with a layer of a registered class, as the end of a sentence that begins with its name.

    $$y = W x + b$$

    must be what its own forward gives, in eval mode, for random x and random entries of W and b in their places (where
    a hook or a parametrization computes these, for those that it has). Not asked are subclasses with a forward of their
    own, layers that need further arguments, and layers on the meta device, which have no values.

    Args:
        layer: Of a kind that can be decorrelated; torch's own are taken to be what they are.

    Returns:
        The problem, with the other order where that is what the layer computes; None where there is none.
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
                f'is registered with weight="{layout}", and computes with its weight in the other order: '
                f'nd.rate.register_linear({plain_class(layer).__name__}, weight="{other}") in a fresh process'
            )
    return (
        f'is registered with weight="{layout}", but its forward gives something else than W x + b, also with '
        f'weight="{other}": what D before it would be is not known'
    )


def _computes(layer: WeightLayer, layout: Layout) -> bool:
    """Whether the layer, as it is by now, gives W x + b with its weight in an order."""
    weight: Tensor = layer.weight
    matrix = weight if layout == "outputs_first" else weight.t()
    rows = torch.randn(_ROWS, matrix.shape[1], generator=torch.Generator().manual_seed(1)).to(weight)
    bias: Tensor | None = layer.bias
    if bias is not None and bias.shape != matrix.shape[:1]:
        return False
    try:
        outputs: Any = layer.forward(rows)
    except Exception:  # whatever a forward of a user raises for rows of a size that it does not take
        return False
    expected = F.linear(rows, matrix, bias)
    if not isinstance(outputs, Tensor) or outputs.shape != expected.shape:
        return False
    expected, outputs = expected.double(), outputs.double()
    tolerance = max(_LEAST_TOLERANCE, _PLACES * torch.finfo(weight.dtype).eps)
    return bool((outputs - expected).norm() <= tolerance * expected.norm())


@contextmanager
def _at_random(layer: nn.Module) -> Iterator[None]:
    """In eval mode, with random weights: those at the start of a layer can be zero, or symmetric."""
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
    """Whether the forward cannot be called with the input alone."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(layer.forward).parameters.values())
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return len(required) > 1 or any(p.kind not in positional for p in required)
