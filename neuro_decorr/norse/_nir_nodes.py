"""Neurons as nodes of NIR, whose equations are continuous in time; and back.

With the synaptic current i of `LIF` and the node's I = i dt / tau_m, Euler steps of the node's equations,

    tau_s I' = -I + w_in S,    tau_m v' = v_leak - v + r I,

are the steps of the neurons for r = tau_m / dt and w_in = tau_s / tau_m: the form in which simulators with discrete
steps expect recurrent neurons.
"""

from __future__ import annotations

from typing import Any

import nir
import norse.torch
import numpy as np
import torch
from norse.torch.functional.reset import reset_value
from numpy.typing import NDArray
from torch import Tensor, nn

from neuro_decorr.errors import Unsupported
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse.lif import LIF

Array = NDArray[np.floating[Any]]


def neuron_node(place: str, cell: nn.Module, units: int) -> tuple[nir.NIRNode, float]:
    """The node of one population, with parameters a neuron, and its time step.

    Args:
        place: How messages call it.
        cell: `LIF`, `LateralLIF` without its inhibition, or one of Norse's LIFCell, LIFBoxCell, LICell, LIBoxCell.
        units: Number of neurons.

    Returns:
        The node, and dt in seconds.

    Raises:
        Unsupported: Another cell, or another reset.
    """
    if isinstance(cell, Neurons):
        potentials = array(cell.threshold), array(cell.leak), array(cell.reset)
        return _spiking(*potentials, array(cell.membrane_time), array(cell.synapse_time), cell.dt), cell.dt
    kinds = norse.torch.LIFCell, norse.torch.LIFBoxCell, norse.torch.LICell, norse.torch.LIBoxCell
    if type(cell) not in kinds:
        raise Unsupported(
            f"{place} has no form in NIR; what has one: Linear, nd.norse.Decorrelation, LIF, LateralLIF, and of Norse "
            f"{', '.join(kind.__name__ for kind in kinds)}."
        )
    p: Any = cell.p
    dt = float(cell.dt)  # type: ignore[arg-type]  # Norse carries no types

    def of_each(value: Any) -> Array:
        given = torch.as_tensor(value)
        if given.shape not in ((), (1,), (units,)):
            raise Unsupported(
                f"{place} has parameters of shape {tuple(given.shape)}, one or {units} have a form in NIR."
            )
        return array(given.expand(units))

    membrane_time = 1 / of_each(p.tau_mem_inv)
    synapse_time = 1 / of_each(p.tau_syn_inv) if hasattr(p, "tau_syn_inv") else np.full_like(membrane_time, dt)
    leak = of_each(p.v_leak)
    if isinstance(cell, norse.torch.LIFCell | norse.torch.LIFBoxCell):
        if getattr(p, "reset_method", reset_value) is not reset_value:
            raise Unsupported(f"{place} resets by another method than to a value, which has no form in NIR.")
        return _spiking(of_each(p.v_th), leak, of_each(p.v_reset), membrane_time, synapse_time, dt), dt
    if isinstance(cell, norse.torch.LIBoxCell):
        return nir.LI(tau=membrane_time, r=np.ones_like(leak), v_leak=leak), dt
    r, w_in = membrane_time / dt, synapse_time / membrane_time
    return nir.CubaLI(tau_syn=synapse_time, tau_mem=membrane_time, r=r, v_leak=leak, w_in=w_in), dt


def neurons_of(node: nir.NIRNode, dt: float) -> nn.Module:
    """The cell that a node stands for, for single steps.

    Args:
        node: LIF, CubaLIF, LI or CubaLI, as `neuron_node` makes them.
        dt: Time step, in seconds.

    Raises:
        Unsupported: A node whose inputs act with another gain.
    """
    box = isinstance(node, nir.LIF | nir.LI)
    membrane_time = node.tau if box else node.tau_mem
    gain = node.r if box else node.r * node.w_in * dt / node.tau_syn
    if not np.allclose(gain, 1):
        raise Unsupported(
            f"a {type(node).__name__} whose inputs act with a gain other than 1 has no cell here: {gain}."
        )
    if isinstance(node, nir.LI | nir.CubaLI):
        inverse, leak = torch.from_numpy(1 / membrane_time), torch.from_numpy(node.v_leak)
        cell: nn.Module
        if box:
            cell = norse.torch.LIBoxCell(norse.torch.LIBoxParameters(inverse, leak), dt=dt)
        else:
            synapse = torch.from_numpy(1 / node.tau_syn)
            cell = norse.torch.LICell(norse.torch.LIParameters(synapse, inverse, leak), dt=dt)
        return cell
    return LIF(
        len(node.v_threshold),
        threshold=torch.from_numpy(node.v_threshold),
        leak=torch.from_numpy(node.v_leak),
        reset=torch.from_numpy(node.v_reset),
        membrane_time=torch.from_numpy(membrane_time),
        synapse_time=None if box else torch.from_numpy(node.tau_syn),
        dt=dt,
        dtype=torch.float64 if node.v_threshold.dtype == np.float64 else torch.float32,
    )


def array(tensor: Tensor) -> Array:
    """A tensor as an array of its own."""
    return tensor.detach().cpu().numpy().copy()


def _spiking(
    threshold: Array, leak: Array, reset: Array, membrane_time: Array, synapse_time: Array, dt: float
) -> nir.NIRNode:
    potentials = {"v_leak": leak, "v_threshold": threshold, "v_reset": reset}
    if np.allclose(synapse_time, dt):
        return nir.LIF(tau=membrane_time, r=np.ones_like(leak), **potentials)
    r, w_in = membrane_time / dt, synapse_time / membrane_time
    return nir.CubaLIF(tau_syn=synapse_time, tau_mem=membrane_time, r=r, w_in=w_in, **potentials)
