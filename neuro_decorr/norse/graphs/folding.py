"""Folding of decorrelations, batch normalisation and biases into the weights next to them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import nir

from neuro_decorr.norse.graphs.schedule import Edge

Into: TypeAlias = Literal["next", "previous"]
"""Neighbour whose weights take a node: the `next`; or the `previous`, and the next if the previous cannot."""


def fold_nodes(nodes: dict[str, nir.NIRNode], edges: list[Edge], foldable: dict[str, Into]) -> None:
    r"""Multiply affine nodes into their neighbours, in place; a node without a suitable neighbour stays.

    $$A (W x + b) + c = (A W)\, x + (A b + c), \qquad W (A x + c) + b = (W A)\, x + (W c + b)$$

    Args:
        nodes: Nodes by name; affine ones in double precision.
        edges: Edges between nodes, "input" and "output".
        foldable: Affine nodes, or convolutions with a kernel of one element, with the neighbour that takes them.
    """
    for name, into in foldable.items():
        sources = [source for source, target in edges if target == name]
        targets = [target for source, target in edges if source == name]
        if into == "previous" and len(sources) == 1 and _alone(edges, sources[0], 0):
            before = nodes.get(sources[0])
            if isinstance(before, nir.Affine | nir.Conv1d | nir.Conv2d) and isinstance(nodes[name], type(before)):
                _fold_back(before, nodes[name])
                _take_out(name, nodes, edges, nodes[sources[0]])
                continue
        if len(targets) == 1 and _alone(edges, targets[0], 1):
            after = nodes.get(targets[0])
            if isinstance(after, nir.Affine) and isinstance(nodes[name], nir.Affine):
                after.bias = after.bias + after.weight @ nodes[name].bias
                after.weight = after.weight @ nodes[name].weight
                _take_out(name, nodes, edges, after)


def _alone(edges: list[Edge], name: str, end: int) -> bool:
    """True if exactly one edge leads from a node (end 0), or to it (end 1)."""
    return sum(edge[end] == name for edge in edges) == 1


def _fold_back(before: nir.NIRNode, node: nir.NIRNode) -> None:
    matrix = node.weight.reshape(node.weight.shape[:2])
    flat = before.weight.reshape(len(before.weight), -1)
    before.weight = (matrix @ flat).reshape(len(matrix), *before.weight.shape[1:])
    before.bias = matrix @ before.bias + node.bias


def _take_out(name: str, nodes: dict[str, nir.NIRNode], edges: list[Edge], taker: nir.NIRNode) -> None:
    taker.metadata = nodes.pop(name).metadata | taker.metadata
    (source,) = (one for one, target in edges if target == name)
    (target,) = (one for source_, one in edges if source_ == name)
    edges[:] = [edge for edge in edges if name not in edge]
    edges.append((source, target))
