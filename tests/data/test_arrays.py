import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import data
from neuro_decorr.data.dataset import allocate, stratified
from neuro_decorr.errors import InvalidValue


def labelled(samples: int = 30, features: int = 4) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(samples, features)), np.arange(samples) % 3


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(6, 60), min_size=2, max_size=6),
    validation=st.floats(0.05, 0.3),
    test=st.floats(0.05, 0.3),
    seed=st.integers(0, 100),
)
def test_a_stratified_split_is_a_partition_in_proportion(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    targets = torch.from_numpy(np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)))
    parts = stratified(targets, (validation, test), seed)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(targets)))
    for part, share in zip(parts[1:], (validation, test), strict=True):
        assert torch.equal(part, part.sort().values)
        got = np.bincount(targets[part], minlength=len(counts))
        assert (got >= 1).all()
        exact = np.array(counts) * round(share * len(targets)) / len(targets)
        assert (abs(got - np.maximum(exact, 1)) < 1 + 1e-9).all()


@given(counts=st.lists(st.integers(1, 50), min_size=1, max_size=8), part=st.floats(0, 1))
def test_allocation_shares_exactly_the_total(counts: list[int], part: float) -> None:
    total = int(part * sum(counts))
    shares = allocate(np.array(counts), total)
    assert shares.sum() == total
    assert (abs(shares - np.array(counts) * total / sum(counts)) < 1).all()
    assert (shares <= counts).all()


def test_images_are_flattened_and_the_arrays_copied() -> None:
    images = np.random.default_rng(0).normal(size=(40, 3, 5, 4))
    dataset = data.from_arrays(images, np.arange(40) % 4, source="my camera")
    assert (dataset.features, dataset.classes) == (60, 4)
    assert (dataset.image_shape, dataset.source) == ((3, 5, 4), "my camera")
    before = dataset.train.inputs.clone()
    images[:] = 0
    assert torch.equal(dataset.train.inputs, before)
    assert data.from_arrays(*labelled()).image_shape is None


@pytest.mark.parametrize("shape", [(5, 4), (1, 5, 4), (3, 5, 4)])
def test_the_representation_tells_how_a_convolution_gets_its_images(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)
    dataset = data.from_arrays(images, np.arange(40) % 4, source="my camera")
    told = repr(dataset)
    assert told.startswith(f"Dataset of my camera: 24 train, 8 validation, 8 test; {images[0].size} features, images")
    assert told.endswith("; 4 classes") and told == str(dataset)
    back = eval(told.split("back: ")[1].split(");")[0], {"nn": torch.nn})
    rows = dataset.train.inputs
    given = images.reshape(40, -1, 5, 4)
    for row, image in zip(rows, back(rows).numpy(), strict=True):
        (place,) = np.flatnonzero((images.reshape(40, -1) == row.numpy()).all(axis=1))
        np.testing.assert_array_equal(image, given[place])
    assert repr(data.from_arrays(*labelled())) == (
        "Dataset of arrays: 18 train, 6 validation, 6 test; 4 features; 3 classes"
    )


def test_tensors_and_labels_of_any_integer_kind() -> None:
    x, y = labelled()
    expected = data.from_arrays(x, y)
    got = data.from_arrays(torch.tensor(x, requires_grad=True), torch.tensor(y, dtype=torch.uint8))
    assert torch.equal(got.train.inputs, expected.train.inputs)
    assert torch.equal(got.train.targets, expected.train.targets)
    assert got.train.targets.dtype == torch.int64


def test_a_class_too_small_to_split_is_named() -> None:
    x, y = labelled()
    y[:] = np.arange(30) % 2
    y[:2] = 2
    with pytest.raises(InvalidValue, match=r"class 2 \(2\) for one in each of 3 splits"):
        data.from_arrays(x, y)


def test_a_file_holds_what_was_saved(tmp_path) -> None:
    x, y = labelled()
    np.savez(tmp_path / "mine.npz", inputs=x, targets=y)
    got, expected = data.from_file(tmp_path / "mine.npz", seed=1), data.from_arrays(x, y, seed=1)
    assert torch.equal(got.test.inputs, expected.test.inputs)
    assert got.source.endswith("mine.npz")


def test_files_that_are_not_such_an_archive(tmp_path) -> None:
    x, y = labelled()
    np.savez(tmp_path / "names.npz", x=x, targets=y)
    np.savez(tmp_path / "objects.npz", inputs=np.array([[1], "a"], dtype=object), targets=y)
    np.save(tmp_path / "bare.npy", x)
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "whole.npz", inputs=x, targets=y)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:300])
    np.savez_compressed(tmp_path / "packed.npz", inputs=x, targets=y)
    packed = bytearray((tmp_path / "packed.npz").read_bytes())
    packed[100:140] = bytes(40)
    (tmp_path / "damaged.npz").write_bytes(packed)
    for name, message in {
        "none.npz": "there is no such file",
        "names.npz": "lacks inputs; it holds targets, x",
        "objects.npz": "cannot be read",
        "bare.npy": "is not a NumPy archive",
        "text.npz": "is not a NumPy archive",
        "empty.npz": "is not a NumPy archive",
        "cut.npz": "is not a NumPy archive",
        "damaged.npz": "cannot be read",
    }.items():
        with pytest.raises(InvalidValue, match=message) as caught:
            data.from_file(tmp_path / name)
        assert "numpy.savez(path, inputs=..., targets=...)" in str(caught.value)
        assert name in str(caught.value)


def test_a_file_with_bad_data_is_checked_as_arrays_are(tmp_path) -> None:
    x, y = labelled()
    x[3, 1] = np.nan
    np.savez(tmp_path / "mine.npz", inputs=x, targets=y)
    with pytest.raises(InvalidValue, match="first: sample 3, feature 1"):
        data.from_file(tmp_path / "mine.npz")
