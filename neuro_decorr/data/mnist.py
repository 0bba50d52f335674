"""MNIST, and Fashion-MNIST in the same files, which the user has downloaded."""

from __future__ import annotations

import gzip
import math
import zlib
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr.data.dataset import Dataset, Split, stratified, subset
from neuro_decorr.errors import InvalidValue

_FILES = {  # dimensions of the arrays
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}


def mnist(
    directory: str | PathLike[str], seed: int = 0, *, validation: float = 0.1, training: int | None = None
) -> Dataset:
    """MNIST or Fashion-MNIST: 60,000 training and 10,000 test images of 28 x 28 pixels, one grey level, 10 classes.

    Pixels 0 to 255 are divided by 255, the same for every pixel: inputs lie in [0, 1]. The validation split is drawn
    from the training file, every class in proportion; the test file is the test split as it is. Pixels that never vary
    stay, as silent inputs.

    Memory: 3 kB an image, 0.2 GB for all; `training` limits it.

    Source: LeCun, Cortes and Burges (1998), The MNIST database of handwritten digits; Xiao, Rasul and Vollgraf (2017),
    Fashion-MNIST, arXiv:1708.07747. Both come as four files of the same names, `train-images-idx3-ubyte.gz` and so on.

    Args:
        directory: Folder of the four files, as they come (`.gz`) or unpacked.
        seed: Seed of the split.
        validation: Fraction of the training images for validation.
        training: Number of training images to keep, every class in proportion; all when not given.

    Returns:
        The data set: float32 inputs of 784 features, with `image_shape` (28, 28).

    Raises:
        InvalidValue: Missing, truncated or damaged files, all named at once; or a split that is not possible.
    """
    folder = Path(directory)
    arrays, problems = [], []
    for name, dimensions in _FILES.items():
        try:
            arrays.append(_read(folder, name, dimensions))
        except InvalidValue as error:
            problems.append(str(error))
    if problems:
        raise InvalidValue("\n".join(problems))
    images, labels, test_images, test_labels = arrays
    for kind, held, told in (("training", images, labels), ("test", test_images, test_labels)):
        if len(held) != len(told):
            raise InvalidValue(f"{folder}: {len(held)} {kind} images and {len(told)} labels; download them again.")
    if images.shape[1:] != test_images.shape[1:]:
        raise InvalidValue(f"{folder}: training images of {images.shape[1:]} and test images of other pixels.")
    targets = torch.from_numpy(labels.astype(np.int64))
    train, held_out = stratified(targets, (validation,), seed)
    if training is not None:
        train = subset(train, targets, training, seed)
    return Dataset(
        train=_split(images[train.numpy()], labels[train.numpy()]),
        validation=_split(images[held_out.numpy()], labels[held_out.numpy()]),
        test=_split(test_images, test_labels),
        classes=int(labels.max()) + 1,
        source=f"images in the files of MNIST, from {folder.name}",
        image_shape=images.shape[1:],
    )


def _read(folder: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """The array of one file: two zeros, the type (8: bytes), how many dimensions, their sizes (big-endian), bytes."""
    packed, plain = folder / f"{name}.gz", folder / name
    file = plain if plain.is_file() else packed
    if not file.is_file():
        raise InvalidValue(f"{packed}: missing; put the four files of MNIST or Fashion-MNIST there.")
    try:
        content = gzip.decompress(file.read_bytes()) if file == packed else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidValue(f"{file}: cannot be unpacked ({error}); download it again.") from error
    start = 4 + 4 * dimensions
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4", count=len(content[4:start]) // 4))
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) != start + math.prod(shape) or 0 in shape:
        raise InvalidValue(
            f"{file}: is truncated, or no array of {dimensions} dimensions as MNIST has; download it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    """Inputs in [0, 1] and labels."""
    inputs = torch.from_numpy(images.reshape(len(images), -1).astype(np.float32)).div_(255)
    return Split(inputs, torch.from_numpy(labels.astype(np.int64)))
