"""The correlogram against its definition, and its band against independent units with autocorrelation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from neuro_decorr import recording
from neuro_decorr.report.analyse import analyse
from neuro_decorr.report.correlogram import correlogram, of_pairs
from neuro_decorr.report.options import Options


def autoregressive(generator: np.random.Generator, samples: int, units: int, memory: float) -> NDArray[np.float64]:
    noise = generator.normal(size=(samples + 200, units))
    return lfilter([1.0], [1.0, -memory], noise, axis=0)[200:]


@pytest.mark.parametrize("trials", [1, 5])
def test_it_is_the_mean_of_products_within_trials(trials: int) -> None:
    generator = np.random.default_rng(3)
    values, length = generator.normal(size=(60, 3)) + generator.normal(size=(60, 1)), 60 // trials
    trial = np.repeat(np.arange(trials), length)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    found = correlogram(values, trial, longest=2)
    assert found.lags.tolist() == [-2, -1, 0, 1, 2]
    for row, lag in enumerate(found.lags.tolist()):
        expected = []
        for i in range(3):
            for j in range(3):
                starts = [t for t in range(60 - abs(lag)) if trial[t] == trial[t + abs(lag)]]
                products = [standard[t, i] * standard[t + abs(lag), j] for t in starts]
                expected += [] if i == j else [np.mean(products)]
        # The unbiased variance of the one and the overlap of the ends of the other differ by parts in the samples.
        assert found.mean[row] == pytest.approx(np.mean(expected), abs=0.03 if trials == 1 else 1e-12)
        assert found.mean[row] == pytest.approx(found.mean[-1 - row], abs=1e-12)  # both directions of every pair


def test_a_unit_that_follows_another_does_so_at_a_positive_lag() -> None:
    leader = np.random.default_rng(0).normal(size=500)
    values = np.stack([leader, np.roll(leader, 3)], axis=1)
    for trial in (np.zeros(500, dtype=int), np.repeat([0, 1], 250)):
        found = of_pairs(values, trial, 5)[:, 0]
        assert found.argmax() - 5 == 3 and found.max() > 0.95


@pytest.mark.parametrize(("memory", "length", "trials"), [(0.9, 1000, 1), (0.8, 60, 20)])
def test_the_band_holds_what_the_mean_of_independent_units_is(memory: float, length: int, trials: int) -> None:
    """Bartlett's formula: of 100 recordings of independent units the band holds lag 0 and lag 5 in about 95."""
    generator = np.random.default_rng(5)
    inside, ratios = 0, []
    for _ in range(100):
        values = np.concatenate([autoregressive(generator, length, 6, memory) for _ in range(trials)])
        found = correlogram(values, np.repeat(np.arange(trials), length), longest=5)
        score = (found.mean / found.deviation)[[5, 10]]
        inside += int((np.abs(score) < 1.96).sum())
        ratios.append(score)
    # 200 tries, two by two correlated: the binomial deviation of 100 doubtful ones is 2.2 %, three of them.
    assert 0.885 < inside / 200 <= 1.0
    assert 0.75 < np.std(ratios) < 1.25  # of 100 normal scores: 1 within 7 % as often as not


def test_trials_of_one_sample_have_the_lag_zero_alone() -> None:
    """400 samples, each a trial of its own: their correlations, and the band of independent samples, 1 / sqrt(T P)."""
    values = np.random.default_rng(1).normal(size=(400, 5))
    found = correlogram(values, np.arange(400))
    assert found.lags.tolist() == [0]
    assert found.mean[0] == pytest.approx(np.corrcoef(values.T)[np.triu_indices(5, 1)].mean(), abs=1e-12)
    assert found.deviation[0] == pytest.approx(1 / np.sqrt(400 * 10), rel=1e-6)


def test_a_bin_as_long_as_a_trial_gives_the_page_without_a_course_over_lags(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    trials = recording.Trials.every(0.5, 80, conditions=["a", "b"] * 40)
    times = [np.sort(generator.uniform(0, 40, size=800)) for _ in range(6)]
    file = recording.save(recording.from_times(times, 0, 40, trials=trials), tmp_path / "s.npz")
    found = analyse(Options(file, bin="500ms", trials="a", surrogates=0), figures=True)
    (drawn,) = [sheet for sheet in found.parts[0].sheets if sheet.name == "correlations"]
    assert "B:" in drawn.caption and "C:" not in drawn.caption
