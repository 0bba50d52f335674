import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr import data
from neuro_decorr.errors import InvalidValue


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(
    features=st.integers(2, 12),
    exponent=st.floats(0, 8),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
)
def test_the_covariance_has_the_condition_scale_and_spectrum(
    features: int, exponent: float, scale: float, seed: int
) -> None:
    c = data.covariance_with_condition(features, 10**exponent, scale, seed)
    assert torch.equal(c, c.T)
    e = np.linalg.eigvalsh(c.numpy())
    assert e[-1] / e[0] == pytest.approx(10**exponent, rel=1e-6)
    assert e.mean() == pytest.approx(scale)
    steps = np.diff(np.log(e))
    assert steps == pytest.approx(np.full(features - 1, exponent * np.log(10) / (features - 1)), abs=1e-6)


def test_the_basis_is_drawn_without_preferred_direction() -> None:
    # Over bases that are uniform, each diagonal entry has the mean of the spectrum.
    mean = torch.stack([data.covariance_with_condition(3, 100.0, seed=seed) for seed in range(600)]).mean(dim=0)
    torch.testing.assert_close(mean, torch.eye(3, dtype=torch.float64), atol=0.15, rtol=0)
    assert not torch.equal(
        data.covariance_with_condition(3, 100.0, seed=0), data.covariance_with_condition(3, 100.0, seed=1)
    )


def test_gaussian_samples_have_the_covariance() -> None:
    c = data.covariance_with_condition(5, 50.0, seed=1)
    x = data.gaussian(c, 200_000, generator())
    assert (x.shape, x.dtype) == ((200_000, 5), torch.float64)
    torch.testing.assert_close(torch.cov(x.T), c, atol=0.02 * float(c.max()), rtol=0)
    assert x.mean(dim=0).abs().max() < 0.02
    assert torch.equal(x[:3], data.gaussian(c, 200_000, generator())[:3])


def test_a_singular_covariance_gives_samples_in_its_range() -> None:
    direction = torch.tensor([[1.0, 2.0, -1.0]], dtype=torch.float64)
    x = data.gaussian(direction.T @ direction, 10, generator())
    assert torch.linalg.matrix_rank(x, rtol=1e-6) == 1


@pytest.mark.parametrize(
    ("covariance", "samples", "message"),
    [
        (torch.zeros(2, 3), 5, r"\(2, 3\); allowed is \(features, features\)"),
        (torch.tensor([[1.0, 0.5], [0.0, 1.0]]), 5, "not symmetric"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), 5, "eigenvalue -1"),
        (torch.tensor([[float("nan")]]), 5, "NaN"),
        (torch.eye(2), 0, "samples: got 0"),
    ],
)
def test_impossible_covariances(covariance: torch.Tensor, samples: int, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        data.gaussian(covariance, samples, generator())


@pytest.mark.parametrize("arguments", [(0, 1.0), (3, 0.5), (3, float("inf")), (1, 2.0), (3, 2.0, 0.0), (3, 2.0, -1.0)])
def test_parameters_out_of_range(arguments: tuple[float, ...]) -> None:
    with pytest.raises(InvalidValue, match="allowed"):
        data.covariance_with_condition(*arguments)
    assert data.covariance_with_condition(1, 1.0, 4.0) == torch.tensor([[4.0]])
