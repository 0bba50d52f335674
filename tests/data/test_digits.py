import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from neuro_decorr import data
from neuro_decorr.errors import InvalidValue


def splits(dataset: data.Dataset) -> tuple[data.Split, ...]:
    return dataset.train, dataset.validation, dataset.test


def rows(split: data.Split) -> set[bytes]:
    return {row.numpy().tobytes() for row in split.inputs}


def test_the_splits_are_the_whole_of_the_digits_and_disjoint() -> None:
    images, labels = load_digits(return_X_y=True)
    dataset = data.digits(seed=3)
    x = torch.cat([split.inputs for split in splits(dataset)])
    y = torch.cat([split.targets for split in splits(dataset)])
    got = np.column_stack([x.numpy() * 16, y.numpy()])
    expected = np.column_stack([images, labels])
    np.testing.assert_array_equal(got[np.lexsort(got.T)], expected[np.lexsort(expected.T)])
    # No two digits are the same, so that disjoint images mean disjoint samples.
    assert len(dataset.train.targets) == data.TRAINING_DIGITS
    assert len(rows(dataset.train) | rows(dataset.validation) | rows(dataset.test)) == 1797


def test_every_class_keeps_its_share() -> None:
    dataset = data.digits(seed=0, validation=0.2, test=0.1)
    counts = np.bincount(load_digits().target)
    for split, share in zip(splits(dataset), (0.7, 0.2, 0.1), strict=True):
        assert abs(np.bincount(split.targets) - share * counts).max() <= 2
    assert len(dataset.validation.targets) == round(0.2 * 1797)
    assert len(dataset.test.targets) == round(0.1 * 1797)


def test_the_seed_decides_the_split_and_the_global_state_nothing() -> None:
    state = torch.get_rng_state()
    first, again, other = data.digits(seed=0), data.digits(seed=0), data.digits(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(splits(first), splits(again), strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
    assert rows(first.test) != rows(other.test)


def test_the_facts_of_the_digits() -> None:
    dataset = data.digits()
    assert (dataset.features, dataset.classes, dataset.image_shape) == (64, 10, (8, 8))
    assert {0, 32, 39} <= set(dataset.constant_features)
    for inputs, targets in splits(dataset):
        assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)
        assert (float(inputs.min()), float(inputs.max())) == (0, 1)


@pytest.mark.parametrize("fractions", [(0, 0.2), (0.2, -0.1), (0.5, 0.5), (float("nan"), 0.2)])
def test_impossible_fractions(fractions: tuple[float, float]) -> None:
    with pytest.raises(InvalidValue, match="positive numbers of sum below 1"):
        data.digits(validation=fractions[0], test=fractions[1])


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_impossible_seeds(seed) -> None:
    with pytest.raises(InvalidValue, match="integers from 0 on"):
        data.digits(seed=seed)


def test_streams_differ_by_seed_and_by_purpose() -> None:
    draws = [torch.rand(3, generator=data.stream(seed, key)) for seed in (0, 1) for key in ("a", "b")]
    assert len({tuple(draw.tolist()) for draw in draws}) == 4
    assert torch.equal(draws[0], torch.rand(3, generator=data.stream(np.int64(0), "a")))
