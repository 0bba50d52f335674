"""CIFAR-10 and CIFAR-100 from their standard binary files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from neuro_decorr.data.dataset import Dataset, Split, stratified, subset
from neuro_decorr.data.fetching import Source, fetch
from neuro_decorr.errors import InvalidValue

Labels: TypeAlias = Literal["fine", "coarse"]
"""Labels of CIFAR-100: `"fine"` for the 100 classes, `"coarse"` for the 20 superclasses of five classes each."""

_SHAPE = (3, 32, 32)  # channels, height, width
_PIXELS = 3 * 32 * 32  # bytes: the red, green and blue planes row by row, after the labels
_SOURCE = Source(
    "CIFAR",
    "https://www.cs.toronto.edu/~kriz",
    {
        "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    },
)


@dataclass(frozen=True)
class _Layout:
    """Layout of the archive of a data set."""

    archive: str
    folder: str  # in the archive
    records: dict[str, int]  # images in each file; the last file is the test split
    labels: tuple[int, ...]  # number of classes of each label byte of a record

    @property
    def width(self) -> int:
        """Number of bytes of a record."""
        return len(self.labels) + _PIXELS


_CIFAR10 = _Layout(
    "cifar-10-binary.tar.gz",
    "cifar-10-batches-bin",
    {**{f"data_batch_{index}.bin": 10_000 for index in range(1, 6)}, "test_batch.bin": 10_000},
    (10,),
)
_CIFAR100 = _Layout("cifar-100-binary.tar.gz", "cifar-100-binary", {"train.bin": 50_000, "test.bin": 10_000}, (20, 100))


def cifar10(
    directory: str | PathLike[str],
    seed: int = 0,
    *,
    validation: float = 0.1,
    training: int | None = None,
    download: bool = True,
) -> Dataset:
    """CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels, three colours, 10 classes.

    Every pixel, 0 to 255, is divided by 255: inputs lie in [0, 1]. The validation split is drawn from the training
    files, every class in proportion; the test split is the whole test file.

    Memory: 12 kB per image, 0.7 GB for all; `training` limits it.

    Source: Krizhevsky (2009), Learning multiple layers of features from tiny images, technical report, University of
    Toronto; the file `cifar-10-binary.tar.gz` of https://www.cs.toronto.edu/~kriz/cifar.html, 170 MB.

    Args:
        directory: Folder `cifar-10-batches-bin`, or the one that holds it.
        seed: Seed of the split.
        validation: Fraction of the training images for validation.
        training: Number of training images to keep, every class in proportion; None: all.
        download: True: if files are missing, fetch the archive, compare its checksum and unpack the files.

    Returns:
        The data set: float32 inputs of 3,072 features, with `image_shape` (3, 32, 32).

    Raises:
        InvalidValue: Missing files cannot be fetched; files are missing, truncated or damaged, all named at once; or
            the split is not possible.
        MissingExtra: Files are missing, and pooch, which fetches them, is not installed.
    """
    return _read_all(_CIFAR10, "CIFAR-10", 0, Path(directory), seed, validation, training, download)


def cifar100(
    directory: str | PathLike[str],
    seed: int = 0,
    *,
    labels: Labels = "fine",
    validation: float = 0.1,
    training: int | None = None,
    download: bool = True,
) -> Dataset:
    """CIFAR-100: 50,000 training and 10,000 test images of 32 x 32 pixels, three colours, 100 classes.

    Scale, splits, memory and source are those of `cifar10`; the file is `cifar-100-binary.tar.gz`, 169 MB.

    Args:
        directory: Folder `cifar-100-binary`, or the one that holds it.
        seed: Seed of the split.
        labels: `"fine"`: one of 100 classes; `"coarse"`: one of 20 superclasses.
        validation: Fraction of the training images for validation.
        training: Number of training images to keep, every class in proportion; None: all.
        download: True: if files are missing, fetch the archive, compare its checksum and unpack the files.

    Returns:
        The data set: float32 inputs of 3,072 features, with `image_shape` (3, 32, 32).

    Raises:
        InvalidValue: As for `cifar10`; or unknown `labels`.
        MissingExtra: As for `cifar10`.
    """
    if labels not in get_args(Labels):
        raise InvalidValue(f"labels: got {labels!r}; allowed are 'fine' and 'coarse'.")
    column = ("coarse", "fine").index(labels)
    return _read_all(_CIFAR100, "CIFAR-100", column, Path(directory), seed, validation, training, download)


def _read_all(
    layout: _Layout,
    name: str,
    column: int,
    folder: Path,
    seed: int,
    validation: float,
    training: int | None,
    download: bool,
) -> Dataset:
    """Read the data set, with the label in one column of the records."""
    if folder.name != layout.folder and not any((folder / file).is_file() for file in layout.records):
        folder = folder / layout.folder
    missing = [f"{layout.folder}/{file}" for file in layout.records if not (folder / file).is_file()]
    if missing and download and folder.name == layout.folder:
        fetch(replace(_SOURCE, name=name), layout.archive, folder.parent, missing)
    _check_files(layout, folder)
    *train_files, test_file = layout.records
    raw = np.concatenate([_read(layout, folder / file) for file in train_files])
    targets = torch.from_numpy(raw[:, column].astype(np.int64))
    train, held = stratified(targets, (validation,), seed)
    if training is not None:
        train = subset(train, targets, training, seed)
    test = _read(layout, folder / test_file)
    return Dataset(
        train=_split(raw[train.numpy()], column),
        validation=_split(raw[held.numpy()], column),
        test=_split(test, column),
        classes=layout.labels[column],
        source=f"{name} (Krizhevsky 2009)",
        image_shape=_SHAPE,
    )


def _check_files(layout: _Layout, folder: Path) -> None:
    """Raise InvalidValue for missing files, wrong sizes and impossible labels, all at once."""
    problems = []
    for name, records in layout.records.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{file}: missing; unpack {layout.archive} in {folder.parent}.")
            continue
        if file.stat().st_size != records * layout.width:
            problems.append(
                f"{file}: got {file.stat().st_size} bytes; {records} records of {layout.width} bytes are "
                f"{records * layout.width}. The file is truncated or of another format: unpack it again."
            )
            continue
        for highest, classes in zip(_read(layout, file)[:, :-_PIXELS].max(axis=0), layout.labels, strict=True):
            if highest >= classes:
                problems.append(
                    f"{file}: holds the label {highest}; allowed are 0 to {classes - 1}. The file is damaged: unpack "
                    "it again."
                )
    if problems:
        raise InvalidValue("\n".join(problems))


def _read(layout: _Layout, file: Path) -> NDArray[np.uint8]:
    """Records of a file, shape (records, bytes), mapped into memory and not loaded."""
    return np.memmap(file, dtype=np.uint8, mode="r").reshape(-1, layout.width)


def _split(raw: NDArray[np.uint8], column: int) -> Split:
    """Convert records to inputs in [0, 1] and labels."""
    inputs = torch.from_numpy(raw[:, -_PIXELS:].astype(np.float32)).div_(255)
    return Split(inputs, torch.from_numpy(raw[:, column].astype(np.int64)))
