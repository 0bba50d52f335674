"""Chance: edges against spectra of independent units, surrogates that keep each unit, and blocks drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics.chance import block_covariances, marchenko_pastur_edge, shifted


def test_the_largest_eigenvalue_of_independent_units_is_at_the_edge() -> None:
    noise = np.random.default_rng(0).normal(size=(4000, 400))
    largest = np.linalg.eigvalsh(np.corrcoef(noise.T))[-1]
    assert largest == pytest.approx(marchenko_pastur_edge(4000, 400), rel=0.02)


def test_surrogates_keep_each_unit_and_lose_what_is_shared() -> None:
    generator = np.random.default_rng(1)
    samples = generator.poisson(2.0, (3000, 5)) + generator.poisson(2.0, (3000, 1))
    null = np.array(list(shifted(samples, 20, seed=2)))
    pairs = ~np.eye(5, dtype=bool)
    # A shift changes no column's values: its variance, and so the diagonal, is that of the data.
    np.testing.assert_allclose(null[:, ~pairs], 1.0)
    assert np.corrcoef(samples.T)[pairs].mean() > 0.4
    assert np.abs(null[:, pairs]).mean() < 2 / np.sqrt(3000)


def test_surrogates_are_shifts() -> None:
    samples = np.arange(12.0).reshape(6, 2) ** 2
    expected = {round(float(np.corrcoef(samples[:, 0], np.roll(samples[:, 1], k))[0, 1]), 9) for k in range(6)}
    found = {round(float(matrix[0, 1]), 9) for matrix in shifted(samples, 200, seed=0)}
    assert found == expected


def test_a_draw_is_the_covariance_of_the_drawn_rows() -> None:
    samples = np.random.default_rng(3).normal(size=(23, 3))
    found = list(block_covariances(samples, 4, 5, seed=7))
    generator = np.random.default_rng(7)
    for matrix in found:
        chosen = generator.integers(0, 4, 4)
        rows = np.concatenate([np.array_split(samples, 4)[block] for block in chosen])
        np.testing.assert_allclose(matrix, np.cov(rows.T), atol=1e-12)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least 2 samples"):
        marchenko_pastur_edge(1, 3)
    with pytest.raises(InvalidValue, match="draws: got 0"):
        next(shifted(np.ones((3, 2)), 0, 0))
    with pytest.raises(InvalidValue, match="got 3 samples for 2 blocks"):
        next(block_covariances(np.ones((3, 2)), 2, 1, 0))
