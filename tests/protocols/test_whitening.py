"""The whitening protocol, small: its distance, its sources, its grid of rates."""

from __future__ import annotations

import pytest
import torch

from neuro_decorr import rules
from protocols import whitening as protocol
from tests.protocols.execution import whole


def test_distance_is_zero_at_the_fixed_point_and_free_of_what_the_rule_leaves_free() -> None:
    covariance, _ = protocol.source("gaussian", 100.0, 0, 0, 10)
    for name in protocol.Configuration().rules:
        rule = rules.get(name)
        rest = rule.fixed_point(covariance)
        free = 3.0 if rule.fixed_point_up_to != "nothing" else 1.0
        distance, correlated = protocol.distance_from_fixed_point(rule, free * rest, covariance)
        assert distance < 1e-9, name
        assert 0 <= correlated <= 1
    distance, correlated = protocol.distance_from_fixed_point(rules.get("norm_preserving"), covariance, covariance)
    assert distance > 0.5 and correlated > 0.001


@pytest.mark.parametrize("name", ["gaussian", "drifting", "patches"])
def test_samples_have_the_covariance_of_their_source(name: protocol.SourceName) -> None:
    covariance, samples = protocol.source(name, 100.0, 1, 3, 50_000)
    found = samples.double().T @ samples.double() / len(samples)
    assert (found - covariance).norm() / covariance.norm() < 0.05


def test_the_drifting_source_drifts_and_is_paired() -> None:
    first, second = (protocol.source("drifting", 100.0, phase, 0, 10)[0] for phase in (0, 1))
    assert (first - second).norm() / first.norm() > 0.1
    again = protocol.source("drifting", 100.0, 0, 0, 10)
    assert torch.equal(first, again[0])


def test_rates_stay_in_what_the_rule_allows() -> None:
    for name in rules.names():
        rates = protocol.allowed_rates(name)
        assert rules.get(name).rate in rates and len(set(rates)) == len(rates)


def test_a_rule_approaches_its_fixed_point_and_the_best_rate_is_measured() -> None:
    values = {"rules": ("norm_preserving",), "sources": ("gaussian",), "updates": 60}
    tables = whole(protocol.PROTOCOL, values, seeds=1)[1]
    selected, measured = tables.of("select")["courses"], tables.of("measure")["courses"].set_index("updates")
    ends = selected[selected["updates"] == 60].set_index("rate")["distance"]
    assert set(measured["rate"]) == {ends.idxmin()}
    assert measured.loc[60, "distance"] < 0.8 * measured.loc[0, "distance"]
