"""Dense network: linear layers with an activation after every hidden layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

from torch import nn

from models._initialisation import drawn, generator
from neuro_decorr.errors import InvalidValue

Normalisation: TypeAlias = Literal["none", "batch"]
"""Normalisation between a hidden linear layer and its activation: none, or batch normalisation."""


def dense(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module] = nn.LeakyReLU,
    normalisation: Normalisation = "none",
    bias: bool = True,
    seed: int | None = None,
) -> nn.Sequential:
    r"""Make a dense network with linear outputs.

    $$x_{l+1} = f(W_l x_l + b_l), \quad l = 1 \dots L - 1; \qquad y = W_L x_L + b_L$$

    Weights are drawn as $W_l \sim N(0, g^2 / n_l)$ with $n_l$ inputs and the gain
    $g^2 = 2 / (1 + a^2)$, a the activation's slope for negative inputs (0 where it has none); the output layer,
    which no activation follows, has g = 1. Biases start at zero. Source: He, Zhang, Ren and Sun (2015), Delving deep
    into rectifiers, arXiv:1502.01852.

    The layers are named `hidden_1`, (`normalisation_1`), `activation_1`, ..., `output`.

    Args:
        sizes: Units of every layer from input to output, such as `[64, 128, 128, 10]`; at least input and output.
        activation: Function that makes the module after every hidden layer.
        normalisation: `"batch"` puts a BatchNorm1d between each hidden linear layer and its activation.
        bias: True if the linear layers have biases.
        seed: Seed of the weights, which are drawn without using the global random state. None: the seed is taken from
            the global random state, as for layers of torch.

    Returns:
        The network, float32, on the CPU.

    Raises:
        InvalidValue: Sizes are not at least two positive integers, the normalisation is unknown, or the seed is
            negative.
    """
    units = list(sizes)
    if len(units) < 2 or any(type(size) is not int or size < 1 for size in units):
        raise InvalidValue(f"sizes: got {units}; allowed are two or more positive integers, input to output.")
    if normalisation not in get_args(Normalisation):
        raise InvalidValue(f"normalisation: got {normalisation!r}; allowed are 'none' and 'batch'.")
    weights = generator(seed, "dense network")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (fan_in, fan_out) in enumerate(pairwise(units[:-1]), start=1):
        nonlinearity = activation()
        slope = float(getattr(nonlinearity, "negative_slope", 0.0))
        layers[f"hidden_{index}"] = drawn(
            nn.Linear, fan_in, fan_out, bias=bias, gain_squared=2 / (1 + slope**2), generator=weights
        )
        if normalisation == "batch":
            layers[f"normalisation_{index}"] = nn.BatchNorm1d(fan_out)
        layers[f"activation_{index}"] = nonlinearity
    layers["output"] = drawn(nn.Linear, *units[-2:], bias=bias, gain_squared=1.0, generator=weights)
    return nn.Sequential(layers)
