"""Synapses that were not connected, are in no network, or connect a neuron with itself: what the user is told."""

from __future__ import annotations

import brian2
import numpy as np
import pytest
from brian2 import Network, ms

import neuro_decorr as nd
from tests.brian.told import told

pytestmark = pytest.mark.usefixtures("brian_on_numpy")


@pytest.fixture(autouse=True)
def _time_step(brian_on_numpy: None) -> None:
    brian2.defaultclock.dt = 1 * ms


def test_synapses_that_were_not_connected() -> None:
    cells = told(np.zeros((5, 4)))
    lateral = nd.brian.get().synapses(cells, drive="g_post -= w*mV", name="lateral")
    with pytest.raises(brian2.BrianObjectException) as caught:
        Network(cells, lateral).run(2 * ms)
    assert "'lateral' are not connected: call .connect(" in str(caught.value.__cause__)
    nobody = nd.brian.get().synapses(cells, drive="g_post -= w*mV")
    nobody.connect(p=0)
    Network(cells, nobody).run(2 * ms)


def test_synapses_that_are_in_no_network() -> None:
    for name in ("lateral_covariance", "vogels"):
        cells = told(np.zeros((5, 4)))
        lateral = nd.brian.get(name).synapses(cells, drive="g_post -= w*mV")
        lateral.connect(condition="i != j")
        network = Network(cells)
        network.run(2 * ms)
        assert lateral.report().advice[0].startswith("these synapses have never run: are they in your Network")
        network.add(lateral)
        network.run(2 * ms)
        assert not any("never run" in line for line in lateral.report().advice)


@pytest.mark.parametrize(
    ("source", "target", "condition", "own"),
    [
        (slice(0, 4), slice(0, 4), "True", 4),
        (slice(0, 4), slice(0, 4), "i != j", 0),
        (slice(0, 3), slice(1, 4), "True", 2),  # neurons 1 and 2
        (slice(0, 3), slice(1, 4), "i != j", 2),  # indices count from the start of each part
        (slice(0, 2), slice(2, 4), "True", 0),
    ],
)
def test_synapses_of_a_neuron_with_itself(
    source: slice, target: slice, condition: str, own: int, caplog: pytest.LogCaptureFixture
) -> None:
    cells = told(np.zeros((5, 4)))
    lateral = nd.brian.get().synapses(cells[source], cells[target], drive="g_post -= w*mV")
    lateral.connect(condition=condition)
    network = Network(cells, lateral)
    for _ in range(2):
        network.run(1 * ms)
    warnings = [record.getMessage() for record in caplog.records if "with itself" in record.getMessage()]
    assert len(warnings) == int(own > 0) and all(line.startswith(f"{own} of the synapses") for line in warnings)
