"""Lagged covariances against loops, Elephant, a process of known correlation, and their symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import lags
from neuro_decorr.metrics.lags import lagged_covariance
from neuro_decorr.recording import Rates, SpikeTrains


def by_loops(x: NDArray[np.float64], longest: int, estimator: str, border: bool) -> NDArray[np.float64]:
    samples, units = x.shape
    mean = x.mean(axis=0)
    found = np.zeros((2 * longest + 1, units, units))
    for k, lag in enumerate(range(-longest, longest + 1)):
        weight = samples / (samples - abs(lag)) if border else 1.0
        for i in range(units):
            for j in range(units):
                pairs = [(t, t + lag) for t in range(samples) if 0 <= t + lag < samples]
                if estimator == "centred":
                    total = weight * sum((x[t, i] - mean[i]) * (x[s, j] - mean[j]) for t, s in pairs)
                else:
                    total = weight * sum(x[t, i] * x[s, j] for t, s in pairs) - samples * mean[i] * mean[j]
                found[k, i, j] = total / (samples - 1)
    return found


@pytest.mark.parametrize("estimator", ["centred", "counts"])
@pytest.mark.parametrize("border", [True, False])
@pytest.mark.parametrize("samples", [9, 24, 31])  # less than a segment and its tail, whole segments, a rest
def test_against_loops(estimator: lags.Estimator, border: bool, samples: int) -> None:
    x = np.random.default_rng(samples).normal(2.0, 1.0, (samples, 3))
    found = lagged_covariance(x, 4, estimator=estimator, border_correction=border)
    np.testing.assert_allclose(found.matrices.numpy(), by_loops(x, 4, estimator, border), rtol=1e-10, atol=1e-12)
    assert found.lags.tolist() == list(range(-4, 5))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).poisson(1.5, (101, 5))
    whole = lagged_covariance(x, 4).matrices
    monkeypatch.setattr(lags, "_ENTRIES", 40)  # one segment of 8 samples a chunk; the last chunk has 5
    torch.testing.assert_close(lagged_covariance(x, 4).matrices, whole, rtol=0, atol=0)


@pytest.mark.parametrize("border", [True, False])
def test_counts_equal_elephant(border: bool) -> None:
    conversion = pytest.importorskip("elephant.conversion")
    correlation = pytest.importorskip("elephant.spike_train_correlation")
    neo, quantities = pytest.importorskip("neo"), pytest.importorskip("quantities")
    source = np.random.default_rng(1)
    times = [np.sort(source.uniform(0, 20, size)) for size in (150, 90, 220)]
    found = lagged_covariance(
        SpikeTrains(times, 0.0, 20.0), 6, bin=0.05, estimator="counts", border_correction=border
    ).correlation()
    trains = [neo.SpikeTrain(unit, units="s", t_start=0.0, t_stop=20.0) for unit in times]
    binned = [conversion.BinnedSpikeTrain(train, bin_size=50 * quantities.ms) for train in trains]
    for i in range(3):
        for j in range(3):
            expected, _ = correlation.cross_correlation_histogram(
                binned[i], binned[j], window=[-6, 6], border_correction=border, cross_correlation_coefficient=True
            )
            np.testing.assert_allclose(found[:, i, j].numpy(), expected.magnitude[:, 0], rtol=1e-10, atol=1e-12)


def test_a_delayed_copy_peaks_at_its_delay() -> None:
    x = np.random.default_rng(2).normal(size=(5_000, 1))
    both = np.hstack([x[3:], x[:-3]])  # the second unit does 3 samples later what the first does
    found = lagged_covariance(both, 5).correlation()[:, 0, 1]
    assert int(found.argmax()) - 5 == 3
    assert float(found[8]) == pytest.approx(1, abs=1e-3)
    others = found[torch.arange(11) != 8]
    assert float(others.abs().max()) < 5 / 5_000**0.5


def test_an_autoregressive_process_has_its_known_correlation() -> None:
    # x(t + 1) = a x(t) + noise: correlation a ** lag.
    source, a, samples = np.random.default_rng(3), 0.7, 40_000
    x = np.zeros((samples, 2))
    noise = source.normal(size=(samples, 2))
    for t in range(1, samples):
        x[t] = a * x[t - 1] + noise[t]
    found = lagged_covariance(x, 4).correlation()
    for lag in range(5):
        assert float(found[4 + lag, 0, 0]) == pytest.approx(a**lag, abs=0.03)
    assert float(found[:, 0, 1].abs().max()) < 0.05


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**16), samples=st.integers(7, 60), units=st.integers(1, 5),
    shift=st.floats(-100, 100), scale=st.floats(0.01, 100),
)  # fmt: skip
def test_invariances(seed: int, samples: int, units: int, shift: float, scale: float) -> None:
    source = np.random.default_rng(seed)
    x, longest = source.normal(size=(samples, units)), 3
    found = lagged_covariance(x, longest).matrices.numpy()
    np.testing.assert_allclose(found, found[::-1].transpose(0, 2, 1), atol=0)  # pairing i with j is j with i backwards
    order = source.permutation(units)
    np.testing.assert_allclose(
        lagged_covariance(x[:, order], longest).matrices.numpy(), found[:, order][:, :, order], atol=1e-10
    )
    np.testing.assert_allclose(lagged_covariance(x[::-1].copy(), longest).matrices.numpy(), found[::-1], atol=1e-10)
    moved = lagged_covariance(scale * x + shift, longest).matrices.numpy()
    np.testing.assert_allclose(moved, scale**2 * found, rtol=1e-8, atol=1e-9 * scale**2 + 1e-11)
    np.testing.assert_allclose(found[longest], np.atleast_2d(np.cov(x.T)), atol=1e-10)


def test_large_counts_are_exact() -> None:
    x = np.random.default_rng(4).integers(0, 30_000, (500, 2))
    expected = [int((x[: 500 - lag, 0] * x[lag:, 1]).sum()) for lag in range(3)]
    found = lagged_covariance(x, 2, estimator="counts", border_correction=False).matrices[2:, 0, 1]
    mean = x.mean(axis=0)
    np.testing.assert_allclose(found * 499 + 500 * mean[0] * mean[1], expected, rtol=1e-13)


def test_a_silent_unit_has_no_correlation_and_the_others_keep_theirs() -> None:
    x = np.random.default_rng(5).poisson(1.0, (200, 3))
    x[:, 1] = 0
    found = lagged_covariance(x, 2).correlation()
    assert found[:, 1].isnan().all() and found[:, :, 1].isnan().all()
    assert found[:, 0, 2].isfinite().all()
    assert lagged_covariance(x, 2).pairs().shape == (5, 3)


def test_rates_keep_their_step_and_tensors_their_device() -> None:
    x = np.random.default_rng(6).normal(size=(50, 2))
    assert lagged_covariance(Rates(x, step=0.01), 2).step == 0.01
    assert lagged_covariance(Rates(x, step=0.01), 2, bin=0.02).step == 0.02
    found = lagged_covariance(torch.from_numpy(x), 2)
    assert found.matrices.device.type == "cpu" and found.step is None


@pytest.mark.parametrize("longest", [0, -1, 25, 2.5, "3"])
def test_impossible_lags(longest: int) -> None:
    with pytest.raises(InvalidValue, match="from 1 to below half of the 50 samples"):
        lagged_covariance(np.zeros((50, 2)), longest)


def test_other_bad_input() -> None:
    with pytest.raises(InvalidValue, match="one of 'centred', 'counts'"):
        lagged_covariance(np.zeros((50, 2)), 2, estimator="raw")  # type: ignore[arg-type]
    x = np.zeros((50, 2))
    x[3, 1] = np.nan
    with pytest.raises(InvalidValue, match="NaN or infin"):
        lagged_covariance(x, 2)
    with pytest.raises(InvalidValue, match="bin: spike trains need the width"):
        lagged_covariance(SpikeTrains([[0.1], [0.2]], 0, 1), 2)
