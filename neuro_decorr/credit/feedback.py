"""Random feedback: feedback alignment and direct feedback alignment."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._feedback_layers import outputs_of
from neuro_decorr.credit._feedback_path import ErrorBroadcast
from neuro_decorr.credit._feedback_weights import (
    FeedbackPaths,
    FeedbackSite,
    gaussian,
    keep,
    kept,
    key_of,
)
from neuro_decorr.credit._run import one_tensor, run
from neuro_decorr.credit._time import is_time_first, layout_problems
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import Unsupported


@final
@register
class FeedbackAlignment(Credit):
    r"""Feedback alignment: the error travels back through fixed random weights, not the transposed forward weights.

    $$\delta_l = f'(a_l) \odot B_{l+1}^T \delta_{l+1}, \qquad \Delta W_l = \sum_n \delta_l x_l^T$$

    with B_l of the shape of W_l, and delta the error at the layer's output. Every layer learns from the exact product
    with its own input, and the output layer learns from its true error. Everything between the layers with weights
    (activation functions, normalisation, pooling, padding, reshaping) is differentiated exactly. For a convolution B is
    a kernel, and B^T delta is the transposed convolution with B, of the same stride, padding, dilation and groups.

    In time (a spiking network, one layer used at every step) the same B serves at all steps. The functions between the
    layers, membranes with their surrogate derivatives included, are differentiated through time.

    B is drawn once, Gaussian, with the root mean square of the layer's weight at creation times `scale`. For a layer
    that starts at zero this is 1 / sqrt(3 inputs of a unit), the size with which torch would have initialised it. Each
    module has one B: a layer that is used several times sends all its signals through the same B.

    Cost: as backprop, plus memory for the feedback weights.

    Source: Lillicrap, Cownden, Tweed & Akerman 2016, Random synaptic feedback weights support error backpropagation
    for deep learning, doi:10.1038/ncomms13276.

    Args:
        model: A network whose layers with weights are torch's Linear and convolutions, transposed ones included.
        seed: Seed of the feedback weights.
        scale: Root mean square of the feedback weights relative to the layer's own weights.
        feedback_site: Site at which the signal arrives, for a layer whose input is transformed by a Decorrelation
            (attached, as a cell or as a module) or by forward pre-hooks. "pre_decorrelation": at the input of the
            transform, which the signal skips, so that no lateral weights are transported (and parameters inside get no
            gradient). "post_decorrelation": at the output of the transform, which is then differentiated exactly, D^T
            included.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no layer with weights, or weights of another kind, which would be transported.
    """

    name = "feedback_alignment"
    signal = "the error, fed back layer by layer through fixed random weights"
    bias = "biased; the forward weights come to align with the feedback"
    variance = "none beyond that of the mini-batch"
    locality = "local given a feedback pathway; no weight transport"
    cost = "1 forward, 1 backward"
    memory = "the activations, as backprop; one feedback weight per weight"
    source = (
        "Lillicrap, Cownden, Tweed & Akerman 2016, Random synaptic feedback weights support error "
        "backpropagation for deep learning, doi:10.1038/ncomms13276"
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
        self._paths.draw()

    def feedback_weights(self) -> dict[str, Tensor]:
        """Feedback weights B by the qualified name of the layer, each of the shape of its layer's weight."""
        return self._paths.kept()

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the feedback alignment update to `.grad`; see `Credit.backward`."""
        return self._paths.backward(
            self._checked_model(inputs), loss_function, inputs, targets, self.feedback_weights()
        )


@final
@register
class DirectFeedbackAlignment(Credit):
    r"""Direct feedback alignment: every layer receives the error at the outputs through its own fixed random weights.

    $$\delta_l = f'(a_l) \odot B_{l+1}^T e, \quad e = \partial L / \partial y, \quad \Delta W_l = \sum \delta_l x_l^T$$

    with B_l of shape (outputs, units), the random projection of the error to the input of layer l. The output layer
    learns from its true error. Everything between the layers with weights, pooling and normalisation included, is
    differentiated exactly, since the signal arrives at the input of the next layer.

    Before a convolution B_l has the shape (outputs, channels, *positions): one weight for every unit of the map, as in
    the paper. It is drawn in the first pass, when the size of the images is known, and holds for images of that size.

    B_l is Gaussian, with the root mean square of the weight of layer l at creation times `scale`. For a layer that
    starts at zero this is 1 / sqrt(3 inputs of a unit).

    In time a layer receives the same e at all its steps. This holds for a layer that is called once per step, and for a
    layer whose inputs have a dimension that the error lacks: (batch, time, features) or, with `time_first`, (time,
    batch, features). A readout that averages over T steps would pass e / T to each of them: `scale=1 / T` corrects for
    that.

    Cost: as backprop, with products of width `outputs` instead of the widths of the layers.

    Source: Nøkland 2016, Direct feedback alignment provides learning in deep neural networks, arXiv:1609.01596.

    Args:
        model: A network whose layers with weights are torch's Linear and convolutions, transposed ones included.
        seed: Seed of the feedback weights.
        scale: Root mean square of the feedback weights relative to the layer's own weights.
        feedback_site: Site at which the signal of a decorrelated layer arrives; see `FeedbackAlignment`. Decorrelated
            convolutions take "pre_decorrelation" only, since their patches are not units.
        outputs: Size of the last dimension of the model's output; by default the outputs or the channels of the layer
            with weights that the model defines last.
        time_first: True if layers run over sequences (time, batch, features), False for (batch, time, features). None:
            as declared by the neurons of the model.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no layer with weights, or weights of another kind, which would be transported.
    """

    name = "direct_feedback_alignment"
    signal = "the output error, sent to every layer through its own fixed random weights"
    bias = "biased; the forward weights come to align with the feedback"
    variance = "none beyond that of the mini-batch"
    locality = "local given a broadcast error; no weight transport, no layer waits for another"
    cost = "1 forward, 1 backward"
    memory = "the activations, as backprop; outputs x units feedback weights in front of every layer"
    source = "Nøkland 2016, Direct feedback alignment provides learning in deep neural networks, arXiv:1609.01596"

    def __init__(
        self,
        model: nn.Module,
        *,
        seed: int = 0,
        scale: float = 1.0,
        feedback_site: FeedbackSite = "pre_decorrelation",
        outputs: int | None = None,
        time_first: bool | None = None,
    ) -> None:
        super().__init__(model)
        outputs_problem = None if outputs is None else checks.whole_number("outputs", outputs, least=1)
        problems = outputs_problem, *layout_problems(time_first)
        self._paths = FeedbackPaths(self, seed, scale, feedback_site, *problems)
        layers = self._paths.layers
        self.time_first = time_first
        self.outputs = outputs_of(list(layers.values())[-1]) if outputs is None else outputs
        self._to_draw: dict[str, tuple[int, float]] = {}  # of convolutions: seed and root mean square
        for name, layer in layers.items():
            if isinstance(layer, nn.Linear):
                keep(self, name, self._paths.gaussian(name, (self.outputs, layer.in_features)))
                continue
            if feedback_site == "post_decorrelation" and hasattr(layer, "decorrelated_weight"):
                raise Unsupported(
                    f"{self.name} cannot send an error to the patches of the decorrelated convolution '{name}', which "
                    "are not units: use feedback_site='pre_decorrelation'."
                )
            self._to_draw[name] = self._paths.seed(), self._paths.size(name)

    def feedback_weights(self) -> dict[str, Tensor]:
        """Feedback weights B (outputs, *units) by the name of the layer; of convolutions after the first pass."""
        drawn = {name: layer for name, layer in self._paths.layers.items() if hasattr(self, key_of(name))}
        return {name: kept(self, name, layer.weight) for name, layer in drawn.items()}

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the direct feedback alignment update to `.grad`; see `Credit.backward`."""
        model = self._checked_model(inputs)
        broadcast = ErrorBroadcast(self.outputs, is_time_first(model, self.time_first))
        with self._paths.sending(self._sent, broadcast):
            outputs = one_tensor(self.name, run(model, inputs))
            # The hook runs when the gradient of the outputs is complete, before it goes on to any layer.
            outputs.register_hook(broadcast.receive)  # type: ignore[no-untyped-call]
            loss = scalar_loss(loss_function, outputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _sent(self, name: str, shape: torch.Size) -> Tensor:
        """Weights from the outputs to the input of a layer, for an input of a shape."""
        layer = self._paths.layers[name]
        if isinstance(layer, nn.Linear):
            return self._paths.arriving(name, kept(self, name, layer.weight))
        units = shape[1 - layer.weight.dim() :]
        if not hasattr(self, key_of(name)):
            seed, size = self._to_draw[name]
            generator = torch.Generator().manual_seed(seed)
            keep(self, name, gaussian((self.outputs, *units), size, generator, layer.weight))
        weight = kept(self, name, layer.weight)
        if weight.shape[1:] != units:
            raise Unsupported(
                f"{self.name} has one feedback weight for every unit in front of the convolution '{name}', "
                f"{tuple(weight.shape[1:])}, and this pass has {tuple(units)} there: give images of one size, or use "
                "feedback_alignment."
            )
        return weight

    def get_extra_state(self) -> dict[str, tuple[int, float]]:
        """State of the generator that draws the weights in front of convolutions in the first pass."""
        return dict(self._to_draw)

    def set_extra_state(self, state: dict[str, tuple[int, float]]) -> None:
        """Draw these weights as the saved credit would have drawn them."""
        self._to_draw = dict(state)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Load the weights in front of convolutions that the saved credit had drawn, and no others."""
        for name in self._to_draw:
            saved = state_dict.get(prefix + key_of(name))
            if saved is not None:
                keep(self, name, torch.empty_like(saved).to(self._paths.layers[name].weight))
            elif hasattr(self, key_of(name)):
                delattr(self, key_of(name))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
