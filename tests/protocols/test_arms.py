"""What all protocols that compare arms keep to, whatever the arms are."""

from __future__ import annotations

from collections import Counter

import pytest

from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from protocols import _arms, credit_assignment, spiking_credit_assignment

PROTOCOLS = [credit_assignment.PROTOCOL, spiking_credit_assignment.PROTOCOL]
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)


@each_protocol
@pytest.mark.parametrize("full", [False, True])
def test_every_arm_has_the_same_budget(protocol: study.Protocol, full: bool) -> None:
    configuration = protocol.configure(full=full)
    selection = _arms.SELECTION.selection_runs(configuration, [0], study.Tables())
    keys = [tuple(condition.factors[name] for name in ("credit", "arm", "strength")) for condition in selection]
    assert set(Counter(keys).values()) == {configuration.selection_runs * configuration.selection_seeds}
    assert len(set(selection)) == len(selection)
    assert {condition.seed for condition in selection}.isdisjoint(study.seeds(100)), "a measured seed selects"


@each_protocol
def test_a_search_has_the_budget_and_the_ends_of_the_grid(protocol: study.Protocol) -> None:
    configuration = protocol.configure({"search": "random", "selection_runs": 8})
    for levels in _arms.conditions(configuration):
        search = _arms.search(configuration, levels)
        grid = _arms.grid(configuration, levels)
        assert search is not None and search.settings == len(grid) == 8
        assert isinstance(rates := search.ranges["learning_rate"], study.Range)
        ends = [setting["learning_rate"] for setting in grid]
        assert (rates.low, rates.high) == pytest.approx((min(ends), max(ends)))
        assert set(search.ranges["setting"]) == {setting["setting"] for setting in grid}  # type: ignore[arg-type]
    first = _arms.SELECTION.selection_runs(configuration, [0], study.Tables())
    assert len(first) == 2 * len(_arms.conditions(configuration))
    assert _arms.search(protocol.configure({}), {}) is None


@each_protocol
@pytest.mark.parametrize("values", [{"credits": ()}, {"strengths": (), "dose": ()}])
def test_lists_that_leave_no_condition_are_told(protocol: study.Protocol, values: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(InvalidValue, match="no condition to select for"):
        _arms.SELECTION.selection_runs(protocol.configure(values), [0], study.Tables())


@each_protocol
def test_all_problems_of_a_configuration_at_once(protocol: study.Protocol) -> None:
    values = {"strengths": (-1.0,), "hidden": (4,), "arms": ("none", "interneuron"), "batch_size": 5_000}
    with pytest.raises(InvalidValue) as caught:
        protocol.configure(values)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "--strengths and --dose", "--arms and --dose-arms", "--hidden", "--batch-size",
    ]  # fmt: skip
