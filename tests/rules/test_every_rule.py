"""Every registered rule passes the whole suite; a rule written by a user does too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from neuro_decorr import rules
from neuro_decorr.rules import Rule, suite


@pytest.mark.parametrize("name", rules.names())
@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
def test_registered_rule(name: str, check: Callable[[Rule], None]) -> None:
    check(rules.get(name))


@pytest.mark.parametrize("name", ["whitening", "zca"])
@pytest.mark.parametrize("damping", [0.0, 3.0])
def test_fixed_point_with_and_without_damping(name: str, damping: float) -> None:
    suite.check_fixed_point(rules.get(name, damping=damping))


def test_damping_means_the_same_for_every_rule_that_carries_it() -> None:
    covariance = suite.covariance(1e3)
    expected = torch.linalg.inv(
        torch.linalg.inv(covariance) + torch.eye(suite.FEATURES, dtype=torch.float64) / 3
    )  # mean power 1
    carriers = [rules.get(name, damping=3.0) for name in ("whitening", "zca")]
    carriers.append(rules.get("interneuron", damping=3.0, interneurons=suite.FEATURES))
    for rule in carriers:
        torch.testing.assert_close(rule.fixed_point(covariance), expected, rtol=1e-9, atol=1e-9)


@dataclass(frozen=True, kw_only=True)
class UserRule(Rule):
    """The relative gradient with a constant step: fifteen lines of a user."""

    name = "user_relative_gradient"
    title = "whitens"
    equation = "D <- D + rate (I - C) D"
    fixed_point_text = "C = I"
    locality = "row of D"
    cost = "2 k d^2"
    reference = "Cardoso, Laheld 1996"
    structure = "dense"
    silent_units_bounded = False
    rate: float = 1e-2

    @property
    def equivariance(self) -> str:
        return "general"

    def update_(self, state: rules.State, sample: rules.Sample, rate: float) -> rules.Change:
        weight = rate / len(sample.outputs)
        return rules.LowRankFactor(1 + rate, weight, sample.outputs, sample.outputs).apply_(state["matrix"])

    def fixed_point(self, covariance: Tensor) -> Tensor:
        return torch.eye(len(covariance), dtype=covariance.dtype)

    def stability_limit(self, covariance: Tensor) -> float:
        return 1.0


@pytest.mark.parametrize("check", suite.CHECKS, ids=lambda check: check.__name__)
def test_user_rule(check: Callable[[Rule], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules._registry, "_RULES", dict(rules._registry._RULES))
    rules.register(UserRule)
    check(rules.get("user_relative_gradient"))
