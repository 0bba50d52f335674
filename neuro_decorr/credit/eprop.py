"""E-prop: learning signals multiplied by eligibility traces of the synapses."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal, TypeAlias, final, get_args

from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._feedback_weights import FeedbackPaths
from neuro_decorr.credit._layers import replaced
from neuro_decorr.credit._populations import Populations
from neuro_decorr.credit._run import EarlierGraphs, output_of
from neuro_decorr.credit._structure import spiking_cells
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register

Feedback: TypeAlias = Literal["symmetric", "random"]
"""Weights through which the error reaches the neurons: the transposed forward weights, or fixed random weights."""


@final
@register
class EProp(Credit):
    r"""Derivative of every neuron with respect to its own synapses, at every step, times a learning signal.

    $$\Delta W_{ji} = \sum_n \sum_t L_j^t \, e_{ji}^t, \qquad e_{ji}^t = \frac{\partial z_j^t}{\partial s_j^t}
    \epsilon_{ji}^t, \qquad
    \epsilon_{ji}^t = \frac{\partial s_j^t}{\partial s_j^{t-1}} \epsilon_{ji}^{t-1}
    + \frac{\partial s_j^t}{\partial W_{ji}}$$

    with z the spikes, s the whole state of a neuron (current, potential, adaptation), and each derivative taken within
    the neuron alone. For `nd.norse.LIF`

    $$e_{ji}^t = \psi(v_j^t)\, \epsilon_{ji}^t, \qquad
    \epsilon_{ji}^t = \Big(1 - \frac{\Delta t}{\tau_m}\Big) (1 - z_j^{t-1})\, \epsilon_{ji}^{t-1}
    + \frac{\Delta t}{\tau_m} \bar x_i^t, \qquad
    \bar x_i^t = \Big(1 - \frac{\Delta t}{\tau_s}\Big) \bar x_i^{t-1} + x_i^t$$

    with psi the surrogate derivative; `nd.norse.AdaptiveLIF` has a second trace, of its threshold. Recurrent weights
    (`W_in x + W_rec z`, with z of the step before) are treated like any other weights: x_i is then a spike of the layer
    itself.

    The learning signal is the derivative of the loss with respect to the spikes, L^t = dL/dz^t, along all paths that
    lead through no other neuron: readouts (leaky ones included), targets at every step, skip connections, a penalty on
    rates. The signal is exact for these paths. Neurons below other neurons receive it step by step, as if the neurons
    between passed it on with derivative 1:

    $$L_l^t = \frac{dL}{dz_l^t} + \sum_{m > l} L_m^t W_{ml}$$

    with m the layers that are first called later, and W_ml the weights of their currents, with the D of a decorrelated
    layer included. As in the paper, nothing is sent back to neurons of the same layer or of a layer that is called
    later: effects of spikes through recurrent connections are left out. With "random" all layers with weights, also the
    readout, send the signal through fixed random weights in place of W, and past D, as in `feedback_alignment`.

    For one spiking layer without recurrence, "symmetric" is the surrogate gradient, that of `backprop`.

    The sum over t is computed neuron by neuron, from the last step to the first. This gives the same numbers as traces
    that are carried forward, with one product per layer in place of two numbers per synapse, sample and step. So it can
    use signals that are known only at the end of a trial, and any readout, but it does not run online. Cost: one
    forward and one backward pass. Memory: the activities of all steps.

    The neurons must be those of `nd.norse`, also with channels first. The eligibility of `LateralLIF` leaves out the
    inhibition, as it leaves out recurrent spikes. Other neurons are refused by name, except the leaky readouts of
    Norse, which do not spike. Everything without spikes, before or after neurons, is differentiated exactly.

    Source: Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass 2020, A solution to the learning dilemma for
    recurrent networks of spiking neurons, doi:10.1038/s41467-020-17236-y.

    Args:
        model: Network with spiking neurons. Called with the sequences, it returns the outputs for the loss.
        feedback: "symmetric" or "random".
        seed: Seed of the random feedback.
        scale: Root mean square of the random feedback relative to the weights of each layer.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no spiking neurons, or others than these; with "random", the model has weights of a
            kind that feedback cannot replace.
    """

    name = "eprop"
    signal = "the output error, sent to every neuron at every step, times eligibility traces of the synapses"
    bias = "biased: effects of spikes on other neurons over time are left out; none for one spiking layer (symmetric)"
    variance = "none beyond that of the mini-batch"
    locality = "local given a broadcast error and a trace per synapse; symmetric feedback transports the weights"
    cost = "1 forward, 1 backward within the neurons"
    memory = "the activities of all steps, as for backprop through time"
    dense = convolutional = "with spiking neurons only"
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
        self._cells = spiking_cells(model)
        self._paths: FeedbackPaths | None = None
        if feedback == "random":
            self._paths = FeedbackPaths(self, seed, scale, "pre_decorrelation")
            self._paths.draw()

    def feedback_weights(self) -> dict[str, Tensor]:
        """Random feedback weights by the name of the layer, each of the shape of its layer's weight."""
        return {} if self._paths is None else self._paths.kept()

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the e-prop update to `.grad`; see `Credit.backward`."""
        model = self._checked_model(inputs)
        learning: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        populations, feedback = Populations(model, self._cells), self.feedback_weights()
        sending = self._paths.sending(lambda name, _: feedback[name]) if self._paths else nullcontext()
        with replaced(populations.stand_ins()), sending:
            earlier = EarlierGraphs(model)
            outputs = output_of(model(inputs))
            earlier.refuse(outputs, *populations.spikes())
            loss = scalar_loss(loss_function, outputs, targets)
            loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            populations.assign(learning)
        return loss.detach()
