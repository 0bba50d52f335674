"""Chance: edges against spectra of independent units, surrogates that keep each unit."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.chance import marchenko_pastur_edge, shifted


def test_the_largest_eigenvalue_of_independent_units_is_at_the_edge() -> None:
    noise = np.random.default_rng(0).normal(size=(4000, 400))
    largest = np.linalg.eigvalsh(np.corrcoef(noise.T))[-1]
    assert largest == pytest.approx(marchenko_pastur_edge(4000, 400), rel=0.02)


def test_surrogates_keep_each_unit_and_lose_what_is_shared() -> None:
    generator = np.random.default_rng(1)
    samples = generator.poisson(2.0, (3000, 5)) + generator.poisson(2.0, (3000, 1))
    null = np.array([drawn.correlation.numpy() for drawn in shifted(samples, 20, seed=2)])
    pairs = ~np.eye(5, dtype=bool)
    # A shift changes no column's values: its variance, and so the diagonal, is that of the data.
    np.testing.assert_allclose(null[:, ~pairs], 1.0)
    assert np.corrcoef(samples.T)[pairs].mean() > 0.4
    assert np.abs(null[:, pairs]).mean() < 2 / np.sqrt(3000)


def test_surrogates_are_shifts() -> None:
    samples = np.arange(12.0).reshape(6, 2) ** 2
    expected = {round(float(np.corrcoef(samples[:, 0], np.roll(samples[:, 1], k))[0, 1]), 9) for k in range(6)}
    found = {round(float(drawn.correlation[0, 1]), 9) for drawn in shifted(samples, 200, seed=0)}
    assert found == expected


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least 2 samples"):
        marchenko_pastur_edge(1, 3)
    with pytest.raises(InvalidValue, match="draws: got 0"):
        next(shifted(np.ones((3, 2)), 0, 0))
