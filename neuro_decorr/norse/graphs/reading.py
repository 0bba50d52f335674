"""Reading of NIR graphs as networks that can run, learn and be decorrelated."""

from __future__ import annotations

from os import PathLike
from typing import Any, get_args

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.norse._parameters import ResetMethod
from neuro_decorr.norse.graphs.cells import Delay, Scale, Threshold
from neuro_decorr.norse.graphs.convention import POPULATIONS, Convention, as_euler_steps, as_increments
from neuro_decorr.norse.graphs.files import flattened, read_file
from neuro_decorr.norse.graphs.graph import Graph, output_shape
from neuro_decorr.norse.graphs.populations import population, spread


def from_nir(
    source: nir.NIRGraph | str | PathLike[str],
    dt: float | None = None,
    *,
    convention: Convention | None = None,
    reset_method: ResetMethod | None = None,
    trainable: bool = False,
    sequences: bool = True,
    dtype: torch.dtype | None = None,
) -> Graph:
    r"""Make a network `(input, state) -> (output, state)` from a graph of NIR.

    $$
    I_t = I_{t-1} + \frac{\Delta t}{\tau_s} (w S_t - I_{t-1}), \qquad
    v_t = v_{t-1} + \frac{\Delta t}{\tau_m} (v_\text{leak} - v_{t-1} + r I_t), \qquad z_t = \Theta(v_t - \theta)
    $$

    Every node becomes a module: a layer of torch, or for a spiking population a cell of `neuro_decorr.norse`, whose
    threshold, leak and reset are divided by the gain of the node, which is exact. Inner graphs become parts of the
    network, and dots in names become underscores. `Graph` describes cycles.

    Source: Pedersen et al. (2024), Neuromorphic intermediate representation: a unified instruction set for
    interoperable brain-inspired computing, doi:10.1038/s41467-024-52259-9.

    Args:
        source: The graph, or the path of its file.
        dt: Time step (s); None: that of the graph's metadata.
        convention: Convention of the weights. `current`: they give currents, as in the equations. `increment`: they
            contain dt / tau, and r and w_in are 1, as sinabs and Norse's IAFCell write. `exponential`: as `increment`,
            and populations decay by exp(-dt / tau), as in Rockpool. None: that of the metadata of files of this
            library, else `current`.
        reset_method: Effect of a spike. `value`: the potential is set to v_reset; `subtract`: the threshold is
            subtracted, which NIR cannot express. None: that of the metadata, else `value`.
        trainable: True makes the weights trainable.
        sequences: True: the network takes sequences (steps, batch, *shape); False: one time step.
        dtype: float32 or float64; None: float64 if a weight of the file has it, else float32.

    Returns:
        The network, in train mode.

    Raises:
        InvalidValue: There is no such file, no time step is known, an option does not exist, or shapes do not fit.
        Unsupported: There are several inputs or outputs, a node that has no module, a time constant below dt, a delay
            that is no multiple of dt, or a gain that is not above zero.
    """
    graph = read_file(source) if isinstance(source, str | PathLike) else source
    if not isinstance(graph, nir.NIRGraph):
        raise InvalidValue(f"from_nir takes a nir.NIRGraph or the path of its file, got a {type(graph).__name__}.")
    metadata = graph.metadata if isinstance(graph.metadata, dict) else {}
    dt = metadata.get("dt") if dt is None else dt
    if dt is None:
        raise InvalidValue(
            "from_nir: the metadata of the graph hold no time step; give dt in seconds, such as dt=1e-3."
        )
    if convention is None:  # files with increments fulfil the equations too
        convention = "exponential" if metadata.get("convention") == "exponential" else "current"
    reset_method = metadata.get("reset_method", "value") if reset_method is None else reset_method
    checks.refuse(
        "from_nir",
        checks.number("dt", dt.item() if isinstance(dt, np.generic | np.ndarray) else dt, above=0, hint="in seconds"),
        checks.word("convention", convention, get_args(Convention)),
        checks.word("reset_method", reset_method, get_args(ResetMethod)),
        checks.flag("trainable", trainable),
        checks.flag("sequences", sequences),
    )
    if dtype not in (None, torch.float32, torch.float64):
        raise InvalidValue(f"from_nir: dtype must be float32, float64 or None, got {dtype}.")
    nodes, edges, shape = flattened(graph)
    if dtype is None:
        weights = [node.weight for node in nodes.values() if hasattr(node, "weight")]
        wide = any(weight.dtype == np.float64 for weight in weights)
        dtype = torch.float64 if wide else torch.float32
    reader = _Reader(float(dt), convention, reset_method, dtype)
    network = Graph(
        reader.modules(nodes, edges, shape),
        edges,
        shape,
        dt=float(dt),
        sequences=sequences,
        metadata={"nodes": {name: node.metadata for name, node in nodes.items() if node.metadata}},
    )
    return network.requires_grad_(trainable)


class _Reader:
    """Options that are common to all nodes of one graph."""

    def __init__(self, dt: float, convention: Convention, reset_method: ResetMethod, dtype: torch.dtype) -> None:
        self.dt, self.convention, self.dtype = dt, convention, dtype
        self.reset_method: ResetMethod = reset_method

    def modules(
        self, nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]], shape: tuple[int, ...]
    ) -> dict[str, nn.Module]:
        """Make a module for every node; the input of a node gives the shape of parameters that are single numbers."""
        shapes, made = {"input": shape}, dict[str, nn.Module]()
        while len(made) < len(nodes):
            reached = [target for source, target in edges if source in shapes and target not in (*shapes, "output")]
            if not reached:
                lost = sorted(nodes.keys() - made.keys())
                raise Unsupported(
                    f"from_nir: the input does not reach node '{lost[0]}', so that the shape of its input is unknown; "
                    "add an edge, or remove the node."
                )
            name = reached[0]
            before = next(shapes[source] for source, target in edges if target == name and source in shapes)
            made[name] = self.module(name, nodes[name], before)
            shapes[name] = output_shape(name, made[name], before)
        return made

    def module(  # noqa: PLR0911  # one for each kind of node
        self, name: str, node: nir.NIRNode, shape: tuple[int, ...]
    ) -> nn.Module:
        """Make the module of one node.

        Args:
            name: Name of the node.
            node: The node.
            shape: Shape of one sample of its input.

        Returns:
            The module.

        Raises:
            Unsupported: The node has no module here, or one of its options has none.
        """
        place = f"node '{name}' ({type(node).__name__})"
        if isinstance(node, nir.Affine | nir.Linear):
            return self._linear(place, node)
        if isinstance(node, nir.Conv1d | nir.Conv2d):
            return self._convolution(place, node)
        if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
            kernel, stride, padding = (_pair(value) for value in (node.kernel_size, node.stride, node.padding))
            divisor = 1 if isinstance(node, nir.SumPool2d) else None
            return nn.AvgPool2d(kernel, stride, padding, divisor_override=divisor)
        if isinstance(node, nir.Flatten):
            first, last = int(node.start_dim), int(node.end_dim)
            return nn.Flatten(first + (first >= 0), last + (last >= 0))
        if isinstance(node, nir.Scale):
            return Scale(self._each(place, node.scale, shape))
        if isinstance(node, nir.Threshold):
            return Threshold(self._each(place, node.threshold, shape))
        if isinstance(node, nir.Delay):
            return self._delay(place, node, shape)
        if isinstance(node, POPULATIONS):
            if self.convention != "current":
                node = type(node).from_dict(node.to_dict())
                node.r = spread(place, node.r, shape)
                if self.convention == "increment":
                    as_increments(node, self.dt, place)
                else:
                    as_euler_steps(node, self.dt)
            return population(place, node, shape, self.dt, self.reset_method, self.dtype)
        raise Unsupported(f"{place} has no module in this library; use nodes of nir {nir.version}.")

    def _linear(self, place: str, node: nir.Affine | nir.Linear) -> nn.Linear:
        if node.weight.ndim != 2:
            raise Unsupported(f"{place} has weights of {node.weight.ndim} dimensions; a Linear of torch has two.")
        outputs, inputs = node.weight.shape
        linear = nn.Linear(inputs, outputs, bias=isinstance(node, nir.Affine), dtype=self.dtype)
        return _filled(place, linear, node)  # type: ignore[return-value]  # itself

    def _convolution(self, place: str, node: nir.Conv1d | nir.Conv2d) -> nn.Module:
        outputs, inputs, *kernel = node.weight.shape
        kind, single = (nn.Conv1d, True) if isinstance(node, nir.Conv1d) else (nn.Conv2d, False)
        options: dict[str, Any] = {
            option: _option(getattr(node, option), single) for option in ("stride", "padding", "dilation")
        }
        groups = int(node.groups)
        convolution = kind(inputs * groups, outputs, tuple(kernel), groups=groups, dtype=self.dtype, **options)
        return _filled(place, convolution, node)

    def _delay(self, place: str, node: nir.Delay, shape: tuple[int, ...]) -> Delay:
        delay = spread(place, node.delay, shape)
        steps = np.rint(delay / self.dt)
        if (delay < 0).any() or not np.allclose(steps * self.dt, delay, rtol=1e-5, atol=1e-5 * self.dt):
            raise Unsupported(
                f"{place} has delays of {np.unique(delay)[:3]} s, which are no multiples of the time step of "
                f"{self.dt:g} s: give a dt of which they are multiples."
            )
        return Delay(torch.from_numpy(steps.astype(np.int64)), self.dt)

    def _each(self, place: str, values: Any, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(spread(place, values, shape)).to(self.dtype)


def _filled(place: str, module: nn.Module, node: Any) -> nn.Module:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = np.array(getattr(node, name))
            if not np.isfinite(values).all():
                raise InvalidValue(f"{place} holds a {name} that is not finite; mend the file.")
            parameter.copy_(torch.from_numpy(values))
    return module


def _option(value: Any, single: bool) -> str | int | tuple[int, int]:
    """Convert an option of a convolution to a word, or to one number per dimension."""
    if isinstance(value, str | bytes):
        return value.decode() if isinstance(value, bytes) else value
    return int(np.ravel(value)[0]) if single else _pair(value)


def _pair(value: Any) -> tuple[int, int]:
    first, last = np.broadcast_to(np.ravel(value), 2).tolist()
    return int(first), int(last)
