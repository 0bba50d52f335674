"""Common modes: correlations that many inputs share, such as those by illumination, arousal or mains hum."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from neuro_decorr.data.dataset import Dataset, Split
from neuro_decorr.data.seeds import stream
from neuro_decorr.errors import InvalidValue


def modes(image_shape: tuple[int, ...]) -> Tensor:
    r"""Four spatial modes of an image: constant, horizontal gradient, vertical gradient, and their product.

    $$m_1 = 1, \quad m_2(u, v) = u, \quad m_3(u, v) = v, \quad m_4(u, v) = u v, \qquad u, v \in [-1, 1]$$

    u goes from the left to the right edge, v from the top to the bottom edge. The largest magnitude of each mode is 1
    (peak normalisation), and the modes are orthogonal to each other. All channels share them.

    Args:
        image_shape: `(height, width)` or `(channels, height, width)`, at least 2 x 2 pixels.

    Returns:
        Modes, shape `(4, features)`, float64, without units.

    Raises:
        InvalidValue: The shape is not one of these.
    """
    if len(image_shape) not in (2, 3) or min(image_shape[-2:]) < 2 or min(image_shape) < 1:
        raise InvalidValue(
            f"image_shape: got {image_shape}; allowed are (height, width) and (channels, height, width) of at least "
            "2 x 2 pixels."
        )
    height, width = image_shape[-2:]
    v, u = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=torch.float64),
        torch.linspace(-1, 1, width, dtype=torch.float64),
        indexing="ij",
    )
    planes = torch.stack([torch.ones_like(u), u, v, u * v])
    return planes[:, None].expand(4, math.prod(image_shape[:-2]), height, width).reshape(4, -1)


def common_modes(inputs: Tensor, strength: float, generator: torch.Generator, image_shape: tuple[int, ...]) -> Tensor:
    r"""Add common modes to images, with independent random amplitudes for every image.

    $$x_p \leftarrow x_p + s \sum_{k=1}^{4} a_{pk} m_k, \qquad a_{pk} \sim N(0, 1)$$

    The $m_k$ are the peak-normalised `modes`, so the standard deviation s = `strength` has the units of the inputs: for
    images in [0, 1] strength 1 changes the grey level by one full range. The modes add the covariance
    $s^2 \sum_k m_k m_k^T$, of rank 4 with eigenvalues $s^2 \|m_k\|^2$, and no mean. The amplitudes $a_{pk}$ do not
    depend on the strength, so that images of two strengths differ in the strength alone. Cost: 4 multiply-adds per
    pixel.

    Args:
        inputs: Images, shape `(samples, features)`, flattened.
        strength: Standard deviation s of the amplitudes, units of the inputs; 0 returns the inputs unchanged.
        generator: Random generator of the amplitudes, on the CPU.
        image_shape: `(height, width)` or `(channels, height, width)`, whose product is `features`.

    Returns:
        Images of the same shape, dtype and device. Values are not clipped, so they may leave the range of the inputs.

    Raises:
        InvalidValue: A negative or infinite strength, integer inputs, or a shape that does not fit the inputs.
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise InvalidValue(f"strength: got {strength}; allowed are finite numbers from 0 on.")
    planes = modes(image_shape)
    if not inputs.is_floating_point():
        raise InvalidValue(f"inputs: got dtype {inputs.dtype}; allowed is floating point: convert with .float().")
    if inputs.ndim != 2 or inputs.shape[1] != planes.shape[1]:
        raise InvalidValue(
            f"inputs: got shape {tuple(inputs.shape)}; images of shape {image_shape} need (samples, {planes.shape[1]})."
        )
    amplitudes = torch.randn(len(inputs), 4, generator=generator, dtype=torch.float64)
    if strength == 0:
        return inputs
    return inputs + (strength * amplitudes @ planes).to(inputs)


def with_common_modes(dataset: Dataset, strength: float, seed: int = 0) -> Dataset:
    """Add common modes to every image of a data set, as `common_modes` does.

    Each split has its own stream of amplitudes: those of the test images are independent of those of the training
    images and do not change with the size of the other splits.

    Args:
        dataset: Data set of images, with `image_shape`.
        strength: Standard deviation of the amplitudes, units of the inputs; 0 leaves the inputs unchanged.
        seed: Seed of the amplitudes.

    Returns:
        The data set with the same labels; its source names the strength.

    Raises:
        InvalidValue: The data are not images, or the strength is negative or infinite.
    """
    shape = dataset.image_shape
    if shape is None:
        raise InvalidValue(
            f"common modes need images, and the data set '{dataset.source}' has no image_shape; give the inputs as "
            "images, of shape (samples, height, width) or (samples, channels, height, width)."
        )

    def add(split: Split, name: str) -> Split:
        generator = stream(seed, f"common modes, {name}")
        return Split(common_modes(split.inputs, strength, generator, shape), split.targets)

    return dataclasses.replace(
        dataset,
        train=add(dataset.train, "train"),
        validation=add(dataset.validation, "validation"),
        test=add(dataset.test, "test"),
        source=f"{dataset.source} with common modes of strength {strength:g}" if strength else dataset.source,
    )
