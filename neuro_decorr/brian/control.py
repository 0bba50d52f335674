"""Control of synapses: freeze and thaw their plasticity, read and set their weights as matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from brian2 import NeuronGroup, Synapses, TimedArray, get_device, second
from numpy.typing import ArrayLike, NDArray

from neuro_decorr.brian._checks import whole_group
from neuro_decorr.brian._companion import set_values
from neuro_decorr.brian._device import device_name
from neuro_decorr.brian._synapses import LateralSynapses
from neuro_decorr.brian.companions import Companions
from neuro_decorr.errors import InvalidValue, Unsupported

_OF_NEURONS = {"_presynaptic_idx", "_postsynaptic_idx"}
"""Indices of Brian2 for variables of the neurons that it lets synapses see."""


def _companion(synapses: Synapses) -> NeuronGroup:
    """Companion of the postsynaptic neurons; raises InvalidValue for synapses without one."""
    companions = getattr(synapses, "companions", None)
    if not isinstance(companions, Companions):
        raise InvalidValue(f"synapses must come from nd.brian.get(...).synapses(...), got {synapses!r}.")
    return companions.target


def freeze(synapses: Synapses, *, homeostasis: bool = False) -> None:
    """Stop the plasticity of the weights: from the next run on they keep their values, even outside the bounds.

    Args:
        synapses: Synapses from `SpikingRule.synapses` or `RateRule.synapses`.
        homeostasis: True also holds the bias, at its running average; False lets the homeostasis go on.

    Raises:
        InvalidValue: These are other synapses, or they have no homeostasis to hold.
        Unsupported: The standalone program has run already.
    """
    if homeostasis and "held" not in _companion(synapses).variables:
        raise InvalidValue("these synapses have no homeostasis to hold; use freeze(synapses).")
    _switch(synapses, 1.0, **({"held": 1.0} if homeostasis else {}))


def thaw(synapses: Synapses) -> None:
    """Let the weights and the homeostasis learn again from the next run on.

    After the end of a schedule they learn at the rule's full rate, until they are frozen.

    Args:
        synapses: Synapses from `SpikingRule.synapses` or `RateRule.synapses`.

    Raises:
        InvalidValue: These are other synapses.
        Unsupported: The standalone program has run already.
    """
    _switch(synapses, 0.0, held=0.0, thawed=1.0)


def _switch(synapses: Synapses, frozen: float, **others: float) -> None:
    """Set switches, which are separate from the user's parameters: in a program they would overwrite `run_args`.

    Args:
        synapses: Synapses of a rule.
        frozen: 1 or 0; a variable of the companion, or for rates of the synapses.
        **others: Values of other variables, which are set if the companion has them.
    """
    group = _companion(synapses)
    _check_not_run("freeze and thaw")
    set_values(group if "frozen" in group.variables else synapses, {"frozen": frozen})
    set_values(group, {name: value for name, value in others.items() if name in group.variables})


def _check_not_run(what: str) -> None:
    """Raise Unsupported if the compiled program has run already: a change would have no effect."""
    if getattr(get_device(), "has_been_run", False):
        name = device_name()
        raise Unsupported(
            f"{what} cannot change a program of {name} that has run already. Call it before the program is built: "
            f"set_device('{name}', build_on_run=False), every run(), then device.build(); or run the program again "
            "with other values by device.run(run_args={synapses.learning: 0})."
        )


def _weight(synapses: Synapses) -> str:
    """Name of the weight of synapses of a rule; `w` for others."""
    return synapses._weight if isinstance(synapses, LateralSynapses) else "w"


def _variable(synapses: Synapses, name: str | None) -> str:
    """Name of a variable of the synapses, by default their weight.

    Brian2 gives synapses the variables of their neurons too, as `w_post` and, if they have none of this name, as `w`.

    Raises:
        InvalidValue: There is no such variable, or it is one of the neurons.
    """
    asked = _weight(synapses) if name is None else name
    neurons = {whole_group(group).name for group in (synapses.source, synapses.target)}
    own = [
        known
        for known, variable in synapses.variables.items()
        if synapses.variables.indices[known] not in _OF_NEURONS and getattr(variable.owner, "name", "") not in neurons
    ]
    if asked in own:
        return asked
    what = f"variable {asked!r}" + (" (the default)" if name is None else "")
    known = ", ".join(sorted(known for known in own if not known.startswith("_")))
    if asked in synapses.variables:
        raise InvalidValue(f"{what} belongs to the neurons, not to the synapses; choose one of the synapses: {known}.")
    raise InvalidValue(f"the synapses have no {what}; choose one of the synapses: {known}.")


def _pairs(synapses: Synapses) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Neuron indices of every synapse; raises InvalidValue if two synapses connect the same pair."""
    pre, post = np.asarray(synapses.i), np.asarray(synapses.j)
    numbers, counts = np.unique(pre.astype(np.int64) * len(synapses.target) + post, return_counts=True)
    if (counts > 1).any():
        i, j = divmod(int(numbers[counts.argmax()]), len(synapses.target))
        raise InvalidValue(
            f"{counts.max()} synapses go from neuron {i} to neuron {j}, and a matrix holds one number per pair; "
            f"read and set the weights by synapse instead, such as synapses.{_weight(synapses)}[:]."
        )
    return pre, post


def weights_to_matrix(synapses: Synapses, variable: str | None = None) -> NDArray[np.float64]:
    """Read the weights as a matrix, with presynaptic rows and postsynaptic columns as in `synapses.w[i, j]`.

    Cost: memory of one float64 per pair of neurons.

    Args:
        synapses: Any connected `brian2.Synapses`; on a standalone device after the run.
        variable: Name of a variable of the synapses; None: the weight of the rule that made them, by the name that it
            has there, and `w` for other synapses.

    Returns:
        Weights without units, shape (source neurons, target neurons); NaN for pairs without a synapse.

    Raises:
        InvalidValue: The synapses have no such variable of their own, or several synapses connect one pair.
        Unsupported: The standalone program has not run yet.
    """
    name = _variable(synapses, variable)
    matrix = np.full((len(synapses.source), len(synapses.target)), np.nan)
    try:
        matrix[_pairs(synapses)] = np.asarray(getattr(synapses, f"{name}_"))
    except NotImplementedError as error:
        message = f"on {device_name()} the weights are known only after the program has run; read them then."
        raise Unsupported(message) from error
    return matrix


def set_weights(synapses: Synapses, matrix: ArrayLike, variable: str | None = None) -> None:
    """Set the weights from a matrix, before a run, on every target.

    Args:
        synapses: Any connected `brian2.Synapses`.
        matrix: Weights, shape (source neurons, target neurons), without units, such as `weights_to_matrix` returns;
            entries of pairs without a synapse are not used. Values outside the rule's bounds stay while frozen;
            learning brings them back into the bounds.
        variable: Name of a variable of the synapses; None: the weight of the rule that made them, by the name that it
            has there, and `w` for other synapses.

    Raises:
        InvalidValue: The shape is another, the synapses have no such variable of their own, or (if the connections are
            known) an entry at a synapse is not finite or several synapses connect one pair.
        Unsupported: The standalone program has run already.
    """
    _check_not_run("set_weights")
    name = _variable(synapses, variable)
    values = np.asarray(matrix, dtype=float)
    shape = (len(synapses.source), len(synapses.target))
    if values.shape != shape:
        raise InvalidValue(
            f"the weights must have the shape (source neurons, target neurons) {shape}, got {values.shape}."
        )
    try:
        known: Any = values[_pairs(synapses)]
    except NotImplementedError:
        # The compiled program makes the connections when it runs: it looks the weights up by the neurons' indices.
        table = TimedArray(values.reshape(1, -1), dt=1 * second)
        expression = f"table(0*second, i*{shape[1]} + j)"
        getattr(synapses, f"{name}_").set_item(slice(None), expression, namespace={"table": table})
        return
    if not np.isfinite(known).all():
        raise InvalidValue(
            f"the weights must be finite numbers at every synapse, got {int((~np.isfinite(known)).sum())} NaN or "
            "infinite ones."
        )
    setattr(synapses, f"{name}_", known)
