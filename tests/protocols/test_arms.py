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
def test_all_problems_of_a_configuration_at_once(protocol: study.Protocol) -> None:
    values = {"strengths": (-1.0,), "hidden": (4,), "arms": ("none", "interneuron"), "batch_size": 5_000}
    with pytest.raises(InvalidValue) as caught:
        protocol.configure(values)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "--strengths and --dose", "--arms and --dose-arms", "--hidden", "--batch-size",
    ]  # fmt: skip
