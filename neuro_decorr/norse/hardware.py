"""Demands of a network on a neuromorphic chip, counted in a run of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.libraries import is_chain
from neuro_decorr.norse._synapses import Synapses, met_by, populations_of, synapses_of, takes_sequences
from neuro_decorr.norse.lateral import LateralLIF
from neuro_decorr.norse.quantisation import bits_needed


@final
@dataclass(frozen=True)
class SynapseReport:
    """Synapses of one layer.

    Attributes:
        name: Name of the layer, with the kind of synapses if it has several kinds.
        stored: Number of weights that are not zero; the weights of a convolution count once.
        size: Number of weights.
        synapses: Number of connected pairs of units; a weight of a convolution counts at every position.
        fan_in: Largest number of synapses that arrive at a unit.
        mean_fan_in: Mean number of synapses that arrive at a unit after the layer.
        fan_out: Largest number of synapses that leave a unit.
        mean_fan_out: Mean number of synapses that leave a unit before the layer.
        events: Number of inputs that are not zero, per inference.
        operations: Number of synaptic operations per inference: one for every event and every synapse that leaves its
            unit.
        graded: True if some events are no spikes, that is, numbers other than one.
        smallest: Smallest weight.
        largest: Largest weight.
        bits: Smallest number of bits with which the weights keep the precision; None if 24 are too few.
    """

    name: str
    stored: int
    size: int
    synapses: int
    fan_in: int
    mean_fan_in: float
    fan_out: int
    mean_fan_out: float
    events: float
    operations: float
    graded: bool
    smallest: float
    largest: float
    bits: int | None


@final
@dataclass(frozen=True)
class NeuronReport:
    """One population of spiking neurons.

    Attributes:
        name: Name of the neurons.
        neurons: Number of neurons.
        spikes: Number of spikes of all neurons per inference.
    """

    name: str
    neurons: int
    spikes: float


@final
@dataclass(frozen=True)
class HardwareReport:
    """Demands of a network on a chip; `print` shows them as a table.

    Attributes:
        layers: Reports of the layers of synapses, in the order of their definition.
        populations: Reports of the groups of neurons.
        samples: Number of inferences that were counted.
        precision: Relative precision of the weights for which the bits were counted.
    """

    layers: tuple[SynapseReport, ...]
    populations: tuple[NeuronReport, ...]
    samples: int
    precision: float

    @property
    def stored(self) -> int:
        """Number of weights that are not zero."""
        return sum(layer.stored for layer in self.layers)

    @property
    def synapses(self) -> int:
        """Number of connected pairs of units."""
        return sum(layer.synapses for layer in self.layers)

    @property
    def fan_in(self) -> int:
        """Largest number of synapses of one layer that arrive at a unit."""
        return max(layer.fan_in for layer in self.layers)

    @property
    def fan_out(self) -> int:
        """Largest number of synapses of one layer that leave a unit."""
        return max(layer.fan_out for layer in self.layers)

    @property
    def operations(self) -> float:
        """Number of synaptic operations per inference."""
        return sum(layer.operations for layer in self.layers)

    @property
    def spikes(self) -> float:
        """Number of spikes per inference, without those of the input."""
        return sum(population.spikes for population in self.populations)

    def __str__(self) -> str:
        """Table of the layers, of the neurons, and of all together."""
        head = ["", "weights", "synapses", "fan-in", "fan-out", "events", "operations", "range", "bits"]
        rows = [
            [
                layer.name + (" (graded)" if layer.graded else ""),
                f"{layer.stored} of {layer.size}",
                str(layer.synapses),
                f"{layer.fan_in} ({layer.mean_fan_in:.1f})",
                f"{layer.fan_out} ({layer.mean_fan_out:.1f})",
                f"{layer.events:.1f}",
                f"{layer.operations:.0f}",
                f"{layer.smallest:.3g} .. {layer.largest:.3g}",
                "> 24" if layer.bits is None else str(layer.bits),
            ]
            for layer in self.layers
        ]
        most = f"{self.fan_in}", f"{self.fan_out}"
        rows.append(["all", str(self.stored), str(self.synapses), *most, "", f"{self.operations:.0f}", "", ""])
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
        neurons = [f"{one.name}: {one.neurons} neurons, {one.spikes:.1f} spikes" for one in self.populations]
        note = f"An inference, mean of {self.samples}; fan-in and fan-out: largest (mean); bits for {self.precision:g}."
        return "\n".join([*(line.rstrip() for line in lines), *neurons, note])


def hardware_report(
    network: nn.Module,
    inputs: Tensor,
    *,
    run: Callable[[nn.Module, Tensor], Any] | None = None,
    samples: int | None = None,
    precision: float = 0.01,
    per_channel: bool = False,
) -> HardwareReport:
    r"""Count the demands of a network on a chip that computes at the arrival of spikes.

    $$\text{synaptic operations} = \sum_t \sum_i [x_i^t \ne 0]\; |\{ j : W_{ji} \ne 0 \}|$$

    The sum is over all steps t of an inference and all units i before every layer. It is exact at the borders of a
    convolution too, where a unit has fewer synapses. A graded input counts once at every step at which it is not zero.
    Biases are no synapses; a run with a silent input (`torch.zeros`) shows the spikes that they cause.

    The network runs once, in eval mode and without gradients; its mode is restored.

    Cost: two passes, the second of ones and zeros through the same layers.

    Args:
        network: Plain network, from `nd.fold` if it was decorrelated, of Linear layers, convolutions, cells of
            `nd.norse` and of Norse, and modules without parameters.
        inputs: Inputs of the network.
        run: Function that runs the network, as `run(network, inputs)`, for networks that take one time step per call;
            None: `network(inputs)`.
        samples: Number of inferences in the inputs. None: the size of their second dimension if the neurons take
            sequences (steps, samples, ...), else of their first.
        precision: Relative precision p of the weights for which bits are counted, as a norm,
            $\|W - s n\| \le p \|W\|$ with n whole numbers of these bits; see `integer_weights`.
        per_channel: True gives every output unit or channel a separate scale s.

    Returns:
        The report.

    Raises:
        InvalidValue: An option is not allowed, inputs hold no samples, or the network does not call a layer.
        Unsupported: A decorrelation was not folded, the synapses of some weights are not known, or a layer or neurons
            are in two places.

    Example:
        >>> import norse.torch, torch, neuro_decorr as nd
        >>> network = norse.torch.SequentialState(torch.nn.Linear(4, 3), nd.norse.LIF(3, threshold=0.1))
        >>> report = nd.norse.hardware_report(network, torch.ones(10, 2, 4))
        >>> report.synapses, report.operations  # four spikes at ten steps, three synapses each
        (12, 120.0)
    """
    checks.refuse(
        "hardware_report",
        checks.number("precision", precision, above=0),
        checks.flag("per_channel", per_channel),
        None if samples is None else checks.whole_number("samples", samples, least=1),
    )
    populations = populations_of(network)
    if samples is None:
        second = inputs.dim() > 2 and any(takes_sequences(module) for module in populations.values())
        samples = inputs.shape[int(second)] if inputs.dim() else 0
    if not samples:
        raise InvalidValue(
            f"hardware_report: inputs must hold at least one sample, got the shape {tuple(inputs.shape)}."
        )
    counts = [_Count(synapses) for synapses in synapses_of(network)]
    held = {*populations.values(), *(count.synapses.module for count in counts)}
    for name, chain in network.named_modules():
        places = [child for child in chain._modules.values() if child in held] if is_chain(chain) else []
        if len(set(places)) < len(places):
            raise Unsupported(
                f"module '{name}' ({type(chain).__name__}) has a layer or neurons in two places, which are two on a "
                "chip: give each place its own, copy.deepcopy(...)."
            )
    spikes = {name: _Spikes(takes_sequences(module)) for name, module in populations.items()}
    training = network.training
    with ExitStack() as hooks, torch.no_grad():
        hooks.callback(network.train, training)
        for count in counts:
            hooks.callback(count.synapses.module.register_forward_hook(count.see).remove)
        for name, module in populations.items():
            hooks.callback(module.register_forward_hook(spikes[name].see).remove)
        network.eval()
        _ = network(inputs) if run is None else run(network, inputs)
    return HardwareReport(
        tuple(count.report(samples, precision, per_channel) for count in counts),
        tuple(NeuronReport(name, found.neurons, found.total / samples) for name, found in spikes.items()),
        samples,
        precision,
    )


@final
class _Spikes:
    """Counter of the spikes of a population over a run, a forward hook."""

    def __init__(self, sequences: bool) -> None:
        self.neurons, self.total, self._before = 0, 0.0, 1 + sequences

    def see(self, _: nn.Module, __: Any, output: Any) -> None:
        spikes: Tensor = output[0]
        self.neurons = max(1, spikes[(0,) * min(self._before, spikes.dim() - 1)].numel())
        self.total += float(spikes.double().sum())


@final
class _Count:
    """Counter of events and operations of synapses over a run, a forward hook of their module."""

    def __init__(self, synapses: Synapses) -> None:
        self.synapses = synapses
        self._events = self._operations = 0.0
        self._graded = self._called = False
        self._shape: Iterable[int] = ()  # shape of one sample before the layer

    def see(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        arriving: Tensor = output[0] if self.synapses.recurrent else given[0]
        self._called = True
        ones = (arriving != 0).double()
        space = module.spatial if isinstance(module, LateralLIF) else self.synapses.weight.dim() - 2
        self._shape = arriving.shape[-1 - space :]
        self._events += float(ones.sum())
        self._operations += float(met_by(self.synapses, ones).sum())
        self._graded = self._graded or bool((arriving[arriving != 0] != 1).any())

    def report(self, samples: int, precision: float, per_channel: bool) -> SynapseReport:
        weight = self.synapses.weight
        if not self._called:
            raise InvalidValue(
                f"hardware_report: the network did not call '{self.synapses.name}'; remove this layer from the network."
            )
        with torch.enable_grad():
            ones = torch.ones(1, *self._shape, dtype=torch.float64, device=weight.device, requires_grad=True)
            arriving = met_by(self.synapses, ones)
            (leaving,) = torch.autograd.grad(arriving.sum(), ones)
            arriving = arriving.detach()
        return SynapseReport(
            name=self.synapses.name,
            stored=int((weight != 0).sum()),
            size=weight.numel(),
            synapses=int(arriving.sum()),
            fan_in=int(arriving.max()),
            mean_fan_in=float(arriving.mean()),
            fan_out=int(leaving.max()),
            mean_fan_out=float(leaving.mean()),
            events=self._events / samples,
            operations=self._operations / samples,
            graded=self._graded,
            smallest=float(weight.min()),
            largest=float(weight.max()),
            bits=bits_needed(weight, precision, per_channel),
        )
