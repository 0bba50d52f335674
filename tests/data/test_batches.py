import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr import data
from neuro_decorr.errors import InvalidValue


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(samples=st.integers(1, 40), size=st.integers(1, 40), shuffle=st.booleans())
def test_a_pass_takes_every_sample_once(samples: int, size: int, shuffle: bool) -> None:
    targets = torch.arange(samples)
    passes = data.batches(targets[:, None] * 1.0, targets, size, generator() if shuffle else None)
    got = list(passes)
    assert len(got) == len(passes)
    assert all(torch.equal(x[:, 0], y * 1.0) for x, y in got)
    assert [len(y) for _, y in got[:-1]] == [size] * (len(got) - 1)
    assert torch.equal(torch.cat([y for _, y in got]).sort().values, targets)


@given(samples=st.integers(1, 40), size=st.integers(1, 40), shuffle=st.booleans())
def test_dropping_the_last_leaves_whole_batches(samples: int, size: int, shuffle: bool) -> None:
    size = min(size, samples)
    targets = torch.arange(samples)
    got = [y for _, y in data.batches(targets, targets, size, generator() if shuffle else None, last="drop")]
    assert [len(y) for y in got] == [size] * (samples // size)
    assert len(torch.cat(got).unique()) == size * (samples // size)


def test_the_generator_alone_decides_the_order() -> None:
    targets = torch.arange(50)
    state = torch.get_rng_state()
    first, second = (data.batches(targets, targets, 8, generator()) for _ in range(2))
    orders = [torch.cat([y for _, y in passes]) for passes in (first, second, first)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])  # another pass, another order
    assert not torch.equal(orders[0], targets)


def test_without_a_generator_the_order_is_kept() -> None:
    targets = torch.arange(10)
    assert torch.equal(torch.cat([y for _, y in data.batches(targets, targets, 4)]), targets)


@pytest.mark.parametrize(
    ("samples", "labels", "size", "last", "message"),
    [
        (5, 4, 2, "keep", "5 samples and 4 labels"),
        (0, 0, 2, "keep", "0 samples and 0 labels"),
        (5, 5, 0, "keep", "batch_size: got 0; allowed are 1 to 5"),
        (5, 5, 6, "drop", "batch_size: got 6"),
        (5, 5, 2, "pad", "last: got 'pad'"),
    ],
)
def test_bad_arguments(samples: int, labels: int, size: int, last, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        data.batches(torch.zeros(samples, 2), torch.zeros(labels), size, last=last)
