"""What the figures of a recording show: read back from their artists, which come from the numbers given."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import recordings


def blocks(units: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A correlation matrix of three groups of alike units, shuffled, and the group of each."""
    group = np.random.default_rng(seed).permutation(np.arange(units) % 3)
    matrix = np.where(group[:, None] == group, 0.6, 0.05)
    np.fill_diagonal(matrix, 1.0)
    return matrix, group


def test_clustering_puts_alike_units_together_and_silent_ones_last() -> None:
    matrix, group = blocks()
    silent = 4
    matrix[silent], matrix[:, silent] = np.nan, np.nan
    order = recordings.cluster_order(matrix)
    assert sorted(order) == list(range(12)) and order[-1] == silent
    assert (np.diff(group[order[:-1]]) != 0).sum() == 2  # three groups, two borders


def test_the_raster_shows_every_spike_of_a_short_recording_in_the_order_given() -> None:
    times = [np.array([0.1, 0.2]), np.array([]), np.array([0.3])]
    axes = recordings.raster(times, 0.0, 1.0, order=[2, 1, 0]).axes[0]
    (spikes,) = axes.lines
    found = sorted(zip(*map(np.asarray, spikes.get_data()), strict=True))
    assert found == [(0.1, 2.0), (0.2, 2.0), (0.3, 0.0)]
    assert axes.get_xlim() == (0.0, 1.0) and axes.get_title() == ""


def test_a_long_raster_says_what_it_leaves_out() -> None:
    times = [np.linspace(0, 100, 30_001), np.linspace(0, 100, 30_001)]
    axes = recordings.raster(times, 0.0, 100.0).axes[0]
    assert len(axes.lines[0].get_xdata()) == pytest.approx(20_000, abs=2)
    assert axes.get_title() == "the first 33.3 of 100 s"


def test_the_matrix_leaves_out_the_diagonal_and_shows_what_it_was_given() -> None:
    matrix, _ = blocks()
    figure = recordings.correlation_matrix(matrix, [f"u{k}" for k in range(12)], order=range(12), title="50 ms")
    shown = figure.axes[0].images[0].get_array()
    assert shown.mask.diagonal().all()
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_array_equal(shown.data[off], matrix[off])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [f"u{k}" for k in range(12)]
    assert figure.axes[0].images[0].get_clim() == (-0.6, 0.6)


def test_the_correlogram_is_the_mean_over_pairs_without_silent_units() -> None:
    generator = np.random.default_rng(0)
    lags, values = np.arange(-5, 6) * 0.01, generator.normal(size=(11, 8))
    values[:, 3] = np.nan
    axes = recordings.correlogram(lags, values, deviation=0.1).axes[0]
    delays, mean = axes.lines[0].get_data()
    np.testing.assert_allclose(delays, 1e3 * lags)
    np.testing.assert_allclose(mean, np.delete(values, 3, axis=1).mean(axis=1))
    assert "mean of 7 pairs" in [text.get_text() for text in axes.get_legend().get_texts()]
    with pytest.raises(InvalidValue, match="no pair of units has a correlation"):
        recordings.correlogram(lags, np.full((11, 2), np.nan))


def test_the_eigenspectrum_counts_what_is_above_the_edge() -> None:
    values = np.array([6.0, 2.0, 0.5, 0.5, 0.0])
    axes = recordings.eigenspectrum(values, 1.5, null=np.ones(5)).axes[0]
    assert axes.get_title() == "2 of 5 eigenvalues above the edge"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), values[:4])  # a logarithm shows no zero


def test_the_distribution_is_a_density_over_the_finite_pairs() -> None:
    generator = np.random.default_rng(0)
    pairs, null = generator.normal(0.2, 0.1, 500), generator.normal(0, 0.05, 2000)
    axes = recordings.correlation_distribution([*pairs, np.nan], null, p_value=0.01).axes[0]
    bars = [patch for patch in axes.patches if hasattr(patch, "get_height")]
    assert sum(bar.get_height() * bar.get_width() for bar in bars) == pytest.approx(1)
    assert axes.get_title() == "mean |r| against surrogates: p = 0.01"
    with pytest.raises(InvalidValue, match="no pair of units has one"):
        recordings.correlation_distribution([np.nan], null)


def test_dimensionality_shows_means_over_draws() -> None:
    sizes, naive = [10, 100], np.array([[2.0, 4.0], [6.0, 8.0]])
    axes = recordings.dimensionality(sizes, naive, np.array([[np.nan, 1.0], [9.0, 9.0]]), units=20).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3.0, 7.0])
    np.testing.assert_array_equal(axes.lines[1].get_data(), [[100.0], [9.0]])


def test_no_units_is_an_error() -> None:
    with pytest.raises(InvalidValue, match="raster: got no units"):
        recordings.raster([], 0, 1)
