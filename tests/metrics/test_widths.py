"""Mean correlation against the width of bins: processes whose correlation is known at every width."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from neuro_decorr import data, metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains
from tests._frequency import covers, of_size


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def test_it_is_the_mean_correlation_of_the_counts() -> None:
    trains = data.compound_poisson_process(10, [0, 0.9, 0, 0, 0, 0.1], 100)
    found = metrics.bin_profile(trains, [0.01, 0.5])
    for k, width in enumerate((0.01, 0.5)):
        r = upper(np.corrcoef(trains.counts(width).T.astype(float)))
        assert found.mean[k] == pytest.approx(r.mean())
        assert found.mean_absolute[k] == pytest.approx(np.abs(r).mean())
    assert found.samples.tolist() == [10_000, 200]
    assert list(found.to_frame().columns[:3]) == ["bin", "samples", "mean"]


def test_synchronous_events_correlate_alike_at_every_width() -> None:
    expected = (5 * 4 * 0.1) / (4 * (0.9 + 5 * 0.1))
    found = metrics.bin_profile(data.compound_poisson_process(10, [0, 0.9, 0, 0, 0, 0.1], 200))
    assert (found.low < expected).all() and (found.high > expected).all()
    assert (found.p_value == 0.0005).all() and (found.mean > found.null_high).all()


def test_jittered_copies_correlate_as_their_jitter_says() -> None:
    # Common events at rate c, each copied with a uniform delay below d: cov = c (T - |s|) averaged over the difference
    # s of two delays, which has density (1 - |s| / d) / d; the variance is that of a Poisson process.
    source = np.random.default_rng(0)
    events, delay = source.uniform(0, 300, 3000), 0.05
    times = [np.unique(events + source.uniform(0, delay, 3000)) for _ in range(6)]
    found = metrics.bin_profile(SpikeTrains(times, 0, 301), [0.005, 0.02, 0.05, 0.2, 1.0])
    s = np.linspace(0, delay, 20_001)
    for width, mean in zip(found.bins, found.mean, strict=True):
        inside = np.maximum(width - s, 0) * (1 - s / delay) / delay
        expected = 2 * float(np.trapezoid(inside, s)) / width
        assert mean == pytest.approx(expected, rel=0.08)


def slow(seed: int, r: float) -> Rates:
    """Six units of an autocorrelation time of a second, in steps of 0.1 s for 200 s, all pairs r."""
    source = np.random.default_rng(seed)
    x = (1 - r) ** 0.5 * source.normal(size=(2000, 6)) + r**0.5 * source.normal(size=(2000, 1))
    return Rates(scipy.signal.lfilter([1], [1, -0.9], x, axis=0), step=0.1)


def profiles(repetitions: int, r: float, first: int = 0) -> list[metrics.BinProfile]:
    return [metrics.bin_profile(slow(seed, r), [0.1, 2.0]) for seed in range(first, first + repetitions)]


def test_slow_independent_units_at_both_ends() -> None:
    found = profiles(40, 0.0)
    for k in (0, 1):
        assert of_size([profile.p_value[k] <= 0.05 for profile in found])
        assert covers([profile.low[k] <= 0 <= profile.high[k] for profile in found])
    shown, floor = (
        np.mean([getattr(profile, name) for profile in found], axis=0) for name in ("mean_absolute", "floor_absolute")
    )
    np.testing.assert_allclose(shown, floor, rtol=0.15)
    assert shown[0] > 2 * metrics.sampling_floor(2000).mean_absolute


@pytest.mark.slow
@pytest.mark.parametrize("r", [0.0, 0.3])
def test_coverage_and_size_of_slow_units(r: float) -> None:
    found = profiles(600, r)
    for k in (0, 1):
        assert 0.92 <= np.mean([profile.low[k] <= r <= profile.high[k] for profile in found]) <= 0.98
        if r == 0:
            assert 0.02 <= np.mean([profile.p_value[k] <= 0.05 for profile in found]) <= 0.08


def test_widths_are_those_that_leave_samples() -> None:
    trains = SpikeTrains([np.arange(1, 60) / 10, np.arange(1, 60) / 10 + 0.01, []], 0, 6.4)
    assert metrics.bin_profile(trains).bins.tolist() == [0.005, 0.01, 0.02, 0.05, 0.1]
    rates = Rates(np.random.default_rng(1).normal(size=(640, 3)), step=0.02)
    np.testing.assert_allclose(metrics.bin_profile(rates).bins, [0.02, 0.04, 0.08, 0.2])
    with pytest.raises(InvalidValue, match=r"got \[0.2\] s of 6.4 s; allowed are widths that leave 64 samples"):
        metrics.bin_profile(trains, [0.1, 0.2])
    with pytest.raises(InvalidValue, match=r"1 units vary in bins of 0.02 s"):
        metrics.bin_profile(trains.select(["0", "2"]), [0.02])
