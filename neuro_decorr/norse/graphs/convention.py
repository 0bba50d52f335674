r"""Conventions of files: the change of potential by one unit of input.

In the equations of NIR the input is a current: in one Euler step it changes the potential by (dt / tau) r I. Many
simulators have increments only, and add the input to the potential unchanged. The change by one unit of input is the
gain,

    LIF, LI: r dt / tau;    CubaLIF, CubaLI: (r dt / tau_mem) (w_in dt / tau_syn);    IF, I: r dt.

The gain is one if the weights contain it already, as r = tau / dt and w_in = tau_syn / dt state.

Some simulators decay by exp(-dt / tau) in a step, whereas an Euler step leaves 1 - dt / tau; the two are equal for
different tau.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import nir
import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, Unsupported

Array: TypeAlias = NDArray[np.floating[Any]]

Convention: TypeAlias = Literal["current", "increment", "exponential"]
"""Convention of a file. `current`: the weights give currents, as in the equations of NIR. `increment`: the weights
contain dt / tau. `exponential`: the weights contain dt / tau, and potentials and currents decay by exp(-dt / tau), the
current before it acts."""

POPULATIONS = nir.LIF | nir.LI | nir.IF | nir.I | nir.CubaLIF | nir.CubaLI


def gain(node: nir.NIRNode, dt: float) -> Array:
    """Change of the potential by one unit of input in the same time step.

    Args:
        node: A population.
        dt: Time step (s).

    Returns:
        The gain, of the shape of the parameters.
    """
    of_input, r = _gains(node, dt)
    found: Array = (1.0 if of_input is None else node.w_in / of_input) * node.r / r
    return found


def as_increments(node: nir.NIRNode, dt: float, place: str) -> None:
    """Set the gain of a population to one, since the weights before it contain dt / tau.

    Args:
        node: A population, changed in place.
        dt: Time step (s).
        place: Name of the node for messages.

    Raises:
        InvalidValue: r or w_in is neither 1 nor the value of a gain of one.
    """
    of_input, r = _gains(node, dt)
    wanted = {"r": r} if of_input is None else {"r": r, "w_in": of_input}
    for name, value in wanted.items():
        given = getattr(node, name)
        if not (np.allclose(given, 1, rtol=1e-5, atol=0) or np.allclose(given, value, rtol=1e-5, atol=0)):
            raise InvalidValue(
                f"{place} has {name} = {np.unique(given)[:3]}: if the weights contain dt / tau, it must be 1 or "
                f'{np.unique(value)[:3]}. Read this file with convention="current", or with another dt.'
            )
        setattr(node, name, np.broadcast_to(value, np.shape(given)).astype(np.result_type(given, np.float32)))


def as_euler_steps(node: nir.NIRNode, dt: float) -> None:
    """Convert a population that decays exponentially to the time constants and gains of equivalent Euler steps.

    Args:
        node: A population that was read, changed in place.
        dt: Time step (s).
    """
    left = {name: np.exp(-dt / getattr(node, name).astype(np.float64)) for name in _times(node)}
    for name, share in left.items():
        setattr(node, name, dt / (1 - share))
    of_input, r = _gains(node, dt)
    node.r = np.broadcast_to(r, np.shape(node.r))
    if of_input is not None:
        node.w_in = of_input * left["tau_syn"]


def with_decays(graph: nir.NIRGraph, dt: float) -> None:
    """Convert every population of a graph with increments to exponential decay, in place; the spikes are the same.

    The share of a current that remains after a step goes into the weights. r = tau / dt - 1, from which Rockpool
    derives dt.

    Args:
        graph: Graph without inner graphs.
        dt: Time step (s).

    Raises:
        Unsupported: A time constant is one step, after which no exponential decay is zero.
    """
    for name, node in list(graph.nodes.items()):
        times = _times(node)
        if not times:
            continue
        left = {time: 1 - dt / getattr(node, time).astype(np.float64) for time in times}
        if any((share <= 1e-6).any() for share in left.values()):
            raise Unsupported(
                f"node '{name}' ({type(node).__name__}) has a time constant of one time step, which leaves zero after "
                'a step, and no exponential decay does. Use convention="increment".'
            )
        for time, share in left.items():
            setattr(node, time, (-dt / np.log(share)).astype(node.r.dtype))
        node.r = getattr(node, times[0]) / node.r.dtype.type(dt) - 1
        if "tau_syn" in left:
            node.w_in = np.ones_like(node.w_in)
            _multiply_inputs(graph, name, 1 / left["tau_syn"])


def with_increments(graph: nir.NIRGraph, dt: float) -> None:
    """Move the gain of every population into the weights before it, in place; the spikes are the same.

    The gain multiplies the rows of an Affine, a Linear or a convolution that leads to the population alone; otherwise a
    Scale is inserted.

    Args:
        graph: Graph without inner graphs.
        dt: Time step (s).
    """
    for name, node in list(graph.nodes.items()):
        if not isinstance(node, POPULATIONS):
            continue
        factor = gain(node, dt)
        of_input, r = _gains(node, dt)
        kind = node.r.dtype
        node.r = np.broadcast_to(r, node.r.shape).astype(kind)
        if of_input is not None:
            node.w_in = np.broadcast_to(of_input, node.w_in.shape).astype(kind)
        _multiply_inputs(graph, name, factor)


def _multiply_inputs(graph: nir.NIRGraph, name: str, factor: Array) -> None:
    """Multiply the inputs of a node, in the weights before it or in an inserted Scale."""
    if np.allclose(factor, 1, rtol=1e-9, atol=0):
        return
    for source in [one for one, target in graph.edges if target == name]:
        if not (_leads_here_alone(graph, source) and _scale_rows(graph.nodes[source], factor)):
            between = f"{name}_gain_{source}"
            graph.nodes[between] = nir.Scale(scale=factor.astype(graph.nodes[name].r.dtype))
            graph.edges[graph.edges.index((source, name))] = (source, between)
            graph.edges.append((between, name))


def _times(node: nir.NIRNode) -> list[str]:
    """Names of the time constants of a population, the membrane first."""
    return [name for name in ("tau", "tau_mem", "tau_syn") if isinstance(node, POPULATIONS) and hasattr(node, name)]


def _gains(node: nir.NIRNode, dt: float) -> tuple[Array | None, Array]:
    """Values of w_in (None without a synapse) and r of a gain of one."""
    if isinstance(node, nir.IF | nir.I):
        return None, np.full(np.shape(node.r), 1 / dt)
    if isinstance(node, nir.LIF | nir.LI):
        return None, node.tau.astype(np.float64) / dt
    return node.tau_syn.astype(np.float64) / dt, node.tau_mem.astype(np.float64) / dt


def _leads_here_alone(graph: nir.NIRGraph, source: str) -> bool:
    return bool(sum(one == source for one, _ in graph.edges) == 1)


def _scale_rows(node: nir.NIRNode, factor: Array) -> bool:
    """Multiply the output of a node in its weights; returns False if that is not possible."""
    if not isinstance(node, nir.Affine | nir.Linear | nir.Conv1d | nir.Conv2d):
        return False
    rows = factor.reshape(len(factor), -1)
    if len(rows) != len(node.weight) or not np.all(rows == rows[:, :1]):
        return False
    each = rows[:, 0]
    node.weight = (node.weight * each.reshape(-1, *[1] * (node.weight.ndim - 1))).astype(node.weight.dtype)
    if not isinstance(node, nir.Linear):
        node.bias = (node.bias * each).astype(node.bias.dtype)
    return True
