import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue


def with_spectrum(eigenvalues: list[float], seed: int, samples: int = 64) -> np.ndarray:
    """Samples whose sample covariance has exactly these eigenvalues."""
    rng = np.random.default_rng(seed)
    units = len(eigenvalues)
    scores = rng.normal(size=(samples, units))
    scores, _ = np.linalg.qr(scores - scores.mean(0))
    basis = scipy.stats.ortho_group.rvs(units, random_state=seed) if units > 1 else np.eye(1)
    return math.sqrt(samples - 1) * scores * np.sqrt(eigenvalues) @ basis + rng.normal(size=units)


SPECTRA = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=8)


@settings(max_examples=60, deadline=None)
@given(spectrum=SPECTRA, seed=st.integers(0, 1000))
def test_the_measures_of_a_known_spectrum_whatever_the_rotation(spectrum: list[float], seed: int) -> None:
    x = with_spectrum(spectrum, seed)
    e = np.sort(spectrum)[::-1]
    np.testing.assert_allclose(metrics.eigenvalues(x), e, rtol=1e-6, atol=1e-9 * e[0])
    assert metrics.participation_ratio(x) == pytest.approx(e.sum() ** 2 / (e**2).sum(), rel=1e-9)
    assert metrics.condition_number(x) == pytest.approx(e[0] / e[-1], rel=1e-6)
    assert metrics.spectral_flatness(x) == pytest.approx(scipy.stats.gmean(e) / e.mean(), rel=1e-6)
    assert metrics.whiteness(x) == pytest.approx(math.sqrt(np.mean((e / e.mean() - 1) ** 2)), abs=1e-9)
    assert metrics.whiteness(x, target="identity") == pytest.approx(math.sqrt(np.mean((e - 1) ** 2)), rel=1e-9)
    assert metrics.whiteness(x) == pytest.approx(
        math.sqrt(max(0, len(e) / metrics.participation_ratio(x) - 1)), abs=1e-6
    )


@settings(max_examples=30, deadline=None)
@given(spectrum=SPECTRA, seed=st.integers(0, 1000), exponent=st.floats(-6, 6))
def test_scale_permutation_rotation_and_shift_change_no_scale_free_measure(
    spectrum: list[float], seed: int, exponent: float
) -> None:
    x = with_spectrum(spectrum, seed)
    units = len(spectrum)
    rotation = scipy.stats.ortho_group.rvs(units, random_state=seed + 1)
    permutation = np.random.default_rng(seed).permutation(units)
    for changed in (10.0**exponent * x, x[:, permutation], x @ rotation, x + 5):
        for measure in (
            metrics.participation_ratio,
            metrics.condition_number,
            metrics.spectral_flatness,
            metrics.whiteness,
            lambda x: metrics.participation_ratio(x, correction="samples"),
        ):
            assert measure(changed) == pytest.approx(measure(x), rel=1e-6, abs=1e-7)


def test_white_activity_is_white() -> None:
    x = with_spectrum([1.0] * 6, seed=0)
    assert metrics.whiteness(x) == pytest.approx(0, abs=1e-12)
    assert metrics.whiteness(x, target="identity") == pytest.approx(0, abs=1e-12)
    assert metrics.spectral_flatness(x) == pytest.approx(1)
    assert metrics.condition_number(x) == pytest.approx(1)
    assert metrics.participation_ratio(x) == pytest.approx(6)
    assert metrics.mean_squared_correlation(x) == pytest.approx(0, abs=1e-12)


def test_a_singular_covariance_is_infinitely_conditioned_and_not_flat() -> None:
    x = with_spectrum([3.0, 2.0, 1.0], seed=0)
    doubled = np.column_stack([x, x @ [1.0, -2.0, 0.5]])
    assert metrics.condition_number(doubled) == math.inf
    assert metrics.spectral_flatness(doubled) == 0
    few = np.random.default_rng(0).normal(size=(5, 9))
    assert metrics.condition_number(few) == math.inf
    assert metrics.eigenvalues(few).min() >= 0


def test_flatness_is_the_divergence_from_the_white_gaussian() -> None:
    e = np.array([4.0, 2.0, 0.5, 0.1])
    c = e.mean()
    divergence = 0.5 * (e.sum() / c - len(e) - np.log(e / c).sum())  # Kullback-Leibler, N(0, C) from N(0, cI)
    flatness = metrics.spectral_flatness(with_spectrum(e.tolist(), seed=1))
    assert -len(e) / 2 * math.log(flatness) == pytest.approx(divergence)


def test_the_flatness_of_very_many_units_does_not_underflow() -> None:
    x = np.random.default_rng(0).normal(size=(900, 400)) * 1e-3
    e = np.linalg.eigvalsh(np.cov(x, rowvar=False))
    assert metrics.spectral_flatness(x) == pytest.approx(math.exp(np.log(e).mean()) / e.mean(), rel=1e-9)


@pytest.mark.parametrize("samples", [4, 6])
def test_the_corrected_ratio_is_that_of_the_u_statistics(samples: int) -> None:
    x = np.random.default_rng(samples).exponential(size=(samples, 3)) @ np.diag([3.0, 1.0, 0.2])
    numerator, denominator = [], []
    for i, j, k, l in itertools.permutations(range(samples), 4):  # noqa: E741  the indices of the definition
        a, b = x[i] - x[j], x[k] - x[l]
        numerator.append((a @ a) * (b @ b) / 4)
        denominator.append((a @ b) ** 2 / 4)
    expected = np.mean(numerator) / np.mean(denominator)
    assert metrics.participation_ratio(x, correction="samples") == pytest.approx(expected, rel=1e-10)


def test_the_corrected_ratio_without_centering_is_that_of_the_u_statistics() -> None:
    x = np.random.default_rng(0).exponential(size=(6, 3)) @ np.diag([3.0, 1.0, 0.2])
    pairs = list(itertools.permutations(range(6), 2))
    numerator = np.mean([(x[i] @ x[i]) * (x[j] @ x[j]) for i, j in pairs])
    denominator = np.mean([(x[i] @ x[j]) ** 2 for i, j in pairs])
    assert metrics.participation_ratio(x, correction="samples", center=False) == pytest.approx(numerator / denominator)


@pytest.mark.parametrize("center", [True, False])
def test_the_ratio_corrected_for_units_too_is_that_of_distinct_samples_and_units(center: bool) -> None:
    x = np.random.default_rng(6).exponential(size=(5, 4)) @ np.diag([3.0, 1.0, 0.2, 2.0])
    numerator, denominator = [], []
    for a, b in itertools.permutations(range(4), 2):
        u, v = x[:, a], x[:, b]
        if center:
            for i, j, k, l in itertools.permutations(range(5), 4):  # noqa: E741
                numerator.append((u[i] - u[j]) ** 2 / 2 * (v[k] - v[l]) ** 2 / 2)
                denominator.append((u[i] - u[j]) * (v[i] - v[j]) / 2 * (u[k] - u[l]) * (v[k] - v[l]) / 2)
        else:
            for i, j in itertools.permutations(range(5), 2):
                numerator.append(u[i] ** 2 * v[j] ** 2)
                denominator.append(u[i] * v[i] * u[j] * v[j])
    expected = np.mean(denominator) / np.mean(numerator)
    inverse = metrics.moments(x, center=center).inverse_participation_ratio("both")
    assert inverse == pytest.approx(expected, rel=1e-10)
    assert math.isnan(metrics.participation_ratio(x, correction="both", center=center))  # of five samples


def test_the_ratio_corrected_for_units_is_withheld_where_it_says_nothing() -> None:
    rng = np.random.default_rng(0)
    runs = [rng.normal(size=(300, 12)) for _ in range(400)]
    shown = np.mean([math.isfinite(metrics.participation_ratio(x, correction="both")) for x in runs])
    # More than two standard errors above zero: 2.3 % of Gaussian, some 4 % of skewed estimates.
    assert shown < 0.08
    common = [x + rng.normal(size=(300, 1)) for x in runs[:100]]
    ratios = np.array([metrics.participation_ratio(x, correction="both") for x in common])
    assert np.isfinite(ratios).all()
    # Correlations of one half; 1/PR scatters by some 12 % with the squares of the common part.
    assert 1 / np.mean(1 / ratios) == pytest.approx(4, rel=0.06)


def test_the_correction_for_units_finds_the_dimensionality_of_the_population_they_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    gains = np.sqrt(np.geomspace(1, 0.1, 6))  # six common sources; with Gaussian loadings the population's ratio is
    true = (gains**2).sum() ** 2 / (gains**4).sum()  # that of the sources: the mean of C_ab^2 is that of sum_k g_k^4
    found = []
    for _ in range(200):
        sources = rng.normal(size=(80, 6)) * gains
        found.append(sources @ rng.normal(size=(6, 50)))
    both = np.mean([1 / metrics.participation_ratio(x, correction="both") for x in found])
    samples = np.mean([1 / metrics.participation_ratio(x, correction="samples") for x in found])
    assert both == pytest.approx(1 / true, rel=0.03)
    assert samples > 1.05 / true, "the correction for samples alone leaves the bias of few units"


def test_an_unknown_correction_is_named() -> None:
    with pytest.raises(InvalidValue, match="one of 'none', 'samples', 'both', got 'units'"):
        metrics.participation_ratio(np.eye(5), correction="units")  # type: ignore[arg-type]


def test_the_correction_removes_the_bias_of_few_samples() -> None:
    rng = np.random.default_rng(0)
    deviation = np.sqrt(np.geomspace(1, 0.05, 40))
    true = (deviation**2).sum() ** 2 / (deviation**4).sum()
    runs = [rng.normal(size=(25, 40)) * deviation for _ in range(200)]
    naive = np.mean([1 / metrics.participation_ratio(x) for x in runs])
    corrected = np.mean([1 / metrics.participation_ratio(x, correction="samples") for x in runs])
    assert naive == pytest.approx(1 / true + 1 / 24, rel=0.05)
    assert corrected == pytest.approx(1 / true, rel=0.02)


def test_too_few_samples_for_the_correction() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5))
    with pytest.raises(InvalidValue, match="at least 4 samples"):
        metrics.participation_ratio(x, correction="samples")
    assert math.isnan(metrics.summary(x, intervals=False)["participation_ratio_samples"].estimate)


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"'scaled', 'identity', got 'sphere'"):
        metrics.whiteness(torch.eye(3), target="sphere")  # type: ignore[arg-type]
