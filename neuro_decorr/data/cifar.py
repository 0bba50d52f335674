"""CIFAR-10 from its standard binary files, which the user has downloaded."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr.data.dataset import Dataset, Split, stratified, subset
from neuro_decorr.errors import InvalidValue

_FOLDER = "cifar-10-batches-bin"
_SHAPE = (3, 32, 32)  # channels, height, width
_RECORD = 1 + 3 * 32 * 32  # bytes: one label, then the red, green and blue planes row by row
_TRAIN = tuple(f"data_batch_{index}.bin" for index in range(1, 6))
_FILES = (*_TRAIN, "test_batch.bin")


def cifar10(
    directory: str | PathLike[str],
    seed: int = 0,
    *,
    validation: float = 0.1,
    training: int | None = None,
    records: int = 10_000,
) -> Dataset:
    """CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels, three colours, 10 classes.

    Pixels 0 to 255 are divided by 255, the same for every pixel: inputs lie in [0, 1]. The validation split is drawn
    from the training files, every class in proportion; the test file is the test split as it is.

    Memory: 12 kB an image, 0.7 GB for all; `training` limits it.

    Source: Krizhevsky (2009), Learning multiple layers of features from tiny images, technical report, University of
    Toronto; the file `cifar-10-binary.tar.gz` of https://www.cs.toronto.edu/~kriz/cifar.html.

    Args:
        directory: Folder `cifar-10-batches-bin`, or the one that holds it.
        seed: Seed of the split.
        validation: Fraction of the training images for validation.
        training: Number of training images to keep, every class in proportion; all when not given.
        records: Images in each file. Other than 10,000 only for files that were made so.

    Returns:
        The data set: float32 inputs of 3,072 features, with `image_shape` (3, 32, 32).

    Raises:
        InvalidValue: Missing, truncated or damaged files, all named at once; or a split that is not possible.
    """
    folder = Path(directory)
    if (folder / _FOLDER).is_dir():
        folder = folder / _FOLDER
    _check_files(folder, records)
    raw = np.concatenate([_read(folder / name) for name in _TRAIN])
    labels = torch.from_numpy(raw[:, 0].astype(np.int64))
    train, held = stratified(labels, (validation,), seed)
    if training is not None:
        train = subset(train, labels, training, seed)
    return Dataset(
        train=_split(raw[train.numpy()]),
        validation=_split(raw[held.numpy()]),
        test=_split(_read(folder / "test_batch.bin")),
        classes=10,
        source="CIFAR-10 (Krizhevsky 2009)",
        image_shape=_SHAPE,
    )


def _check_files(folder: Path, records: int) -> None:
    """Refuse missing files and files of another size or with impossible labels, all of them at once."""
    if not folder.is_dir():
        raise InvalidValue(f"{folder}: there is no such directory; give the one that holds {_FOLDER}.")
    if records < 1:
        raise InvalidValue(f"records: got {records}; allowed are 1 and more.")
    problems = []
    for name in _FILES:
        file = folder / name
        if not file.is_file():
            problems.append(f"{file}: missing; unpack cifar-10-binary.tar.gz there.")
        elif file.stat().st_size != records * _RECORD:
            problems.append(
                f"{file}: {file.stat().st_size} bytes; {records} records of {_RECORD} bytes are "
                f"{records * _RECORD}: truncated or another format, unpack it again."
            )
        elif (highest := int(_read(file)[:, 0].max())) > 9:
            problems.append(f"{file}: holds the label {highest}; allowed are 0 to 9: damaged, unpack it again.")
    if problems:
        raise InvalidValue("\n".join(problems))


def _read(file: Path) -> NDArray[np.uint8]:
    """Records of a file, shape (records, 3073), mapped rather than loaded."""
    return np.memmap(file, dtype=np.uint8, mode="r").reshape(-1, _RECORD)


def _split(raw: NDArray[np.uint8]) -> Split:
    """Records as inputs in [0, 1] and labels."""
    inputs = torch.from_numpy(raw[:, 1:].astype(np.float32)).div_(255)
    return Split(inputs, torch.from_numpy(raw[:, 0].astype(np.int64)))
