"""Writing of networks as graphs of NIR."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, final, get_args

import nir
import numpy as np
from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, Unsupported, shown
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse._parameters import ResetMethod
from neuro_decorr.norse.graphs.cells import sample_shape
from neuro_decorr.norse.graphs.convention import Convention, with_decays, with_increments
from neuro_decorr.norse.graphs.diagram import Diagram, diagram_of
from neuro_decorr.norse.graphs.files import name_of
from neuro_decorr.norse.graphs.folding import Into, fold_nodes
from neuro_decorr.norse.graphs.graph import Graph
from neuro_decorr.norse.graphs.layers import NEED_A_SHAPE, Shape, layer_node, transform_node
from neuro_decorr.norse.graphs.neurons import OF_NORSE, Population, population_of
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.copying import check_model
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.weights import decorrelation_of

_OF_WEIGHTS = (BasePruningMethod, WeightNorm, SpectralNorm)
"""Hooks that compute a weight before every pass; the computed weight is written."""


def to_nir(
    network: nn.Module,
    path: str | PathLike[str] | None = None,
    *,
    convention: Convention = "current",
    reset_method: ResetMethod = "value",
    input_shape: Sequence[int] | None = None,
) -> nir.NIRGraph:
    r"""Convert a network to a graph of NIR with fixed weights, and write it to a file.

    $$W \leftarrow W D, \qquad b \leftarrow b - W D \mu$$

    A decorrelation is folded into the weights of the layer after it, in double precision; without a layer after it, it
    becomes a separate node. Batch normalisation, with its running statistics, is folded into the layer before it;
    dropout is removed. Lateral inhibition and recurrent weights become a Linear in a cycle with the neurons, and a bias
    of neurons becomes a part of the layer before them. Grouped convolutions become full ones with zeros. Parameters are
    given per neuron, times in seconds. The graph computes the same as the network in eval mode, in Euler steps of the
    dt in its metadata; the metadata also name the rule that made the weights.

    Cost: one copy of the weights; no pass through the network.

    Source: Pedersen et al. (2024), Neuromorphic intermediate representation: a unified instruction set for
    interoperable brain-inspired computing, doi:10.1038/s41467-024-52259-9.

    Args:
        network: A Sequential, of torch or Norse, a `Graph`, or one module: Linear, Conv1d, Conv2d, Flatten, AvgPool2d,
            BatchNorm, Dropout, the cells of `neuro_decorr.norse`, and Norse's LIF, LIFBox, LI, LIBox, IAF and
            LIFRecurrent, as cells and, where it has them, for sequences.
        path: Path of the file, by convention `.nir`; None writes no file.
        convention: Convention of the weights. `current`: they give currents and are not changed. `increment`: they
            contain the dt / tau of the neurons, for readers that add inputs to the potential, such as SpikingJelly.
            `exponential`: as `increment`, for readers whose populations decay by exp(-dt / tau), such as Rockpool, on
            the way to the chip Xylo.
        reset_method: Effect of a spike in the reader of the file, which must be that of the network. NIR resets to a
            value; for a reader that subtracts the threshold, such as sinabs and Rockpool, give `subtract`.
        input_shape: Shape of one sample, such as (2, 34, 34); None: that of the first module, a Linear or neurons.

    Returns:
        The graph.

    Raises:
        InvalidValue: The folder or an option does not exist, a weight is not finite, or a time constant was learnt
            below dt.
        Unsupported: A module has no form in NIR, a module has a forward hook, cells have different time steps, the
            reset is not that of the reader, or a time constant is one step with `exponential`; the message names it.
    """
    check_model("to_nir", network)
    checks.refuse(
        "to_nir",
        checks.word("convention", convention, get_args(Convention)),
        checks.word("reset_method", reset_method, get_args(ResetMethod)),
    )
    if not isinstance(path, str | PathLike | None):
        raise InvalidValue(f"to_nir: path must be a str, a Path or None, got {shown(path)}.")
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise InvalidValue(f"to_nir: there is no folder '{Path(path).absolute().parent}'; make it first.")
    if path is not None and Path(path).is_dir():
        raise InvalidValue(f"to_nir: '{path}' is a folder; name a file in it.")
    for name, module in network.named_modules():
        if any(map(_computes, (*module._forward_hooks.values(), *module._forward_pre_hooks.values()))):
            raise Unsupported(
                f"module '{name}' ({type(module).__name__}) has a forward hook, for which NIR has no node: remove the "
                "hook before you write."
            )
    diagram = diagram_of(network)
    shape = sample_shape("to_nir", input_shape) if input_shape is not None else _first_shape(network, diagram)
    writer = _Writer(reset_method)
    writer.add_all(diagram, shape)
    graph = writer.finished(shape, convention)
    if isinstance(network, Graph):  # keep the metadata of the file that it was read from
        for name, known in network.metadata.get("nodes", {}).items():
            if name in graph.nodes:
                graph.nodes[name].metadata = known | graph.nodes[name].metadata
    if path is not None:
        nir.write(path, graph)
    return graph


@final
class _Writer:
    """Nodes and edges that were added so far."""

    def __init__(self, reset_method: ResetMethod) -> None:
        self.reset_method = reset_method
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.foldable: dict[str, Into] = {}
        self.types: dict[str, Any] = {}
        self.dt: float | None = None
        self.dt_of = ""

    def add_all(self, diagram: Diagram, shape: Shape) -> None:
        """Add every module of a diagram, in an order in which the shape of its input is known."""
        shapes, ends, entries = {"input": shape}, {"input": "input"}, dict[str, str]()
        while len(entries) < len(diagram.modules):
            reached = [one for source, one in diagram.edges if source in shapes and one not in (*shapes, "output")]
            if not reached:
                raise Unsupported(
                    f"the input does not reach modules {sorted(diagram.modules.keys() - entries.keys())}: add edges, "
                    "or remove the modules."
                )
            name = reached[0]
            before = next(shapes[source] for source, target in diagram.edges if target == name and source in shapes)
            entries[name], ends[name], shapes[name] = self._add(
                name, diagram.modules[name], before, diagram.leading[name]
            )
        self.end_shape = shapes[next(source for source, target in diagram.edges if target == "output")]
        self.edges += [(ends[source], entries.get(target, target)) for source, target in diagram.edges]

    def finished(self, shape: Shape, convention: Convention) -> nir.NIRGraph:
        """Make the graph with its input and output."""
        fold_nodes(self.nodes, self.edges, self.foldable)
        for name, node in self.nodes.items():
            self._check(name, node)
            for attribute in ("weight", "bias"):
                if name in self.types and hasattr(node, attribute):
                    setattr(node, attribute, getattr(node, attribute).astype(self.types[name]))
        nodes = {
            "input": nir.Input(input_type={"input": np.array(shape)}),
            **self.nodes,
            "output": nir.Output(output_type={"output": np.array(self.end_shape)}),
        }
        metadata: dict[str, Any] = {"made_by": f"neuro_decorr {version('neuro-decorr')}", "convention": convention}
        if self.dt is not None:
            metadata |= {"dt": self.dt, "reset_method": self.reset_method}
        graph = nir.NIRGraph(nodes=nodes, edges=self.edges, metadata=metadata)
        if convention != "current" and self.dt is not None:
            with_increments(graph, self.dt)
        if convention == "exponential" and self.dt is not None:
            with_decays(graph, self.dt)
        return graph

    def _check(self, name: str, node: nir.NIRNode) -> None:
        """Raise InvalidValue for numbers that no simulator could run."""
        for attribute, values in vars(node).items():
            if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
                continue
            least = (self.dt or 0.0) * (1 - 1e-6) if attribute.startswith("tau") else -np.inf
            if not np.isfinite(values).all() or (values < least).any():
                bound = f" and at least the time step of {self.dt:g} s" if least > 0 else ""
                wrong = values[~np.isfinite(values) | (values < least)][0]
                raise InvalidValue(f"to_nir: {attribute} of node '{name}' must be finite{bound}, got {wrong:g}.")

    def _add(self, name: str, module: nn.Module, shape: Shape, leading: int) -> tuple[str, str, Shape]:
        """Add the nodes of one module; returns the first and the last of them, and the shape of the output."""
        place = f"module '{name}' ({type(module).__name__})"
        if isinstance(module, DecorrelationCell | Decorrelation):
            held = module if isinstance(module, Decorrelation) else module.decorrelation
            self._check_trace(place, held)
            node, kind = transform_node(place, held, shape), "decorrelation"
        else:
            found = layer_node(place, module, shape, leading)
            if found is None:
                return self._add_population(name, place, module, shape)
            node, kind = found, type(found).__name__.lower()
            held_before = decorrelation_of(module)
            if held_before is not None:
                self._check_trace(place, held_before[0])
        own = self._named(kind, name)
        self.nodes[own] = node
        if isinstance(module, DecorrelationCell | Decorrelation):
            self.foldable[own] = "next"
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            self.foldable[own] = "previous"
        weight = next(iter((*module.parameters(), *module.buffers())), None)
        if weight is not None:
            self.types[own] = np.float64 if str(weight.dtype) == "torch.float64" else np.float32
        after = _output_shape(node, shape)
        if min(after, default=1) < 1:
            raise Unsupported(f"{place} has a kernel that is larger than its input of the shape {shape}.")
        return own, own, after

    def _add_population(self, name: str, place: str, module: nn.Module, shape: Shape) -> tuple[str, str, Shape]:
        found: Population = population_of(place, module, shape)
        self._check_time(place, found.dt)
        if found.reset_method not in (None, self.reset_method):
            told = {"subtract": "by subtraction", "value": "to a value"}
            own, theirs = told[str(found.reset_method)], told[self.reset_method]
            raise Unsupported(
                f"{place} resets {own}, and the reader of this file {theirs}: "
                f'for a reader that resets as the network does, give to_nir(..., reset_method="{found.reset_method}").'
            )
        own = self._named("neurons", name)
        self.nodes[own] = found.node
        entry, shape = own, tuple(found.node.output_type["output"])
        kind = found.node.r.dtype if hasattr(found.node, "r") else np.float32
        if found.before is not None:
            entry = self._named("bias" if found.bias else "affine", name)
            self.nodes[entry] = found.before
            self.types[entry] = kind
            self.edges.append((entry, own))
            if found.bias:
                self.foldable[entry] = "previous"
        if found.back is not None:
            back = self._named("inhibition" if found.bias or "rule" in found.node.metadata else "recurrent", name)
            self.nodes[back] = nir.Linear(weight=found.back)
            self.edges += [(own, back), (back, own)]
        return entry, own, shape

    def _check_time(self, place: str, dt: float) -> None:
        if self.dt not in (None, dt):
            raise Unsupported(
                f"{place} runs in steps of {dt:g} s and {self.dt_of} in steps of {self.dt:g} s: a graph has one dt, so "
                "give all cells the same."
            )
        self.dt, self.dt_of = dt, place

    def _check_trace(self, place: str, held: Decorrelation) -> None:
        if held.trace is not None and np.isfinite(held.trace.time):
            self._check_time(f"the Trace of {place}", held.trace.dt)

    def _named(self, kind: str, name: str) -> str:
        known = name if name.isidentifier() and name.strip("_0123456789") != "" else f"{kind}_{name}"
        return name_of(known if known not in self.nodes else f"{kind}_{name}", self.nodes)


def _computes(hook: Any) -> bool:
    """True if a hook may change inputs or outputs; the hooks of this library do not."""
    return not isinstance(hook, _OF_WEIGHTS) and not getattr(hook, "__module__", "").startswith("neuro_decorr.")


def _first_shape(network: nn.Module, diagram: Diagram) -> Shape:
    """Shape of a sample, if it follows from the first module."""
    if isinstance(network, Graph):
        return network.input_shape
    module: Any = next(diagram.modules[target] for source, target in diagram.edges if source == "input")
    if isinstance(module, nn.Linear):
        return (module.in_features,)
    if isinstance(module, DecorrelationCell):
        module = module.decorrelation
    if isinstance(module, Decorrelation | Neurons) and not getattr(module, "spatial", 0):
        return (module.features,)
    if hasattr(module, "input_size"):
        return (int(module.input_size),)
    kind = type(module).__name__
    if not isinstance(module, (*NEED_A_SHAPE, *OF_NORSE, Neurons)):
        population_of(f"module ({kind})", module, ())  # raises the error that lists modules with a form in NIR
    raise Unsupported(
        f"to_nir: the shape of a sample does not follow from the first module, {kind}: give input_shape, without time "
        "and batch, such as input_shape=(2, 34, 34)."
    )


def _output_shape(node: nir.NIRNode, shape: Shape) -> Shape:
    """Shape of one sample of a node's output, which NIR infers in a small graph."""
    if isinstance(node, nir.Affine):
        return (len(node.weight),)
    if isinstance(node, nir.Scale | nir.Threshold):
        return shape
    nodes = {"input": nir.Input(np.array(shape)), "node": node, "output": nir.Output({"output": None})}
    graph = nir.NIRGraph(nodes, [("input", "node"), ("node", "output")])
    return tuple(int(size) for size in graph.nodes["node"].output_type["output"])
