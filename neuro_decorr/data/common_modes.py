"""Common modes: correlations that many inputs share, as illumination, arousal or mains hum bring them."""

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

    with u from the left to the right edge and v from the top to the bottom one. Each mode has the largest magnitude 1
    (peak normalisation) and they are orthogonal to each other. All channels share them.

    Args:
        image_shape: `(height, width)` or `(channels, height, width)`, at least 2 x 2 pixels.

    Returns:
        Modes, shape `(4, features)`, float64.

    Raises:
        InvalidValue: Another shape.
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
    r"""Add common modes to images, with random amplitudes of their own for every image.

    $$x_p \leftarrow x_p + s \sum_{k=1}^{4} a_{pk} m_k, \qquad a_{pk} \sim N(0, 1)$$

    with the peak-normalised `modes`: the amplitude's standard deviation `strength` is in the units of the inputs, so
    that for images in [0, 1] strength 1 moves the grey level by one full range. It adds the covariance
    $s^2 \sum_k m_k m_k^T$, of rank 4 with eigenvalues $s^2 \|m_k\|^2$, and no mean. The amplitudes do not
    depend on the strength: two strengths differ in nothing else.

    Args:
        inputs: Images, shape `(samples, features)`, flattened.
        strength: Standard deviation s of the amplitudes, units of the inputs; 0 returns the inputs as they are.
        generator: Source of the amplitudes, on the CPU.
        image_shape: `(height, width)` or `(channels, height, width)`, whose product is `features`.

    Returns:
        Images of the same shape, dtype and device. They may leave the range of the inputs: nothing is clipped.

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
    """A data set of images with common modes added to every image of every split, see `common_modes`.

    Each split has its own stream of amplitudes: those of the test images are independent of the training images and
    do not change with the size of the other splits.

    Args:
        dataset: Images; its `image_shape` is set.
        strength: Standard deviation of the amplitudes, units of the inputs; 0 leaves the inputs as they are.
        seed: Seed of the amplitudes.

    Returns:
        The data set, with the same labels and the strength in its source.

    Raises:
        InvalidValue: Data that are not images, or a negative strength.
    """
    shape = dataset.image_shape
    if shape is None:
        raise InvalidValue(f"common modes need images, and {dataset.source} has none; image_shape must be set.")

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
