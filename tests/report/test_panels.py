"""What the panels show: read back from their artists, which come from the numbers given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import Change
from neuro_decorr.report import drawing, labels, panels


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def blocks(units: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A correlation matrix of three groups of alike units, shuffled, and the group of each."""
    group = np.random.default_rng(seed).permutation(np.arange(units) % 3)
    matrix = np.where(group[:, None] == group, 0.6, 0.05)
    np.fill_diagonal(matrix, 1.0)
    return matrix, group


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_clustering_puts_alike_units_together() -> None:
    matrix, group = blocks()
    order = drawing.cluster_order(matrix)
    assert sorted(order) == list(range(12))
    assert (np.diff(group[order]) != 0).sum() == 2  # three groups, two borders


def test_the_raster_shows_every_spike_of_a_short_recording_in_the_order_given(axes: Axes) -> None:
    panels.raster(
        axes, [np.array([0.3]), np.array([]), np.array([0.1, 0.2])], labels.drawn(["7", "$x_$", "9"]), 0.0, 1.0
    )
    (spikes,) = axes.lines
    assert sorted(zip(*map(np.asarray, spikes.get_data()), strict=True)) == [(0.1, 3.0), (0.2, 3.0), (0.3, 1.0)]
    assert axes.get_xlim() == (0.0, 1.0) and axes.get_title() == ""
    assert [text.get_text() for text in axes.get_yticklabels()] == ["7", "$x_$", "9"]  # not 1, 2, 3
    assert axes.get_ylim() == (3.5, 0.5)  # from top to bottom, as the rows of the matrix


def test_the_raster_shades_trials_and_counts_them_in_whole_numbers(axes: Axes) -> None:
    panels.raster(axes, [np.array([1.0, 2.0, 9.0])], labels.drawn(["a"]), 0, 10, [(1.0, 2.5), (4.0, 4.5)])
    (shaded,) = axes.collections
    spans = [path.get_extents() for path in shaded.get_paths()]
    np.testing.assert_allclose([[span.x0, span.x1] for span in spans], [[1, 2.5], [4, 4.5]])
    axes.clear()
    panels.course(axes, np.arange(1, 5), np.ones((4, 2)), "trial", "rate (Hz)", (0.5, 4.5))
    assert all(place == round(place) for place in axes.get_xticks())


def test_a_long_raster_says_what_it_leaves_out(axes: Axes) -> None:
    panels.raster(axes, [np.linspace(0, 100, 30_001)] * 2, labels.drawn(["a", "b"]), 0.0, 100.0)
    assert len(axes.lines[0].get_xdata()) == pytest.approx(20_000, abs=2)
    assert axes.get_title() == "the first 33.3 of 100 s"


@pytest.mark.parametrize("units", [2, 3, 41, 100, 1000])
def test_units_on_axes_are_whole_numbers(axes: Axes, units: int) -> None:
    panels.raster(axes, [np.array([0.5])] * units, labels.drawn([str(k) for k in range(units)]), 0.0, 1.0)
    ticks = axes.get_yticks()
    assert len(ticks) and all(tick == round(tick) for tick in ticks)
    other = Figure().add_subplot()
    panels.matrix(other, np.eye(units), labels.drawn([str(k) for k in range(units)]), 1.0)
    ticks = [*other.get_xticks(), *other.get_yticks()]
    assert all(tick == round(tick) for tick in ticks) and min(ticks) >= 0


def test_the_matrix_leaves_out_the_diagonal_and_shows_what_it_was_given(axes: Axes) -> None:
    matrix, _ = blocks()
    panels.matrix(axes, matrix, labels.drawn([f"u{k}" for k in range(12)]), 0.6)
    shown = axes.images[0].get_array()
    assert shown.mask.diagonal().all()
    off = ~np.eye(12, dtype=bool)
    np.testing.assert_array_equal(shown.data[off], matrix[off])
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"u{k}" for k in range(12)]
    assert axes.images[0].get_clim() == (-0.6, 0.6)


def test_one_scale_holds_both_matrices_but_not_one_outlier() -> None:
    first, second = np.zeros((60, 60)), np.full((60, 60), 0.2)
    first[0, 1] = first[1, 0] = 0.9
    assert panels.limit(first, second) == pytest.approx(0.2)
    assert panels.limit(np.eye(3)) == 1.0


def test_the_correlogram_draws_mean_quartiles_and_band(axes: Axes) -> None:
    lags, mean = np.arange(-5, 6) * 0.01, np.linspace(0, 1, 11)
    band = np.array([np.full(11, -0.1), np.full(11, 0.1)])
    panels.correlogram(axes, lags, mean, np.array([mean - 0.2, mean + 0.2]), band)
    delays, drawn = axes.lines[0].get_data()
    np.testing.assert_allclose(delays, 1e3 * lags)
    np.testing.assert_allclose(drawn, mean)
    bands = [collection.get_paths()[0].get_extents() for collection in axes.collections]
    assert (bands[0].y0, bands[0].y1) == pytest.approx((-0.2, 1.2))
    assert (bands[1].y0, bands[1].y1) == pytest.approx((-0.1, 0.1))


def test_the_spectrum_has_the_null_at_every_rank(axes: Axes) -> None:
    values, null = np.array([6.0, 2.0, 0.5, 0.5, 0.0]), np.array([[1.4, 1.2, 1, 0.8, 0.6], [1.6, 1.3, 1, 0.9, 0.7]])
    panels.eigenspectrum(axes, values, 1.5, "95 % of surrogates", null)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), values[:4])  # a logarithm shows no zero
    assert axes.lines[1].get_ydata()[0] == 1.5
    extents = axes.collections[0].get_paths()[0].get_extents()
    assert (extents.x0, extents.x1, extents.y0, extents.y1) == (1, 5, 0.6, 1.6)
    assert texts(axes) == ["surrogates at each rank", "data", "95 % of surrogates"]


@pytest.mark.parametrize("spread", [0.001, 0.1])
def test_the_distribution_is_a_density_over_the_finite_pairs(axes: Axes, spread: float) -> None:
    generator = np.random.default_rng(0)
    pairs, edges = generator.normal(0.2, spread, 500), np.linspace(-1, 1, 4001)
    null = np.histogram(generator.normal(0, 0.05, 2000), edges)[0]
    panels.distribution(axes, [*pairs, np.nan], edges, null)
    step, chance = axes.patches[1], axes.patches[0]
    corners = step.get_xy()
    area = 0.5 * abs(np.sum(corners[:-1, 0] * corners[1:, 1] - corners[1:, 0] * corners[:-1, 1]))
    assert area == pytest.approx(1)
    heights, borders, _ = chance.get_data()
    assert (heights * np.diff(borders)).sum() == pytest.approx(1)
    assert f"mean {pairs.mean():.3g}" in texts(axes)
    with pytest.raises(InvalidValue, match="no pair of units has one"):
        panels.distribution(axes, [np.nan], edges, null)


def test_dimensionality_shows_medians_over_draws(axes: Axes) -> None:
    sizes, naive = [10, 100], np.array([[2.0, 4.0], [6.0, 8.0]])
    panels.dimensionality(axes, sizes, naive, np.array([[np.nan, 1.0], [9.0, 9.0]]), units=20)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3.0, 7.0])
    np.testing.assert_array_equal(axes.lines[1].get_data(), [[100.0], [9.0]])


def test_before_and_after_have_one_scale(axes: Axes) -> None:
    first, second = np.array([0.1, 0.5, np.nan, 0.3]), np.array([0.0, 0.1, 0.2, np.nan])
    panels.before_after(axes, first, second, ("first", "second"))
    np.testing.assert_array_equal(axes.collections[0].get_offsets(), [[0.1, 0.0], [0.5, 0.1]])
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.lines[1].get_data() == ([pytest.approx(0.3)], [pytest.approx(0.05)])
    many = Figure().add_subplot()
    pairs = np.random.default_rng(0).normal(size=5000)
    panels.before_after(many, pairs, pairs, ("first", "second"))
    assert many.collections[0].get_array().sum() == 5000  # counted in hexagons, none lost


def test_differences_stand_in_units_of_their_own_interval(axes: Axes) -> None:
    nan = np.nan
    rows = {
        "a_b": Change(nan, nan, nan, nan, 10.0, 8.0, 12.0, nan),
        "b": Change(nan, nan, nan, nan, 0.01, -0.03, 0.05, 1),
    }
    panels.differences(axes, rows, {"b": Change(nan, nan, nan, nan, 0.3, 0.1, 0.5, nan)})
    places = [np.ravel(container.lines[0].get_xydata()) for container in axes.containers]
    np.testing.assert_allclose(places, [[5.0, 0], [0.25, 1], [1.5, 1.3]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a b", "b"]


def test_no_units_is_an_error(axes: Axes) -> None:
    with pytest.raises(InvalidValue, match="raster: got no units"):
        panels.raster(axes, [], labels.drawn([]), 0, 1)


@pytest.mark.parametrize(("largest", "scales"), [(1.4, ("linear", "linear")), (9.0, ("linear", "log"))])
def test_a_narrow_spectrum_has_ticks_on_both_axes(axes: Axes, largest: float, scales: tuple[str, str]) -> None:
    panels.eigenspectrum(axes, [largest, 1.0, 0.9, 0.8], 1.2, "edge")
    assert (axes.get_xscale(), axes.get_yscale()) == scales
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1, 2, 3, 4]


def test_small_differences_have_round_ticks(axes: Axes) -> None:
    panels.differences(axes, {"a": Change(0, 0, 0, 0, 0.1, -0.1, 0.3, 0)}, {})
    assert all(len(label.get_text()) <= 5 for label in axes.get_xticklabels())


def test_the_legend_shows_a_dot_that_can_be_seen(axes: Axes) -> None:
    panels.before_after(axes, [0.1, 0.2], [0.2, 0.1], ("first", "second"))
    shown = axes.get_legend()
    assert shown is not None
    dots = [handle for handle in shown.legend_handles if isinstance(handle, PathCollection)]
    assert [handle.get_alpha() for handle in dots] == [1]
