import numpy as np
import pytest
import torch

from neuro_decorr.data.checks import Facts, check
from neuro_decorr.errors import InvalidValue

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
Y = np.arange(12) % 3


def changed(array: np.ndarray, index, value) -> np.ndarray:
    array = array.copy()
    array[index] = value
    return array


def test_good_data_pass_with_their_facts() -> None:
    assert check(X, Y) == Facts(samples=12, features=3, classes=3, constant_features=())
    assert check(torch.tensor(X), torch.tensor(Y), classes=5).classes == 5
    assert check(X.reshape(12, 1, 3).tolist(), Y.tolist()).features == 3
    assert check(X > 0, Y).features == 3  # spikes in bins


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (
            changed(X, (4, 2), np.nan),
            Y,
            "1 values are NaN, infinite or beyond float32 (first: sample 4, feature 2, nan)",
        ),
        (changed(X, 5, -np.inf), Y, "3 values are NaN, infinite or beyond float32 (first: sample 5, feature 0, -inf)"),
        (changed(X, (0, 0), 1e200), Y, "1 values are NaN, infinite or beyond float32"),
        (X[:, 0], Y, "inputs: got shape (12,)"),
        (X[:0], Y, "inputs: got shape (0, 3), which holds nothing"),
        (X[:, :0], Y, "inputs: got shape (12, 0), which holds nothing"),
        ([[1.0, 2.0], [3.0]], Y[:2], "inputs: got dtype object"),
        (X.astype(str), Y, "inputs: got dtype <U"),
        (changed(X, (slice(None), 1), 4.0), Y, "inputs: 1 of 3 features never vary (first: [1])"),
        (X, Y[:10], "got 12 samples and 10 labels"),
        (X, Y[:, None], "targets: got shape (12, 1)"),
        (X, Y.astype(float), "targets: got dtype float64; allowed are integers"),
        (X, Y > 0, "targets: got dtype bool"),
        (X, Y * 0 + 2, "targets: got a single class, 2"),
        (X, Y - 1, "targets: got labels from -1 to 1; allowed are the integers from 0 on"),
        (X, Y * 10**12, "targets: got labels up to 2000000000000 in 12 samples; number the classes 0, 1, 2"),
        (X, np.array([], dtype=int), "targets: got no labels"),
    ],
)
def test_each_problem_has_its_line(inputs, targets, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        check(inputs, targets)
    assert any(message in line for line in str(caught.value).splitlines())


def test_labels_beyond_the_classes() -> None:
    with pytest.raises(InvalidValue, match="from 0 to 2; allowed are the integers from 0 to 1"):
        check(X, Y, classes=2)
    with pytest.raises(InvalidValue, match="classes: got 1"):
        check(X, Y, classes=1)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(InvalidValue) as caught:
        check(changed(X, (slice(None), [0, 2]), 1.0), np.full(11, 7), classes=3)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert [line.split(":")[0] for line in lines] == ["inputs", "targets", "targets", "inputs and targets"]


def test_constant_features_can_be_allowed_and_are_reported() -> None:
    facts = check(changed(X, (slice(None), 1), 4.0), Y, constant_features="allow")
    assert facts.constant_features == (1,)
    with pytest.raises(InvalidValue, match="allowed are 'error' and 'allow'"):
        check(X, Y, constant_features="warn")
