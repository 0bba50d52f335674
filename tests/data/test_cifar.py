import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neuro_decorr import data
from neuro_decorr.data import cifar
from neuro_decorr.errors import InvalidValue

RECORDS = 40
NAMES = [*(f"data_batch_{index}.bin" for index in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six files in the layout of the data set, 40 records each, in which no two images are the same."""
    monkeypatch.setattr(cifar, "_CIFAR10", replace(cifar._CIFAR10, records=dict.fromkeys(NAMES, RECORDS)))
    made = tmp_path / "cifar-10-batches-bin"
    made.mkdir()
    rng = np.random.default_rng(0)
    for name in NAMES:
        records = rng.integers(0, 256, size=(RECORDS, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(RECORDS) % 10
        records.tofile(made / name)
    return made


def read(folder: Path, **options) -> data.Dataset:
    return data.cifar10(folder, download=False, **options)


def test_it_reads_every_record_once(folder: Path) -> None:
    dataset = read(folder, validation=0.25)
    assert [len(split.targets) for split in (dataset.train, dataset.validation, dataset.test)] == [150, 50, 40]
    assert (dataset.features, dataset.classes, dataset.image_shape) == (3072, 10, (3, 32, 32))
    raw = np.concatenate([np.fromfile(folder / name, np.uint8).reshape(-1, 3073) for name in NAMES[:5]])
    inputs = torch.cat([dataset.train.inputs, dataset.validation.inputs])
    targets = torch.cat([dataset.train.targets, dataset.validation.targets])
    got = np.column_stack([targets.numpy(), (inputs.numpy() * 255).round()]).astype(np.uint8)
    assert {row.tobytes() for row in got} == {row.tobytes() for row in raw}
    assert np.bincount(dataset.validation.targets).tolist() == [5] * 10


def test_the_test_file_is_the_test_split_as_it_is(folder: Path) -> None:
    raw = np.fromfile(folder / "test_batch.bin", np.uint8).reshape(-1, 3073)
    inputs, targets = read(folder).test
    np.testing.assert_array_equal(inputs.numpy(), raw[:, 1:].astype(np.float32) / 255)
    np.testing.assert_array_equal(targets.numpy(), raw[:, 0])


def test_the_directory_above_will_do_and_the_seed_decides(folder: Path) -> None:
    first, again, other = read(folder.parent, seed=0), read(folder, seed=0), read(folder, seed=1)
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert not torch.equal(first.train.inputs, other.train.inputs)


def test_a_smaller_training_split_keeps_the_classes_and_the_rest(folder: Path) -> None:
    small, whole = read(folder, training=50), read(folder)
    assert np.bincount(small.train.targets).tolist() == [5] * 10
    assert torch.equal(small.validation.inputs, whole.validation.inputs)
    kept = {row.numpy().tobytes() for row in small.train.inputs}
    assert kept < {row.numpy().tobytes() for row in whole.train.inputs}
    with pytest.raises(InvalidValue, match="got 1000; allowed are 10 to 180"):
        read(folder, training=1000)


def test_all_broken_files_are_named_at_once(folder: Path) -> None:
    (folder / "data_batch_2.bin").unlink()
    with (folder / "data_batch_4.bin").open("r+b") as file:
        file.truncate(5000)
    with (folder / "test_batch.bin").open("r+b") as file:
        file.write(b"\x0b")
    with pytest.raises(InvalidValue) as caught:
        read(folder)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "data_batch_2.bin: missing" in lines[0]
    assert f"data_batch_4.bin: got 5000 bytes; 40 records of 3073 bytes are {40 * 3073}. The file is" in lines[1]
    assert "test_batch.bin: holds the label 11; allowed are 0 to 9" in lines[2]


def test_a_whole_number_of_records_too_few_is_the_wrong_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(InvalidValue, match="10000 records"):
        data.cifar10(folder, download=False)


def test_arguments_out_of_range(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"test_batch\.bin: missing; unpack cifar-10-binary\.tar\.gz in .*nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(InvalidValue, match="sum below 1"):
        read(folder, validation=1.0)
    with pytest.raises(InvalidValue, match="labels: got 'middle'; allowed are 'fine' and 'coarse'"):
        data.cifar100(folder, labels="middle")


def test_cifar100_has_two_labels_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "_CIFAR100", replace(cifar._CIFAR100, records={"train.bin": 400, "test.bin": 200}))
    raw = {}
    for name, count in (("train.bin", 400), ("test.bin", 200)):
        raw[name] = np.random.default_rng(count).integers(0, 256, size=(count, 3074), dtype=np.uint8)
        raw[name][:, 1] = np.arange(count) % 100
        raw[name][:, 0] = raw[name][:, 1] // 5
        raw[name].tofile(tmp_path / name)
    fine, coarse = (data.cifar100(tmp_path, labels=labels, validation=0.25) for labels in ("fine", "coarse"))
    assert (fine.classes, coarse.classes) == (100, 20)
    assert np.bincount(fine.train.targets).tolist() == [3] * 100
    assert np.bincount(coarse.train.targets).tolist() == [15] * 20
    for dataset, column in ((fine, 1), (coarse, 0)):
        np.testing.assert_array_equal(dataset.test.targets, raw["test.bin"][:, column])
        np.testing.assert_array_equal(dataset.test.inputs, raw["test.bin"][:, 2:].astype(np.float32) / 255)
        of_image = {(row[2:].astype(np.float32) / 255).tobytes(): row[column] for row in raw["train.bin"]}
        for inputs, targets in (dataset.train, dataset.validation):
            assert [of_image[row.numpy().tobytes()] for row in inputs] == targets.tolist()
    raw["test.bin"][0, :2] = (20, 100)
    raw["test.bin"].tofile(tmp_path / "test.bin")
    with pytest.raises(InvalidValue, match=r"label 20; allowed are 0 to 19[^$]*label 100; allowed are 0 to 99"):
        data.cifar100(tmp_path)


@pytest.mark.data
@pytest.mark.skipif("NEURO_DECORR_CIFAR10" not in os.environ, reason="NEURO_DECORR_CIFAR10 names no directory")
def test_the_real_data_set() -> None:
    dataset = data.cifar10(os.environ["NEURO_DECORR_CIFAR10"], training=10_000, download=False)
    assert np.bincount(dataset.train.targets).tolist() == [1000] * 10
    assert np.bincount(dataset.validation.targets).tolist() == [500] * 10
    assert np.bincount(dataset.test.targets).tolist() == [1000] * 10
    assert float(dataset.train.inputs.mean()) == pytest.approx(0.4734, abs=0.01)  # mean grey level of the data set
    # Neighbouring pixels of photographs are alike: planes and rows were read in the right order.
    image = dataset.test.inputs.reshape(-1, 3, 32, 32)
    across = torch.corrcoef(torch.stack([image[..., :-1].flatten(), image[..., 1:].flatten()]))[0, 1]
    down = torch.corrcoef(torch.stack([image[..., :-1, :].flatten(), image[..., 1:, :].flatten()]))[0, 1]
    assert min(across, down) > 0.9
