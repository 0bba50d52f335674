"""Diagram of a network: Sequentials, Norse's containers and graphs as one list of modules and edges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import norse.torch
from torch import nn

from neuro_decorr.errors import Unsupported
from neuro_decorr.libraries import is_chain, runs_over_sequences
from neuro_decorr.norse.graphs.graph import Graph
from neuro_decorr.norse.graphs.schedule import Edge

_ABSENT = (nn.Identity, nn.modules.dropout._DropoutNd)
"""Modules without an effect in eval mode."""


@final
@dataclass
class Diagram:
    """Modules of a network and the edges between them.

    Attributes:
        modules: Modules by the names of their places, with underscores for dots.
        edges: Edges between modules, "input" and "output".
        leading: Number of dimensions before those of a sample, for each module: 2 in sequences, 1 in time steps.
    """

    modules: dict[str, nn.Module] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    leading: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, module: nn.Module, sources: list[str], leading: int) -> list[str]:
        """Add a module, or all modules of a container, after others.

        Args:
            name: Name of its place.
            module: The module.
            sources: Names of the modules that lead to it.
            leading: Number of dimensions before those of a sample.

        Returns:
            Names of the modules whose outputs are its output.
        """
        if is_chain(module):
            for inner, child in _places(module):
                sources = self.add(f"{name}_{inner}" if name else inner, child, sources, leading)
            return sources
        if isinstance(module, _ABSENT):
            return sources
        if isinstance(module, norse.torch.Lift):
            held: Any = module.lifted_module if hasattr(module, "lifted_module") else next(module.children())
            return self.add(name, held, sources, 1)
        if isinstance(module, norse.torch.RecurrentSequential):
            return self._add_recurrent(name, module, sources, leading)
        if isinstance(module, Graph):
            return self._add_graph(name, module, sources)
        name = name or "0"
        self.modules[name] = module
        self.leading[name] = leading
        self.edges += [(source, name) for source in sources]
        return [name]

    def _add_graph(self, name: str, graph: Graph, sources: list[str]) -> list[str]:
        renamed = {inner: f"{name}_{inner}" if name else inner for inner, _ in _places(graph)}
        for inner, module in _places(graph):
            self.modules[renamed[inner]] = module
            self.leading[renamed[inner]] = 1
        ends: list[str] = []
        for source, target in graph.edges:
            before = sources if source == "input" else [renamed[source]]
            if target == "output":
                ends += before
            else:
                self.edges += [(one, renamed[target]) for one in before]
        return ends

    def _add_recurrent(self, name: str, module: Any, sources: list[str], leading: int) -> list[str]:
        """Add Norse's RecurrentSequential, whose output is added to its input one time step later."""
        chain = _places(module.module)
        index = module.output_modules
        if not isinstance(index, int):
            raise Unsupported(
                f"module '{name}' (RecurrentSequential) has several output modules, for which NIR has no node; give it "
                "one output module."
            )
        ends, outputs, first = sources, [], len(self.modules)
        for inner, child in chain:
            ends = self.add(f"{name}_{inner}" if name else inner, child, ends, leading)
            outputs.append(ends)
        entry = list(self.modules)[first]
        if any(isinstance(one, nn.Linear) and one.bias is not None for one in map(self.modules.get, outputs[index])):
            raise Unsupported(
                f"module '{name}' (RecurrentSequential) feeds back the output of a layer with a bias, which is missing "
                "in its first time step: remove the bias, or put neurons last."
            )
        self.edges += [(one, entry) for one in outputs[index]]
        return outputs[index]


def _places(container: nn.Module) -> list[tuple[str, nn.Module]]:
    """Children of a container by name; unlike named_children, a module in two places comes twice."""
    return [(name, module) for name, module in container._modules.items() if module is not None]


def diagram_of(network: nn.Module) -> Diagram:
    """Make the diagram of a network.

    Args:
        network: A Sequential, of torch or Norse, a `Graph`, or one module.

    Returns:
        The diagram.

    Raises:
        Unsupported: The network holds no module for which NIR has a node.
    """
    found = Diagram()
    over_sequences = any(
        getattr(module, "sequences", None) is True or runs_over_sequences(module) for module in network.modules()
    )
    ends = found.add("", network, ["input"], 2 if over_sequences else 1)
    if not found.modules:
        raise Unsupported("the network holds no module for which NIR has a node; give it layers or neurons.")
    found.edges += [(end, "output") for end in ends]
    return found
