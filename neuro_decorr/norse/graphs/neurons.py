"""Conversion of neurons to populations of NIR; recurrent neurons get a cycle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import nir
import norse.torch
import numpy as np
import torch
from norse.torch.functional.reset import reset_subtract, reset_value
from torch import Tensor, nn

from neuro_decorr.errors import Unsupported
from neuro_decorr.libraries import is_chain
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse._parameters import ResetMethod
from neuro_decorr.norse.adaptive import AdaptiveLIF
from neuro_decorr.norse.graphs.cells import Delay, Integrator, Positions
from neuro_decorr.norse.graphs.convention import Array
from neuro_decorr.norse.graphs.layers import Shape, array, pointwise
from neuro_decorr.norse.homeostasis import Homeostasis
from neuro_decorr.norse.integrate_and_fire import IF
from neuro_decorr.norse.lateral import LateralLIF

_CURRENT = (norse.torch.LIFCell, norse.torch.LIF)
_BOX = (norse.torch.LIFBoxCell,)
_INTEGRATING = (norse.torch.LICell, norse.torch.LI)
_RECURRENT = (norse.torch.LIFRecurrentCell, norse.torch.LIFRecurrent)
_WITHOUT_LEAK = (norse.torch.IAFCell, norse.torch.IAF)
OF_NORSE = (*_CURRENT, *_BOX, *_INTEGRATING, norse.torch.LIBoxCell, *_WITHOUT_LEAK, *_RECURRENT)


@final
@dataclass
class Population:
    """Nodes of NIR for one module of neurons.

    Attributes:
        node: The population.
        dt: Time step (s).
        reset_method: Effect of a spike; None if the population does not spike.
        before: Affine node before the population; None for none.
        bias: True if the affine node is a bias, to be folded into the weights before it if possible.
        back: Weights from the population onto itself; None for none.
    """

    node: nir.NIRNode
    dt: float
    reset_method: ResetMethod | None = None
    before: nir.NIRNode | None = None
    bias: bool = False
    back: Array | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def population_of(place: str, cell: nn.Module, shape: Shape) -> Population:
    """Convert a module of neurons to a population, with parameters for each element of a sample.

    Args:
        place: Name of the module for messages.
        cell: Cell of `neuro_decorr.norse`, or one of Norse's with a form in NIR.
        shape: Shape of one sample of its input.

    Returns:
        The population.

    Raises:
        Unsupported: The module or one of its options has no form in NIR.
    """
    if isinstance(cell, Positions):
        inner = population_of(place, cell.cell, (int(np.prod(shape)),))
        reshaped = {
            name: value.reshape(shape) for name, value in vars(inner.node).items() if isinstance(value, np.ndarray)
        }
        inner.node = type(inner.node)(**reshaped, metadata=inner.node.metadata)
        return inner
    if isinstance(cell, Neurons):
        return _own(place, cell, shape)
    if isinstance(cell, Integrator):
        return Population(_integrator(cell), cell.dt)
    if isinstance(cell, Delay):
        return Population(nir.Delay(delay=array(cell.steps).astype(np.float64) * cell.dt), cell.dt)
    if type(cell) in OF_NORSE:
        return _of_norse(place, cell, shape)
    chains = [f"'{name}'" for name, child in cell.named_children() if is_chain(child)]
    raise Unsupported(
        f"{place} has no form in NIR. "
        + (
            f"Give to_nir the part that runs in time, its submodule {' or '.join(chains)}."
            if chains
            else "Modules with a form in NIR: Linear, Conv1d, Conv2d, Flatten, AvgPool2d, BatchNorm, Dropout; of "
            "nd.norse Decorrelation, LIF, IF, LateralLIF and Graph; of Norse Lift, RecurrentSequential, "
            f"{', '.join(kind.__name__ for kind in OF_NORSE)}."
        )
    )


def _own(place: str, cell: Any, shape: Shape) -> Population:
    if shape[:1] != (cell.features,):
        raise Unsupported(f"{place} has {cell.features} neurons or channels, got an input of the shape {shape}.")
    if isinstance(cell, AdaptiveLIF):
        raise Unsupported(
            f"{place} has thresholds that change with its spikes, which no node of NIR has: use LIF instead."
        )
    if np.any(array(torch.as_tensor(getattr(cell, "refractory_time", None) or 0.0)) > 0):
        raise Unsupported(f"{place} is refractory, and no node of NIR is: use refractory_time=0.")

    def each(value: Any) -> Array:
        tensor = torch.as_tensor(value).detach()
        column = tensor.reshape(-1, *[1] * (len(shape) - 1)) if tensor.dim() else tensor
        return array(column.expand(shape))

    potentials = {"v_threshold": each(cell.threshold), "v_reset": each(cell.reset)}
    if isinstance(cell, IF):
        node = nir.IF(r=np.full_like(potentials["v_threshold"], 1 / cell.dt), **potentials)
        return Population(node, cell.dt, cell.reset_method)
    node = _leaky(potentials | {"v_leak": each(cell.leak)}, each(cell.membrane_time), each(cell.synapse_time), cell.dt)
    found = Population(node, cell.dt, cell.reset_method)
    if isinstance(cell, LateralLIF):
        node.metadata = {"rule": "lateral_covariance", "rule_parameters": repr(cell.rule)}
        found.back = array(-cell.weight)
        if isinstance(cell.homeostasis, Homeostasis):
            identity, current = np.eye(len(cell.weight)), array(cell.dt * cell.bias_average).astype(np.float64)
            found.before, found.bias = pointwise(identity, current, shape, {}), True
    return found


def _of_norse(place: str, cell: Any, shape: Shape) -> Population:
    p, dt = cell.p, float(cell.dt)
    units = (int(cell.hidden_size),) if isinstance(cell, _RECURRENT) else shape

    def each(value: Any) -> Array:
        given = torch.as_tensor(value).detach()
        try:
            return array(given.expand(units))
        except RuntimeError:
            raise Unsupported(
                f"{place} has parameters of shape {tuple(given.shape)}; give one number, or one for each unit, shape "
                f"{units}."
            ) from None

    if isinstance(cell, _WITHOUT_LEAK):
        threshold, reset = each(p.v_th), each(p.v_reset)
        return Population(nir.IF(r=np.full_like(threshold, 1 / dt), v_threshold=threshold, v_reset=reset), dt, "value")
    membrane_time, leak = 1 / each(p.tau_mem_inv), each(p.v_leak)
    synapse_time = 1 / each(p.tau_syn_inv) if hasattr(p, "tau_syn_inv") else np.full_like(membrane_time, dt)
    if isinstance(cell, norse.torch.LIBoxCell):
        return Population(nir.LI(tau=membrane_time, r=np.ones_like(leak), v_leak=leak), dt)
    if isinstance(cell, _INTEGRATING):
        r, w_in = membrane_time / dt, synapse_time / membrane_time
        node = nir.CubaLI(tau_syn=synapse_time, tau_mem=membrane_time, r=r, v_leak=leak, w_in=w_in)
        return Population(node, dt)
    methods: dict[Any, ResetMethod] = {reset_value: "value", reset_subtract: "subtract"}
    method = methods.get(getattr(p, "reset_method", reset_value))
    if method is None:
        raise Unsupported(
            f"{place} has a reset that NIR does not have; use norse.torch.functional.reset.reset_value or "
            "reset_subtract."
        )
    potentials = {"v_leak": leak, "v_threshold": each(p.v_th), "v_reset": each(p.v_reset)}
    found = Population(_leaky(potentials, membrane_time, synapse_time, dt), dt, method)
    if isinstance(cell, _RECURRENT):
        weight: Tensor = cell.input_weights
        if shape != (weight.shape[1],):
            raise Unsupported(f"{place} takes {weight.shape[1]} inputs, got an input of the shape {shape}.")
        found.before = nir.Affine(array(weight.double()), np.zeros(len(weight)))
        found.back = array(cell.recurrent_weights)
    return found


def _leaky(potentials: dict[str, Array], membrane_time: Array, synapse_time: Array, dt: float) -> nir.NIRNode:
    # A synapse with the time constant dt has no effect. The tolerance is relative, as time steps may be nanoseconds.
    if np.allclose(synapse_time, dt, rtol=1e-6, atol=0):
        return nir.LIF(tau=membrane_time, r=np.ones_like(membrane_time), **potentials)
    r, w_in = membrane_time / dt, synapse_time / membrane_time
    return nir.CubaLIF(tau_syn=synapse_time, tau_mem=membrane_time, r=r, w_in=w_in, **potentials)


def _integrator(cell: Integrator) -> nir.NIRNode:
    r = array(cell.resistance)
    if not cell.leaks:
        return nir.I(r=r)
    membrane_time, leak = array(cell.membrane_time), array(cell.leak)
    if cell.synapse_time is None:
        return nir.LI(tau=membrane_time, r=r, v_leak=leak)
    assert cell.input_gain is not None  # with a synapse
    synapse_time, w_in = array(cell.synapse_time), array(cell.input_gain)
    return nir.CubaLI(tau_syn=synapse_time, tau_mem=membrane_time, r=r, v_leak=leak, w_in=w_in)
