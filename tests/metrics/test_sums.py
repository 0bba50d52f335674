"""Sums over cells against moments of the whole array in float64, and of the resampled array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import metrics
from neuro_decorr.metrics import bootstrap
from neuro_decorr.metrics.activity import as_stream
from neuro_decorr.metrics.second_moments import Moments
from neuro_decorr.metrics.sums import accumulate
from neuro_decorr.recording import SpikeTrains


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (301, 6)
    return {
        "counts": rng.poisson(0.3, size=shape),
        "bytes": rng.poisson(40, size=shape).astype(np.uint8),
        "large counts": rng.poisson(30_000, size=shape).astype(np.uint16),
        "negative": -rng.poisson(7, size=shape).astype(np.int32),
        "binary": rng.random(shape) < 0.2,
        "counters": rng.integers(0, 10**10, size=shape) + 10**14,
        "rates far from zero": rng.normal(size=shape) + 1e5,
        "backwards": rng.normal(size=shape)[::-1],
        "single precision": rng.exponential(size=shape).astype(np.float32),
    }


def same(found: Moments, x: np.ndarray, center: bool = True, silent: str = "nan") -> None:
    """The moments are those that the definitions give, on the whole array in float64."""
    constant = (x == x[0]).all(axis=0) if center else ~x.any(axis=0)
    assert (found.samples, found.units, found.silent, found.center) == (*x.shape, constant.sum(), center)
    values = x.astype(np.float64)
    mean = values.mean(axis=0)
    if silent == "drop":
        values, mean, constant = values[:, ~constant], mean[~constant], constant[~constant]
    values = np.where(constant, 0.0, values - mean * center)
    expected = {
        "covariance": values.T @ values / (len(x) - center),
        "mean": mean,
        "fourth": ((values**2).sum(axis=1) ** 2).sum(),
        "unit_fourth": (values**4).sum(),
    }
    for name, b in expected.items():
        np.testing.assert_allclose(getattr(found, name).numpy(), b, rtol=1e-9, atol=1e-9 * abs(b).max(), err_msg=name)
    assert found.constant.tolist() == constant.tolist()


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("length", [None, 7])
@pytest.mark.parametrize("name", arrays())
def test_all_cells_together_are_the_array(name: str, length: int | None, center: bool) -> None:
    x = arrays()[name]
    same(accumulate(as_stream(x), length, center=center).moments(), x, center)
    same(metrics.moments(x, center=center), x, center)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("name", arrays())
def test_weights_are_repetitions_of_cells(name: str, center: bool) -> None:
    x = arrays()[name]
    sums = accumulate(as_stream(x), 10, center=center)
    assert sums.lengths.tolist() == [10] * 30 + [1]
    weights = torch.from_numpy(np.random.default_rng(1).multinomial(31, np.full(31, 1 / 31), size=3)).double()
    for weight, found in zip(weights, sums.resampled(weights), strict=True):
        parts = [x[10 * k : 10 * k + 10] for k in range(31) for _ in range(int(weight[k]))]
        same(found, np.concatenate(parts), center)


@pytest.mark.parametrize("silent", ["nan", "drop"])
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_silent_units_are_those_of_the_array(silent, kind) -> None:
    x = np.random.default_rng(0).poisson(0.5, size=(60, 5)).astype(kind)
    x[:, 1], x[:, 3] = 0, 9
    same(accumulate(as_stream(x), 5).moments(silent), x, silent=silent)
    same(metrics.moments(torch.from_numpy(x), silent=silent), x, silent=silent)


def test_a_unit_silent_in_one_resampling_is_left_out_of_that_one() -> None:
    x = np.random.default_rng(0).poisson(0.5, size=(60, 3))
    x[:, 1] = 0
    x[7, 1] = 1  # fires in the second cell only
    weights = torch.ones(2, 12, dtype=torch.float64)
    weights[0, 1], weights[0, 2] = 0, 2
    without, with_it = accumulate(as_stream(x), 5).resampled(weights)
    assert without.kept == 2
    assert with_it.kept == 3
    rest = np.delete(x, slice(5, 10), axis=0)
    rest = np.concatenate([rest, x[10:15]])[:, [0, 2]]
    np.testing.assert_allclose(without.covariance, np.cov(rest, rowvar=False), rtol=1e-12)


def test_spike_trains_are_summed_without_their_array() -> None:
    rng = np.random.default_rng(0)
    trains = SpikeTrains([np.sort(rng.uniform(2, 32, size=n)) for n in (900, 3, 0, 400)], 2, 32)
    stream = as_stream(trains, 0.1)
    assert stream.whole is None
    assert (stream.samples, stream.units) == (300, 4)
    same(accumulate(stream, 13).moments(), trains.counts(0.1))
    same(metrics.moments(trains, 0.1), trains.counts(0.1))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), samples=st.integers(4, 80), length=st.integers(1, 90), shift=st.integers(0, 50))
def test_cells_of_any_length_and_a_shift_in_time_leave_the_moments(
    seed: int, samples: int, length: int, shift: int
) -> None:
    x = np.random.default_rng(seed).poisson(1.0, size=(samples, 4))
    same(accumulate(as_stream(x), length).moments(), x)
    same(accumulate(as_stream(np.roll(x, shift, axis=0)), length).moments(), x)


def test_a_tensor_is_summed_on_its_device_without_history() -> None:
    x = torch.randn(50, 3, requires_grad=True)
    sums = accumulate(as_stream(x), 5)
    assert sums.cross.device == x.device
    assert not sums.cross.requires_grad
    same(sums.moments(), x.detach().numpy().astype(np.float64))


def test_large_counts_are_exact() -> None:
    x = np.random.default_rng(0).integers(0, 60_000, (300, 3))
    sums = accumulate(as_stream(x), center=False)
    exact = [[sum(int(a) * int(b) for a, b in zip(x[:, i], x[:, j], strict=True)) for j in range(3)] for i in range(3)]
    np.testing.assert_array_equal(sums.cross.sum(dim=0).numpy().astype(object), np.array(exact, dtype=object))


def test_blocks_are_consecutive_and_every_cell_is_drawn_equally_often() -> None:
    weights = bootstrap.draws(12, 3, 4_000, np.random.default_rng(0))
    assert (weights.sum(dim=1) == 12).all()  # four blocks of three cells
    assert weights.mean(dim=0).numpy() == pytest.approx(np.ones(12), abs=0.06)
    one = bootstrap.draws(12, 12, 5, np.random.default_rng(0))  # one block of all cells is the recording itself
    assert (one == 1).all()
