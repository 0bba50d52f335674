"""Freezing, thawing, and weights as matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2 import NeuronGroup, Synapses, TimedArray, get_device, second
from brian2.devices.device import all_devices
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.brian.companions import Companions
from neuro_decorr.errors import InvalidValue, Unsupported


def _companion(synapses: Synapses) -> NeuronGroup:
    """The companion of the postsynaptic neurons; InvalidValue for synapses that have none."""
    companions = getattr(synapses, "companions", None)
    if not isinstance(companions, Companions):
        raise InvalidValue(f"these are no synapses of a rule from nd.brian.get(...): {synapses!r}.")
    return companions.target


def freeze(synapses: Synapses, *, homeostasis: bool = False) -> None:
    """Stop the plasticity of the weights: from the next run on they stay as they are.

    Args:
        synapses: From `SpikingRule.synapses`.
        homeostasis: Hold the bias too, at its running average; otherwise the homeostasis goes on.

    Raises:
        InvalidValue: Other synapses, or no homeostasis to hold.
        Unsupported: A standalone program that has run already.
    """
    _switch(synapses, learning=0.0, homeostasis=0.0 if homeostasis else None)


def thaw(synapses: Synapses) -> None:
    """Let the weights, and the homeostasis where there is one, learn again from the next run on.

    Args:
        synapses: From `SpikingRule.synapses`.

    Raises:
        InvalidValue: Other synapses.
        Unsupported: A standalone program that has run already.
    """
    group = _companion(synapses)
    _switch(synapses, learning=1.0, homeostasis=1.0 if "homeostasis" in group.variables else None)


def _switch(synapses: Synapses, learning: float, homeostasis: float | None) -> None:
    group = _companion(synapses)
    _check_not_run("freeze and thaw")
    if homeostasis is not None:
        if "homeostasis" not in group.variables:
            raise InvalidValue("these synapses have no homeostasis to hold; use freeze(synapses).")
        group.homeostasis = homeostasis
    synapses.learning = learning
    if "self_learning" in group.variables:
        group.self_learning = learning


def _target() -> str:
    """The name of the device in use, as `set_device` takes it."""
    return next((str(name) for name, device in all_devices.items() if device is get_device()), "this device")


def _check_not_run(what: str) -> None:
    """Raise Unsupported where the program has been compiled and run already: a change would reach nothing, silently."""
    if getattr(get_device(), "has_been_run", False):
        raise Unsupported(
            f"{what} cannot change a program of {_target()} that has run already. Say all before it is built: "
            f"set_device('{_target()}', build_on_run=False), every run(), then device.build(); or run it again with "
            "other values by device.run(run_args={synapses.learning: 0})."
        )


def weights_to_matrix(synapses: Synapses, variable: str = "w") -> NDArray[np.float64]:
    """The weights as a matrix, rows presynaptic and columns postsynaptic as in `synapses.w[i, j]`.

    Args:
        synapses: Any connected `brian2.Synapses`, after the run on a standalone device.
        variable: Name of the variable.

    Returns:
        Shape (source neurons, target neurons); not a number where there is no synapse.

    Raises:
        InvalidValue: No such variable.
        Unsupported: The weights are not known yet.
    """
    if variable not in synapses.variables:
        raise InvalidValue(f"the synapses have no variable {variable!r}; they have: {', '.join(synapses.variables)}.")
    matrix = np.full((len(synapses.source), len(synapses.target)), np.nan)
    try:
        matrix[np.asarray(synapses.i), np.asarray(synapses.j)] = np.asarray(getattr(synapses, f"{variable}_"))
    except NotImplementedError as error:
        raise Unsupported(f"on {_target()} the weights are known after the program has run; read them then.") from error
    return matrix


def set_weights(synapses: Synapses, matrix: ArrayLike, variable: str = "w") -> None:
    """Set the weights from a matrix, before a run, on every target.

    Args:
        synapses: Any connected `brian2.Synapses`.
        matrix: Shape (source neurons, target neurons), without units; entries without a synapse are not used, so
            that `weights_to_matrix` gives what this takes.
        variable: Name of the variable.

    Raises:
        InvalidValue: Another shape, no such variable, or (where the connections are known) an entry that is not a
            finite number at a synapse.
        Unsupported: A standalone program that has run already.
    """
    _check_not_run("set_weights")
    if variable not in synapses.variables:
        raise InvalidValue(f"the synapses have no variable {variable!r}; they have: {', '.join(synapses.variables)}.")
    values = np.asarray(matrix, dtype=float)
    shape = (len(synapses.source), len(synapses.target))
    if values.shape != shape:
        raise InvalidValue(f"the weights must have the shape (source neurons, target neurons) {shape}: {values.shape}.")
    try:
        known: Any = values[np.asarray(synapses.i), np.asarray(synapses.j)]
    except NotImplementedError:
        # Connections are made when the compiled program runs: it looks the weights up by the neurons' numbers.
        table = TimedArray(values.reshape(1, -1), dt=1 * second)
        expression = f"table(0*second, i*{shape[1]} + j)"
        getattr(synapses, variable).set_item(slice(None), expression, namespace={"table": table})
        return
    if not np.isfinite(known).all():
        raise InvalidValue("the weights must be finite numbers at every synapse; some are not.")
    setattr(synapses, variable, known)
