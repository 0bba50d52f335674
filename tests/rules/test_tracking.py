"""Tracking: when the inputs' covariance is replaced by another, whitening returns to its floor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neuro_decorr import rules
from neuro_decorr.rules import suite

FEATURES, EVERY, BATCH = 16, 3_000, 64
Update = Callable[[Tensor, Tensor], None]
"""Moves a matrix D in place for a batch of inputs."""


def courses(matrix: Tensor, update: Update, powers: tuple[float, ...]) -> list[list[float]]:
    """Mean squared correlation every 50 updates; covariances of condition 1e3 are replaced every 3,000 updates."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for seed, power in enumerate(powers):
        covariance = power * suite.covariance(1e3, FEATURES, seed)
        factor, exact = torch.linalg.cholesky(covariance), suite.rows_with(covariance)
        course = [off_diagonal(matrix, exact)]
        for _ in range(EVERY // 50):
            for _ in range(50):
                update(matrix, torch.randn(BATCH, FEATURES, generator=generator, dtype=torch.float64) @ factor.T)
            course.append(off_diagonal(matrix, exact))
        found.append(course)
    return found


def off_diagonal(matrix: Tensor, inputs: Tensor) -> float:
    """Mean squared correlation of two different outputs."""
    correlations = suite.correlation(suite.second_moment({"matrix": matrix}, inputs))
    total = float(correlations.square().sum() - correlations.diagonal().square().sum())
    return total / (FEATURES * (FEATURES - 1))


@pytest.mark.parametrize("rate", [0.1, pytest.param(0.03, marks=pytest.mark.slow), rules.get("whitening").rate])
def test_whitening_returns_to_its_floor(rate: float) -> None:
    """Mean powers 1, 30 and 0.03: within 20 / rate updates at the floor of a constant rate, rate / 2k, again."""
    rule = rules.get("whitening", damping=0.0, rate=rate)
    state = rule.initial_state(FEATURES, dtype=torch.float64)

    def update(matrix: Tensor, drive: Tensor) -> None:
        rule.update_(state, suite.sample(rule, state, drive), rate)

    predicted = rate / (1 + rate * FEATURES / BATCH) / (2 * BATCH)
    for course in courses(state["matrix"], update, (1.0, 30.0, 0.03)):
        floor = sum(course[-20:]) / 20
        assert course[0] > 100 * floor, "the replacement did not show"
        assert course[int(20 / rate / 50)] < 2 * predicted, course
        assert 0.7 * predicted < floor < 1.5 * predicted, (floor, predicted)


def test_the_published_orientation_does_not_return() -> None:
    """R <- g (R - rate R C), the dense layer of the published code, beside g (R - rate C R) at the same rate."""

    def gain(drive: Tensor, outputs: Tensor) -> float:
        return float((drive.norm(dim=1) / outputs.norm(dim=1)).mean())

    def published(matrix: Tensor, drive: Tensor) -> None:
        outputs = drive @ matrix.T
        moment = outputs.T @ outputs / len(outputs)
        matrix.copy_(gain(drive, outputs) * (matrix - rate * matrix @ moment))

    def equivariant(matrix: Tensor, drive: Tensor) -> None:
        outputs = drive @ matrix.T
        moment = outputs.T @ outputs / len(outputs)
        matrix.copy_(gain(drive, outputs) * (matrix - rate * moment @ matrix))

    rate, powers = 5e-3, (1.0, 1.0, 1.0)
    theirs = courses(torch.eye(FEATURES, dtype=torch.float64), published, powers)
    ours = courses(torch.eye(FEATURES, dtype=torch.float64), equivariant, powers)
    assert theirs[0][-1] < 2e-3, "it learns the first covariance, from the identity"
    assert all(course[-1] > 100 * reached[-1] for course, reached in zip(theirs[1:], ours[1:], strict=True))
    assert all(course[-1] < 1e-3 for course in ours)
