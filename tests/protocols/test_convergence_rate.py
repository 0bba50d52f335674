"""Tangent kernels against integrals and autograd, predicted rates against linear dynamics, and the protocol small."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import convergence_rate as drawn
from neuro_decorr import study
from protocols import convergence_rate
from protocols.convergence_rate import theory
from tests.protocols.execution import whole


def gaussian(samples: int, features: int, seed: int = 0) -> Tensor:
    return torch.randn(samples, features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whitened(inputs: Tensor) -> Tensor:
    """By their own covariance, from the singular value decomposition: no rule is involved."""
    left, sizes, right = np.linalg.svd((inputs - inputs.mean(dim=0)).numpy(), full_matrices=False)
    kept = sizes > 1e-9 * sizes[0]
    return torch.from_numpy(left[:, kept] @ right[kept] * len(inputs) ** 0.5)


@pytest.mark.parametrize("bias", [True, False])
def test_the_kernel_is_the_integral_over_the_weights(bias: bool) -> None:
    """An entry is <x~, x~'> times the chance that both units are active, which scipy integrates."""
    inputs = gaussian(4, 3)
    tilde = torch.cat([inputs, torch.full((4, 1), float(bias), dtype=torch.float64)], dim=1).numpy()
    found = theory.tangent_kernel(inputs, bias=bias).numpy()
    for i in range(4):
        for j in range(i):
            pair = tilde[[i, j]]
            both = multivariate_normal(np.zeros(2), pair @ pair.T).cdf(np.zeros(2))
            assert found[i, j] == pytest.approx(tilde[i] @ tilde[j] * both, abs=1e-5)
        assert found[i, i] == pytest.approx(tilde[i] @ tilde[i] / 2)


@pytest.mark.parametrize("damped", [False, True])
def test_a_step_of_a_wide_network_is_that_of_the_kernel(damped: bool) -> None:
    """df = -eta K r, by autograd through 200,000 units: their sampling error is 1 / 450 of an entry's size."""
    torch.manual_seed(0)
    inputs, width, step = gaussian(5, 3), 200_000, 1e-4
    hidden = nn.Linear(3, width, dtype=torch.float64)
    for parameter in hidden.parameters():
        nn.init.normal_(parameter)
    signs = (2.0 * torch.randint(0, 2, (width,), dtype=torch.float64) - 1) / width**0.5
    before = torch.relu(hidden(inputs)) @ signs
    residual = gaussian(5, 1, seed=1).squeeze(1)
    (before @ residual).backward()
    metric = None
    assert hidden.weight.grad is not None
    if damped:
        moment = inputs.T @ inputs / 5
        strength = 0.3 * moment.trace() / 3
        metric = strength * torch.linalg.inv(moment + strength * torch.eye(3, dtype=torch.float64))
        hidden.weight.grad = nd.conditioning.foof(hidden.weight.grad, inputs, damping=0.3, preserve_power=False)
    torch.optim.SGD(hidden.parameters(), lr=step).step()
    with torch.no_grad():
        change = torch.relu(hidden(inputs)) @ signs - before
    expected = -step * theory.tangent_kernel(inputs, metric=metric) @ residual
    torch.testing.assert_close(change, expected, rtol=0, atol=0.03 * float(expected.abs().max()))


def test_biases_tell_parallel_inputs_apart() -> None:
    """The theorem: K is singular without biases if two inputs are parallel, with them only if two are equal."""
    half = gaussian(5, 4)
    parallel = torch.cat([half, 2 * half])
    without = torch.linalg.eigvalsh(theory.tangent_kernel(parallel, bias=False))
    with_biases = torch.linalg.eigvalsh(theory.tangent_kernel(parallel))
    equal = torch.linalg.eigvalsh(theory.tangent_kernel(torch.cat([half, half])))
    assert abs(float(without[0])) < 1e-12 * float(without[-1])
    assert abs(float(equal[0])) < 1e-12 * float(equal[-1])
    assert float(with_biases[0]) > 1e-4 * float(with_biases[-1])
    assert theory.rate(theory.tangent_kernel(torch.cat([half, half]))) < 1e-12


@pytest.mark.parametrize("features", [11, 40])
def test_few_whitened_samples_have_a_kernel_without_any_structure(features: int) -> None:
    """n - 1 <= d: the Gram matrix is n I - 1 1^T, biases add 1 1^T, so that x~ are orthogonal and K = n I / 2."""
    inputs = gaussian(12, features) + 5 * gaussian(12, 1, seed=1)
    kernel = theory.tangent_kernel(whitened(inputs))
    torch.testing.assert_close(kernel, 6 * torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-6)
    assert theory.rate(6 * torch.eye(12, dtype=torch.float64)) == math.inf


def test_the_course_is_that_of_linear_dynamics() -> None:
    kernel, residual = theory.tangent_kernel(gaussian(6, 3)), gaussian(6, 1, seed=2).squeeze(1)
    step, now, losses = 1 / float(np.linalg.eigvalsh(kernel.numpy())[-1]), residual.numpy(), []
    for _ in range(4_000):
        losses.append(now @ now)
        now = now - step * kernel.numpy() @ now
    found = theory.course(kernel, residual, 3_999)
    np.testing.assert_allclose(found.numpy(), losses, rtol=1e-8)
    assert theory.tail(losses) == pytest.approx(theory.rate(kernel), rel=1e-6)


def test_the_rate_after_the_last_steps_is_the_slope_of_the_logarithm() -> None:
    losses = [2.0, 1.0, 0.9, 0.5, 0.1, 0.1 * math.exp(-0.3), 0.1 * math.exp(-0.6)]
    assert theory.tail(losses) == pytest.approx(0.3)


def configured(**values: object) -> convergence_rate.Configuration:
    made = convergence_rate.PROTOCOL.configure(values)
    assert isinstance(made, convergence_rate.Configuration)
    return made


def measured(arm: str, damping: float | None, seed: int = 0, **values: object) -> dict[str, float]:
    factors = {"inputs": "common_mode", "bias": True, "arm": arm, "damping": damping}
    recorder = study.Recorder(factors)
    convergence_rate.run(configured(**values), study.Condition("measure", seed, factors), recorder)
    (end,) = recorder.rows["ends"]
    return {name: float(value) for name, value in end.items() if isinstance(value, int | float)}


def test_the_measured_rate_is_the_predicted_one_and_whitening_multiplies_it() -> None:
    """What the protocol must show, on one seed: ratios in [.85, 1.2], and more than 5 times the rate."""
    ends = {arm: measured(arm, damping) for arm, damping in (("center", None), ("foof", 0.1), ("whitening", 0.01))}
    for end in ends.values():
        assert 0.85 < end["measured"] / end["predicted"] < 1.2
        assert 0.85 < end["measured"] / end["linear"] < 1.2
    assert ends["whitening"]["measured"] > 5 * ends["center"]["measured"]
    assert ends["whitening"]["measured"] > 1.2 * ends["foof"]["measured"]  # angles change in front of the weights only


@pytest.mark.parametrize("arm", ["whitening", "norm_preserving"])
def test_rules_have_settled_before_the_weights_learn(arm: convergence_rate.Arm) -> None:
    inputs = convergence_rate.samples(configured(), "common_mode", 3)
    received = convergence_rate.front(arm, 0.01, inputs)(inputs)
    centred = inputs - inputs.mean(dim=0)
    rule = nd.rules.get(arm, **({"damping": 0.01} if arm == "whitening" else {}))
    expected = rule.fixed_point(centred.T @ centred / len(inputs))
    found = received.T @ received / len(inputs)
    if rule.fixed_point_up_to == "scale":
        found, expected = found / found.trace(), expected / expected.trace()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_the_figure_and_the_tables_show_every_arm(tmp_path: Path) -> None:
    values = {"width": 50, "steps": 30, "dampings": (0.1, 1.0), "digits": (10, 20)}
    configuration, tables = whole(convergence_rate.PROTOCOL, values)
    convergence_rate.PROTOCOL.report(configuration, tables, tmp_path)
    ends = tables["ends"]
    made = drawn.table(ends[ends["inputs"] == "common_mode"])
    assert len(made) == 4 + 3 * 2
    for row in made.to_dict("records"):
        own = ends[(ends["inputs"] == "common_mode") & (ends["arm"] == row["arm"])]
        own = own if math.isnan(row["damping"]) else own[own["damping"] == row["damping"]]
        assert row["measured"] == pytest.approx(own["measured"].mean())
    pairs = drawn.parallel(ends[ends["inputs"] == "parallel"])
    assert set(zip(pairs["biases"], pairs["arm"], strict=True)) == {
        (bias, arm) for bias in (False, True) for arm in ("none", "center")
    }
    assert (tmp_path / "figures" / "convergence_rate.png").stat().st_size > 10_000
