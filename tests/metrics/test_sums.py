"""Sums over cells give the moments of the array, of any weighting of its cells, exactly for integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import metrics
from neuro_decorr.metrics import bootstrap
from neuro_decorr.metrics.activity import as_stream
from neuro_decorr.metrics.sums import accumulate


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**16), samples=st.integers(2, 70), units=st.integers(1, 6), length=st.integers(1, 30),
    center=st.booleans(), integers=st.booleans(), offset=st.sampled_from([0.0, 1e3]),
)  # fmt: skip
def test_all_cells_together_are_the_array(
    seed: int, samples: int, units: int, length: int, center: bool, integers: bool, offset: float
) -> None:
    source = np.random.default_rng(seed)
    x = source.poisson(2, (samples, units)) if integers else source.normal(size=(samples, units)) + offset
    sums = accumulate(as_stream(x), length, center=center)
    got, expected = sums.moments(), metrics.moments(x, center=center)
    scale = 1 + float(expected.covariance.abs().max())
    torch.testing.assert_close(got.covariance, expected.covariance, rtol=1e-9, atol=1e-9 * scale)
    torch.testing.assert_close(got.fourth, expected.fourth, rtol=1e-6, atol=1e-6 * scale**2)
    assert (got.samples, got.units, got.silent) == (expected.samples, expected.units, expected.silent)


def test_drawn_cells_are_the_array_of_their_rows() -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    sums = accumulate(as_stream(x), 10)
    weights = torch.tensor([[2.0, 0, 1, 0, 3, 0]], dtype=torch.float64)
    rows = np.concatenate([x[10 * cell : 10 * cell + 10] for cell in (0, 0, 2, 4, 4, 4)])
    (got,) = sums.resampled(weights)
    np.testing.assert_allclose(got.covariance.numpy(), np.cov(rows, rowvar=False), rtol=1e-10)
    assert got.samples == 60


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
