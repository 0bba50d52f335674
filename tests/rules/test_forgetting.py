"""Rules with a running covariance forget where they began, at every scale and condition."""

import math

import pytest
import torch
from torch import Tensor

from neuro_decorr import rules
from neuro_decorr.rules import Rule, dense_matrix
from neuro_decorr.rules.suite import correlation, covariance, sample


def updates_until_decorrelated(
    rule: Rule, units: int, condition: float, scale: float, most: int
) -> tuple[int | None, Tensor]:
    """How many batches of 256 until the mean squared correlation is a hundredth of its start, and D at the end."""
    inputs = covariance(condition, units)
    mix = torch.linalg.cholesky(inputs) * scale
    generator = torch.Generator().manual_seed(1)
    state = rule.initial_state(units, dtype=torch.float64)

    def correlated() -> float:
        matrix = dense_matrix(state, units, mix)
        found = correlation(matrix @ inputs @ matrix.T)
        return float((found.square().sum() - units) / (units * (units - 1)))

    start = correlated()
    for update in range(1, most + 1):
        rows = torch.randn(256, units, generator=generator, dtype=torch.float64) @ mix.T
        rule.update_(state, sample(rule, state, rows), rule.rate)
        if correlated() < 0.01 * start:
            return update, dense_matrix(state, units, mix)
    return None, dense_matrix(state, units, mix)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("condition", [1e2, 1e6])
@pytest.mark.parametrize("units", [16, 64])
def test_full_whitening_decorrelates_within_sixty_updates(units: int, condition: float, scale: float) -> None:
    needed, _ = updates_until_decorrelated(rules.get("whitening", damping=0.0), units, condition, scale, most=60)
    assert needed is not None


@pytest.mark.parametrize("condition", [1e2, 1e6])
def test_full_whitening_of_256_units_takes_two_hundred_updates(condition: float) -> None:
    needed, _ = updates_until_decorrelated(rules.get("whitening", damping=0.0), 256, condition, 1.0, most=200)
    assert needed is not None


@pytest.mark.parametrize("name", ["whitening", "zca", "iterative_norm"])
@pytest.mark.parametrize("power", [-20, 20])
def test_the_course_of_full_whitening_is_the_same_at_every_scale(name: str, power: int) -> None:
    """Inputs of 2^n take the course of inputs of 1 with D / 2^n: binary scales round alike."""
    rule = rules.get(name, damping=0.0) if name != "iterative_norm" else rules.get(name)
    mix = torch.linalg.cholesky(covariance(1e3))
    states = [rule.initial_state(len(mix), dtype=torch.float64) for _ in range(2)]
    generator = torch.Generator().manual_seed(2)
    for _ in range(30):
        rows = torch.randn(16, len(mix), generator=generator, dtype=torch.float64) @ mix.T
        for state, scale in zip(states, (1.0, 2.0**power), strict=True):
            rule.update_(state, sample(rule, state, rows * scale), rule.rate)
    torch.testing.assert_close(states[1]["matrix"] * 2.0**power, states[0]["matrix"], rtol=1e-5, atol=1e-8)


def test_the_followed_covariance_is_the_weighted_sum_that_is_documented() -> None:
    """Against a float64 loop over all batches: D^-1 D^-T of full whitening, and the covariance of zca."""
    units, rows, rate = 6, 24, 0.05
    generator = torch.Generator().manual_seed(3)
    mix = torch.randn(units, units, generator=generator, dtype=torch.float64)
    batches = [torch.randn(rows, units, generator=generator, dtype=torch.float64) @ mix for _ in range(120)]
    full = rules.get("whitening", damping=0.0, rate=rate)
    comparator = rules.get("zca", rate=rate, damping=0.0)
    states = {rule: rule.initial_state(units, dtype=torch.float64) for rule in (full, comparator)}
    power = remembered = float(batches[0].square().mean())
    expected, with_floor = (power * torch.eye(units, dtype=torch.float64) for _ in range(2))
    for t, batch in enumerate(batches, start=1):
        present = float(batch.square().mean())
        power += (max(0.1, 1 / t)) * (present - power) if t > 1 else 0.0
        weight = max(rate, 4 / (t + 4))
        step = weight / (1 + weight * units / rows)
        second_moment = batch.T @ batch / rows
        expected = (1 - step) * expected + step * second_moment
        remembered *= min(max(power / remembered, math.exp(-1)), math.e) ** (0.1 / 20)
        floor = 1e-6 * remembered * torch.eye(units, dtype=torch.float64)
        with_floor = (1 - step) * with_floor + step * (second_moment + floor)
        for rule, state in states.items():
            rule.update_(state, sample(rule, state, batch), rate)
    inverse = torch.linalg.inv(states[full]["matrix"])
    torch.testing.assert_close(inverse @ inverse.T, with_floor, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(states[comparator]["covariance"], expected, rtol=1e-10, atol=1e-12)
