"""Feedback weights that learn to equal the forward weights: Kolen-Pollack and weight mirror."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._feedback_weights import FeedbackPaths, FeedbackSite, decorrelated, key_of
from neuro_decorr.credit._noise import Noise
from neuro_decorr.credit.base import Credit, LossFunction
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import StateMismatch, Unsupported
from neuro_decorr.row_choice import TransposedConvolution


@final
@register
class KolenPollack(Credit):
    r"""Feedback weights that receive the updates of the forward weights; both decay, so that they become equal.

    $$\delta_l = f'(a_l) \odot B_{l+1}^T \delta_{l+1}, \qquad
    \Delta W_l = -\eta\, G_l - \lambda W_l, \qquad \Delta B_l = -\eta\, G_l - \lambda B_l, \qquad
    G_l = \sum_n \delta_l x_l^T$$

    $$W_l - B_l = (1 - \lambda)^t (W_l - B_l)_0$$

    for all gradients: both synapses see the same two activities, and no weight is transported. Everything else is as in
    `FeedbackAlignment`.

    The feedback weights are the parameters of this credit. `backward` gives each of them the gradient of its layer's
    weight, and the optimiser of the model updates and decays them together with the weights:

        credit = nd.credit.get("kolen_pollack", model)
        optimiser = torch.optim.AdamW([*model.parameters(), *credit.parameters()], lr=1e-3, weight_decay=1.0)

    The step of most optimisers depends on gradients alone, so that equal gradients make equal steps. Then the equation
    above holds with lambda = lr * weight_decay. It is exact for SGD without momentum and for optimisers that decay
    weights separately from the step (AdamW, Muon, NAdam and RAdam with `decoupled_weight_decay`). After 1 / lambda
    steps a third of the difference is left, so that AdamW's default weight_decay of 0.01 has no effect at lr 1e-3. SGD
    with momentum is faster by the factor 1 / (1 - momentum). Adam adds the decay to the gradient and divides by the
    size of both, so that the rate at which the difference falls cannot be predicted. Without decay W - B stays as it
    is. Decay shrinks W too: choose it by validation.

    A change of the forward weights alone moves W and B apart. Compensation by a `Plasticity` makes such changes, and so
    does clipping the norm of the model's gradients: clip the gradients of both together.

    B starts as in `FeedbackAlignment`. With "pre_decorrelation" the feedback becomes W and leaves D out.

    Cost: as feedback alignment, with a second gradient and a second state of the optimiser for every weight.

    Source: Kolen & Pollack 1994, Backpropagation without weight transport, doi:10.1109/ICNN.1994.374486; Akrout,
    Wilson, Humphreys, Lillicrap & Tweed 2019, Deep learning without weight transport, arXiv:1904.05391.

    Args:
        model: A network whose layers with weights are torch's Linear and convolutions, transposed ones included.
        seed: Seed of the feedback weights at the start.
        scale: Root mean square of the feedback weights at the start relative to the layer's own weights.
        feedback_site: Site at which the signal of a decorrelated layer arrives; see `FeedbackAlignment`.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no layer with weights, weights of another kind, or weights that are computed from
            other parameters (torch's parametrizations), whose updates are not those of the weights.
    """

    name = "kolen_pollack"
    signal = "the error, fed back layer by layer through weights that receive the updates of the forward weights"
    bias = "biased at first; falls by 1 - learning rate * weight decay per step (the feedback leaves out any D)"
    variance = "none beyond that of the mini-batch"
    locality = "local: forward and feedback synapse see the same two activities, and both decay"
    cost = "1 forward, 1 backward"
    memory = "the activations, as for backprop; per weight a feedback weight, its gradient and optimiser state"
    source = (
        "Kolen & Pollack 1994, Backpropagation without weight transport, doi:10.1109/ICNN.1994.374486; Akrout, Wilson, "
        "Humphreys, Lillicrap & Tweed 2019, Deep learning without weight transport, arXiv:1904.05391"
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1.0,
        feedback_site: FeedbackSite = "pre_decorrelation",
    ) -> None:
        super().__init__(model)
        self._paths = FeedbackPaths(self, seed, scale, feedback_site)
        for name, layer in self._paths.layers.items():
            if "weight" not in layer._parameters:
                raise Unsupported(
                    f"{self.name}: the weight of layer '{name}' is computed from other parameters (a parametrization), "
                    "so that feedback weights cannot follow its updates: use weight_mirror or feedback_alignment."
                )
        self._paths.draw(learned=True)

    def feedback_weights(self) -> dict[str, Tensor]:
        """Feedback weights B by the qualified name of the layer, each of the shape of its layer's weight."""
        return self._paths.kept()

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the update to `.grad` of the weights and of the feedback weights; see `Credit.backward`.

        Raises:
            StateMismatch: The feedback weights hold a gradient that the weights lack: the optimiser was not given
                `credit.parameters()`, or only the gradients of the model were set to zero.
        """
        model, hooks = self._checked_model(inputs), []
        weights = self._paths.kept()
        for name, layer in self._paths.layers.items():
            feedback: nn.Parameter = self.get_parameter(key_of(name))
            if feedback.grad is not None and layer.weight.grad is None:
                raise StateMismatch(
                    f"{self.name}: the feedback weights of layer '{name}' hold a gradient, and its weights hold none, "
                    "so that they would move apart: give both to the optimiser, [*model.parameters(), "
                    "*credit.parameters()], and call its zero_grad()."
                )
            if layer.weight.requires_grad:
                hooks.append(layer.weight.register_hook(_adding_to(feedback)))  # type: ignore[no-untyped-call]
        try:
            return self._paths.backward(model, loss_function, inputs, targets, weights)
        finally:
            for hook in hooks:
                hook.remove()


@final
@register
class WeightMirror(Credit):
    r"""Feedback weights that learn the forward weights from responses to noise.

    $$B_l \leftarrow B_l + r \Big(\frac1n \sum_{k=1}^n y_k x_k^T - B_l\Big), \qquad y_k = W_l x_k, \qquad
    x_k \sim \mathcal N(0, I)$$

    before every pass, in which the error travels back through B as in `FeedbackAlignment`. The neurons before a layer
    fire noise, the neurons after it respond, and a feedback synapse correlates the two. The synapse decays at the same
    rate, so that B becomes W. Meanwhile biases and inputs are silent and activation functions are left out: y is the
    drive.

    If the weights rest, then after t passes:

    $$E\, B_l = W_l + (1 - r)^t (B_l - W_l)_0, \qquad
    E \|B_l - E B_l\|^2 \to \frac{r}{2 - r} \frac{d + 1}{n} \|W_l\|^2$$

    with d the number of inputs of a unit. For a convolution x is a patch, for a transposed convolution the channels at
    a position. With "pre_decorrelation" the noise passes D, and B becomes W D, the exact path through both. No weight
    is transported, and the feedback weights learn nothing from the data.

    Cost: as feedback alignment, and 4 n flop per weight and pass. Memory: one feedback weight per weight.

    Source: Akrout, Wilson, Humphreys, Lillicrap & Tweed 2019, Deep learning without weight transport, arXiv:1904.05391.

    Args:
        model: A network whose layers with weights are torch's Linear and convolutions, transposed ones included.
        rate: r, the rate at which the feedback weights follow, in (0, 1].
        rows: n, the number of noise patterns per pass.
        seed: Seed of the feedback weights at the start and of the noise.
        scale: Root mean square of the feedback weights at the start relative to the layer's own weights.
        feedback_site: Site at which the signal of a decorrelated layer arrives, see `FeedbackAlignment`.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no layer with weights, or weights of another kind, which would be transported.
    """

    name = "weight_mirror"
    signal = "the error, fed back layer by layer through weights learned from responses to noise"
    bias = "biased at first; falls by 1 - rate per pass, lags behind weights that change"
    variance = "of the feedback weights: rate / (2 - rate) (d + 1) / rows |W|^2, d inputs of a unit"
    locality = "local: noise in front of a synapse, the response behind it, decay; phases without input"
    cost = "1 forward, 1 backward, 4 rows flop per weight"
    memory = "the activations, as for backprop; one feedback weight per weight"
    source = (
        "Akrout, Wilson, Humphreys, Lillicrap & Tweed 2019, Deep learning without weight transport, arXiv:1904.05391"
    )

    def __init__(
        self,
        model: nn.Module,
        *,
        rate: float = 0.01,
        rows: int = 64,
        seed: int = 0,
        scale: float = 1.0,
        feedback_site: FeedbackSite = "pre_decorrelation",
    ) -> None:
        super().__init__(model)
        problems = checks.number("rate", rate, above=0, most=1), checks.whole_number("rows", rows, least=1)
        self._paths = FeedbackPaths(self, seed, scale, feedback_site, *problems)
        self._paths.draw()
        self.rate = rate
        self.rows = rows
        self._through_matrix = feedback_site == "pre_decorrelation"
        self._noise = Noise("gaussian", seed)

    def feedback_weights(self) -> dict[str, Tensor]:
        """Feedback weights B by the qualified name of the layer, each of the shape of its layer's weight."""
        return self._paths.kept()

    @torch.no_grad()
    def mirror(self) -> None:
        """Update the feedback weights once from responses to noise; `backward` does so before every pass."""
        for name, feedback in self._paths.kept().items():
            layer = self._paths.layers[name]
            weight = decorrelated(layer, layer.weight) if self._through_matrix else layer.weight
            groups = 1 if isinstance(layer, nn.Linear) else layer.groups
            # (groups, units behind, inputs of a unit); a transposed convolution holds its inputs first.
            matrix = weight.reshape(groups, weight.shape[0] // groups, -1)
            matrix = matrix.mT if isinstance(layer, TransposedConvolution) else matrix
            noise = self._noise.draw(matrix.new_empty(groups, self.rows, matrix.shape[-1]))
            with torch.autocast(matrix.device.type, enabled=False):
                estimate = (noise @ matrix.mT).mT @ noise / self.rows
            estimate = estimate.mT if isinstance(layer, TransposedConvolution) else estimate
            feedback.lerp_(estimate.reshape(feedback.shape), self.rate)

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Mirror the weights, and add the update to `.grad`; see `Credit.backward`."""
        model = self._checked_model(inputs)
        self.mirror()
        return self._paths.backward(model, loss_function, inputs, targets, self.feedback_weights())


def _adding_to(feedback: nn.Parameter) -> Callable[[Tensor], None]:
    """Hook of a weight that adds its gradient to that of the feedback weights."""

    def add(gradient: Tensor) -> None:
        if feedback.grad is None:
            feedback.grad = gradient.detach().clone()
        else:
            feedback.grad += gradient

    return add
