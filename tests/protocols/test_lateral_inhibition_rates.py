"""The protocol of the rate rules, small: the same course in both simulators, and its figure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import brian2
import pytest

from protocols import lateral_inhibition_rates as protocol
from tests.protocols.execution import whole

SMALL = {"units": 6, "stimuli": 60, "rate": 0.02, "interneuron_rate": 0.1, "modes": 2, "hold": 20.0, "step": 0.5}


@pytest.fixture(autouse=True)
def _target() -> Iterator[None]:
    before = brian2.prefs.codegen.target
    yield
    brian2.prefs.codegen.target = before


@pytest.mark.slow
def test_brian_takes_the_course_of_torch_unless_stimuli_are_too_brief(tmp_path: Path) -> None:
    configuration, tables = whole(protocol.PROTOCOL, SMALL, seeds=1)
    rows = tables["courses"]
    end = rows[rows["updates"] == 60].set_index(["rule", "simulator"])
    for rule in protocol.Configuration().rules:
        assert end.loc[(rule, "brian2"), "weights_apart"] < 1e-3
        for quantity in ("distance", "mean_squared_correlation"):
            found, expected = end.loc[(rule, "brian2"), quantity], end.loc[(rule, "torch"), quantity]
            assert found == pytest.approx(expected, rel=1e-3)
        assert not rows["diverged"].any()
        first = rows[(rows["updates"] == 0) & (rows["rule"] == rule)]
        assert (end.loc[rule, "distance"] < first["distance"].max()).any()
    for rule in ("lateral", "anti_hebbian"):  # the interneurons learn from the drive alone
        assert end.loc[(rule, "brian2_short"), "weights_apart"] > 1e-2
    protocol.report(configuration, tables, tmp_path)
    assert {path.name for path in tmp_path.glob("*/rate_rules.*")} == {
        f"rate_rules.{e}" for e in ("svg", "png", "csv", "md")
    }
