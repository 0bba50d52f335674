"""Sums over cells against moments of the whole array in float64, and of the resampled array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import metrics
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
@pytest.mark.parametrize("cells", [1, 43])
@pytest.mark.parametrize("name", arrays())
def test_all_cells_together_are_the_array(name: str, cells: int, center: bool) -> None:
    x = arrays()[name]
    same(accumulate(as_stream(x), cells, center=center).moments(), x, center)
    same(metrics.moments(x, center=center), x, center)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("name", arrays())
def test_weights_are_repetitions_of_cells(name: str, center: bool) -> None:
    x = arrays()[name]
    sums = accumulate(as_stream(x), 31, center=center)
    ends = np.append(0, sums.lengths.numpy().cumsum()).astype(int)
    weights = torch.from_numpy(np.random.default_rng(1).multinomial(31, np.full(31, 1 / 31), size=3)).double()
    for weight, found in zip(weights, sums.weighted(weights), strict=True):
        parts = [x[ends[k] : ends[k + 1]] for k in range(31) for _ in range(int(weight[k]))]
        same(found, np.concatenate(parts), center)


@pytest.mark.parametrize("silent", ["nan", "drop"])
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_silent_units_are_those_of_the_array(silent, kind) -> None:
    x = np.random.default_rng(0).poisson(0.5, size=(60, 5)).astype(kind)
    x[:, 1], x[:, 3] = 0, 9
    same(accumulate(as_stream(x), 12).moments(silent), x, silent=silent)
    same(metrics.moments(torch.from_numpy(x), silent=silent), x, silent=silent)


def test_cells_are_as_equal_as_can_be_and_hold_whole_trials() -> None:
    x = arrays()["counts"]
    assert sorted(set(accumulate(as_stream(x), 64).lengths.tolist())) == [4, 5]
    in_trials = accumulate(as_stream(x[:300]), 7, grain=10)
    assert sorted(set(in_trials.lengths.tolist())) == [40, 50]
    same(in_trials.moments(), x[:300])


def test_a_part_of_a_stream_is_the_stream_of_a_part() -> None:
    x = arrays()["counts"]
    same(metrics.moments(x[37:211]), x[37:211])
    same(accumulate(as_stream(x).between(37, 211), 9).moments(), x[37:211])
    trains = SpikeTrains([[0.05, 0.31, 1.11], [0.12, 0.93, 0.97, 1.5]], 0, 2, gaps=[(0.4, 0.9)])
    counts = trains.counts(0.1)
    assert len(counts) == 15
    same(accumulate(as_stream(trains, 0.1).between(2, 11), 4).moments(), counts[2:11])


def test_the_mean_activity_is_projected_in_standard_deviations() -> None:
    x = arrays()["rates far from zero"]
    sums = accumulate(as_stream(x), 10)
    directions = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 10)))
    standard = ((x - x.mean(axis=0)) / x.std(axis=0, ddof=1)).sum(axis=1)
    cells = np.array([part.mean() for part in np.split(standard, np.cumsum(sums.lengths.numpy().astype(int))[:-1])])
    expected = directions.numpy() @ (cells - cells.mean())
    np.testing.assert_allclose(sums.mean_activity(directions), expected, rtol=1e-6, atol=1e-6)


def test_spike_trains_are_summed_without_their_array() -> None:
    rng = np.random.default_rng(0)
    trains = SpikeTrains([np.sort(rng.uniform(2, 32, size=n)) for n in (900, 3, 0, 400)], 2, 32)
    stream = as_stream(trains, 0.1)
    assert stream.whole is None
    assert (stream.samples, stream.units) == (300, 4)
    same(accumulate(stream, 23).moments(), trains.counts(0.1))
    same(metrics.moments(trains, 0.1), trains.counts(0.1))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), samples=st.integers(4, 80), cells=st.integers(1, 4), shift=st.integers(0, 50))
def test_any_number_of_cells_and_a_shift_in_time_leave_the_moments(
    seed: int, samples: int, cells: int, shift: int
) -> None:
    x = np.random.default_rng(seed).poisson(1.0, size=(samples, 4))
    same(accumulate(as_stream(x), cells).moments(), x)
    same(accumulate(as_stream(np.roll(x, shift, axis=0)), cells).moments(), x)


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
