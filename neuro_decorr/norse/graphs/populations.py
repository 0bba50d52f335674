"""Conversion of populations of NIR, whose equations are continuous in time, to cells.

With the current i of `LIF` and the node's I = i dt w_in / tau_s, Euler steps of the node's equations,

    tau_s I' = -I + w_in S,    tau_m v' = v_leak - v + r I,

are those of `LIF` for potentials in units of the gain g = r w_in dt / tau_s: v / g, threshold / g and so on. Files that
this library writes have g = 1, with r = tau_m / dt and w_in = tau_s / tau_m, the form in which simulators with discrete
steps expect recurrent neurons.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from neuro_decorr.errors import Unsupported
from neuro_decorr.norse._parameters import ResetMethod
from neuro_decorr.norse.graphs.cells import Integrator, Positions
from neuro_decorr.norse.graphs.convention import Array, gain
from neuro_decorr.norse.integrate_and_fire import IF
from neuro_decorr.norse.lif import LIF


def spread(place: str, values: Any, shape: tuple[int, ...]) -> Array:
    """Spread the parameters of one node to one for each element of a sample.

    Args:
        place: Name of the node for messages.
        values: One number, or an array of the shape of a sample.
        shape: Shape of a sample.

    Returns:
        The parameters, of the shape of a sample.

    Raises:
        Unsupported: The parameters have another shape.
    """
    array = np.asarray(values)
    if array.size == 1:
        return np.full(shape, array.item(), np.float64)
    if array.shape != shape:
        raise Unsupported(f"{place} has parameters of shape {array.shape}, got an input of the shape {shape}.")
    return array.astype(np.float64)


def population(
    place: str, node: Any, shape: tuple[int, ...], dt: float, reset_method: ResetMethod, dtype: torch.dtype
) -> nn.Module:
    """Convert a population of NIR to a cell.

    Args:
        place: Name of the node for messages.
        node: LIF, CubaLIF, LI, CubaLI, IF or I.
        shape: Shape of one sample of its input.
        dt: Time step (s).
        reset_method: Effect of a spike.
        dtype: float32 or float64.

    Returns:
        The cell.

    Raises:
        Unsupported: A time constant is below dt, a gain is not above zero, or parameters have another shape.
    """
    given = {
        name: spread(place, getattr(node, name), shape)
        for name in ("tau", "tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset")
        if getattr(node, name, None) is not None
    }
    for name in ("tau", "tau_mem", "tau_syn"):
        if name in given and given[name].min() < dt * (1 - 1e-6):
            raise Unsupported(
                f"{place} has {name} = {given[name].min():g} s, less than the time step of {dt:g} s: Euler steps need "
                f"a dt of {given[name].min():g} s at most."
            )
    times = {"membrane_time": given.get("tau", given.get("tau_mem")), "synapse_time": given.get("tau_syn")}
    # Rounded to less than dt where the two are the same.
    times = {name: None if value is None else np.maximum(value, dt) for name, value in times.items()}
    if isinstance(node, nir.LI | nir.CubaLI | nir.I):
        named = {"leak": given.get("v_leak"), "input_gain": given.get("w_in"), **times}
        tensors: dict[str, Any] = {
            name: None if value is None else torch.from_numpy(value).to(dtype) for name, value in named.items()
        }
        return Integrator(torch.from_numpy(given["r"]).to(dtype), dt=dt, **tensors)
    of_input = _gain_of(node, given, dt)
    if not (np.isfinite(of_input).all() and (of_input > 0).all()):
        raise Unsupported(
            f"{place} multiplies its input by {of_input.min():g}, and spiking neurons need a gain above zero; put the "
            "sign into the weights before them."
        )
    # If a spike subtracts the threshold, the reset is not used.
    names = ("threshold", "leak") if reset_method == "subtract" else ("threshold", "leak", "reset")
    values: dict[str, Array | None] = {} if isinstance(node, nir.IF) else {**times}
    values |= {name: given[f"v_{name}"] / of_input for name in names if f"v_{name}" in given}
    return _cell(IF if isinstance(node, nir.IF) else LIF, values, shape, dt, reset_method, dtype)


def _gain_of(node: Any, given: dict[str, Array], dt: float) -> Array:
    """Change of the current i of `LIF` by one unit of input, without the factor dt / tau_m."""
    full = np.broadcast_to(gain(node, dt), given["r"].shape)
    if isinstance(node, nir.IF):
        return full
    return full * given["tau" if "tau" in given else "tau_mem"] / dt


def _cell(
    kind: Any, values: dict[str, Array | None], shape: tuple[int, ...], dt: float, reset_method: ResetMethod, dtype: Any
) -> nn.Module:
    """Make neurons with parameters per channel if all positions of an image have the same ones, else per element."""
    options: dict[str, Any] = {"dt": dt, "dtype": dtype, "reset_method": reset_method}
    rows = {name: None if value is None else value.reshape(shape[0], -1) for name, value in values.items()}
    alike = all(value is None or (value == value[:, :1]).all() for value in rows.values())
    if len(shape) == 1 or alike:
        each = {name: None if value is None else torch.from_numpy(value[:, 0].copy()) for name, value in rows.items()}
        return kind(shape[0], spatial=len(shape) - 1, **options, **each)  # type: ignore[no-any-return]  # of Any
    flat = {name: None if value is None else torch.from_numpy(value.ravel()) for name, value in values.items()}
    return Positions(kind(int(np.prod(shape)), **options, **flat), shape)
