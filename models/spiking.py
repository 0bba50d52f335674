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
"""What a network answers with: spikes a step, or spikes in all steps, which serve as logits."""


def neurons(features: int) -> nn.Module:
    """The neurons of the networks here: threshold 0.5, membrane 10 ms, synapse 5 ms, steps of 1 ms."""
    return nd.norse.LIF(features, threshold=0.5)


@final
class Poisson(nn.Module):
    r"""Spikes of independent neurons whose rates are given: a Bernoulli draw for every neuron and time step.

    $$P(z_{t,i} = 1) = \min(\max(b + a x_i,\ 0),\ 1)$$

    A rate below zero is none, and above one spike a step no neuron can fire. In train mode every pass has fresh spikes,
    told apart by a counter that is a buffer: passes that a credit undoes, as those with perturbed nodes, see the spikes
    of the clean one. In eval mode the spikes are always the same, so that measuring twice gives the same.

    Shapes: inputs (batch, features); spikes (steps, batch, features), of the inputs' dtype.

    Attributes:
        counter: Buffer, passes in train mode so far, int64, shape ().
    """

    counter: Tensor

    def __init__(self, steps: int, baseline: float = 0.0, gain: float = 0.5, seed: int = 0) -> None:
        """Nothing drawn yet.

        Args:
            steps: Time steps T.
            baseline: b, spikes a step without input.
            gain: a, spikes a step for an input of one.
            seed: Of the spikes.
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
    r"""A network in time, read out by the spikes of its last neurons.

    $$y = c \sum_{t=1}^{T} z_t, \qquad c = 1 / T \text{ for rates, } 1 \text{ for counts}$$

    Attributes:
        network: What runs in time: `norse.torch.SequentialState` of linear layers and neurons.
        steps: For how many time steps T a constant input lasts.
        stepwise: Whether the network runs one time step at a time, as Norse's own cells need.
        readout: `rate` or `count`.
        encoder: Makes sequences from inputs (batch, features); None for constant currents.
    """

    def __init__(
        self,
        network: norse.torch.SequentialState,
        steps: int,
        stepwise: bool = False,
        readout: Readout = "rate",
        encoder: nn.Module | None = None,
    ) -> None:
        """Put a network behind constant currents or sequences.

        Args:
            network: Takes currents and returns spikes and its state.
            steps: Time steps of a constant input.
            stepwise: One time step at a time; otherwise every layer runs over the whole sequence at once.
            readout: Spikes a step, or spikes in all steps.
            encoder: Makes sequences from inputs (batch, features), such as `Poisson`; None for constant currents.
        """
        super().__init__()
        self.network = network
        self.steps = steps
        self.stepwise = stepwise
        self.readout: Readout = readout
        self.encoder = encoder

    def spikes(self, inputs: Tensor) -> Tensor:
        """The spikes of the last neurons, shape (steps, batch, outputs).

        Args:
            inputs: What the encoder takes, by default constant currents (batch, features); or a sequence of currents
                or spikes (steps, batch, features), which is not encoded.
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
        """Firing rates, spikes a step, or spike counts of the last neurons: shape (batch, outputs).

        Args:
            inputs: As of `spikes`.
        """
        spikes = self.spikes(inputs)
        return spikes.mean(dim=0) if self.readout == "rate" else spikes.sum(dim=0)

    @torch.no_grad()
    def spikes_per_inference(self, inputs: Tensor) -> dict[str, float]:
        """How many spikes the neurons of every layer need for one sample, in eval mode: the mean over samples.

        Args:
            inputs: As of `spikes`.

        Returns:
            By the name of the neurons in `network`, in their order.
        """
        counted: dict[str, float] = {}
        samples = inputs.shape[-2]

        def count(name: str) -> Callable[[nn.Module, object, tuple[Tensor, object]], None]:
            def hook(_: nn.Module, __: object, output: tuple[Tensor, object]) -> None:
                counted[name] = counted.get(name, 0.0) + float(output[0].double().sum()) / samples

            return hook

        # Each linear layer is followed by its neurons.
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
    r"""A dense spiking network.

    $$I_t^{l} = W_l z_t^{l-1} + b_l, \quad z^l = \mathrm{neurons}(I^l), \quad l = 1 \dots L$$

    Weights are drawn as $W_l \sim N(0, g^2 / n_l)$ with $n_l$ inputs; biases start at zero. To decorrelate
    the inputs of its layers give it to `nd.decorrelate`, which takes constant currents, Poisson spikes and hidden
    spikes alike, or place cells between its modules with `decorrelation`.

    Args:
        sizes: Units of every layer from input to output, such as `[64, 128, 10]`; at least input and output.
        steps: For how many time steps a constant input lasts.
        neuron: Makes the neurons that follow a linear layer, from their number.
        decorrelation: Makes the cell before every linear layer, from the number of its inputs, such as
            `nd.norse.Decorrelation`; None for none.
        gain: g.
        bias: Whether the linear layers have biases.
        seed: Seed of the weights, drawn apart from the global random state, which is not touched. None takes the
            seed from the global state, as layers of torch do.
        stepwise: Run one time step at a time, as Norse's own cells need.
        readout: `rate` for spikes a step, `count` for spikes in all steps, which serve as logits.
        encoder: Makes sequences from inputs (batch, features), such as `Poisson(steps)`; None for constant currents.

    Returns:
        The network, float32, on the CPU.

    Raises:
        InvalidValue: Sizes that are not at least two positive integers, steps below one, a negative seed, or a readout
            that does not exist.
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
