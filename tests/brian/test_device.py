"""Devices of other packages, which cannot be installed everywhere: refused by name before anything is made."""

from __future__ import annotations

from collections.abc import Iterator

import brian2
import pytest
from brian2 import NeuronGroup, ms
from brian2.devices import reset_device
from brian2.devices.device import RuntimeDevice, all_devices

import neuro_decorr as nd
from neuro_decorr.errors import Unsupported


class Other(RuntimeDevice):
    """A device that is none of Brian2's own."""


@pytest.fixture(params=["genn", "cuda_standalone", "loihi"])
def device(request: pytest.FixtureRequest, brian_on_numpy: None) -> Iterator[str]:
    name: str = request.param
    all_devices[name] = Other()
    brian2.set_device(name)
    yield name
    reset_device()
    del all_devices[name]


REASONS = {"genn": "no linked variables", "cuda_standalone": "frees the neuron", "loihi": "no rule has been tested"}


def test_a_device_that_was_never_tested_is_refused(device: str) -> None:
    group = NeuronGroup(3, "dg/dt = -g/(5*ms) : 1\noutput : 1", threshold="rand() < 0.1", namespace={"ms": ms})
    message = f"device '{device}': .*{REASONS[device]}.*cpp_standalone.*weights_to_matrix"
    for name in ("lateral_covariance", "feedback_inhibition"):
        with pytest.raises(Unsupported, match=message):
            nd.brian.get(name).synapses(group, drive="g_post -= w")
    with pytest.raises(Unsupported, match=message):
        nd.brian.get("lateral").synapses(group, output="output", inhibition="g", inputs="g")
