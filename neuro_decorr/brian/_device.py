"""Devices of Brian2 that run the rules, and the reasons why others do not."""

from __future__ import annotations

from brian2 import get_device
from brian2.devices.device import all_devices

from neuro_decorr.errors import Unsupported

TESTED = ("runtime", "cpp_standalone")
_REASONS = {
    "genn": "Brian2GeNN has no linked variables, only one pathway for spikes of each side, and no subexpressions in "
    "statements of synapses; the rules need linked variables, several pathways and subexpressions",
    "cuda_standalone": "Brian2CUDA frees the neuron indices of every synapse if it finds no use of them, and it does "
    "not look for uses in linked variables, from which the rules read the traces",
}
"""State of Brian2GeNN 1.7 and of Brian2CUDA at the end of 2025, from their sources and documentation."""


def device_name() -> str:
    """Name of the device in use, as `set_device` takes it."""
    return next((str(name) for name, device in all_devices.items() if device is get_device()), "this device")


def check_device() -> None:
    """Raise Unsupported on a device on which no rule has been tested."""
    if (name := device_name()) not in TESTED:
        reason = _REASONS.get(name, "no rule has been tested on it")
        raise Unsupported(
            f"rules of nd.brian do not run on device '{name}': {reason}. Learn with set_device('cpp_standalone') or "
            f"without set_device, then set static synapses on '{name}' to nd.brian.weights_to_matrix(synapses)."
        )
