"""Weight layers whose initial weights come from a separate generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from neuro_decorr.data import stream

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def generator(seed: int | None, purpose: str) -> torch.Generator:
    """Make a separate random stream: the same seed used for noise or for the order of samples gives other numbers.

    Args:
        seed: Seed of the weights. None: taken from the global random state, as for layers of torch.
        purpose: Name of the network.

    Returns:
        The generator.
    """
    return stream(int(torch.randint(2**62, ())) if seed is None else seed, purpose)


def drawn(
    kind: Callable[..., Layer], *sizes: int, gain_squared: float, generator: torch.Generator, **options: Any
) -> Layer:
    r"""Make a layer with weights from $N(0, g^2 / n)$, with n the number of inputs per output unit, and zero biases.

    Source: He, Zhang, Ren and Sun (2015), Delving deep into rectifiers, arXiv:1502.01852.

    Args:
        kind: `nn.Linear` or `nn.Conv2d`.
        *sizes: Sizes of the layer, in the order of its arguments.
        gain_squared: g^2, which is 2 / (1 + a^2) before a rectifier of slope a, and 1 where no activation follows.
        generator: Generator of the weights.
        **options: Further arguments of the layer.

    Returns:
        The layer, float32, on the CPU.
    """
    # On the meta device first: torch's own initialisation would draw from the global random state.
    layer = kind(*sizes, device="meta", **options).to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.normal_(0.0, (gain_squared / layer.weight[0].numel()) ** 0.5, generator=generator)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
