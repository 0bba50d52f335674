"""Networks leave for neuromorphic hardware and other simulators as graphs of NIR, and come back."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from os import PathLike
from typing import Any, final

import nir
import nirtorch
import numpy as np
import torch
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse._nir_nodes import array, neuron_node, neurons_of
from neuro_decorr.norse.homeostasis import Homeostasis
from neuro_decorr.norse.lateral import LateralLIF
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.weights import computes_of_its_own, decorrelation_of, folded


def to_nir(network: nn.Module, path: str | PathLike[str] | None = None) -> nir.NIRGraph:
    r"""A frozen network as a graph of NIR, written to a file.

    $$W \leftarrow W D, \qquad b \leftarrow b - W D \mu$$

    Every decorrelation goes into the Affine of the layer behind it, in double precision; one that no layer follows
    becomes an Affine of its own. Lateral inhibition becomes a Linear in a cycle with its neurons, and their bias a part
    of the Affine before them. Parameters are one a neuron, times are in seconds. The graph computes what the network
    computes in eval mode, in Euler steps of the dt in its metadata; there too is what rule made the weights.

    Source: Pedersen et al. (2024), Neuromorphic intermediate representation, doi:10.1038/s41467-024-52259-9.

    Args:
        network: A Sequential, `norse.torch.SequentialState` above all, of Linear, `Decorrelation`, `LIF`, `LateralLIF`
            and Norse's LIFCell, LIFBoxCell, LICell and LIBoxCell, or one of these.
        path: Where the file goes, by convention `.nir`; None writes none.

    Returns:
        The graph.

    Raises:
        Unsupported: A module that has no form in NIR, or cells of different time steps; the message names it.
    """
    graph = _Chain()
    for name, module in _modules_in_order(network):
        graph.add(name, module)
    result = graph.finished()
    if path is not None:
        nir.write(path, result)
    return result


def from_nir(source: nir.NIRGraph | str | PathLike[str], dt: float | None = None) -> nn.Module:
    """A network that runs a graph, one time step at a time: `(input, state) -> (output, state)`.

    Args:
        source: The graph, or its file.
        dt: Time step in seconds; that of the graph's metadata where None.

    Returns:
        What nirtorch makes of it, with the cells of `neuro_decorr.norse` and of Norse for its neurons.

    Raises:
        InvalidValue: No time step is known.
        Unsupported: A node that has no cell here.
    """
    graph = source if isinstance(source, nir.NIRNode) else nir.read(source)
    dt = graph.metadata.get("dt") if dt is None else dt
    if dt is None:
        raise InvalidValue("the graph's metadata hold no time step: give dt, in seconds.")
    dt = float(dt)
    weights = [node.weight for node in graph.nodes.values() if hasattr(node, "weight")]
    wide = any(weight.dtype == np.float64 for weight in weights)
    neurons = dict.fromkeys((nir.LIF, nir.CubaLIF, nir.LI, nir.CubaLI), lambda node: neurons_of(node, dt))
    linears = dict.fromkeys((nir.Affine, nir.Linear), _linear_of)  # nirtorch 2.6 loses the bias of an Affine
    try:
        return nirtorch.nir_to_torch(  # type: ignore[no-any-return]  # nirtorch carries no types
            graph, neurons | linears, dtype=torch.float64 if wide else torch.float32
        )
    except ValueError as error:
        raise Unsupported(f"the graph holds a node that has no cell here: {error}") from error


@final
class _Chain:
    """A graph that grows at its end."""

    def __init__(self) -> None:
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.units: int | None = None
        self.inputs: int | None = None
        self.dt: float | None = None
        self.end = "input"
        self.pending: tuple[str, Decorrelation] | None = None

    def add(self, name: str, module: nn.Module) -> None:
        """Append a module."""
        place = f"module '{name}' ({type(module).__name__})"
        if isinstance(module, DecorrelationCell | Decorrelation):
            self._flush()
            self.pending = name, module if isinstance(module, Decorrelation) else module.decorrelation
        elif isinstance(module, nn.Linear):
            if computes_of_its_own(module):
                raise Unsupported(f"{place} has a forward of its own, of which NIR knows nothing.")
            self._add_linear(name, module)
        else:
            self._add_neurons(name, place, module)

    def finished(self) -> nir.NIRGraph:
        """The graph with its input and output."""
        self._flush()
        if self.inputs is None:
            raise Unsupported("the network holds no module that could become a node of NIR.")
        metadata: dict[str, Any] = {"made_by": f"neuro_decorr {version('neuro-decorr')}"}
        if self.dt is not None:
            metadata["dt"] = self.dt
        nodes = {
            "input": nir.Input(input_type={"input": np.array([self.inputs])}),
            **self.nodes,
            "output": nir.Output(output_type={"output": np.array([self.units])}),
        }
        return nir.NIRGraph(nodes=nodes, edges=[*self.edges, (self.end, "output")], metadata=metadata)

    def _add_linear(self, name: str, layer: nn.Linear) -> None:
        weight = layer.weight.double()
        own: Tensor | None = layer.bias
        bias = weight.new_zeros(len(weight)) if own is None else own.double()
        metadata: dict[str, Any] = {}
        if (found := decorrelation_of(layer)) is not None:
            weight, shift = folded(layer, torch.float64)
            bias, metadata = bias - shift, _of(found[0])
        if self.pending is not None:
            _, held = self.pending
            self.pending = None
            weight = held.fold_into(weight)
            bias, metadata = bias - weight @ held.subtracted().double(), _of(held)
        self._add_affine(name, weight, bias, layer.weight.dtype, metadata)

    def _add_affine(
        self, name: str, weight: Tensor, bias: Tensor, dtype: torch.dtype, metadata: dict[str, Any]
    ) -> None:
        dtype = dtype if dtype in (torch.float32, torch.float64) else torch.float32
        node = nir.Affine(weight=array(weight.to(dtype)), bias=array(bias.to(dtype)), metadata=metadata)
        self._append(f"affine_{name}", node, len(weight), weight.shape[1])

    def _add_neurons(self, name: str, place: str, cell: nn.Module) -> None:
        self._flush()
        units = cell.features if isinstance(cell, Neurons) else self.units
        if units is None:
            raise Unsupported(f"{place}: how many neurons it has is not known; put a Linear before it.")
        node, dt = neuron_node(place, cell, units)
        if self.dt not in (None, dt):
            raise Unsupported(f"{place} runs in steps of {dt:g} s and another of {self.dt:g} s: a graph has one.")
        self.dt = dt
        if not isinstance(cell, LateralLIF):
            self._append(f"neurons_{name}", node, units, units)
            return
        if isinstance(cell.homeostasis, Homeostasis):
            self._add_bias(name, cell.dt * cell.bias_average)
        node.metadata = _described("lateral_covariance", cell.rule)
        self._append(f"neurons_{name}", node, units, units)
        inhibition = f"inhibition_{name}"
        self.nodes[inhibition] = nir.Linear(weight=array(-cell.weight))
        self.edges += [(self.end, inhibition), (inhibition, self.end)]

    def _add_bias(self, name: str, current: Tensor) -> None:
        before = self.nodes.get(self.end)
        if isinstance(before, nir.Affine):
            before.bias = before.bias + array(current)
        else:
            self._add_affine(f"bias_{name}", torch.eye(len(current)).to(current), current, current.dtype, {})

    def _flush(self) -> None:
        if self.pending is not None:
            name, held = self.pending
            self.pending = None
            matrix = held.matrix.double()
            self._add_affine(name, matrix, -matrix @ held.subtracted().double(), held.mean.dtype, _of(held))

    def _append(self, name: str, node: nir.NIRNode, units: int, inputs: int) -> None:
        if self.units not in (None, inputs):
            raise Unsupported(f"node '{name}' takes {inputs} inputs, and what is before it has {self.units} outputs.")
        self.inputs = inputs if self.inputs is None else self.inputs
        self.nodes[name] = node
        self.edges.append((self.end, name))
        self.end, self.units = name, units


def _modules_in_order(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules of nested Sequentials, with names that a node can have."""
    if not isinstance(network, nn.Sequential):
        yield "0", network
        return
    for name, module in network.named_children():
        for inner, leaf in _modules_in_order(module) if isinstance(module, nn.Sequential) else [("", module)]:
            yield f"{name}_{inner}" if inner else name, leaf


def _of(held: Decorrelation) -> dict[str, Any]:
    """What is known of how a transform came about."""
    rule = held.rule
    described = {} if rule is None else _described(rule.name, rule)
    trace = {} if held.trace is None else {"trace_time": held.trace.time}
    return {"decorrelation": "folded into the weight", "structure": held.structure, **trace, **described}


def _described(name: str, rule: Any) -> dict[str, Any]:
    return {"rule": name, "rule_parameters": repr(rule)}


def _linear_of(node: nir.NIRNode) -> nn.Linear:
    outputs, inputs = node.weight.shape
    weight = torch.from_numpy(np.array(node.weight))
    linear = nn.Linear(inputs, outputs, bias=isinstance(node, nir.Affine), dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if isinstance(node, nir.Affine):
            linear.bias.copy_(torch.from_numpy(np.array(node.bias)))
    return linear.requires_grad_(False)
