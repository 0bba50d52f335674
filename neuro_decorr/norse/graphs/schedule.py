"""Order in which the nodes of a graph run, and edges of a cycle that carry the output of the step before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, final

import networkx as nx

from neuro_decorr.errors import Unsupported

Edge: TypeAlias = tuple[str, str]


@final
@dataclass(frozen=True)
class Part:
    """Nodes that run together.

    Attributes:
        order: Names of the nodes, in the order of one time step; one name without a cycle.
        late: Edges that carry the output of the step before.
        ahead: Names of delays, whose output of a step is known before its input.
    """

    order: tuple[str, ...]
    late: frozenset[Edge] = field(default_factory=frozenset)
    ahead: frozenset[str] = field(default_factory=frozenset)

    @property
    def cyclic(self) -> bool:
        """True if the nodes form a cycle, so that they run one time step at a time."""
        return bool(self.late or self.ahead)


def schedule(
    names: Sequence[str], edges: Sequence[Edge], stateful: Collection[str], ahead: Collection[str]
) -> list[Part]:
    """Divide a graph into parts, in the order in which they run.

    In a cycle no node can use its own output of the same step: the edges that lead back to the node nearest to the
    input carry the output of the step before. A delay of one step or more in the cycle takes the place of that step.

    Args:
        names: Names of the nodes, without "input" and "output".
        edges: Edges between nodes, "input" and "output".
        stateful: Names of nodes with a state.
        ahead: Names of delays of one step or more, all of them stateful.

    Returns:
        The parts; every node is in one.

    Raises:
        Unsupported: The input does not reach a node, a node does not reach the output, or a cycle has no state.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(["input", *names])
    graph.add_edges_from(edges)
    distance = nx.single_source_shortest_path_length(graph, "input")
    lost = [name for name in names if name not in distance]
    if lost:
        raise Unsupported(f"the input does not reach node '{lost[0]}': add an edge, or remove the node.")
    ends = [name for name in names if "output" in graph and not nx.has_path(graph, name, "output")]
    if ends:
        raise Unsupported(
            f"node '{ends[0]}' does not reach the output, so that it has no effect: add an edge, or remove the node."
        )
    condensed = nx.condensation(graph)
    parts = []
    for index in nx.lexicographical_topological_sort(condensed, key=lambda one: _nearest(condensed, one, distance)):
        members = condensed.nodes[index]["members"] - {"input", "output"}
        if not members:
            continue
        inner = graph.subgraph(members)
        parts.append(_cycle(inner, distance, stateful, ahead) if inner.number_of_edges() else Part(tuple(members)))
    return parts


def _nearest(condensed: nx.DiGraph, index: int, distance: dict[str, int]) -> tuple[int, str]:
    return min((distance.get(name, -1), name) for name in condensed.nodes[index]["members"])


def _cycle(inner: nx.DiGraph, distance: dict[str, int], stateful: Collection[str], ahead: Collection[str]) -> Part:
    if nx.is_directed_acyclic_graph(inner.subgraph(set(inner) - set(stateful))):
        early = frozenset(name for name in inner if name in ahead)
    else:
        raise Unsupported(
            f"nodes {sorted(inner)} form a cycle without a state, in which nothing lasts to the next time step: put "
            "neurons or a delay into the cycle."
        )
    order: list[str] = []
    late: set[Edge] = set()
    waits = {name: set(inner.predecessors(name)) - early for name in inner if name not in early}
    while waits:
        ready = [name for name, sources in waits.items() if sources <= set(order)]
        # If no node is ready, the one nearest to the input runs first.
        chosen = min(ready or waits, key=lambda name: (distance[name], name))
        late |= {(source, chosen) for source in waits.pop(chosen) - set(order)}
        order.append(chosen)
    return Part((*sorted(early), *order), frozenset(late), early)
