"""Make the images that the package carries: `python tools/fashion_mnist.py DIRECTORY`.

The directory holds the four files of Fashion-MNIST, as its authors publish them or as Debian's package
`dataset-fashion-mnist` installs them; what they hold is compared with its checksums. Of every class the first 480
images of the training file and the first 120 of the test file are kept, in their order.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.data.mnist import FILES, read_array

PACKAGE = Path(__file__).resolve().parent.parent / "neuro_decorr" / "data" / "fashion_mnist"
KEPT = {"train": 480, "t10k": 120}  # of every class
CHECKSUMS = {  # SHA-256 of the unpacked files: it does not depend on how they were packed
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def header(array: NDArray[np.uint8]) -> bytes:
    """Header before the bytes of an array in the format of MNIST."""
    return bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()


def read(directory: Path) -> dict[str, NDArray[np.uint8]]:
    """Read the four arrays.

    Args:
        directory: Folder of the files.

    Returns:
        The arrays by the names of their files.

    Raises:
        SystemExit: A file is not that of Fashion-MNIST.
    """
    arrays = {name: read_array(directory, name, dimensions) for name, dimensions in FILES.items()}
    for name, array in arrays.items():
        if hashlib.sha256(header(array) + array.tobytes()).hexdigest() != CHECKSUMS[name]:
            raise SystemExit(f"{directory / name}: its checksum is not that of Fashion-MNIST; give the original file.")
    return arrays


def write(arrays: dict[str, NDArray[np.uint8]], directory: Path) -> None:
    """Write the images that are kept, and their labels.

    Args:
        arrays: All images and labels, by the names of their files.
        directory: Folder to write into.
    """
    for part, share in KEPT.items():
        images, labels = arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"]
        kept = np.sort(np.concatenate([np.flatnonzero(labels == label)[:share] for label in range(10)]))
        for name, array in ((f"{part}-images-idx3-ubyte", images[kept]), (f"{part}-labels-idx1-ubyte", labels[kept])):
            packed = gzip.compress(header(array) + array.tobytes(), mtime=0)
            (directory / f"{name}.gz").write_bytes(packed)
            print(f"{name}.gz: {len(packed)} bytes, {len(array)} of {len(labels)}")


def main() -> None:
    """Read, check, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("directory", type=Path, help="the folder of the four files of Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=PACKAGE, help="where to write; the package if not given")
    arguments = parser.parse_args()
    write(read(arguments.directory), arguments.out)


if __name__ == "__main__":
    main()
