"""Residual network for small images (ResNet-18)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final, get_args

import torch
from torch import Tensor, nn

from models._initialisation import drawn, generator
from models.dense import Normalisation
from neuro_decorr.errors import InvalidValue


@final
class Block(nn.Module):
    r"""Residual block: two 3 x 3 convolutions and a path that skips them.

    $$y = \mathrm{relu}\bigl( N_2 * \mathrm{relu}(N_1 * x) + S x \bigr)$$

    with N a convolution and its batch normalisation, and S the identity, or a 1 x 1 convolution with batch
    normalisation where the number of channels or the resolution changes. Without normalisation the convolutions have
    biases, and N_2 starts at zero, so that the block starts as S and the activity does not grow with the depth.
    """

    def __init__(
        self, before: int, after: int, stride: int, normalisation: Normalisation, weights: torch.Generator
    ) -> None:
        """Build the block.

        Args:
            before: Channels of the input.
            after: Channels of the output.
            stride: Stride of the first convolution.
            normalisation: `"batch"` or `"none"`.
            weights: Generator of the initial weights.
        """
        super().__init__()
        self.convolution_1 = _convolution(before, after, 3, stride, normalisation, weights)
        self.normalisation_1 = _normalised(after, normalisation)
        self.convolution_2 = _convolution(after, after, 3, 1, normalisation, weights)
        self.normalisation_2 = _normalised(after, normalisation)
        if normalisation == "none":
            nn.init.zeros_(self.convolution_2.weight)
        self.shortcut = (
            nn.Sequential(
                _convolution(before, after, 1, stride, normalisation, weights), _normalised(after, normalisation)
            )
            if stride != 1 or before != after
            else nn.Identity()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (batch, before, height, width) to (batch, after, height / stride, width / stride)."""
        hidden = torch.relu(self.normalisation_1(self.convolution_1(inputs)))
        return torch.relu(self.normalisation_2(self.convolution_2(hidden)) + self.shortcut(inputs))


def residual(
    channels: Sequence[int] = (64, 128, 256, 512),
    blocks: int = 2,
    classes: int = 10,
    colours: int = 3,
    normalisation: Normalisation = "batch",
    seed: int | None = None,
) -> nn.Sequential:
    """Make a ResNet for images of about 32 x 32: a 3 x 3 stem without pooling, groups of blocks, average, output.

    The defaults are ResNet-18 with the stem for small images. Sources: He, Zhang, Ren and Sun (2016), Deep residual
    learning for image recognition, arXiv:1512.03385; without normalisation, blocks that begin as their skip: Zhang,
    Dauphin and Ma (2019), Fixup initialization, arXiv:1901.09321.

    Args:
        channels: Channels of each group; every group after the first halves the resolution.
        blocks: Number of blocks per group.
        classes: Number of outputs.
        colours: Number of channels of an image.
        normalisation: `"batch"`: batch normalisation after every convolution; `"none"`: biases instead, and blocks that
            start as their skip path.
        seed: Seed of the weights; None takes it from the global random state.

    Returns:
        The network, float32, on the CPU; it takes (batch, colours, height, width).

    Raises:
        InvalidValue: Sizes are not positive integers, or the normalisation is unknown.
    """
    if not channels or any(type(size) is not int or size < 1 for size in (*channels, blocks, classes, colours)):
        raise InvalidValue(
            f"channels, blocks, classes, colours: got {tuple(channels)}, {blocks!r}, {classes!r}, {colours!r}; allowed "
            "are positive integers, and at least one group of channels."
        )
    if normalisation not in get_args(Normalisation):
        raise InvalidValue(f"normalisation: got {normalisation!r}; allowed are 'none' and 'batch'.")
    weights = generator(seed, "residual network")
    layers: list[nn.Module] = [
        _convolution(colours, channels[0], 3, 1, normalisation, weights),
        _normalised(channels[0], normalisation),
        nn.ReLU(),
    ]
    before = channels[0]
    for group, after in enumerate(channels):
        for index in range(blocks):
            layers.append(Block(before, after, 2 if group and index == 0 else 1, normalisation, weights))
            before = after
    output = drawn(nn.Linear, before, classes, gain_squared=1.0, generator=weights)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), output)


def _convolution(
    before: int, after: int, kernel: int, stride: int, normalisation: Normalisation, weights: torch.Generator
) -> nn.Conv2d:
    """Make a convolution that keeps the size at stride 1; without a bias if a normalisation follows, which has one."""
    return drawn(
        nn.Conv2d, before, after, kernel, stride=stride, padding=kernel // 2, bias=normalisation == "none",
        gain_squared=2.0, generator=weights,
    )  # fmt: skip


def _normalised(channels: int, normalisation: Normalisation) -> nn.Module:
    return nn.BatchNorm2d(channels) if normalisation == "batch" else nn.Identity()
