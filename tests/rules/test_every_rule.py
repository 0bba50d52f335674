"""Every registered rule passes the whole suite; a rule written by a user does too."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch

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
    for given_back in (False, True):
        carriers = [rules.get(name, damping=3.0, preserve_power=given_back) for name in ("whitening", "zca")]
        many = {"interneurons": suite.FEATURES, "preserve_power": given_back}
        carriers.append(rules.get("interneuron", damping=3.0, **many))
        gain = covariance.trace() / expected.trace() if given_back else 1.0
        for rule in carriers:
            torch.testing.assert_close(rule.fixed_point(covariance), gain * expected, rtol=1e-9, atol=1e-9)


def anonymous(name: str) -> Rule:
    """The registered rule of a name, which it no longer has."""
    known = type(rules.get(name))
    return dataclasses.dataclass(frozen=True, kw_only=True)(type("Anonymous", (known,), {"name": "anonymous"}))()


@pytest.mark.parametrize("name", rules.names())
def test_the_suite_knows_no_rule_by_its_name(name: str) -> None:
    """A rule of another name gets inputs of the same condition, so that the same fixed point is in reach."""
    assert suite.condition(anonymous(name)) == suite.condition(rules.get(name))
    if name == "gain_modulation":
        suite.check_fixed_point(anonymous(name))


@pytest.mark.parametrize(("limit", "expected"), [(math.inf, 1e4), (0.5, 1e4), (4e-3, 1e2)])
def test_a_small_limit_of_any_rule_makes_the_inputs_easier(limit: float, expected: float) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Mine(rules.Center):
        def stability_limit(self, covariance: torch.Tensor) -> float:
            return limit

    assert suite.condition(Mine()) == expected
