"""E-prop: learning signals meet the eligibility traces of synapses."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal, TypeAlias, final, get_args

from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._feedback_weights import FeedbackPaths
from neuro_decorr.credit._layers import replaced
from neuro_decorr.credit._populations import Populations
from neuro_decorr.credit._structure import spiking_cells
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register

Feedback: TypeAlias = Literal["symmetric", "random"]
"""How the error reaches the neurons: through the forward weights, transposed, or through fixed random ones."""


@final
@register
class EProp(Credit):
    r"""The derivative of every neuron by its own synapses, at every step, times a learning signal.

    $$\Delta W_{ji} = \sum_n \sum_t L_j^t \, e_{ji}^t, \qquad e_{ji}^t = \frac{\partial z_j^t}{\partial s_j^t}
    \epsilon_{ji}^t, \qquad
    \epsilon_{ji}^t = \frac{\partial s_j^t}{\partial s_j^{t-1}} \epsilon_{ji}^{t-1}
    + \frac{\partial s_j^t}{\partial W_{ji}}$$

    with z spikes, s all of the state of a neuron (current, potential, adaptation), and each derivative by what happens
    within the neuron alone. For `nd.norse.LIF`

    $$e_{ji}^t = \psi(v_j^t)\, \epsilon_{ji}^t, \qquad
    \epsilon_{ji}^t = \Big(1 - \frac{\Delta t}{\tau_m}\Big) (1 - z_j^{t-1})\, \epsilon_{ji}^{t-1}
    + \frac{\Delta t}{\tau_m} \bar x_i^t, \qquad
    \bar x_i^t = \Big(1 - \frac{\Delta t}{\tau_s}\Big) \bar x_i^{t-1} + x_i^t$$

    with psi the surrogate derivative; `nd.norse.AdaptiveLIF` has a second trace, of its threshold. Recurrent weights
    (`W_in x + W_rec z`, z of the step before) are weights as any other: x_i is then a spike of the layer itself.

    The learning signal is the derivative of the loss by the spikes, L^t = dL/dz^t, along all ways that lead through no
    other neuron: readouts, leaky ones included, targets at every step, skip connections, a penalty on rates. It is
    exact for these. To neurons below others it is sent down, step by step, as if the neurons between passed it on with
    derivative 1:

    $$L_l^t = \frac{dL}{dz_l^t} + \sum_{m > l} L_m^t W_{ml}$$

    with m the layers that are first called later, and W_ml what their currents are differentiated by, D of a
    decorrelated layer included. Nothing is sent back to neurons of the same layer or of one that is called later, as
    in the paper: what spikes do by recurrent connections is left out. With "random" all layers with weights, the
    readout's too, send through fixed random weights in the place of W, and past D, as in `feedback_alignment`.

    For one spiking layer without recurrence, "symmetric" is the surrogate gradient itself, that of `backprop`.

    The sum over t is taken neuron by neuron, from the last step to the first: the same numbers as with traces that are
    carried forward, for one product a layer in the place of two numbers per synapse, sample and step. So it takes
    signals that are known at the end of a trial only, and any readout, but it does not run on line. Cost: one forward
    and one backward pass; keeps the activities of all steps.

    Neurons: `nd.norse.LIF`, `nd.norse.AdaptiveLIF`, and `nd.norse.LateralLIF`, whose inhibition is left out of the
    eligibility as recurrent spikes are. Others are refused by name. Everything without spikes, in front of neurons or
    behind them, is differentiated exactly.

    Source: Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass 2020, A solution to the learning dilemma for
    recurrent networks of spiking neurons, doi:10.1038/s41467-020-17236-y.

    Args:
        model: A network with spiking neurons; called with the sequences, it returns what the loss compares.
        feedback: "symmetric" or "random".
        seed: Seed of the random feedback.
        scale: Root mean square of the random feedback relative to the weights of each layer.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no neurons, or others than these; with "random", weights of a kind that feedback
            cannot replace.
    """

    name = "eprop"
    signal = "the output error, sent to every neuron at every step; it meets eligibility traces of the synapses"
    bias = "biased: what spikes do to other neurons over time is left out; none for one spiking layer (symmetric)"
    variance = "none beyond that of the mini-batch"
    locality = "local given a broadcast error and a trace per synapse; symmetric feedback transports the weights"
    cost = "1 forward, 1 backward within the neurons"
    memory = "the activities of all steps, as backprop through time"
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
        """The random feedback weights, each of the shape of its layer's weight, by the name of the layer."""
        return {} if self._paths is None else self._paths.kept()

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the e-prop update to `.grad`; see `Credit.backward`."""
        model = self._checked_model(inputs)
        learning: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        populations, feedback = Populations(model, self._cells), self.feedback_weights()
        sending = self._paths.sending(lambda name, _: feedback[name]) if self._paths else nullcontext()
        with replaced(populations.stand_ins()), sending:
            loss = scalar_loss(loss_function, model(inputs), targets)
            loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
            populations.assign(learning)
        return loss.detach()
