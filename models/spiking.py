"""Spiking network: linear layers with leaky integrate-and-fire neurons after every one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias, final, get_args

import norse.torch
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from models._initialisation import drawn, generator
from neuro_decorr.data import stream
from neuro_decorr.errors import InvalidValue

Readout: TypeAlias = Literal["rate", "count"]
"""Output of a network: spikes per step, or spikes in all steps, which serve as logits."""


def neurons(features: int) -> nn.Module:
    """Make the neurons of these networks: threshold 0.5, membrane 10 ms, synapse 5 ms, steps of 1 ms."""
    return nd.norse.LIF(features, threshold=0.5)


@final
class Poisson(nn.Module):
    r"""Encoder that draws independent spikes at given rates, one Bernoulli draw per neuron and time step.

    $$P(z_{t,i} = 1) = \min(\max(b + a x_i,\ 0),\ 1)$$

    The probability is limited to the range from 0 to 1. In train mode every pass has new spikes. A counter in a buffer
    distinguishes the passes, so that passes which a credit undoes, such as those with perturbed nodes, have the spikes
    of the clean pass. In eval mode the spikes are always the same, so that two measurements agree.

    Shapes: inputs (batch, features); spikes (steps, batch, features), of the inputs' dtype.

    Attributes:
        counter: Number of passes in train mode so far; a buffer, int64, shape ().
    """

    counter: Tensor

    def __init__(self, steps: int, baseline: float = 0.0, gain: float = 0.5, seed: int = 0) -> None:
        """Set the rates, without drawing.

        Args:
            steps: Number of time steps T.
            baseline: b, spikes per step without input.
            gain: a, additional spikes per step for an input of one.
            seed: Seed of the spikes.
        """
        super().__init__()
        self.steps, self.baseline, self.gain, self.seed = steps, baseline, gain, seed
        self.register_buffer("counter", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Draw the spikes of one pass."""
        draw = f"spikes {int(self.counter)}" if self.training else "measured spikes"
        random = torch.rand(self.steps, *inputs.shape, generator=stream(self.seed, draw), dtype=inputs.dtype)
        if self.training:
            self.counter.add_(1)
        return (random.to(inputs.device) < self.baseline + self.gain * inputs).to(inputs.dtype)


@final
class Spiking(nn.Module):
    r"""Network in time, read out by the spikes of its last neurons.

    $$y = c \sum_{t=1}^{T} z_t, \qquad c = 1 / T \text{ for rates, } 1 \text{ for counts}$$

    Attributes:
        network: `norse.torch.SequentialState` of linear layers and neurons.
        steps: Number of time steps T of a constant input.
        stepwise: True if the network runs one time step at a time, as Norse's own cells require.
        readout: `rate` or `count`.
        encoder: Function that makes sequences from inputs (batch, features). None: constant currents.
    """

    def __init__(
        self,
        network: norse.torch.SequentialState,
        steps: int,
        stepwise: bool = False,
        readout: Readout = "rate",
        encoder: nn.Module | None = None,
    ) -> None:
        """Wrap a network so that it takes constant currents or sequences.

        Args:
            network: Module that takes currents and returns spikes and its state.
            steps: Number of time steps of a constant input.
            stepwise: True for one time step at a time; otherwise every layer runs over the whole sequence at once.
            readout: `rate`: spikes per step; `count`: spikes in all steps.
            encoder: Function that makes sequences from inputs (batch, features), such as `Poisson`. None: constant
                currents.
        """
        super().__init__()
        nd.norse.set_sequences(network, not stepwise)
        self.network = network
        self.steps = steps
        self.stepwise = stepwise
        self.readout: Readout = readout
        self.encoder = encoder

    def spikes(self, inputs: Tensor) -> Tensor:
        """Compute the spikes of the last neurons, shape (steps, batch, outputs).

        Args:
            inputs: Inputs of the encoder, by default constant currents (batch, features); or a sequence of currents or
                spikes (steps, batch, features), which is not encoded.
        """
        if inputs.dim() > 2:
            sequence = inputs
        else:
            sequence = inputs.expand(self.steps, *inputs.shape) if self.encoder is None else self.encoder(inputs)
        if not self.stepwise:
            spikes: Tensor = self.network(sequence)[0]
            return spikes
        state, trains = None, []
        for step in sequence.unbind():
            spikes, state = self.network(step, state)
            trains.append(spikes)
        return torch.stack(trains)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute firing rates (spikes per step) or spike counts of the last neurons, shape (batch, outputs).

        Args:
            inputs: As for `spikes`.
        """
        spikes = self.spikes(inputs)
        return spikes.mean(dim=0) if self.readout == "rate" else spikes.sum(dim=0)

    @torch.no_grad()
    def spikes_per_inference(self, inputs: Tensor) -> dict[str, float]:
        """Count the spikes of the neurons of every layer for one sample, in eval mode: mean over samples.

        Args:
            inputs: As for `spikes`.

        Returns:
            Spikes per sample by the name of the neurons in `network`, in their order.
        """
        counted: dict[str, float] = {}
        samples = inputs.shape[-2]

        def count(name: str) -> Callable[[nn.Module, object, tuple[Tensor, object]], None]:
            def hook(_: nn.Module, __: object, output: tuple[Tensor, object]) -> None:
                counted[name] = counted.get(name, 0.0) + float(output[0].double().sum()) / samples

            return hook

        # The neurons follow their linear layer.
        modules = list(self.network.named_children())
        following = [later for (_, one), later in pairwise(modules) if isinstance(one, nn.Linear)]
        handles = [module.register_forward_hook(count(name)) for name, module in following]
        training = self.training
        try:
            self.eval().spikes(inputs)
        finally:
            self.train(training)
            for handle in handles:
                handle.remove()
        return counted


def spiking(
    sizes: Sequence[int],
    steps: int = 25,
    neuron: Callable[[int], nn.Module] = neurons,
    decorrelation: Callable[[int], nn.Module] | None = None,
    gain: float = 1.0,
    bias: bool = True,
    seed: int | None = None,
    stepwise: bool = False,
    readout: Readout = "rate",
    encoder: nn.Module | None = None,
) -> Spiking:
    r"""Make a dense spiking network.

    $$I_t^{l} = W_l z_t^{l-1} + b_l, \quad z^l = \mathrm{neurons}(I^l), \quad l = 1 \dots L$$

    Weights are drawn as $W_l \sim N(0, g^2 / n_l)$ with $n_l$ inputs; biases start at zero. To decorrelate the inputs
    of its layers, pass the network to `nd.decorrelate`, which handles constant currents, Poisson spikes and hidden
    spikes; or place cells between its modules with `decorrelation`.

    Args:
        sizes: Units of every layer from input to output, such as `[64, 128, 10]`; at least input and output.
        steps: Number of time steps of a constant input.
        neuron: Function that makes the neurons after a linear layer from their number.
        decorrelation: Function that makes the cell before every linear layer from the number of its inputs, such as
            `nd.norse.Decorrelation`. None: no cells.
        gain: Gain g of the initial weights.
        bias: True if the linear layers have biases.
        seed: Seed of the weights, which are drawn without using the global random state. None: the seed is taken from
            the global random state, as for layers of torch.
        stepwise: True to run one time step at a time, as Norse's own cells require.
        readout: `rate` for spikes per step, `count` for spikes in all steps, which serve as logits.
        encoder: Function that makes sequences from inputs (batch, features), such as `Poisson(steps)`. None: constant
            currents.

    Returns:
        The network, float32, on the CPU.

    Raises:
        InvalidValue: Sizes are not at least two positive integers, steps are below one, the seed is negative, or the
            readout is unknown.
    """
    units = list(sizes)
    if len(units) < 2 or any(type(size) is not int or size < 1 for size in units):
        raise InvalidValue(f"sizes: got {units}; allowed are two or more positive integers, input to output.")
    if type(steps) is not int or steps < 1:
        raise InvalidValue(f"steps: got {steps!r}; allowed is a positive integer, the time steps of a constant input.")
    if readout not in get_args(Readout):
        raise InvalidValue(f"readout: got {readout!r}; allowed are {' and '.join(get_args(Readout))}.")
    weights = generator(seed, "spiking network")
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(units):
        if decorrelation is not None:
            modules.append(decorrelation(fan_in))
        layer = drawn(nn.Linear, fan_in, fan_out, bias=bias, gain_squared=gain**2, generator=weights)
        modules += [layer, neuron(fan_out)]
    return Spiking(norse.torch.SequentialState(*modules), steps, stepwise, readout, encoder)
