"""MNIST and Fashion-MNIST, whose files have the same names and format."""

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
from neuro_decorr.data.fetching import Source, fetch
from neuro_decorr.errors import InvalidValue

FILES = {  # number of dimensions of the arrays
    "train-images-idx3-ubyte": 3,
    "train-labels-idx1-ubyte": 1,
    "t10k-images-idx3-ubyte": 3,
    "t10k-labels-idx1-ubyte": 1,
}
MNIST = Source(
    "MNIST",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
FASHION_MNIST = Source(
    "Fashion-MNIST",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)


def mnist(
    directory: str | PathLike[str],
    seed: int = 0,
    *,
    validation: float = 0.1,
    training: int | None = None,
    download: bool = True,
) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28 pixels, one grey level, 10 classes.

    Every pixel, 0 to 255, is divided by 255: inputs lie in [0, 1]. The validation split is drawn from the training
    file, every class in proportion; the test split is the whole test file. Pixels that never vary are kept as silent
    inputs.

    Memory: 3 kB per image, 0.2 GB for all; `training` limits it.

    Source: LeCun, Cortes and Burges (1998), The MNIST database of handwritten digits: four files,
    `train-images-idx3-ubyte.gz` and so on, 12 MB in all.

    Args:
        directory: Folder of the four files, packed (`.gz`) or unpacked. Other data in files of this format work too.
        seed: Seed of the split.
        validation: Fraction of the training images for validation.
        training: Number of training images to keep, every class in proportion; None: all.
        download: True: fetch missing files into the folder and compare their checksums.

    Returns:
        The data set: float32 inputs of 784 features, with `image_shape` (28, 28).

    Raises:
        InvalidValue: Files are missing and cannot be fetched, or are truncated or damaged, all named at once; or the
            split is not possible.
        MissingExtra: Files are missing, and pooch, which fetches them, is not installed.
    """
    return from_folder(MNIST, directory, seed, validation=validation, training=training, download=download)


def fashion_mnist(
    directory: str | PathLike[str],
    seed: int = 0,
    *,
    validation: float = 0.1,
    training: int | None = None,
    download: bool = True,
) -> Dataset:
    """Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28 x 28 pixels, one grey level, 10 classes.

    Scale, splits, memory and names of the files are those of `mnist`. The package contains 6,000 of the images, see
    `fashion`.

    Source: Xiao, Rasul and Vollgraf (2017), Fashion-MNIST, arXiv:1708.07747; 31 MB.

    Args:
        directory: Folder of the four files, packed (`.gz`) or unpacked.
        seed: Seed of the split.
        validation: Fraction of the training images for validation.
        training: Number of training images to keep, every class in proportion; None: all.
        download: True: fetch missing files into the folder and compare their checksums.

    Returns:
        The data set: float32 inputs of 784 features, with `image_shape` (28, 28).

    Raises:
        InvalidValue: As for `mnist`.
        MissingExtra: As for `mnist`.
    """
    return from_folder(FASHION_MNIST, directory, seed, validation=validation, training=training, download=download)


def from_folder(
    source: Source,
    directory: str | PathLike[str],
    seed: int,
    *,
    validation: float,
    training: int | None,
    download: bool = False,
) -> Dataset:
    """Read a data set in four files of the format of MNIST.

    Args:
        source: Place where the files are published.
        directory: As for `mnist`.
        seed: As for `mnist`.
        validation: As for `mnist`.
        training: As for `mnist`.
        download: As for `mnist`.

    Returns:
        The data set, with the `image_shape` of the files.

    Raises:
        InvalidValue: As for `mnist`.
    """
    folder = Path(directory)
    arrays, problems = [], []
    for name, dimensions in FILES.items():
        if download and not (folder / name).is_file() and not (folder / f"{name}.gz").is_file():
            fetch(source, f"{name}.gz", folder)
        try:
            arrays.append(read_array(folder, name, dimensions))
        except InvalidValue as error:
            problems.append(str(error))
    if problems:
        raise InvalidValue("\n".join(problems))
    images, labels, test_images, test_labels = arrays
    for kind, held, told in (("training", images, labels), ("test", test_images, test_labels)):
        if len(held) != len(told):
            raise InvalidValue(f"{folder}: got {len(held)} {kind} images and {len(told)} labels; download them again.")
    if images.shape[1:] != test_images.shape[1:]:
        raise InvalidValue(
            f"{folder}: got training images of {images.shape[1:]} pixels and test images of {test_images.shape[1:]}; "
            "give files of one data set."
        )
    targets = torch.from_numpy(labels.astype(np.int64))
    train, held_out = stratified(targets, (validation,), seed)
    if training is not None:
        train = subset(train, targets, training, seed)
    return Dataset(
        train=_split(images[train.numpy()], labels[train.numpy()]),
        validation=_split(images[held_out.numpy()], labels[held_out.numpy()]),
        test=_split(test_images, test_labels),
        classes=int(labels.max()) + 1,
        source=f"{source.name}, from files in {folder.name}",
        image_shape=images.shape[1:],
    )


def read_array(folder: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """Read the array of one file, packed or not.

    The format is two zeros, the type (8: bytes), the number of dimensions, their sizes (big-endian) and the bytes.

    Args:
        folder: Folder of the file.
        name: Name of the file, without `.gz`.
        dimensions: Number of dimensions that the array must have.

    Returns:
        The array, of bytes.

    Raises:
        InvalidValue: The file is missing, cannot be unpacked, or is of another format or length.
    """
    packed, plain = folder / f"{name}.gz", folder / name
    file = plain if plain.is_file() else packed
    if not file.is_file():
        raise InvalidValue(f"{packed}: missing; put the four files of the data set there.")
    try:
        content = gzip.decompress(file.read_bytes()) if file == packed else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidValue(f"{file}: cannot be unpacked ({error}); download it again.") from error
    start = 4 + 4 * dimensions
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4", count=len(content[4:start]) // 4))
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) != start + math.prod(shape) or 0 in shape:
        raise InvalidValue(
            f"{file}: is truncated, or holds no array of {dimensions} dimensions in the format of MNIST; download it "
            "again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    """Convert images and labels to a split with inputs in [0, 1]."""
    inputs = torch.from_numpy(images.reshape(len(images), -1).astype(np.float32)).div_(255)
    return Split(inputs, torch.from_numpy(labels.astype(np.int64)))
