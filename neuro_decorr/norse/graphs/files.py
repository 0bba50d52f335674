"""Files of NIR, including those with wrong shapes, and nested graphs as one graph."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import nir
import nir.serialization
import numpy as np
from torch import nn

from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.norse.graphs.schedule import Edge


def read_file(path: str | PathLike[str]) -> nir.NIRGraph:
    """Read the graph in a file, even if the shapes of its Input and Output are wrong.

    Some simulators write an Output of another shape than the last node, or an Input with a batch, which `nir.read`
    refuses; others write inner graphs whose edges name no node.

    Args:
        path: The file.

    Returns:
        The graph.

    Raises:
        InvalidValue: There is no such file, or it is not a NIR file.
    """
    place = Path(path)
    if not place.is_file():
        raise InvalidValue(f"from_nir: there is no file {str(place)!r}; give the path of a .nir file.")
    try:
        with h5py.File(place, "r") as file:
            content = nir.serialization.hdf2dict(file["node"])
        return nir.dict2NIRNode(_mended(content))
    except (OSError, KeyError, AssertionError, TypeError) as error:
        raise InvalidValue(f"from_nir: {str(place)!r} is not a readable NIR file: {error!r}") from error


def _mended(content: dict[str, Any]) -> dict[str, Any]:
    """Mend a graph in the form of a dictionary, so that it can be built without the check of types."""
    kind = content.get("type")
    if kind in ("Conv1d", "Conv2d"):
        return {"input_shape": None} | content  # older files lack input_shape
    if kind in ("IF", "LIF", "LI", "CubaLIF", "CubaLI"):  # one number may stand for all units
        numbers = {name: value for name, value in content.items() if name not in ("type", "metadata")}
        whole = max((np.shape(value) for value in numbers.values()), key=len)
        single = {name: np.full(whole, value) for name, value in numbers.items() if np.ndim(value) == 0}
        return content | single
    if kind != "NIRGraph":
        return content
    nodes = {name: _mended(node) for name, node in content["nodes"].items()}
    edges = [(_text(source), _text(target)) for source, target in content["edges"]]
    named = {name for edge in edges for name in edge}
    unknown, unused = sorted(named - nodes.keys()), sorted(nodes.keys() - named)
    if len(unknown) == len(unused) == 1:
        warnings.warn(
            f"from_nir: edges name a node '{unknown[0]}', which the graph does not hold, and no edge names its node "
            f"'{unused[0]}': the two are taken for the same node.",
            stacklevel=2,
        )
        edges = [tuple(unused[0] if name == unknown[0] else name for name in edge) for edge in edges]  # type: ignore[misc]  # two names
    return content | {"nodes": nodes, "edges": edges, "type_check": False}


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def flattened(graph: nir.NIRGraph) -> tuple[dict[str, nir.NIRNode], list[Edge], tuple[int, ...]]:
    """Convert a graph with inner graphs to one graph.

    Args:
        graph: The graph.

    Returns:
        Nodes by names that a module can have, without inputs and outputs; edges between them, "input" and "output";
        the shape of one sample of the input.

    Raises:
        Unsupported: The graph has no Input or no Output, or several.
    """
    found = list(_nodes_in(graph, ""))
    edges = list(_edges_in(graph, ""))
    outer = {kind: [n for n, v in graph.nodes.items() if isinstance(v, kind)] for kind in (nir.Input, nir.Output)}
    for kind, names in outer.items():
        if len(names) != 1:
            added = ": the package nir adds one wherever an edge is missing" if len(names) > 1 else ""
            raise Unsupported(
                f"from_nir: the graph has {len(names)} nodes {kind.__name__}, {names}; it must have one{added}."
            )
    (entry,), (end,) = outer[nir.Input], outer[nir.Output]
    through = [n for n, node in found if isinstance(node, nir.Input | nir.Output) and n not in (f".{entry}", f".{end}")]
    for name in through:
        sources = [source for source, target in edges if target == name]
        targets = [target for source, target in edges if source == name]
        edges = [edge for edge in edges if name not in edge]
        edges += [(source, target) for source in sources for target in targets]
    renamed = {f".{entry}": "input", f".{end}": "output"}
    nodes: dict[str, nir.NIRNode] = {}
    for name, node in found:
        if not isinstance(node, nir.Input | nir.Output):
            renamed[name] = name_of(name[1:], nodes)
            nodes[renamed[name]] = node
    renamed_edges = [(renamed[source], renamed[target]) for source, target in edges]
    return nodes, renamed_edges, _input_shape(graph.nodes[entry], nodes, renamed_edges)


def name_of(name: str, taken: Mapping[str, Any]) -> str:
    """Make a name that a submodule can have and that is not taken."""
    name = "".join(letter if letter.isalnum() else "_" for letter in name) or "node"
    reserved = {"input", "output", "edges", "dt", "shapes", "sequences", "metadata", "input_shape"}
    while name in taken or name in reserved or name in _ATTRIBUTES:
        name += "_"
    return name


_ATTRIBUTES = frozenset(dir(nn.Module()))


def _nodes_in(graph: nir.NIRGraph, prefix: str) -> Iterator[tuple[str, nir.NIRNode]]:
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            yield from _nodes_in(node, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}", node


def _edges_in(graph: nir.NIRGraph, prefix: str) -> Iterator[Edge]:
    def end(name: str, kind: type[nir.NIRNode]) -> str:
        if name not in graph.nodes:
            raise InvalidValue(
                f"from_nir: an edge names a node '{name}' that the graph does not hold; it has {sorted(graph.nodes)}."
            )
        node = graph.nodes[name]
        inner = f"{prefix}.{name}"
        while isinstance(node, nir.NIRGraph):
            names = [one for one, held in node.nodes.items() if isinstance(held, kind)]
            if len(names) != 1:
                raise Unsupported(f"from_nir: graph '{name}' has {len(names)} nodes {kind.__name__}; it must have one.")
            node, inner = node.nodes[names[0]], f"{inner}.{names[0]}"
        return inner

    for source, target in graph.edges:
        yield end(source, nir.Output), end(target, nir.Input)
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            yield from _edges_in(node, f"{prefix}.{name}")


def _input_shape(entry: nir.NIRNode, nodes: Mapping[str, nir.NIRNode], edges: list[Edge]) -> tuple[int, ...]:
    """Shape of the Input; if the Input includes a batch, the shape of the node that it leads to."""
    shape = _shape(entry.input_type)
    for target in (nodes.get(target) for source, target in edges if source == "input"):
        taken = None if target is None else _shape(target.input_type)
        if taken and shape and len(taken) < len(shape) and shape[-len(taken) :] == taken:
            return taken
    if shape is None:
        raise InvalidValue("from_nir: the Input of the graph has no shape; write the file with an input_type.")
    return shape


def _shape(types: Mapping[str, Any] | None) -> tuple[int, ...] | None:
    value = None if not types else next(iter(types.values()))
    return None if value is None else tuple(int(size) for size in np.atleast_1d(value))
