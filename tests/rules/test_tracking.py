"""Tracking: when the inputs' covariance is replaced by another, whitening returns to its floor."""

from __future__ import annotations

import pytest
import torch

from neuro_decorr import rules
from tests.rules import suite

FEATURES = 16


@pytest.mark.parametrize(("rate", "updates", "floor"), [(0.1, 200, 3e-3), (0.03, 400, 1e-3)])
def test_whitening_returns_to_its_floor(rate: float, updates: int, floor: float) -> None:
    """Covariances of condition 1e3, mean powers 1, 30 and 0.03, batches of 64, replaced every 3,000 updates.

    The floor is the mean squared off-diagonal correlation over the last 1,000 updates; twice that is reached within
    the stated number of updates after each replacement.
    """
    generator = torch.Generator().manual_seed(0)
    rule = rules.get("whitening", damping=0.0, rate=rate)
    state = rule.initial_state(FEATURES, dtype=torch.float64)
    floors = []
    for seed, power in enumerate((1.0, 30.0, 0.03)):
        covariance = power * suite.covariance(1e3, FEATURES, seed)
        factor, exact = torch.linalg.cholesky(covariance), suite.rows_with(covariance)
        course = [off_diagonal(state, exact)]
        for _ in range(60):
            for _ in range(50):
                drive = torch.randn(64, FEATURES, generator=generator, dtype=torch.float64) @ factor.T
                rule.update_(state, suite.sample(rule, state, drive), rate)
            course.append(off_diagonal(state, exact))
        floors.append(sum(course[-20:]) / 20)
        assert course[0] > 10 * floors[-1], "the replacement did not show"
        assert course[updates // 50] < 2 * floors[-1], course
        assert (suite.second_moment(state, exact) - torch.eye(FEATURES)).norm() < 0.2 * FEATURES
    assert max(floors) < floor and max(floors) < 1.3 * min(floors), floors


def off_diagonal(state: rules.State, inputs: torch.Tensor) -> float:
    """Mean squared correlation of two different outputs."""
    correlations = suite.correlation(suite.second_moment(state, inputs))
    total = float(correlations.square().sum() - correlations.diagonal().square().sum())
    return total / (FEATURES * (FEATURES - 1))
