"""Images for protocols: those that come with the package, or those of files; read once, cut to a size."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Literal, TypeAlias

import torch.nn.functional as F

from neuro_decorr import data
from neuro_decorr.data import Dataset, Split
from neuro_decorr.errors import InvalidValue, NeuroDecorrError

ImagesName: TypeAlias = Literal["embedded", "fashion_mnist", "mnist", "cifar10", "cifar100"]


def dataset(images: ImagesName, directory: str | None, training: int | None, seed: int) -> Dataset:
    """Load the images, split by a seed; each process reads them once, to check the options and to run."""
    if images == "embedded":
        return _embedded(seed)
    if directory is None:
        raise InvalidValue(f"{images} comes in files: name their folder by --data-dir; absent ones are fetched into it")
    return _from_files(images, directory, training, seed)


def batch_problems(images: ImagesName, directory: str | None, training: int | None, batch_size: int) -> list[str]:
    """Problems of the images, or of the size of a batch of them: a line each."""
    try:
        samples = len(dataset(images, directory, training, 0).train.targets)
    except NeuroDecorrError as error:
        return [f"--images: {error}"]
    if batch_size > samples:
        return [f"--batch-size: got {batch_size}, allowed is up to {samples} training images"]
    return []


@lru_cache(maxsize=8)  # small: the seeds of a study, which its conditions share
def _embedded(seed: int) -> Dataset:
    return data.fashion(seed)


@lru_cache(maxsize=2)
def _from_files(images: ImagesName, directory: str, training: int | None, seed: int) -> Dataset:
    read = {
        "fashion_mnist": data.fashion_mnist,
        "mnist": data.mnist,
        "cifar10": data.cifar10,
        "cifar100": data.cifar100,
    }[images]
    return read(directory, seed, training=training)


def evaluated(images: Dataset, count: int) -> Dataset:
    """Limit the numbers of validation and test images, on which every epoch is measured."""
    first = (Split(split.inputs[:count], split.targets[:count]) for split in (images.validation, images.test))
    validation, test = first
    return dataclasses.replace(images, validation=validation, test=test)


def enlarged(images: Dataset, side: int | None, training: int | None) -> Dataset:
    """Limit the number of training images, and enlarge all images (bilinear) to a side.

    Args:
        images: Flat images with their shape, (height, width) or (channels, height, width).
        side: Height and width to come; None: as they are.
        training: Number of training images to keep. None: all.
    """
    train = Split(images.train.inputs[:training], images.train.targets[:training])
    if side is None:
        return dataclasses.replace(images, train=train)
    assert images.image_shape is not None
    channels = images.features // (images.image_shape[-2] * images.image_shape[-1])
    grown = []
    for part in (train, images.validation, images.test):
        maps = part.inputs.view(-1, channels, *images.image_shape[-2:])
        enlarged_maps = F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)
        grown.append(Split(enlarged_maps.flatten(1), part.targets))
    train, validation, test = grown
    shape = (side, side) if len(images.image_shape) == 2 else (channels, side, side)
    return dataclasses.replace(images, train=train, validation=validation, test=test, image_shape=shape)
