"""Graphs of NIR by plain Euler steps in numpy and double precision, one sample at a time, from the equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Step = Callable[[Array], Array]


def convolution(node: Any, x: Array) -> Array:
    """By a loop over the positions of the output."""
    spatial = x.ndim - 1
    padding, stride, dilation = (
        np.broadcast_to(0 if one == "valid" else one, spatial) for one in (node.padding, node.stride, node.dilation)
    )
    kernel = np.array(node.weight.shape[2:])
    x = np.pad(x, [(0, 0), *[(int(p), int(p)) for p in padding]])
    size = (np.array(x.shape[1:]) - dilation * (kernel - 1) - 1) // stride + 1
    per_group = len(node.weight) // node.groups
    inputs = node.weight.shape[1]
    y = np.zeros((len(node.weight), *size))
    for channel in range(len(node.weight)):
        group = channel // per_group
        seen = x[group * inputs : (group + 1) * inputs]
        for position in np.ndindex(*size):
            window = tuple(
                slice(p * s, p * s + d * (k - 1) + 1, d)
                for p, s, d, k in zip(position, stride, dilation, kernel, strict=True)
            )
            y[(channel, *position)] = (seen[(slice(None), *window)] * node.weight[channel]).sum() + node.bias[channel]
    return y


def pool(node: Any, x: Array, mean: bool) -> Array:
    kernel, stride, padding = (np.broadcast_to(one, 2) for one in (node.kernel_size, node.stride, node.padding))
    x = np.pad(x, [(0, 0), *[(int(p), int(p)) for p in padding]])
    size = (np.array(x.shape[1:]) - kernel) // stride + 1
    y = np.zeros((len(x), *size))
    for i, j in np.ndindex(*size):
        window = x[:, i * stride[0] : i * stride[0] + kernel[0], j * stride[1] : j * stride[1] + kernel[1]]
        y[:, i, j] = window.sum(axis=(1, 2)) / (kernel.prod() if mean else 1)
    return y


def population(node: Any, dt: float, subtract: bool = False) -> Step:
    """I' = (w S - I) / tau_syn, v' = (v_leak - v + r I) / tau, spikes above the threshold."""
    zero = np.zeros(np.shape(node.r))
    start = node.v_reset if isinstance(node, nir.IF) and not subtract else zero
    leak = getattr(node, "v_leak", zero)
    state = {"v": leak + start, "i": zero.copy()}
    tau = getattr(node, "tau", getattr(node, "tau_mem", None))

    def step(x: Array) -> Array:
        if hasattr(node, "tau_syn"):
            state["i"] = state["i"] + dt * (node.w_in * x - state["i"]) / node.tau_syn
        else:
            state["i"] = x
        if tau is None:
            state["v"] = state["v"] + dt * node.r * state["i"]
        else:
            state["v"] = state["v"] + dt * (leak - state["v"] + node.r * state["i"]) / tau
        if not hasattr(node, "v_threshold"):
            return state["v"]
        z = (state["v"] > node.v_threshold).astype(float)
        state["v"] = np.where(z > 0, state["v"] - node.v_threshold if subtract else node.v_reset, state["v"])
        return z

    return step


def delayed(node: nir.Delay, dt: float) -> Step:
    past: list[Array] = []
    steps = np.rint(node.delay / dt).astype(int)

    def step(x: Array) -> Array:
        past.append(x)
        known = [np.zeros_like(x)] * (steps.max() + 1) + past
        return np.array([known[-1 - k][index] for index, k in np.ndenumerate(steps)]).reshape(x.shape)

    return step


def stepper(node: Any, dt: float, subtract: bool = False) -> Step:
    """What one node makes of the input of one time step, with its state inside."""
    if isinstance(node, nir.LIF | nir.LI | nir.IF | nir.I | nir.CubaLIF | nir.CubaLI):
        return population(node, dt, subtract)
    if isinstance(node, nir.Delay):
        return delayed(node, dt)
    stateless: dict[type, Step] = {
        nir.Affine: lambda x: node.weight @ x + node.bias,
        nir.Linear: lambda x: node.weight @ x,
        nir.Scale: lambda x: node.scale * x,
        nir.Threshold: lambda x: (x > node.threshold).astype(float),
        nir.Conv1d: lambda x: convolution(node, x),
        nir.Conv2d: lambda x: convolution(node, x),
        nir.SumPool2d: lambda x: pool(node, x, mean=False),
        nir.AvgPool2d: lambda x: pool(node, x, mean=True),
        nir.Flatten: lambda x: x.reshape(tuple(np.atleast_1d(node.output_type["output"]))),
        nir.Input: lambda x: x,
        nir.Output: lambda x: x,
    }
    return stateless[type(node)]


def run(nodes: list[Any], inputs: Array, dt: float, subtract: bool = False) -> Array:
    """A chain of nodes on a sequence (steps, *shape)."""
    steps = [stepper(node, dt, subtract) for node in nodes]
    outputs = []
    for x in inputs:
        for step in steps:
            x = step(x)  # noqa: PLW2901  # from node to node
        outputs.append(x)
    return np.array(outputs)


def run_recurrent(before: Any, node: Any, back: Any, after: list[Any], inputs: Array, dt: float, lag: int = 1) -> Array:
    """A population that its own spikes of `lag` steps before reach through `back`."""
    first, cell, loop = (stepper(one, dt) for one in (before, node, back))
    rest = [stepper(one, dt) for one in after]
    spikes = [np.zeros(np.shape(node.r))] * lag
    outputs = []
    for x in inputs:
        z = cell(first(x) + loop(spikes[-lag]))
        spikes.append(z)
        for step in rest:
            z = step(z)
        outputs.append(z)
    return np.array(outputs)
