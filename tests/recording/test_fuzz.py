"""Damaged files of every format: each is read, or refused in one clear line; nothing else ever comes out."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from examples import phy_folder
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains, Trials, load, save
from tests.recording.test_foreign import alf, caiman, suite2p
from tests.recording.test_matlab import version73

GENERATOR = np.random.default_rng(8)
TRAINS = SpikeTrains(
    [np.sort(GENERATOR.uniform(0, 10, 30)), [1 / 3]], 0, 10, ["a", "b"], Trials([1], [2], ["x"]), [(5.0, 5.001)]
)
RATES = Rates(GENERATOR.random((40, 3)), 0.1, units=["a", "b", "c"])


def mutants(content: bytes, generator: np.random.Generator, count: int) -> Iterator[bytes]:
    """The content with some bytes changed, cut out, doubled or put in, blocks swapped, numbers made huge; or cut."""
    for _ in range(count):
        changed = bytearray(content)
        for _ in range(int(generator.integers(1, 6))):
            at, length = int(generator.integers(len(changed) + 1)), int(generator.integers(1, 12))
            kind = generator.integers(7)
            if kind == 0 and len(changed) > 1:
                changed[at % len(changed)] ^= 1 << int(generator.integers(8))
            elif kind == 1:
                del changed[at : at + length]
            elif kind == 2:
                changed[at:at] = changed[at : at + length]
            elif kind == 3:
                changed[at:at] = bytes(generator.integers(0, 256, length).astype(np.uint8))
            elif kind == 4:
                other, size = int(generator.integers(len(changed) + 1)), int(generator.integers(1, 200))
                first, second = changed[at : at + size], changed[other : other + size]
                changed[at : at + len(second)], changed[other : other + len(first)] = second, first
            elif kind == 5:
                width = int(generator.choice([2, 4, 8]))
                changed[at : at + width] = (2 ** (8 * width - int(generator.integers(2))) - 1).to_bytes(width, "little")
            elif generator.random() < 0.3:
                del changed[at:]
        yield bytes(changed)


def check(path: Path, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = f"{path.parent}: as it should be"
        try:
            load(path, **options)
        except InvalidValue as error:
            told = str(error)
        assert str(path.parent) in told and "\n" not in told and len(told) < 1500, told


def written(name: str) -> Callable[[Path], tuple[Path, dict[str, Any]]]:
    def write(folder: Path) -> tuple[Path, dict[str, Any]]:
        recording = RATES if "rates" in name else TRAINS
        return save(recording, folder / name), {}

    return write


def text(name: str, content: str) -> Callable[[Path], tuple[Path, dict[str, Any]]]:
    def write(folder: Path) -> tuple[Path, dict[str, Any]]:
        (folder / name).write_text(content)
        return folder / name, {}

    return write


def bare(folder: Path) -> tuple[Path, dict[str, Any]]:
    np.save(folder / "a.npy", RATES.values)
    return folder / "a.npy", {"step": 0.1}


def mat5(folder: Path) -> tuple[Path, dict[str, Any]]:
    savemat(folder / "a.mat", {"rates": RATES.values, "other": {"x": 1.0}})
    return folder / "a.mat", {"variable": "rates", "step": 0.1}


def mat73(folder: Path) -> tuple[Path, dict[str, Any]]:
    version73(folder / "a.mat")
    return folder / "a.mat", {"variable": "spikes"}


def hdf5(folder: Path) -> tuple[Path, dict[str, Any]]:
    return caiman(folder / "a.hdf5", True), {}


SPIKES = "".join(f"{unit};{0.1 * k + 0.01 * unit:.3f}\n".replace(".", ",") for unit in range(3) for k in range(9))
QUICK = {
    "npz": written("a.npz"),
    "npz of rates": written("rates.npz"),
    "csv": written("a.csv"),
    "csv of rates": written("rates.csv"),
    "decimal commas": text("a.csv", "unit;time\n" + SPIKES),
    "parquet": written("a.parquet"),
    "npy": bare,
    "mat 5": mat5,
    "nest": text(
        "a-1-0.dat", "# NEST version: 3.6\nsender\ttime_ms\n" + "".join(f"{k % 3}\t{k}.5\n" for k in range(20))
    ),
    "gdf": text("a.gdf", "".join(f"{k % 3}\t{k}.5\n" for k in range(20))),
}
HDF5 = {"mat 7.3": mat73, "caiman": hdf5, "nwb": written("a.nwb"), "nix": written("a.nix")}


@pytest.mark.parametrize("name", QUICK)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    check_mutants(name, tmp_path, 40)


def check_mutants(name: str, folder: Path, count: int) -> None:
    path, options = QUICK[name](folder)
    for content in mutants(path.read_bytes(), np.random.default_rng(1), count):
        path.write_bytes(content)
        check(path, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_many_damaged_files(name: str, tmp_path: Path) -> None:
    check_mutants(name, tmp_path, 1500)


@pytest.mark.slow
@pytest.mark.parametrize("name", HDF5)
def test_damaged_hdf5(name: str, tmp_path: Path) -> None:
    path, options = HDF5[name](tmp_path)
    for number, content in enumerate(mutants(path.read_bytes(), np.random.default_rng(1), 60)):
        # A name of its own for each: HDF5 keeps what it read of a file while anything holds it open.
        other = path.with_name(f"{number}{path.suffix}")
        other.write_bytes(content)
        check(other, **options)
        other.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["phy", "alf", "suite2p"])
def test_damaged_folders(kind: str, tmp_path: Path) -> None:
    root = tmp_path / "whole"
    root.mkdir()
    write: dict[str, Callable[[], Path]] = {
        "phy": lambda: phy_folder.write(root, duration=1.0),
        "alf": lambda: alf(root),
        "suite2p": lambda: suite2p(root),
    }
    folder = write[kind]()
    generator = np.random.default_rng(1)
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for content in mutants(whole, generator, 60):
            file.write_bytes(content)
            check(folder, **({"step": 0.1} if kind == "suite2p" else {}))
        file.unlink()
        check(folder, **({"step": 0.1} if kind == "suite2p" else {}))
        file.write_bytes(whole)
    shutil.rmtree(root)


@pytest.mark.slow
def test_random_objects_in_hdf5(tmp_path: Path) -> None:
    """Arrays of other types and shapes where CaImAn has its traces."""
    for number, values in enumerate((0, "x", np.zeros(3), np.zeros((2, 0)), np.zeros((2, 3, 4)), [b"a", b"b"], np.nan)):
        path = tmp_path / f"{number}.hdf5"
        with h5py.File(path, "w") as file:
            file["estimates/C"] = values
            file["params/data/fr"] = values
        check(path)
