"""Files in the format of MNIST: images and labels, packed and unpacked, whole and damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from neuro_decorr import data
from neuro_decorr.errors import InvalidValue


def idx(array: np.ndarray) -> bytes:
    """An array as the format has it: magic number, sizes, bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """200 training and 30 test images; the first pixel of each is its number, its label the last digit of that."""
    for name, count in (("train", 200), ("t10k", 30)):
        images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        images[:, 0, 0] = np.arange(count)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def test_images_keep_their_labels_and_splits_are_disjoint(folder: Path) -> None:
    read = data.mnist(folder, seed=1, validation=0.2)
    numbers = []
    for split in (read.train, read.validation, read.test):
        number = (255 * split.inputs[:, 0]).round().long()
        assert torch.equal(number % 10, split.targets)
        assert float(split.inputs.min()) >= 0 and float(split.inputs.max()) == 1
        numbers.append(number.tolist())
    assert sorted(numbers[0] + numbers[1]) == list(range(200)) and len(numbers[1]) == 40
    assert numbers[2] == list(range(30))
    assert (read.features, read.classes, read.image_shape) == (784, 10, (28, 28))
    assert data.mnist(folder, seed=1, training=50).train.targets.bincount().tolist() == 10 * [5]


def test_all_missing_and_damaged_files_are_named_at_once(folder: Path) -> None:
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte"
    images.write_bytes(gzip.compress(gzip.decompress(images.read_bytes())[:-1]))
    labels.unlink()
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"not packed")
    with pytest.raises(InvalidValue) as caught:
        data.mnist(folder, download=False)
    lines = str(caught.value).splitlines()
    assert ["truncated" in lines[0], "missing" in lines[1], "cannot be unpacked" in lines[2]] == 3 * [True]


def test_images_without_their_labels_are_told(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(199, np.uint8)))
    with pytest.raises(InvalidValue, match="200 training images and 199 labels"):
        data.mnist(folder)
    with pytest.raises(InvalidValue, match="missing"):
        data.mnist(folder / "nowhere", download=False)
