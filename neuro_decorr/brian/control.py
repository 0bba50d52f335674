"""Freezing, thawing, and weights as matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2 import NeuronGroup, Synapses, TimedArray, get_device, second
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.brian._companion import set_values
from neuro_decorr.brian._device import device_name
from neuro_decorr.brian.companions import Companions
from neuro_decorr.errors import InvalidValue, Unsupported


def _companion(synapses: Synapses) -> NeuronGroup:
    """The companion of the postsynaptic neurons; InvalidValue for synapses that have none."""
    companions = getattr(synapses, "companions", None)
    if not isinstance(companions, Companions):
        raise InvalidValue(f"these are no synapses of a rule from nd.brian.get(...): {synapses!r}.")
    return companions.target


def freeze(synapses: Synapses, *, homeostasis: bool = False) -> None:
    """Stop the plasticity of the weights: from the next run on they stay as they are, outside of the bounds too.

    Args:
        synapses: From `SpikingRule.synapses`.
        homeostasis: Hold the bias too, at its running average; otherwise the homeostasis goes on.

    Raises:
        InvalidValue: Other synapses, or no homeostasis to hold.
        Unsupported: A standalone program that has run already.
    """
    if homeostasis and "held" not in _companion(synapses).variables:
        raise InvalidValue("these synapses have no homeostasis to hold; use freeze(synapses).")
    _switch(synapses, 1.0, **({"held": 1.0} if homeostasis else {}))


def thaw(synapses: Synapses) -> None:
    """Let the weights, and the homeostasis where there is one, learn again from the next run on.

    After the end of a schedule they learn at the rule's full rate, until they are frozen.

    Args:
        synapses: From `SpikingRule.synapses`.

    Raises:
        InvalidValue: Other synapses.
        Unsupported: A standalone program that has run already.
    """
    _switch(synapses, 0.0, held=0.0, thawed=1.0)


def _switch(synapses: Synapses, frozen: float, **others: float) -> None:
    """Set switches that are no parameters of the user's: a value of `run_args` would be overwritten in a program.

    Args:
        synapses: From `SpikingRule.synapses`.
        frozen: 1 or 0, of the companion, or of the synapses themselves where the rule is one for rates.
        **others: Of the companion, where it has them.
    """
    group = _companion(synapses)
    _check_not_run("freeze and thaw")
    set_values(group if "frozen" in group.variables else synapses, {"frozen": frozen})
    set_values(group, {name: value for name, value in others.items() if name in group.variables})


def _check_not_run(what: str) -> None:
    """Raise Unsupported where the program has been compiled and run already: a change would reach nothing, silently."""
    if getattr(get_device(), "has_been_run", False):
        name = device_name()
        raise Unsupported(
            f"{what} cannot change a program of {name} that has run already. Say all before it is built: "
            f"set_device('{name}', build_on_run=False), every run(), then device.build(); or run it again with "
            "other values by device.run(run_args={synapses.learning: 0})."
        )


def _pairs(synapses: Synapses) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The neurons of every synapse; InvalidValue where two synapses have the same."""
    pre, post = np.asarray(synapses.i), np.asarray(synapses.j)
    numbers, counts = np.unique(pre.astype(np.int64) * len(synapses.target) + post, return_counts=True)
    if (counts > 1).any():
        i, j = divmod(int(numbers[counts.argmax()]), len(synapses.target))
        raise InvalidValue(
            f"{counts.max()} synapses go from neuron {i} to neuron {j}, and a matrix holds one number a pair; "
            "read and set them one by one, such as synapses.w[:]."
        )
    return pre, post


def weights_to_matrix(synapses: Synapses, variable: str = "w") -> NDArray[np.float64]:
    """The weights as a matrix, rows presynaptic and columns postsynaptic as in `synapses.w[i, j]`.

    Args:
        synapses: Any connected `brian2.Synapses`, after the run on a standalone device.
        variable: Name of the variable.

    Returns:
        Shape (source neurons, target neurons); not a number where there is no synapse.

    Raises:
        InvalidValue: No such variable, or several synapses of a pair, which one number cannot hold.
        Unsupported: The weights are not known yet.
    """
    if variable not in synapses.variables:
        raise InvalidValue(f"the synapses have no variable {variable!r}; they have: {', '.join(synapses.variables)}.")
    matrix = np.full((len(synapses.source), len(synapses.target)), np.nan)
    try:
        matrix[_pairs(synapses)] = np.asarray(getattr(synapses, f"{variable}_"))
    except NotImplementedError as error:
        message = f"on {device_name()} the weights are known after the program has run; read them then."
        raise Unsupported(message) from error
    return matrix


def set_weights(synapses: Synapses, matrix: ArrayLike, variable: str = "w") -> None:
    """Set the weights from a matrix, before a run, on every target.

    Args:
        synapses: Any connected `brian2.Synapses`.
        matrix: Shape (source neurons, target neurons), without units; entries without a synapse are not used, so
            that `weights_to_matrix` gives what this takes. Values outside of the rule's bounds stay while frozen;
            learning brings them back.
        variable: Name of the variable.

    Raises:
        InvalidValue: Another shape, no such variable, or (where the connections are known) an entry that is not a
            finite number at a synapse or several synapses of a pair.
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
        known: Any = values[_pairs(synapses)]
    except NotImplementedError:
        # Connections are made when the compiled program runs: it looks the weights up by the neurons' numbers.
        table = TimedArray(values.reshape(1, -1), dt=1 * second)
        expression = f"table(0*second, i*{shape[1]} + j)"
        getattr(synapses, variable).set_item(slice(None), expression, namespace={"table": table})
        return
    if not np.isfinite(known).all():
        raise InvalidValue("the weights must be finite numbers at every synapse; some are not.")
    setattr(synapses, variable, known)
