"""Network whose modules are the nodes of a graph, which may have cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.libraries import spiking_library
from neuro_decorr.norse._neurons import Neurons
from neuro_decorr.norse.graphs.cells import Cell, Delay, Integrator, as_steps, sample_shape
from neuro_decorr.norse.graphs.schedule import Edge, Part, schedule
from neuro_decorr.rate import unremembered
from neuro_decorr.rate.cell import DecorrelationCell


class GraphState(NamedTuple):
    """State of a graph after a time step.

    Attributes:
        cells: State of every node that has one, by its name.
        late: Last outputs of the nodes whose edges lead back in a cycle, by their names.
    """

    cells: dict[str, Any]
    late: dict[str, Tensor]


@final
class Graph(nn.Module):
    r"""Network of modules and edges, `(input, state) -> (output, state)`; a node adds the inputs of all its edges.

    $$x^{(n)}_t = \sum_{m \to n} y^{(m)}_t, \qquad y^{(m)}_{t-1} \text{ over an edge that leads back}$$

    The nodes are submodules with their names, as in any network, for `decorrelate`, `fold`, `Plasticity`, credits and
    the state dict. Nodes outside cycles run over whole sequences. In a cycle, the edges that lead back to the node
    nearest to the input carry the output of the time step before; before the first step they carry the outputs that the
    nodes have while all neurons are silent.

    Shapes: inputs (steps, batch, *input_shape), or one step (batch, *input_shape) or (*input_shape,) with
    `sequences=False`; outputs have the shape of the last node in place of input_shape. Cells and Linear layers take
    sequences, other modules of torch take one time step per call.

    Cost: that of its nodes; a cycle runs one time step at a time.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> nodes = {"layer": torch.nn.Linear(4, 3), "neurons": nd.norse.LIF(3), "back": torch.nn.Linear(3, 3)}
        >>> edges = [("input", "layer"), ("layer", "neurons"), ("neurons", "output")]
        >>> network = nd.norse.Graph(nodes, [*edges, ("neurons", "back"), ("back", "neurons")], input_shape=(4,))
        >>> spikes, state = network(torch.rand(20, 8, 4))
        >>> spikes.shape
        torch.Size([20, 8, 3])

    Attributes:
        edges: Pairs of names, from and to, with "input" and "output".
        input_shape: Shape of one sample of the input.
        shapes: Shape of one sample of the output of every node, by its name.
        dt: Time step (s); None if no node has one.
        sequences: True for inputs that are sequences, False for one time step.
        metadata: Other contents of a file, such as the program that wrote it.
    """

    def __init__(
        self,
        nodes: Mapping[str, nn.Module],
        edges: Sequence[Edge],
        input_shape: Sequence[int],
        *,
        dt: float | None = None,
        sequences: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Connect modules.

        Args:
            nodes: Modules of torch for one time step and many samples, and cells, by name.
            edges: Pairs of names, from and to, with "input" and "output" for the input and output of the network.
            input_shape: Shape of one sample of the input.
            dt: Time step (s), for writing the graph to a file.
            sequences: True: inputs are sequences; False: one time step.
            metadata: Other contents to keep.

        Raises:
            InvalidValue: An edge names no node, a name is not possible for a module, or shapes do not fit.
            Unsupported: The input does not reach a node, a node does not reach the output, or a cycle has no state.
        """
        super().__init__()
        self.edges = list(dict.fromkeys(edges))
        self.input_shape = sample_shape("Graph", input_shape)
        self.dt = dt
        self.sequences = sequences
        self.metadata = dict(metadata or {})
        for name, module in nodes.items():
            if name in ("input", "output") or "." in name or hasattr(self, name):
                raise InvalidValue(f"Graph: a node cannot be called {shown(name)}; choose another name.")
            self.add_module(name, module)
        known = {"input", "output", *nodes}
        for edge in self.edges:
            if not known.issuperset(edge) or edge[0] == "output" or edge[1] == "input":
                raise InvalidValue(f"Graph: the edge {edge} must join two of {sorted(known)}, from input to output.")
        if not any(target == "output" for _, target in self.edges):
            raise InvalidValue('Graph: no edge leads to "output"; add one from the last node.')
        ahead = {name for name, module in nodes.items() if isinstance(module, Delay) and module.shortest > 0}
        stateful = {name for name, module in nodes.items() if is_cell(module)}
        self._parts = schedule(list(nodes), self.edges, stateful, ahead)
        self._sources = {
            name: [source for source, target in self.edges if target == name] for name in (*nodes, "output")
        }
        self.shapes = self._inferred()

    def forward(self, inputs: Tensor, state: GraphState | None = None) -> tuple[Tensor, GraphState]:
        """Run a sequence, or one time step.

        Args:
            inputs: Inputs, shape (steps, batch, *input_shape); with `sequences=False` (batch, *input_shape) or
                (*input_shape,). Bools, whole numbers and narrower floating types are converted to the network's type.
            state: State after the step before; None at the start of a sequence.

        Returns:
            The output, and the state after the last step.

        Raises:
            InvalidValue: The input has another shape or is empty, or the state is that of another batch.
        """
        steps = as_steps("Graph", inputs, self.input_shape, self.sequences)
        own = next((held for held in chain(self.parameters(), self.buffers()) if held.is_floating_point()), steps)
        steps = steps.to(torch.promote_types(steps.dtype, own.dtype))  # spikes may be bool or float32
        alone = steps.dim() == len(self.input_shape) + 1
        steps = steps.unsqueeze(1) if alone else steps
        if state is not None:
            _check_state(state, steps.shape[1])
        cells = {} if state is None else dict(state.cells)
        late = {} if state is None else dict(state.late)
        values = {"input": steps}
        for part in self._parts:
            if part.cyclic:
                self._run_cycle(part, values, cells, late)
            else:
                (name,) = part.order
                values[name] = self._run(name, _total([values[source] for source in self._sources[name]]), cells)
        outputs = _total([values[source] for source in self._sources["output"]])
        outputs = outputs.squeeze(1) if alone else outputs
        return (outputs if self.sequences else outputs[0]), GraphState(cells, late)

    def _run_cycle(self, part: Part, values: dict[str, Tensor], cells: dict[str, Any], late: dict[str, Tensor]) -> None:
        """Add the outputs of the nodes of a cycle over all steps to `values`."""
        steps = values["input"]
        waiting = {source for source, _ in part.late}
        if waiting - late.keys():
            late |= {name: value for name, value in self._silent(steps[0]).items() if name in waiting}
        outputs: dict[str, list[Tensor]] = {name: [] for name in part.order}
        outside = {source for name in part.order for source in self._sources[name]} - outputs.keys()
        for step in range(len(steps)):
            now: dict[str, Tensor] = {}
            before = {name: values[name][step] for name in outside}
            for name in part.order:
                if name in part.ahead:
                    delay = self._modules[name]
                    assert isinstance(delay, Delay)
                    if cells.get(name) is None:
                        cells[name] = delay.start(steps.new_zeros(steps.shape[1], *delay.shape))
                    now[name] = delay.due(cells[name])
                else:
                    arriving = self._arriving(name, part, before | now, late)
                    now[name] = self._run(name, arriving.unsqueeze(0), cells)[0]
            for name in part.ahead:
                self._run(name, self._arriving(name, part, before | now, late).unsqueeze(0), cells)
            late |= {name: now[name] for name in waiting}
            for name, value in now.items():
                outputs[name].append(value)
        values |= {name: torch.stack(series) for name, series in outputs.items()}

    def _arriving(self, name: str, part: Part, now: dict[str, Tensor], late: dict[str, Tensor]) -> Tensor:
        return _total([late[one] if (one, name) in part.late else now[one] for one in self._sources[name]])

    def _run(self, name: str, steps: Tensor, cells: dict[str, Any]) -> Tensor:
        """Run one node over steps (steps, batch, *shape); its state is put into `cells`."""
        module = self.get_submodule(name)
        if not is_cell(module):
            return applied(module, steps)
        if getattr(module, "sequences", False):
            outputs, cells[name] = module(steps, cells.get(name))
            return outputs  # type: ignore[no-any-return]  # of a module
        series = []
        for step in steps.unbind():
            output, cells[name] = module(step, cells.get(name))
            series.append(output)
        return torch.stack(series)

    def _silent(self, like: Tensor) -> dict[str, Tensor]:
        """Output of every node, shape (batch, *shape), for zero input and silent neurons."""
        values = {"input": torch.zeros_like(like)}
        with unremembered(self):
            for part in self._parts:
                for name in part.order:
                    module = self.get_submodule(name)
                    if is_cell(module) and not isinstance(module, DecorrelationCell):
                        rest = like.new_zeros(len(like), *self.shapes[name])
                        values[name] = rest + module.leak if isinstance(module, Integrator) else rest
                        continue
                    known = [values[source] for source in self._sources[name] if source in values]
                    if known:
                        values[name] = self._run(name, _total(known).unsqueeze(0), {})[0]
        return values

    def _inferred(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of every node's output, by its name."""
        shapes = {"input": self.input_shape}
        names = [name for part in self._parts for name in part.order]
        for _ in range(2):  # a node that only a cycle reaches is known in the second round
            for name in names:
                arriving = {shapes[source] for source in self._sources[name] if source in shapes}
                if len(arriving) > 1:
                    raise InvalidValue(
                        f"Graph: node '{name}' adds its inputs, which must have one shape, got {sorted(arriving)}."
                    )
                if arriving:
                    shapes[name] = output_shape(name, self.get_submodule(name), *arriving)
        return shapes

    def extra_repr(self) -> str:
        """Text of `print(model)`."""
        return ", ".join(f"{source} -> {target}" for source, target in self.edges)


def is_cell(module: nn.Module) -> bool:
    """True if a module takes a state and returns one."""
    return isinstance(module, (Neurons, Cell, DecorrelationCell)) or _of_norse(module)


def _of_norse(module: nn.Module) -> bool:
    return spiking_library(module) == "norse" or type(module).__name__ in ("LICell", "LIBoxCell")


def applied(module: nn.Module, steps: Tensor) -> Tensor:
    """Run a module without a state over steps (steps, batch, *shape)."""
    if isinstance(module, nn.Linear):  # takes whole sequences, which a trace needs
        return module(steps)  # type: ignore[no-any-return]  # of a module
    return torch.stack([module(step) for step in steps.unbind()])  # samples come first, as credits need them


def output_shape(name: str, module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one sample of a module's output, found without running modules that learn.

    Args:
        name: Name of the node for messages.
        module: The module.
        shape: Shape of one sample of its input.

    Returns:
        The shape.

    Raises:
        InvalidValue: The module does not take the shape of its input.
    """
    if is_cell(module):
        features = getattr(module, "features", None)
        expected = getattr(module, "shape", shape if features is None else (features, *shape[1:]))
        if shape != expected:
            raise InvalidValue(f"Graph: node '{name}' takes the shape {expected}, got an input of the shape {shape}.")
        return shape
    held = chain(module.parameters(), module.buffers())
    parameter = next((tensor for tensor in held if tensor.is_floating_point()), torch.zeros(()))
    try:
        with _probed(module):
            return tuple(applied(module, parameter.new_zeros(1, 1, *shape)).shape[2:])
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidValue(f"Graph: node '{name}' does not take an input of the shape {shape}: {reason}") from error


@contextmanager
def _probed(module: nn.Module) -> Iterator[None]:
    """Let passes leave no graph, no record and no running statistics."""
    training = [one for one in module.modules() if one.training]
    module.eval()
    try:
        with torch.no_grad(), unremembered(module):
            yield
    finally:
        for one in training:
            one.training = True


def _check_state(state: object, samples: int) -> None:
    """Raise InvalidValue for anything but a state of a graph of the same batch."""
    if not isinstance(state, GraphState):
        raise InvalidValue(
            f"Graph: the state must be the GraphState that it returned at the step before, or None, got {shown(state)}."
        )
    for name, value in state.late.items():
        if len(value) != samples:
            raise InvalidValue(
                f"Graph got a state of {len(value)} samples (node '{name}') with an input of {samples}; give the state "
                "that the same batch had at the step before, and None at the start of a sequence."
            )


def _total(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).sum(dim=0)
