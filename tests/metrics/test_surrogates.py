"""Surrogates: what they keep of each unit and what they lose, and which are chosen when."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import null_sizes as simulated
from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, Trials


def are_drawn(expected: list[float], chosen: metrics.Surrogates, draws: int) -> bool:
    """Whether the correlations of so many surrogates are these, every one of them, within float32's rounding."""
    found = np.array([float(made.correlation[0, 1]) for made in chosen.moments(draws)])
    apart = np.abs(found[:, None] - np.array(expected))
    return bool((apart.min(axis=0) < 1e-5).all() and (apart.min(axis=1) < 1e-5).all())


def pair(seed: int = 0, samples: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(samples, 2))


def test_circular_shifts_are_all_shifts_around_the_end() -> None:
    x = pair(samples=6)
    expected = [float(np.corrcoef(x[:, 0], np.roll(x[:, 1], k))[0, 1]) for k in range(6)]
    assert are_drawn(expected, metrics.surrogates(x, kind="circular_shift"), 200)


def test_local_shifts_are_all_pairs_of_windows_without_their_slow_part() -> None:
    x = pair()
    chosen = metrics.surrogates(x, kind="local_shift", reach=2, cutoff=8)
    windows = [[metrics.high_pass(x[k : k + 8, [unit]], cutoff=8)[:, 0] for k in range(5)] for unit in (0, 1)]
    expected = [float(np.corrcoef(a, b)[0, 1]) for a in windows[0] for b in windows[1]]
    assert are_drawn(expected, chosen, 600)
    assert float(chosen.observed.correlation[0, 1]) == pytest.approx(
        np.corrcoef(windows[0][2], windows[1][2])[0, 1], abs=1e-5
    )
    np.testing.assert_allclose(chosen.samples, np.column_stack([windows[0][2], windows[1][2]]), atol=1e-6)


def trials(x: np.ndarray, conditions: list[str]) -> Rates:
    """One sample a trial, or several: (trials, bins, units)."""
    bins = x.shape[1]
    return Rates(x.reshape(-1, x.shape[2]), 0.5, trials=Trials.every(bins / 2, len(x), conditions=conditions))


def test_trials_are_exchanged_within_conditions_without_their_means() -> None:
    x = np.random.default_rng(1).normal(size=(5, 2, 2))
    chosen = metrics.surrogates(trials(x, list("aabbb")), 0.5, kind="trial_shuffle", cutoff=None)
    left = x.copy()
    left[:2] -= x[:2].mean(axis=0)
    left[2:] -= x[2:].mean(axis=0)
    orders = [[0, 1, *rest] for rest in ([2, 3, 4], [2, 4, 3], [3, 2, 4], [3, 4, 2], [4, 2, 3], [4, 3, 2])]
    orders += [[1, 0, *order[2:]] for order in orders]
    expected = [float(np.corrcoef(left[:, :, 0].ravel(), left[o, :, 1].ravel())[0, 1]) for o in orders]
    assert are_drawn(expected, chosen, 400)
    np.testing.assert_allclose(chosen.samples, left.reshape(-1, 2), atol=1e-6)
    np.testing.assert_array_equal(chosen.trial, np.repeat(np.arange(5), 2))
    # A covariance over what is left: 10 samples have lost 2 conditions in 2 bins each.
    expected_covariance = left.reshape(-1, 2).T @ left.reshape(-1, 2) / 6
    np.testing.assert_allclose(chosen.observed.covariance.numpy(), expected_covariance, rtol=1e-5)


def test_trials_are_shifted_within_conditions() -> None:
    x = np.random.default_rng(2).normal(size=(8, 3, 2))
    chosen = metrics.surrogates(trials(x, ["a"] * 8), 0.5, kind="trial_shift", reach=1, cutoff=None)
    windows = [[x[k : k + 6, :, unit] - x[k : k + 6, :, unit].mean(axis=0) for k in range(3)] for unit in (0, 1)]
    expected = [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a in windows[0] for b in windows[1]]
    assert are_drawn(expected, chosen, 200)
    np.testing.assert_array_equal(chosen.trial, np.repeat(np.arange(1, 7), 3))


def test_the_slow_part_of_trials_goes_with_their_means() -> None:
    x = np.random.default_rng(3).normal(size=(40, 1, 2)) + np.linspace(0, 9, 40)[:, None, None] * [1, -1]
    conditions = ["a", "b"] * 20
    chosen = metrics.surrogates(trials(x, conditions), kind="trial_shuffle")
    assert chosen.cutoff == 6
    slow = [np.cos(np.pi * k * (np.arange(40) + 0.5) / 40) for k in range(1, 14)]  # periods of 80 / k trials
    design = np.column_stack([*slow, np.tile([1, 0], 20), np.tile([0, 1], 20)])
    expected = x[:, 0] - design @ np.linalg.lstsq(design, x[:, 0], rcond=None)[0]
    np.testing.assert_allclose(chosen.samples, expected, atol=1e-5)


def test_surrogates_keep_each_unit_and_lose_what_is_shared() -> None:
    source = np.random.default_rng(1)
    x = source.poisson(2.0, (3000, 5)) + source.poisson(2.0, (3000, 1))
    pairs = ~np.eye(5, dtype=bool)
    assert np.corrcoef(x.T)[pairs].mean() > 0.4
    for kind in ("circular_shift", "local_shift"):
        null = np.array([made.correlation.numpy() for made in metrics.surrogates(x, kind=kind).moments(20)])
        np.testing.assert_allclose(null[:, ~pairs], 1.0)
        assert np.abs(null[:, pairs]).mean() < 2 / np.sqrt(2400)


def test_what_varies_decides() -> None:
    source = np.random.default_rng(4)
    still = simulated.counts(np.ones((1000, 12)), source)
    moving = simulated.counts(simulated.trends(1000, 12, source), source, mean=4.0)
    assert metrics.surrogates(still).kind == "circular_shift"
    assert metrics.surrogates(still).cutoff is None
    assert metrics.surrogates(moving).kind == "local_shift"
    assert metrics.surrogates(Rates(moving, 0.05)).cutoff == pytest.approx(5)
    ordered = simulated.stimulus(simulated.walks(60, 12, source), source)
    assert metrics.surrogates(simulated.stimulus(np.ones((60, 12)), source)).kind == "trial_shuffle"
    assert metrics.surrogates(ordered).kind == "trial_shift"
    assert metrics.surrogates(ordered, 0.05, kind="circular_shift").samples.shape == (1200, 12)
    assert "trial" in metrics.surrogates(ordered).reason and "units drift" in metrics.surrogates(moving).reason


def test_moments_are_those_of_the_samples_in_double_precision() -> None:
    x = -65 + np.random.default_rng(5).normal(size=(9000, 4)) * [1, 2, 0, 4]  # millivolts, one unit dead
    chosen = metrics.surrogates(x, kind="circular_shift", cutoff=None)
    expected = metrics.moments(x[:, [0, 1, 3]])
    np.testing.assert_array_equal(chosen.units, [0, 1, 3])
    torch.testing.assert_close(chosen.observed.covariance, expected.covariance, rtol=1e-5, atol=1e-4)
    for correction in ("none", "samples"):
        assert chosen.observed.participation_ratio(correction) == pytest.approx(
            expected.participation_ratio(correction), rel=1e-3
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: metrics.surrogates(trials(x, list("abab")), kind="trial_shift"), "a condition with 2"),
        (lambda x: metrics.surrogates(trials(x, list("aaab"))), "condition 'b' has 1 trial"),
        (lambda x: next(metrics.surrogates(x[:, 0]).moments(0)), "draws must be a whole number >= 1"),
        (lambda x: metrics.surrogates(x[:, 0], cutoff=2.0), "degrees of freedom"),
    ],
)
def test_bad_arguments(call, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        call(np.random.default_rng(6).normal(size=(4, 2, 3)))
