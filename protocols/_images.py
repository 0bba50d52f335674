"""Images for protocols: those that come with the package, or those of files; read once, cut to a size."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Literal, TypeAlias

from neuro_decorr import data
from neuro_decorr.data import Dataset, Split
from neuro_decorr.errors import InvalidValue, NeuroDecorrError

ImagesName: TypeAlias = Literal["embedded", "fashion_mnist", "mnist", "cifar10", "cifar100"]


def dataset(images: ImagesName, directory: str | None, training: int | None, seed: int) -> Dataset:
    """The images in the split of a seed, read once a process: to check the options, and to run."""
    if images == "embedded":
        return _embedded(seed)
    if directory is None:
        raise InvalidValue(f"{images} comes in files: name their folder by --data-dir; absent ones are fetched into it")
    return _from_files(images, directory, training, seed)


def batch_problems(images: ImagesName, directory: str | None, training: int | None, batch_size: int) -> list[str]:
    """What is wrong with the images, or with the size of a batch of them: a line each."""
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
    """The same with at most so many images of validation and test: every epoch is measured on them."""
    first = (Split(split.inputs[:count], split.targets[:count]) for split in (images.validation, images.test))
    validation, test = first
    return dataclasses.replace(images, validation=validation, test=test)
