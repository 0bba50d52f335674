"""E-prop: learning signals meet eligibility traces that are carried forward in time."""

from __future__ import annotations

import functools
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._eligibility import SpikingLayer
from neuro_decorr.credit._feedback_weights import FeedbackPaths, gaussian, keep, kept, size_of
from neuro_decorr.credit._layers import replaced
from neuro_decorr.credit._structure import spiking_chain
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import Unsupported

Feedback: TypeAlias = Literal["symmetric", "random"]
"""How the error reaches the neurons: through the forward weights, transposed, or through fixed random ones."""


@final
@register
class EProp(Credit):
    r"""Eligibility traces of the synapses, carried forward in time, meet the error at the end of the trial.

    $$\Delta W_{l,ji} = \sum_n L_{l,j} \sum_t e_{l,ji}^t, \qquad e_{ji}^t = \psi(v_j^t)\, \epsilon_{ji}^t, \qquad
    \epsilon_{ji}^t = \Big(1 - \frac{\Delta t}{\tau_m}\Big) (1 - z_j^{t-1})\, \epsilon_{ji}^{t-1}
    + \frac{\Delta t}{\tau_m} \bar x_i^t, \qquad
    \bar x_i^t = \Big(1 - \frac{\Delta t}{\tau_s}\Big) \bar x_i^{t-1} + x_i^t$$

    with psi the surrogate derivative, epsilon = dv/dw within the neuron, its hard reset included, and x the input of
    the layer. The learning signal of the last neurons is L = dL/dz^t, exact through a readout without spikes; the
    readout must weigh all time steps alike (a mean or a sum over time, before or after linear layers), so that L is
    known at the end, is the same for all steps, and nothing of the steps needs to be kept. Layers below get

    $$L_l = L_\text{last} B_l, \qquad B_l = W_\text{last} \cdots W_{l+1} \text{ (symmetric), or random}$$

    where B_l has shape (last neurons, neurons of l): the layers between count as passing spikes on with derivative 1,
    and decorrelating transforms as the identity. With "random" the linear layers of the readout send through random
    weights as well, as in `feedback_alignment`. Random weights are Gaussian, drawn once, with the root mean square
    that the symmetric ones have at creation times `scale`.

    Neurons: `nd.norse.LIF` and `nd.norse.LateralLIF`, whose inhibition is left out of the eligibility as recurrent
    spikes are in the paper. Others are refused by name. For one spiking layer without recurrence, with a linear
    readout or none, "symmetric" is the surrogate gradient itself, that of `backprop`.

    Cost: one forward pass in which every synapse of every sample keeps two numbers, 2 (samples, units, inputs + 1)
    for a layer, whatever the number of steps; some 5 flop each per step; no backward pass through time.

    Source: Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass 2020, A solution to the learning dilemma for
    recurrent networks of spiking neurons, doi:10.1038/s41467-020-17236-y.

    Args:
        model: A network of `nn.Linear` layers with neurons behind each, and a readout; called with the sequences, it
            returns what the loss compares.
        feedback: "symmetric" or "random".
        seed: Seed of the random feedback.
        scale: Root mean square of the random feedback relative to the symmetric one.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has layers or neurons that there are no eligibility traces for.
    """

    name = "eprop"
    signal = "the output error, sent to every neuron; it meets eligibility traces of the synapses"
    bias = "biased: what spikes do to other neurons over time is left out; none for one spiking layer (symmetric)"
    variance = "none beyond that of the mini-batch"
    locality = "local given a broadcast error and a trace per synapse; symmetric feedback transports the weights"
    cost = "1 forward; keeps two numbers per synapse and sample, whatever the number of steps"
    source = (
        "Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass 2020, A solution to the learning dilemma "
        "for recurrent networks of spiking neurons, doi:10.1038/s41467-020-17236-y"
    )

    def __init__(
        self, model: nn.Module, *, feedback: Feedback = "symmetric", seed: int = 0, scale: float = 1.0
    ) -> None:
        super().__init__(model)
        checks.refuse(
            self.name,
            checks.word("feedback", feedback, get_args(Feedback)),
            checks.whole_number("seed", seed, least=0),
            checks.number("scale", scale, above=0),
        )
        self.feedback = feedback
        chain = spiking_chain(model)
        self._layers = chain.layers
        self._paths = FeedbackPaths({}, [], "pre_decorrelation")
        if feedback == "random":
            generator = torch.Generator().manual_seed(seed)
            names = {module: name for name, module in model.named_modules()}
            self._names = [names[layer.layer] for layer in self._layers[:-1]]
            for name, matrix in zip(self._names, self._symmetric(), strict=True):
                keep(self, name, gaussian(matrix.shape, scale * size_of(matrix), generator, matrix))
            self._paths = FeedbackPaths(dict(chain.linear_readout()), [], "pre_decorrelation")
            self._paths.draw(self, generator, scale)

    def feedback_weights(self) -> list[Tensor]:
        """B_l (last neurons, neurons of l) for all spiking layers below the last, from the input on."""
        if self.feedback == "symmetric":
            return self._symmetric()
        return [
            kept(self, name, layer.layer.weight) for name, layer in zip(self._names, self._layers[:-1], strict=True)
        ]

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the e-prop update to `.grad`; see `Credit.backward`."""
        model = self._checked_model()
        last = _LearningSignal()
        try:
            replacements = [
                stand_in
                for layer in self._layers
                for stand_in in _stand_ins(layer, last if layer is self._layers[-1] else None)
            ]
            readout = self._paths.kept(self)
            with replaced(replacements), self._paths.sending(lambda name, _: readout[name]):
                loss = scalar_loss(loss_function, model(inputs), targets)
                loss.backward()  # type: ignore[no-untyped-call]
            signal = last.signal()
            self._layers[-1].receive(signal)
            for layer, feedback in zip(self._layers, self.feedback_weights(), strict=False):
                layer.receive(signal @ feedback.to(signal.dtype))
        finally:
            for layer in self._layers:
                layer.begin()
        return loss.detach()

    def _symmetric(self) -> list[Tensor]:
        """The products of the forward weights above every layer but the last."""
        products: list[Tensor] = []
        for layer in reversed(self._layers[1:]):
            weight = layer.layer.weight.detach()
            products.insert(0, products[0] @ weight if products else weight)
        return products


@final
class _LearningSignal:
    """Where the last neurons hand their spikes to the readout, and what comes back."""

    def __init__(self) -> None:
        self._signal: Tensor | None = None

    def hand_over(self, spikes: Tensor) -> Tensor:
        """The spikes as the beginning of the readout's graph."""
        leaf = spikes.detach().requires_grad_()
        leaf.register_hook(self._receive)  # type: ignore[no-untyped-call]
        return leaf

    def signal(self) -> Tensor:
        """dL/dz (samples, neurons), the same at all steps."""
        if self._signal is None:
            raise Unsupported("eprop: the loss does not depend on the spikes of the last neurons.")
        return self._signal

    def _receive(self, gradient: Tensor) -> None:
        steps = gradient if gradient.dim() > 2 else gradient[None]
        if self._signal is None:
            self._signal = steps[0].clone()
        if not torch.allclose(steps, self._signal, rtol=1e-4, atol=float(1e-5 * self._signal.abs().max())):
            raise Unsupported(
                "eprop needs a readout that weighs all time steps of the last neurons alike, such as their mean or sum "
                "over time; this one weighs them differently."
            )


def _stand_ins(layer: SpikingLayer, last: _LearningSignal | None) -> list[tuple[Any, str, Any]]:
    """What stands in for the methods of a layer and its neurons; the last ones hand their spikes over."""
    cell: Any = layer.cell
    forward = cell.forward

    def neurons(inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        spikes, state = layer.neurons(forward, inputs, state)
        return (spikes if last is None else last.hand_over(spikes)), state

    fired = functools.partial(layer.fired, cell.fired)
    return [(layer.layer, "forward", layer.linear), (cell, "forward", neurons), (cell, "fired", fired)]
