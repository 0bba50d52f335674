"""The images that the package carries: what they are, and that they are what their authors published."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from neuro_decorr import data
from neuro_decorr.data.fashion import _FOLDER
from neuro_decorr.errors import InvalidValue

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = "NEURO_DECORR_FASHION_MNIST"
CHECKSUMS = {  # SHA-256 of what is in the files; other releases of zlib pack otherwise
    "train-images-idx3-ubyte.gz": "8993d8a0a3af44b6297a9187e6c0ded75c61329fe63260634e6d8130141024bb",
    "train-labels-idx1-ubyte.gz": "688ced2be22d04a87df5e62d58c281181a032cbac7b3cd2ee6bef23e97869bad",
    "t10k-images-idx3-ubyte.gz": "b3a74e202b236268fb74621a1adb2f41735bddf8450aa78d3d9b67daea0bd517",
    "t10k-labels-idx1-ubyte.gz": "5024d7dba6aed36897537d6547208a0fab4d4c554778531974ec924e0be5c546",
}


def test_the_splits_have_every_class_alike_and_no_image_twice() -> None:
    images = data.fashion(seed=3)
    splits = (images.train, images.validation, images.test)
    assert [np.bincount(split.targets).tolist() for split in splits] == [10 * [420], 10 * [60], 10 * [120]]
    assert (images.features, images.classes, images.image_shape) == (784, 10, (28, 28))
    assert len({row.numpy().tobytes() for split in splits for row in split.inputs}) == 6_000
    assert np.bincount(data.fashion(training=50).train.targets).tolist() == 10 * [5]


def test_the_seed_draws_the_validation_split_and_leaves_the_test_alone() -> None:
    first, again, other = data.fashion(seed=0), data.fashion(seed=0), data.fashion(seed=1)
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.validation.inputs, other.validation.inputs)
    assert torch.equal(first.test.inputs, other.test.inputs)
    with pytest.raises(InvalidValue, match="got 4201; allowed are 10 to 4200"):
        data.fashion(training=4_201)


def test_mean_and_deviation_are_those_known_of_the_whole_data_set() -> None:
    # 0.2860 and 0.3530 over all 60,000 training images, the constants that everybody standardises by. Images scatter
    # around the mean by 0.17, so that 4,800 give it to 0.0025; four standard errors.
    images = data.fashion()
    pixels = torch.cat([images.train.inputs, images.validation.inputs])
    assert float(pixels.mean()) == pytest.approx(0.2860, abs=0.01)
    assert float(pixels.std()) == pytest.approx(0.3530, abs=0.01)


def test_checksums_and_size() -> None:
    files = {path.name: path for path in _FOLDER.glob("*.gz")}
    found = {name: hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest() for name, path in files.items()}
    assert found == CHECKSUMS
    assert sum(path.stat().st_size for path in files.values()) < 4_000_000
    assert "Permission is hereby granted" in (_FOLDER / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.data
@pytest.mark.skipif(SOURCE not in os.environ, reason=f"{SOURCE} names no directory")
def test_they_are_the_published_images_and_the_tool_makes_them(tmp_path: Path) -> None:
    whole = data.fashion_mnist(os.environ[SOURCE], validation=1e-9, download=False)
    ours = data.fashion()
    published = [row.numpy().tobytes() for row in whole.test.inputs]
    places = [published.index(row.numpy().tobytes()) for row in ours.test.inputs]
    assert places == sorted(places)
    assert torch.equal(whole.test.targets[places], ours.test.targets)
    for label in range(10):
        of_class = [place for place in places if whole.test.targets[place] == label]
        assert of_class == (whole.test.targets == label).nonzero().flatten()[:120].tolist()
    tool = [sys.executable, "tools/fashion_mnist.py", os.environ[SOURCE], "--out", str(tmp_path)]
    subprocess.run(tool, cwd=ROOT, check=True, capture_output=True)
    made = {path.name: gzip.decompress(path.read_bytes()) for path in tmp_path.iterdir()}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in made.items()} == CHECKSUMS
