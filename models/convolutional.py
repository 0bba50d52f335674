"""Convolutional network with pooling after every second convolution."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import get_args

from torch import nn

from models._initialisation import drawn, generator
from models.dense import Normalisation
from neuro_decorr.errors import InvalidValue

SLOPE = 0.01  # of the LeakyReLU, for negative inputs


def convolutional(
    image: Sequence[int] = (3, 32, 32),
    channels: Sequence[int] = (32, 32, 64, 64),
    hidden: int = 1000,
    classes: int = 10,
    normalisation: Normalisation = "none",
    seed: int | None = None,
) -> nn.Sequential:
    """Make 3 x 3 convolutions with LeakyReLU, maximum pooling by 2 after every second one, a dense layer and an output.

    The defaults are the network of Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780, as
    its code has it. Weights are drawn as in `models.dense`. The layers are named `convolution_1`, (`normalisation_1`),
    `activation_1`, ..., `pooling_2`, ..., `flatten`, `hidden`, (`normalisation`), `activation`, `output`.

    Args:
        image: Channels, height and width of an image.
        channels: Numbers of output channels of the convolutions.
        hidden: Units of the dense layer.
        classes: Outputs.
        normalisation: `"batch"` puts batch normalisation between every hidden layer and its activation.
        seed: Seed of the weights; None takes it from the global random state.

    Returns:
        The network, float32, on the CPU; it takes (batch, channels, height, width).

    Raises:
        InvalidValue: Sizes are not positive integers; the normalisation is unknown; or the image is too small for the
            poolings.
    """
    sizes = [*image, *channels, hidden, classes]
    if len(image) != 3 or not channels or any(type(size) is not int or size < 1 for size in sizes):
        raise InvalidValue(
            f"image, channels, hidden, classes: got {tuple(image)}, {tuple(channels)}, {hidden!r}, {classes!r}; "
            "allowed are positive integers, three for an image (channels, height, width), one convolution or more."
        )
    if normalisation not in get_args(Normalisation):
        raise InvalidValue(f"normalisation: got {normalisation!r}; allowed are 'none' and 'batch'.")
    before, height, width = image
    least = 2 ** (len(channels) // 2)
    if min(height, width) < least:
        raise InvalidValue(
            f"image: got {height} x {width}; {len(channels) // 2} poolings by 2 need at least {least} x {least}: "
            "give larger images or fewer convolutions."
        )
    weights = generator(seed, "convolutional network")
    rectified = 2 / (1 + SLOPE**2)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, after in enumerate(channels, start=1):
        layers[f"convolution_{index}"] = drawn(
            nn.Conv2d, before, after, 3, padding=1, gain_squared=rectified, generator=weights
        )
        if normalisation == "batch":
            layers[f"normalisation_{index}"] = nn.BatchNorm2d(after)
        layers[f"activation_{index}"] = nn.LeakyReLU(SLOPE)
        if index % 2 == 0:
            layers[f"pooling_{index}"] = nn.MaxPool2d(2)
            height, width = height // 2, width // 2
        before = after
    layers["flatten"] = nn.Flatten()
    layers["hidden"] = drawn(nn.Linear, before * height * width, hidden, gain_squared=rectified, generator=weights)
    if normalisation == "batch":
        layers["normalisation"] = nn.BatchNorm1d(hidden)
    layers["activation"] = nn.LeakyReLU(SLOPE)
    layers["output"] = drawn(nn.Linear, hidden, classes, gain_squared=1.0, generator=weights)
    return nn.Sequential(layers)
