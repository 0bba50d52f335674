import math

import numpy as np
import pytest
import torch

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue


def estimates(samples, **options) -> metrics.Summary:
    """The summary without intervals, which need more samples than these tests give."""
    return metrics.summary(samples, intervals=False, **options)


EVERY = [
    metrics.covariance,
    metrics.correlation,
    metrics.mean_squared_correlation,
    metrics.mean_absolute_correlation,
    metrics.eigenvalues,
    metrics.participation_ratio,
    metrics.condition_number,
    metrics.whiteness,
    metrics.spectral_flatness,
    estimates,
]


def activity(seed: int = 0, samples: int = 30, units: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(samples, units))


@pytest.mark.parametrize("function", EVERY)
@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(5), r"shape \(5,\); allowed is \(samples, units\)"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros((1, 3)), "got 1 samples of 3 units"),
        (np.zeros((4, 0)), "got 4 samples of 0 units"),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), "2 values that are NaN or infinite"),
        (np.array([["a", "b"]]), "dtype <U1"),
        (np.zeros((3, 2), dtype=complex), "complex128"),
        (torch.zeros(3, 2, dtype=torch.complex64), "complex64"),
    ],
    ids=["1-D", "3-D", "one sample", "no units", "not finite", "text", "complex", "complex tensor"],
)
def test_bad_samples_are_refused_by_every_measure(function, samples, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        function(samples)


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(InvalidValue, match="silent must be one of 'nan', 'drop', 'error', got 'zero'"):
        metrics.summary(activity(), intervals=False, silent="zero")


def test_silent_units_are_nan_in_the_correlation_and_zero_in_the_spectrum() -> None:
    x = activity()
    x[:, 2] = 7.3
    r = metrics.correlation(x)
    assert np.isnan(r[2]).all()
    assert np.isnan(r[:, 2]).all()
    kept = [0, 1, 3, 4]
    np.testing.assert_allclose(r[np.ix_(kept, kept)], np.corrcoef(x[:, kept], rowvar=False))
    summary = metrics.summary(x, intervals=False)
    assert (summary.units, summary.silent) == (5, 1)
    assert math.isnan(summary["mean_squared_correlation"].estimate)
    assert metrics.eigenvalues(x)[-1] == pytest.approx(0, abs=1e-15)
    assert summary["condition_number"].estimate == math.inf


def test_dropping_silent_units_measures_the_others() -> None:
    x = activity()
    x[:, 2] = 7.3
    rest = np.delete(x, 2, axis=1)
    assert metrics.covariance(x, silent="drop").shape == (4, 4)
    for function in EVERY[2:4] + EVERY[5:9]:
        assert function(x, silent="drop") == pytest.approx(function(rest))
    summary = metrics.summary(x, intervals=False, silent="drop")
    assert (summary.units, summary.silent) == (5, 1)
    assert summary["mean_variance"].estimate == pytest.approx(rest.var(axis=0, ddof=1).mean())


@pytest.mark.parametrize("function", EVERY[2:4])
def test_a_mean_that_silent_units_make_nan_says_how_to_measure_the_others(function) -> None:
    x = activity()
    x[:, [0, 2]] = 7.3
    with pytest.warns(UserWarning, match=r"2 of 5 units never vary: .* NaN; silent='drop' measures") as caught:
        assert math.isnan(function(x))
    assert caught[0].filename == __file__
    told = metrics.summary(x, intervals=False)
    assert str(caught[0].message) == f"{told.warnings[0]}."
    assert str(told).splitlines()[-1] == f"warning: {told.warnings[0]}"
    for quiet in (metrics.summary(x, intervals=False, silent="drop"), metrics.summary(activity(), intervals=False)):
        assert quiet.warnings == ()
    with pytest.warns(UserWarning, match="all 4 units never vary: measures of correlation are NaN"):
        assert math.isnan(function(np.ones((10, 4))))


def test_refusing_silent_units_names_them() -> None:
    x = activity()
    x[:, [1, 3]] = 0
    with pytest.raises(InvalidValue, match=r"2 of 5 units never vary \(first: \[1, 3\]\)"):
        metrics.summary(x, intervals=False, silent="error")
    assert metrics.summary(activity(), intervals=False, silent="error").silent == 0


@pytest.mark.parametrize("silent", ["nan", "drop"])
def test_a_population_that_is_all_silent_is_a_result(silent) -> None:
    summary = metrics.summary(np.ones((10, 4)), intervals=False, silent=silent)
    assert summary.silent == 4
    for measure in (
        summary["mean_squared_correlation"].estimate,
        summary["participation_ratio"].estimate,
        summary["participation_ratio_samples"].estimate,
        summary["condition_number"].estimate,
        summary["leading_fraction"].estimate,
        summary["spectral_flatness"].estimate,
        summary["whiteness"].estimate,
    ):
        assert math.isnan(measure)


def test_a_constant_that_went_through_rounding_is_silent_and_a_small_signal_is_not() -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 0.1 * 3 + torch.tensor([0.0, 2e-8]).repeat(20)  # one float32 rounding step apart
    x[:, 2] = 1 + 1e-5 * x[:, 2]
    assert metrics.moments(x).silent == 1
    x[:, 1] = 1e-30 * x[:, 0]
    assert metrics.moments(x).silent == 0


def test_without_centering_only_a_unit_of_zeros_is_silent() -> None:
    x = activity()
    x[:, 0], x[:, 1] = 2.0, 0.0
    assert metrics.summary(x, intervals=False).silent == 2
    assert metrics.summary(x, intervals=False, center=False).silent == 1


def test_one_unit_has_no_pairs() -> None:
    summary = metrics.summary(activity(units=1), intervals=False)
    assert math.isnan(summary["mean_correlation"].estimate)
    assert summary["participation_ratio"].estimate == pytest.approx(1)
    assert summary["condition_number"].estimate == 1


def test_integers_are_silent_only_when_constant() -> None:
    counts = torch.tensor([[1000, 5], [1001, 5], [1000, 5]])
    assert metrics.moments(counts).silent == 1
