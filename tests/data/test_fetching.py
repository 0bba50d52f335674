"""Absent files are fetched, from a server on this machine: whole, with another checksum, and without a network."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from neuro_decorr import data
from neuro_decorr.data import cifar
from neuro_decorr.errors import InvalidValue, MissingExtra

mnist = importlib.import_module("neuro_decorr.data.mnist")  # a function of the package has its name


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Site:
    """A folder that a server on this machine publishes, and how often it was asked."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def publish(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return hashlib.sha256(content).hexdigest()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The four files of MNIST with 20 images each, and CIFAR-10 with 20 records a file, published here."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Site(tmp_path / "site")
    checksums = {}
    for name, dimensions in mnist.FILES.items():
        array = np.zeros((20, 28, 28), np.uint8) if dimensions == 3 else (np.arange(20) % 2).astype(np.uint8)
        content = bytes([0, 0, 8, dimensions]) + np.asarray(array.shape, ">u4").tobytes() + array.tobytes()
        checksums[f"{name}.gz"] = made.publish(f"{name}.gz", gzip.compress(content))
    for source in ("MNIST", "FASHION_MNIST"):
        published = replace(getattr(mnist, source), address=made.address, checksums=checksums)
        monkeypatch.setattr(mnist, source, published)
    layout = replace(cifar._CIFAR10, records=dict.fromkeys(cifar._CIFAR10.records, 20))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in (*layout.records, "readme.html"):
            records = np.zeros((20, 3073), np.uint8)
            records[:, 0] = np.arange(20) % 10
            entry = tarfile.TarInfo(f"{layout.folder}/{name}")
            entry.size = records.nbytes
            archive.addfile(entry, io.BytesIO(records.tobytes()))
    checksum = {layout.archive: made.publish(layout.archive, packed.getvalue())}
    monkeypatch.setattr(cifar, "_CIFAR10", layout)
    monkeypatch.setattr(cifar, "_SOURCE", replace(cifar._SOURCE, address=made.address, checksums=checksum))
    yield made
    made.stop()


@pytest.mark.parametrize("read", [data.mnist, data.fashion_mnist])
def test_absent_files_are_fetched_once(site: Site, tmp_path: Path, read) -> None:
    folder = tmp_path / "new" / "folder"
    fetched = read(folder, validation=0.2)
    assert (len(fetched.train.targets), len(fetched.validation.targets), len(fetched.test.targets)) == (16, 4, 20)
    assert {path.name for path in folder.iterdir()} == {f"{name}.gz" for name in mnist.FILES}
    site.stop()
    assert len(read(folder, validation=0.2).train.targets) == 16


def test_an_archive_is_fetched_and_what_is_missing_is_unpacked(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    assert len(data.cifar10(tmp_path, validation=0.2).test.targets) == 20
    assert {path.name for path in folder.iterdir()} == set(cifar._CIFAR10.records)
    kept = folder / "data_batch_1.bin"
    changed = bytearray(kept.read_bytes())
    changed[-1] = 7
    kept.write_bytes(changed)
    (folder / "data_batch_2.bin").unlink()
    site.stop()
    data.cifar10(folder, validation=0.2)  # from the archive, which is still there
    assert kept.read_bytes() == changed


def test_another_checksum_leaves_nothing_behind(site: Site, tmp_path: Path) -> None:
    site.publish("t10k-images-idx3-ubyte.gz", b"something else")
    with pytest.raises(InvalidValue, match=r"MNIST: t10k-images-idx3-ubyte\.gz could not be fetched .*hash") as caught:
        data.mnist(tmp_path / "here")
    assert f"Put {site.address}/t10k-images-idx3-ubyte.gz into {tmp_path / 'here'} yourself." in str(caught.value)
    assert not (tmp_path / "here" / "t10k-images-idx3-ubyte.gz").exists()


def test_a_file_that_the_site_no_longer_has(site: Site, tmp_path: Path) -> None:
    (site.folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(InvalidValue, match=r"could not be fetched \(404"):
        data.mnist(tmp_path / "here")


def test_without_a_network_the_error_says_what_to_put_where(site: Site, tmp_path: Path) -> None:
    site.stop()
    with pytest.raises(InvalidValue) as caught:
        data.cifar10(tmp_path)
    said = str(caught.value)
    assert "CIFAR-10: cifar-10-binary.tar.gz could not be fetched" in said
    assert said.endswith(f"Put {site.address}/cifar-10-binary.tar.gz into {tmp_path} yourself, and unpack it there.")


def test_without_pooch_the_error_says_so_too(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtra, match=r"pooch, in the extra 'study'.*Put http") as caught:
        data.mnist(tmp_path / "here")
    assert "train-images-idx3-ubyte.gz is not in" in str(caught.value)


def test_nothing_is_fetched_unless_wanted(site: Site, tmp_path: Path) -> None:
    for read, files in ((data.mnist, 4), (data.cifar10, 6)):
        with pytest.raises(InvalidValue) as caught:
            read(tmp_path / "here", download=False)
        assert [": missing; " in line for line in str(caught.value).splitlines()] == files * [True]
    assert not (tmp_path / "here").exists()
