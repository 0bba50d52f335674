"""What does not compile is refused; Brian2 itself would run on without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brian2
import numpy as np
import pytest
from brian2 import Network, NeuronGroup, SpikeMonitor, ms
from brian2.codegen.runtime.numpy_rt.numpy_rt import NumpyCodeObject
from brian2.core.base import BrianObjectException

import neuro_decorr as nd
from neuro_decorr.errors import Unsupported
from tests.brian.on_target import simulate


def spikes_with_inhibition() -> Any:
    """Spikes of neurons with lateral weights that were set after a first run, by the default rule."""
    brian2.defaultclock.dt = 0.5 * ms
    cells = NeuronGroup(
        6, "dv/dt = (20*mV + gi - v)/(10*ms) : volt\ndgi/dt = -gi/(5*ms) : volt",
        threshold="v > 15*mV", reset="v = 0*mV", method="euler",
    )  # fmt: skip
    cells.v = "i*mV"
    lateral = nd.brian.get("lateral_covariance").synapses(cells, drive="gi_post -= w*mV")
    lateral.connect(condition="i != j")
    monitor = SpikeMonitor(cells)
    network = Network(cells, lateral, monitor)
    network.run(20 * ms)
    lateral.w = "0.5*(i + 1)/6"
    network.run(80 * ms)
    return lambda: {"times": np.asarray(monitor.t_), "neurons": np.asarray(monitor.i)}


def test_code_that_is_left_out_is_refused(brian_on_numpy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = NumpyCodeObject.compile_block

    def fails(self: Any, block: str) -> Any:
        return None if "_pre" in self.name and block == "run" else compiled(self, block)

    monkeypatch.setattr(NumpyCodeObject, "compile_block", fails)
    with pytest.raises(BrianObjectException) as caught:  # Brian2 wraps it, and names the user's line
        spikes_with_inhibition()
    assert isinstance(caught.value.__cause__, Unsupported) and "could not compile" in str(caught.value.__cause__)


@pytest.mark.slow
@pytest.mark.standalone
def test_the_default_rule_inhibits_on_cython_as_on_numpy(brian_on_numpy: None, tmp_path: Path) -> None:
    expected = spikes_with_inhibition()()
    found = simulate("tests.brian.test_compiled:spikes_with_inhibition", "cython", tmp_path)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-12)
