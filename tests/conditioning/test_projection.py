"""The recursive projector against inverses of sums, and against what recursive least squares is for: a ridge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.conditioning import foof, orthogonal_projector
from neuro_decorr.errors import Diverged, InvalidValue


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.floats(0.1, 10),
    st.floats(0.5, 1),
)  # fmt: skip
def test_steps_add_up_to_the_inverse_of_the_sum(
    seed: int, rows: int, features: int, passes: int, strength: float, forgetting: float
) -> None:
    rng = np.random.default_rng(seed)
    projector, total = None, strength * np.eye(features)
    for _ in range(passes):
        x = rng.normal(size=(rows, features))
        total = forgetting * total + x.T @ x
        projector = orthogonal_projector(torch.from_numpy(x), projector, strength=strength, forgetting=forgetting)
    # The condition of the sum is some 1e4 at most here: double precision leaves 1e-11 or so.
    np.testing.assert_allclose(projector, strength * np.linalg.inv(total), rtol=1e-8, atol=1e-9)


def test_the_first_pass_is_foof_without_the_power_given_back() -> None:
    rng = np.random.default_rng(0)
    x, gradient = torch.from_numpy(rng.normal(size=(7, 5))), torch.from_numpy(rng.normal(size=(3, 5)))
    projector = orthogonal_projector(x, strength=0.4 * 7 * float(x.square().mean()))
    expected = foof(gradient, x, damping=0.4, preserve_power=False)
    torch.testing.assert_close(gradient @ projector, expected, rtol=1e-10, atol=1e-12)


def test_without_strength_nothing_is_left_along_earlier_inputs_and_all_elsewhere() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 8))
    projector = orthogonal_projector(torch.from_numpy(x), strength=1e-9).numpy()
    basis = np.linalg.svd(x)[2]
    np.testing.assert_allclose(basis[:3] @ projector, 0, atol=1e-8)  # of the order of the strength
    np.testing.assert_allclose(basis[3:] @ projector, basis[3:], atol=1e-8)


def test_errors_times_the_projector_are_recursive_least_squares() -> None:
    """W + e x^T P / a, sample by sample and P with it, ends at the ridge regression of all samples."""
    rng = np.random.default_rng(2)
    x, y, strength = rng.normal(size=(30, 6)), rng.normal(size=(30, 2)), 0.7
    weight, projector = np.zeros((2, 6)), None
    for row, wanted in zip(x, y, strict=True):
        projector = orthogonal_projector(torch.from_numpy(row[None]), projector, strength=strength)
        weight = weight + np.outer(wanted - weight @ row, row) @ projector.numpy() / strength
    stacked = np.vstack([x, np.sqrt(strength) * np.eye(6)])
    ridge = np.linalg.lstsq(stacked, np.vstack([y, np.zeros((6, 2))]), rcond=None)[0].T
    np.testing.assert_allclose(weight, ridge, rtol=1e-9, atol=1e-11)


def test_groups_have_projectors_of_their_own() -> None:
    rng = np.random.default_rng(3)
    first, second = (torch.from_numpy(rng.normal(size=(3, 4, 6))) for _ in range(2))
    options = {"strength": 0.5, "forgetting": 0.9}
    together = orthogonal_projector(second, orthogonal_projector(first, **options), **options)
    each = [
        orthogonal_projector(b, orthogonal_projector(a, **options), **options)
        for a, b in zip(first, second, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(each), rtol=1e-12, atol=1e-12)


def test_many_passes_in_single_precision_stay_a_projector() -> None:
    generator = torch.Generator().manual_seed(4)
    projector, total = None, 5.0 * torch.eye(12, dtype=torch.float64)
    for _ in range(300):
        x = torch.randn(16, 12, generator=generator).bfloat16()
        total += x.double().T @ x.double()
        projector = orthogonal_projector(x, projector, strength=5.0)
    assert projector is not None and projector.dtype == torch.float32
    exact = 5.0 * torch.linalg.inv(total)
    # Each step rounds numbers of size one to 6e-8, and what is rounded early is divided with the rest.
    torch.testing.assert_close(projector.double(), exact, rtol=0, atol=1e-5)
    torch.testing.assert_close(projector, projector.mT, rtol=0, atol=1e-6)


def test_what_is_refused() -> None:
    x = torch.ones(3, 4)
    for options in ({"strength": 0.0}, {"strength": float("nan")}, {"strength": 1.0, "forgetting": 1.1},
                    {"strength": 1.0, "forgetting": 0.0}):  # fmt: skip
        with pytest.raises(InvalidValue, match=r"orthogonal_projector: (strength|forgetting) must be"):
            orthogonal_projector(x, **options)
    with pytest.raises(InvalidValue, match=r"inputs must be \(rows, features\)"):
        orthogonal_projector(x[0], strength=1.0)
    with pytest.raises(InvalidValue, match=r"the projector must have the shape \(4, 4\)"):
        orthogonal_projector(x, torch.eye(3), strength=1.0)
    with pytest.raises(Diverged, match="orthogonal_projector: the inputs are not finite"):
        orthogonal_projector(x * float("nan"), strength=1.0)
    with pytest.raises(Diverged):
        orthogonal_projector(x, -torch.eye(4), strength=1.0)
