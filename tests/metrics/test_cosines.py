"""What independent units show: exact moments by all signs, white and drifting units, and the size of its test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.fft
import scipy.stats
import torch

from neuro_decorr.metrics import cosines, mean_absolute_correlation
from neuro_decorr.recording import SpikeTrains
from tests._frequency import of_size


def upper(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def test_moments_over_all_signs_of_all_cosines() -> None:
    x = np.cumsum(np.random.default_rng(0).normal(size=(5, 3)), axis=0)
    a = scipy.fft.dct(x, norm="ortho", axis=0)[1:]
    a /= np.sqrt((a**2).sum(axis=0))
    law = cosines.independent(x)
    drawn = []
    for signs in itertools.product([-1, 1], repeat=4 * 3):
        b = a * np.reshape(signs, (4, 3))
        drawn.append(upper(b.T @ b))
    values = np.array(drawn)
    np.testing.assert_allclose((values**2).mean(axis=0), upper(law.variance))
    means = np.abs(values.mean(axis=1))
    for mean in np.quantile(means, [0.3, 0.7, 0.9, 0.97]):
        normal = scipy.stats.norm.sf(mean / np.sqrt((means**2).mean())) * 2
        expected = max(normal, (means >= mean - 1e-12).mean())
        assert law.p_value(mean) == pytest.approx(expected, abs=0.04)  # of 2,000 draws


def test_draws_have_the_variance_of_all_signs_whatever_the_multiplicity() -> None:
    source = np.random.default_rng(8)
    power, multiplicity = source.uniform(0, 1, (100, 5)), np.repeat([1.0, 2.5, 7.0, 1.0], 25)
    power /= multiplicity @ power
    law = cosines.Independent(power, multiplicity)
    assert law.means.var() == pytest.approx(4 * upper(law.variance).sum() / 20**2, rel=0.15)
    assert law.means.mean() == pytest.approx(0, abs=4 * law.means.std() / 1999**0.5)


def test_white_units_have_the_floor_of_independent_samples() -> None:
    law = cosines.independent(np.random.default_rng(1).normal(size=(4000, 10)))
    np.testing.assert_allclose(upper(law.variance), 1 / 3999, rtol=0.1)  # each a mean of 3,999 products of squares


def test_a_tensor_with_history_is_as_its_array() -> None:
    x = torch.from_numpy(np.random.default_rng(6).normal(size=(60, 3))).requires_grad_()
    np.testing.assert_allclose(cosines.independent(x).variance, cosines.independent(x.detach().numpy()).variance)


def test_units_with_trends_of_their_own_are_as_one_sample() -> None:
    trends = np.linspace(-1, 1, 500)[:, None] * np.array([1.0, -2.0, 3.0]) + 1e-6 * np.random.default_rng(2).normal(
        size=(500, 3)
    )
    law = cosines.independent(trends)
    np.testing.assert_allclose(upper(law.variance), np.pi**8 * 17 / 161280 / (np.pi**4 / 96) ** 2, rtol=1e-3)
    assert upper(law.absolute).min() > 0.95


def test_long_recordings_are_summed_and_keep_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).normal(size=(30_000, 3))
    x[1:] += 0.98 * np.cumsum(0.1 * x[:-1], axis=0)
    exact = cosines.independent(x).variance
    monkeypatch.setattr(cosines, "_FINEST", 2**12)
    monkeypatch.setattr(cosines, "_SINGLE", 2**7)
    np.testing.assert_allclose(cosines.independent(x).variance, exact, rtol=0.03)


def test_spike_trains_of_poisson_units_in_fine_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(4)
    trains = SpikeTrains([np.unique(source.uniform(0, 50, 1000)) for _ in range(4)], 0, 50)
    monkeypatch.setattr(cosines, "_FINEST", 2**11)
    np.testing.assert_allclose(upper(cosines.independent(trains, 0.001).variance), 1 / 49_999, rtol=0.1)


def test_silent_units_have_none() -> None:
    x = np.random.default_rng(5).normal(size=(50, 3))
    x[:, 1] = 4.0
    law = cosines.independent(x)
    assert np.isnan(law.variance[1]).all() and np.isfinite(law.variance[0, 2])
    assert np.isfinite(law.means).all()
    assert np.isnan(cosines.independent(x[:, :2]).interval(0.95)).all()


KINDS = {
    "white": lambda source, shape: source.normal(size=shape),
    "trends": lambda source, shape: (
        np.linspace(-3, 3, shape[0])[:, None] * source.normal(size=shape[1]) + source.normal(size=shape)
    ),
    "walks": lambda source, shape: np.cumsum(source.normal(size=shape), axis=0),
    "slow counts": lambda source, shape: source.poisson(
        np.exp(0.3 * np.cumsum(0.1 * source.normal(size=shape), axis=0))
    ).astype(float),
}


def rejected(kind: str, repetitions: int, shape: tuple[int, int], first: int = 0) -> list[bool]:
    found = []
    for seed in range(first, first + repetitions):
        x = KINDS[kind](np.random.default_rng(seed), shape)
        found.append(cosines.independent(x).p_value(upper(np.corrcoef(x.T)).mean()) <= 0.05)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_independent_units_are_rejected_in_one_case_of_twenty(kind: str) -> None:
    assert of_size(rejected(kind, 80, (300, 6)))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(30, 5), (300, 20), (2000, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_size_at_every_number_of_samples_and_units(kind: str, shape: tuple[int, int]) -> None:
    size = np.mean(rejected(kind, 1000, shape))
    assert size <= 0.08
    assert size >= 0.02 or (shape[1] == 2 and kind != "white")  # two drifts have little but their signs to tell


def test_the_floor_is_what_independent_slow_units_show() -> None:
    shown, floors = [], []
    for seed in range(40):
        x = np.cumsum(np.random.default_rng(seed).normal(size=(300, 8)), axis=0)
        law = cosines.independent(x)
        shown.append(mean_absolute_correlation(x))
        floors.append(upper(law.absolute).mean())
    assert np.mean(shown) == pytest.approx(
        np.mean(floors), rel=0.05
    )  # what stays beside the largest cosine is not quite normal
