"""Half-widths against Student's distribution, memories of series whose autocorrelation is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from neuro_decorr.metrics import autocorrelation
from neuro_decorr.metrics.autocorrelation import COSINES, Memory


def projections(series: np.ndarray, count: int = COSINES) -> np.ndarray:
    """Of the means over 64 cells on the cosines, by the discrete cosine transform of scipy."""
    cells = series.reshape(64, -1).mean(axis=1)
    return scipy.fft.dct(cells, norm="ortho")[1 : count + 1]


def ornstein_uhlenbeck(time: float, samples: int, rng: np.random.Generator) -> np.ndarray:
    decay = np.exp(-1 / time)
    noise = rng.normal(size=samples) * np.sqrt(1 - decay**2)
    noise[0] /= np.sqrt(1 - decay**2)
    return scipy.signal.lfilter([1], [1, -decay], noise)


@pytest.mark.parametrize("freedom", [1, 2.5, 4, 31, 200])
def test_tails_are_those_of_student(freedom: float) -> None:
    angles, tail = autocorrelation._tail(freedom)
    chosen = slice(0, -1, 100)  # the last is infinity
    expected = scipy.stats.t.sf(np.sqrt(freedom) * np.tan(angles[chosen]), freedom)
    np.testing.assert_allclose(tail[chosen], expected, atol=1e-5)  # a sum over 4,000 intervals


def test_weights_are_cosines_about_one() -> None:
    found = autocorrelation.weights(7, 3).numpy()
    assert (found[0] == 1).all()
    assert (found > 0).all()
    up, down = found[1:4] - 1, found[4:] - 1
    np.testing.assert_allclose(up, -down, atol=1e-15)
    np.testing.assert_allclose(up @ up.T, 7 * autocorrelation.STEP**2 * np.eye(3), atol=1e-12)  # orthogonal
    expected = scipy.fft.dct(np.eye(7), norm="ortho", axis=1)[:, 1:4].T * np.sqrt(7) * autocorrelation.STEP
    np.testing.assert_allclose(up, expected, atol=1e-12)


def test_without_autocorrelation_the_half_width_is_that_of_student() -> None:
    first = np.sign(np.random.default_rng(4).normal(size=32))
    series = scipy.fft.idct(np.concatenate([[0.0], first]), norm="ortho")
    assert scipy.stats.kurtosis(series, fisher=False) < 3  # no more than of Gaussian numbers
    known = autocorrelation.certain(32)
    expected = scipy.stats.t.ppf(0.975, 32) * np.sqrt(np.mean(first**2))
    assert known.half_width(first, np.zeros(32), 0.95) == pytest.approx(expected, rel=2e-3)
    assert known.half_width(np.zeros(32), np.zeros(32), 0.95) == 0
    # A curvature that explains half of the variance, and one that explains more than it can.
    for second in (np.tile([1.0, -1.0], 16) * np.sqrt(0.5 * np.mean(first**2)), 10 * np.tile([1.0, -1.0], 16)):
        half = scipy.stats.t.ppf(0.975, 32 / 2) * np.sqrt(0.5 * np.mean(first**2))
        assert known.half_width(first, second, 0.95) == pytest.approx(half, rel=0.03)


def test_few_large_fluctuations_leave_few_degrees_of_freedom() -> None:
    first = projections(np.repeat([0.0, 1.0, 0.0], [31, 1, 32]).astype(float), 32)
    found = autocorrelation.certain(32).half_width(first, np.zeros(32), 0.95)
    assert found > 1.05 * scipy.stats.t.ppf(0.975, 32) * np.sqrt(np.mean(first**2))


def test_the_memory_finds_the_autocorrelation_time() -> None:
    rng = np.random.default_rng(0)
    samples = 6_400
    short, long = (
        [Memory.of(projections(ornstein_uhlenbeck(tau, samples, rng))).time for _ in range(60)] for tau in (1, 320)
    )
    assert np.mean([time == 0 for time in short]) > 0.7
    # A twentieth of the recording: the median over recordings within a factor of two.
    assert 0.025 < np.median(long) < 0.1


def test_drift_and_bleaching_are_too_slow() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 6_400)
    for slow in (3 * ramp, 3 * np.exp(-2 * ramp), np.cumsum(rng.normal(size=6_400)) / 80):
        assert Memory.of(projections(slow + rng.normal(size=6_400))).too_slow
    assert not Memory.of(projections(rng.normal(size=6_400))).too_slow


def test_the_interval_of_a_mean_covers_under_any_autocorrelation() -> None:
    rng = np.random.default_rng(1)
    for tau in (1.0, 64.0, 320.0):
        hits, shown = 0, 0
        for _ in range(200):
            x = ornstein_uhlenbeck(tau, 6_400, rng)
            first = projections(x)
            memory = Memory.of(first)
            if not memory.too_slow:
                shown += 1
                hits += abs(x.mean()) < memory.half_width(first, np.zeros(COSINES), 0.95) / 8  # ortho: sqrt(64) means
        assert shown > 150
        # Binomial of 95 %: a standard error of 1.6 % at 200 runs; more at times near a twentieth of the recording.
        assert 0.90 <= hits / shown <= 0.99
