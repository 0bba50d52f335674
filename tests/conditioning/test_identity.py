"""One matrix, many names: forward decorrelation, FOOF, and the implicit steps of a linear layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import neuro_decorr as nd
from neuro_decorr.conditioning import foof

ROWS, INPUTS, OUTPUTS, DAMPING, RATE = 24, 9, 5, 0.3, 0.1


def relative(first: torch.Tensor | np.ndarray, second: torch.Tensor | np.ndarray) -> float:
    first, second = np.asarray(first), np.asarray(second)
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


@pytest.fixture(params=[ROWS, INPUTS - 3])
def layer(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """A linear layer with correlated inputs z, errors delta and weights, with more rows than inputs and with fewer."""
    rng = np.random.default_rng(request.param)
    mixing = rng.normal(size=(INPUTS, INPUTS)) * np.logspace(0, -2, INPUTS)[:, None]
    return {
        "z": rng.normal(size=(request.param, INPUTS)) @ mixing,
        "delta": rng.normal(size=(request.param, OUTPUTS)),
        "weight": rng.normal(size=(OUTPUTS, INPUTS)),
    }


def conditioned(layer: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """What foof makes of the gradient, per sample, and damping times mean power."""
    z, delta = layer["z"], layer["delta"]
    gradient = torch.from_numpy(delta.T @ z / len(z))
    step = foof(gradient, torch.from_numpy(z), damping=DAMPING, preserve_power=False).numpy()
    return step, DAMPING * float((z**2).mean())


def test_a_gradient_step_behind_a_decorrelation_of_the_same_damping(layer: dict[str, np.ndarray]) -> None:
    z, delta = map(torch.from_numpy, (layer["z"], layer["delta"]))
    step, strength = conditioned(layer)
    covariance = z.T @ z / len(z)
    values, vectors = torch.linalg.eigh(torch.eye(INPUTS, dtype=torch.float64) + covariance / strength)
    decorrelation = nd.Decorrelation(INPUTS, center=False, dtype=torch.float64)
    decorrelation.matrix.copy_((vectors * values.rsqrt()) @ vectors.T)
    linear = nn.Linear(INPUTS, OUTPUTS, bias=False, dtype=torch.float64)
    before = linear.weight.detach() @ decorrelation.matrix
    ((delta * linear(decorrelation(z))).sum() / len(z)).backward()
    torch.optim.SGD(linear.parameters(), lr=RATE).step()
    assert relative(linear.weight.detach() @ decorrelation.matrix - before, -RATE * step) < 1e-10


def test_the_fixed_point_of_whitening_with_the_power_given_back(layer: dict[str, np.ndarray]) -> None:
    z = torch.from_numpy(layer["z"])
    covariance = z.T @ z / len(z)
    gradient = torch.from_numpy(layer["delta"].T @ layer["z"])
    # D is symmetric and commutes with S, so that C = D S D = S D^T D, on the directions that have power.
    reached = nd.rules.get("whitening", damping=DAMPING).fixed_point(covariance)
    step = foof(gradient, z, damping=DAMPING)
    assert relative(step @ covariance, gradient @ reached) < 1e-10
    assert float(reached.trace()) == pytest.approx(float(covariance.trace()), rel=1e-12)


def test_the_semi_implicit_step_of_a_linear_layer(layer: dict[str, np.ndarray]) -> None:
    """W* = argmin |W x - (a - eta delta)|^2 + lambda |W - W_old|^2, lambda = damping c per sample, by least squares."""
    z, delta, weight = layer["z"], layer["delta"], layer["weight"]
    step, strength = conditioned(layer)
    root = np.sqrt(strength * len(z))
    stacked = np.vstack([z, root * np.eye(INPUTS)])
    wanted = np.vstack([z @ weight.T - RATE * delta, root * weight.T])
    proposed = np.linalg.lstsq(stacked, wanted, rcond=None)[0].T
    assert relative(proposed - weight, -RATE / strength * step) < 1e-10


def test_implicit_gradient_descent_on_squared_errors(layer: dict[str, np.ndarray]) -> None:
    """W+ = W - alpha dL/dW at W+, found by iteration, with L half the sum of squares; delta are the errors at W."""
    z, delta, weight = layer["z"], layer["delta"], layer["weight"]
    step, strength = conditioned(layer)
    alpha = 1 / (strength * len(z))
    targets = z @ weight.T - delta
    found = weight.copy()
    relaxation = 1 / (1 + alpha * np.linalg.norm(z, 2) ** 2)
    for _ in range(4_000):
        found -= relaxation * (found - weight + alpha * (found @ z.T - targets.T) @ z)
    assert relative(found - weight, -step / strength) < 1e-10


def test_the_dual_of_the_ridge(layer: dict[str, np.ndarray]) -> None:
    """One number a sample and output solves (X X^T + l) alpha = delta; the primal weights are alpha^T X."""
    z, delta = layer["z"], layer["delta"]
    step, strength = conditioned(layer)
    alpha = np.linalg.solve(z @ z.T + strength * len(z) * np.eye(len(z)), delta)
    assert relative(strength * alpha.T @ z, step / 1.0) < 1e-10


def test_of_one_sample_it_is_normalised_least_mean_squares() -> None:
    rng = np.random.default_rng(3)
    x, delta = rng.normal(size=(1, INPUTS)), rng.normal(size=(1, OUTPUTS))
    alpha = 1 / (DAMPING * (x**2).mean())
    step = foof(torch.from_numpy(delta.T @ x), torch.from_numpy(x), damping=DAMPING, preserve_power=False)
    assert relative(step, delta.T @ x / (1 + alpha * (x @ x.T))) < 1e-10


def test_on_whitened_inputs_it_is_the_gradient_but_for_one_scalar() -> None:
    rng = np.random.default_rng(4)
    x = np.linalg.qr(rng.normal(size=(ROWS, INPUTS)))[0] * np.sqrt(ROWS)
    gradient = torch.from_numpy(rng.normal(size=(OUTPUTS, INPUTS)))
    rows = torch.from_numpy(x)
    assert (
        relative(foof(gradient, rows, damping=DAMPING, preserve_power=False), gradient * DAMPING / (1 + DAMPING))
        < 1e-10
    )
    assert relative(foof(gradient, rows, damping=DAMPING), gradient) < 1e-10
