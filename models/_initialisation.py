"""Weight layers whose initial weights come from a generator of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from neuro_decorr.data import stream

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def generator(seed: int | None, purpose: str) -> torch.Generator:
    """A stream of its own: the same seed elsewhere, for noise or for the order of samples, gives other numbers.

    Args:
        seed: Seed of the weights; None takes it from the global state, as layers of torch do.
        purpose: Which network it is for.

    Returns:
        The generator.
    """
    return stream(int(torch.randint(2**62, ())) if seed is None else seed, purpose)


def drawn(
    kind: Callable[..., Layer], *sizes: int, gain_squared: float, generator: torch.Generator, **options: Any
) -> Layer:
    r"""A layer with weights $N(0, g^2 / n)$, n its inputs an output unit, and zero biases.

    Source: He, Zhang, Ren and Sun (2015), Delving deep into rectifiers, arXiv:1502.01852.

    Args:
        kind: `nn.Linear` or `nn.Conv2d`.
        *sizes: Its sizes, as it takes them.
        gain_squared: g^2: 2 / (1 + a^2) before a rectifier of slope a, 1 where nothing follows.
        generator: Where the weights come from.
        **options: Further arguments of the layer.

    Returns:
        The layer, float32, on the CPU.
    """
    # Made without memory, then given it: torch's own initialisation would draw from the global state.
    layer = kind(*sizes, device="meta", **options).to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.normal_(0.0, (gain_squared / layer.weight[0].numel()) ** 0.5, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
