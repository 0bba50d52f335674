"""The exact natural gradient against the definition of the Fisher matrix, and against another library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvlinops import GGNLinearOperator
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported


def network(inputs: int, hidden: int, outputs: int, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs)).double()


def fisher(model: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """The definition: the mean of the outer product of the score, over samples and labels drawn from the model."""
    parameters = list(model.parameters())
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        shares = model(row).softmax(0).detach()
        for label, share in enumerate(shares):
            score = torch.autograd.grad(model(row).log_softmax(0)[label], parameters)
            flat = torch.cat([part.flatten() for part in score])
            total = total + share * torch.outer(flat, flat)
    return total / len(rows)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 4), st.integers(2, 4), st.integers(1, 30))
def test_it_is_the_fisher_matrix(seed: int, inputs: int, hidden: int, outputs: int, samples: int) -> None:
    """Fewer and more rows than parameters, so both ways of solving."""
    model = network(inputs, hidden, outputs, seed)
    rows = torch.randn(samples, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = fisher(model, rows)
    got = nd.metrics.gauss_newton(model, rows)
    torch.testing.assert_close(got.factor.T @ got.factor, expected, rtol=1e-9, atol=1e-12)
    gradient = [torch.randn_like(p) for p in model.parameters()]
    flat = torch.cat([part.flatten() for part in gradient])
    for damping in (1e-3, 1.0, 100.0):
        damped = expected + damping * expected.trace() / len(flat) * torch.eye(len(flat), dtype=torch.float64)
        solved = torch.linalg.solve(damped, flat)
        found = torch.cat([part.flatten() for part in got.natural_gradient(gradient, damping)])
        # The condition of the damped matrix is up to parameters / damping, about 1e5.
        torch.testing.assert_close(found, solved, rtol=1e-8, atol=1e-9 * float(solved.abs().max()))
        update = torch.randn_like(flat)
        parts = update.split([p.numel() for p in model.parameters()])
        shaped = [part.view_as(p) for part, p in zip(parts, model.parameters(), strict=True)]
        share = (flat @ update) ** 2 / ((update @ damped @ update) * (flat @ solved))
        assert got.relative_decrease(shaped, gradient, damping) == pytest.approx(float(share), rel=1e-6)


def test_it_is_the_gauss_newton_matrix_of_another_library() -> None:
    model = nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    ).double()
    rows, targets = torch.randn(5, 16).double(), torch.randint(3, (5,))
    parameters = list(model.parameters())
    theirs = GGNLinearOperator(model, nn.CrossEntropyLoss(), parameters, [(rows, targets)], check_deterministic=False)
    ours = nd.metrics.gauss_newton(model, rows).factor
    dense = torch.as_tensor(np.asarray(theirs @ torch.eye(ours.shape[1], dtype=torch.float64)))
    torch.testing.assert_close(ours.T @ ours, dense, rtol=1e-9, atol=1e-12)


def test_the_natural_gradient_achieves_all_and_no_update_more() -> None:
    model = network(3, 4, 3, 0)
    curvature = nd.metrics.gauss_newton(model, torch.randn(6, 3).double())
    gradient = [torch.randn_like(p) for p in model.parameters()]
    natural = curvature.natural_gradient(gradient, 0.1)
    assert curvature.relative_decrease(natural, gradient, 0.1) == pytest.approx(1)
    values = torch.linalg.eigvalsh(curvature.factor.T @ curvature.factor) + 0.1 * curvature.mean_power
    condition = float(values[-1] / values[0])
    share = curvature.relative_decrease(gradient, gradient, 0.1)
    assert 4 * condition / (1 + condition) ** 2 <= share < 1, "Kantorovich"


def test_of_saturated_outputs_the_natural_gradient_is_the_gradient() -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.bias.copy_(torch.tensor([2000.0, -2000.0]))
    curvature = nd.metrics.gauss_newton(model, torch.randn(4, 3))
    gradient = [torch.randn(2, 3), torch.randn(2)]
    for got, expected in zip(curvature.natural_gradient(gradient, 1.0), gradient, strict=True):
        assert torch.equal(got, expected.double())
    assert curvature.relative_decrease(gradient, gradient, 1.0) == pytest.approx(1)


def test_a_decorrelated_model_is_as_it_computes_and_stays_as_it_was() -> None:
    model = nd.decorrelate(network(3, 4, 2, 0))
    model[0].decorrelation.matrix.copy_(torch.randn(3, 3))
    rows = torch.randn(5, 3).double()
    found = nd.metrics.gauss_newton(model, rows).factor
    torch.testing.assert_close(found.T @ found, fisher(model.eval(), rows), rtol=1e-9, atol=1e-12)
    assert model[0].decorrelation.take_record() is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.ReLU(), "trained parameters"),
        (nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (2, 2))), r"it gave \(2, 2, 2\)"),
        (nn.Linear(3, 2**13), "at most 0 samples"),
    ],
)
def test_models_that_are_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        nd.metrics.gauss_newton(model, torch.ones(2, 3))


def test_other_mistakes() -> None:
    curvature = nd.metrics.gauss_newton(nn.Linear(3, 2), torch.ones(2, 3))
    with pytest.raises(InvalidValue, match="damping must be a finite number > 0, got 0"):
        curvature.natural_gradient([torch.ones(2, 3), torch.ones(2)], 0)
    with pytest.raises(InvalidValue, match=r"got tensors of \[\(3, 2\)\]"):
        curvature.natural_gradient([torch.ones(3, 2)], 1.0)

    class Looks(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs) if float(inputs.sum()) > -1 else inputs

    with pytest.raises(Unsupported, match="which this Looks does not allow"):
        nd.metrics.gauss_newton(Looks(3, 2), torch.ones(2, 3))
