"""FOOF and K-FAC against dense solutions in double precision, and against another library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvlinops import FisherType, KFACInverseLinearOperator, KFACLinearOperator
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from neuro_decorr.conditioning import Signals, foof, kfac
from neuro_decorr.errors import Diverged, InvalidValue

sizes = st.integers(1, 12)


def side(rows: np.ndarray, damping: float, preserve_power: bool) -> np.ndarray:
    """g^2 (I + S / lambda)^-1, by a dense inverse."""
    moment = rows.T @ rows / len(rows)
    inverse = np.linalg.inv(np.eye(len(moment)) + moment / (damping * np.trace(moment) / len(moment)))
    return inverse * (np.trace(moment) / np.trace(moment @ inverse) if preserve_power else 1)


@given(st.integers(0, 2**32 - 1), sizes, sizes, sizes, st.floats(0.01, 100), st.booleans())
def test_both_against_dense_inverses(
    seed: int, rows: int, inputs: int, outputs: int, damping: float, preserve_power: bool
) -> None:
    rng = np.random.default_rng(seed)
    x, delta, gradient = (rng.normal(size=shape) for shape in ((rows, inputs), (rows, outputs), (outputs, inputs)))
    x_, delta_, gradient_ = map(torch.from_numpy, (x, delta, gradient))
    options = {"damping": damping, "preserve_power": preserve_power}
    right = gradient @ side(x, damping, preserve_power)
    both = side(delta, damping, preserve_power) @ right
    # The condition of I + S / lambda is at most 1 + d / damping, 1200 here: double precision leaves 1e-12 or so.
    close = {"rtol": 1e-9, "atol": 1e-10 * np.abs(both).max() + 1e-10 * np.abs(right).max()}
    np.testing.assert_allclose(foof(gradient_, x_, **options), right, **close)
    np.testing.assert_allclose(foof(gradient_, moment=x_.T @ x_ / rows, **options), right, **close)
    np.testing.assert_allclose(kfac(gradient_, x_, delta_, **options), both, **close)
    moments = {"input_moment": x_.T @ x_ / rows, "error_moment": delta_.T @ delta_ / rows}
    np.testing.assert_allclose(kfac(gradient_, **moments, **options), both, **close)


def test_groups_are_conditioned_each_by_its_own_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 10.0, 0.0]).double()[:, None, None]
    rows = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64) * scale
    errors = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64)
    gradient = torch.randn(3, 2, 6, generator=generator, dtype=torch.float64)
    for together, each in (
        (foof(gradient, rows, damping=0.5), [foof(g, x, damping=0.5) for g, x in zip(gradient, rows, strict=True)]),
        (
            kfac(gradient, rows, errors, damping=0.5),
            [kfac(g, x, e, damping=0.5) for g, x, e in zip(gradient, rows, errors, strict=True)],
        ),
    ):
        torch.testing.assert_close(together, torch.stack(each), rtol=1e-12, atol=1e-12)
    assert torch.equal(foof(gradient, rows, damping=0.5)[2], gradient[2])  # silent inputs


def test_much_damping_leaves_the_gradient_and_scale_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(1)
    rows, gradient = torch.randn(20, 6, generator=generator), torch.randn(3, 6, generator=generator)
    torch.testing.assert_close(foof(gradient, rows, damping=1e6), gradient, rtol=1e-4, atol=1e-5)
    reference = foof(gradient, rows, damping=0.1)
    for scale in (1e-8, 1e8):
        torch.testing.assert_close(foof(gradient, rows * scale, damping=0.1), reference, rtol=1e-4, atol=1e-5)
    half = foof(gradient.bfloat16(), rows.bfloat16(), damping=0.1)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), reference, rtol=0.05, atol=0.05)  # of the inputs' 8 bits


NETWORKS = {
    "linear": lambda: nn.Sequential(nn.Linear(5, 4, bias=False)),
    "dense": lambda: nn.Sequential(nn.Linear(5, 6, bias=False), nn.Tanh(), nn.Linear(6, 4, bias=False)),
    "convolution": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.Flatten()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_kfac_against_another_library(name: str) -> None:
    """The empirical Fisher matrix in Kronecker factors, with factored Tikhonov damping, of curvlinops."""
    torch.manual_seed(0)
    model = NETWORKS[name]().double()
    inputs = torch.randn(7, 2, 6, 6).double() if name == "convolution" else torch.randn(7, 5).double()
    targets = torch.randint(model(inputs).shape[1], (7,))
    loss_function = nn.CrossEntropyLoss()
    signals = Signals(model, errors=True)
    loss_function(model(inputs), targets).backward()
    curvature = {"fisher_type": FisherType.EMPIRICAL, "check_deterministic": False}
    layers = list(signals)
    weights = [layer.layer.weight for layer in layers]
    got = [kfac(s.gradient, s.inputs, s.errors, damping=0.3, preserve_power=False) for s in layers]
    signals.close()
    for layer, weight, ours in zip(layers, weights, got, strict=True):
        operator = KFACLinearOperator(model, loss_function, [weight], [(inputs, targets)], **curvature)
        outputs, features = layer.gradient.shape
        # Our damping is relative: its square times the product of the mean powers, which is the mean eigenvalue.
        dense = operator @ torch.eye(outputs * features, dtype=torch.float64)
        absolute = 0.3**2 * float(dense.trace()) / (outputs * features)
        inverse = KFACInverseLinearOperator(operator, damping=absolute, use_heuristic_damping=True)
        theirs = (inverse @ weight.grad.flatten()).reshape(outputs, features) * absolute
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_what_is_refused() -> None:
    gradient, rows = torch.ones(3, 4), torch.ones(5, 4)
    for damping in (0, -1, float("inf"), float("nan"), "strong"):
        with pytest.raises(InvalidValue, match="foof: damping must be a finite number > 0"):
            foof(gradient, rows, damping=damping)
    for options in ({}, {"inputs": rows, "moment": torch.eye(4)}):
        with pytest.raises(InvalidValue, match="exactly one of them"):
            foof(gradient, damping=1, **options)
    for wrong in (rows[:, :3], rows[:0], rows.expand(2, 5, 4), rows[0]):
        with pytest.raises(InvalidValue, match=r"inputs must have the shape \(rows, 4\)"):
            foof(gradient, wrong, damping=1)
    with pytest.raises(InvalidValue, match=r"second moment \(4, 4\)"):
        foof(gradient, moment=rows, damping=1)
    with pytest.raises(InvalidValue, match=r"kfac: errors must have the shape \(rows, 3\)"):
        kfac(gradient, rows, rows, damping=1)
    with pytest.raises(Diverged):
        foof(gradient, rows * float("nan"), damping=1)
    with pytest.raises(Diverged):
        foof(gradient, moment=torch.diag(torch.tensor([1.0, 1, 1, -1])), damping=0.1)
