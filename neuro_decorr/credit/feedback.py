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
from neuro_decorr.credit._time import layout_problems
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import Unsupported


@final
@register
class FeedbackAlignment(Credit):
    r"""The error travels back through fixed random weights instead of the transposed forward weights.

    $$\delta_l = f'(a_l) \odot B_{l+1}^T \delta_{l+1}, \qquad \Delta W_l = \sum_n \delta_l x_l^T$$

    with B_l of the shape of W_l and delta of the layer's output. Every layer learns from the exact product with its own
    input; the output layer from its true error. Everything between the layers with weights (activation functions,
    normalisation, pooling, padding, reshaping) is differentiated exactly. Of a convolution B is a kernel of its own,
    and B^T delta the transposed convolution with it, of the same stride, padding, dilation and groups.

    In time (a spiking network, one layer used at every step) the same B serves at all steps, and what lies between the
    layers, the membranes and their surrogate derivatives, is differentiated through time.

    B is drawn once, Gaussian, with the root mean square of the layer's weight at creation times `scale`; a layer that
    starts at zero gets 1 / sqrt(3 inputs of a unit), what torch would have initialised it with. One B per module: a
    layer that is used several times sends all its signals through the same B.

    Cost: as backprop, plus the feedback weights.

    Source: Lillicrap, Cownden, Tweed & Akerman 2016, Random synaptic feedback weights support error backpropagation
    for deep learning, doi:10.1038/ncomms13276.

    Args:
        model: A network whose layers with weights are torch's Linear and convolutions, transposed ones included.
        seed: Seed of the feedback weights.
        scale: Root mean square of the feedback weights relative to the layer's own weights.
        feedback_site: Where the signal of a layer whose input is transformed, by a Decorrelation (attached, as a cell
            or as a module of its own) or by forward pre-hooks, arrives. "pre_decorrelation": straight at the input of
            these, which are skipped, so that no lateral weights are transported (and parameters inside get no
            gradient). "post_decorrelation": behind them, and they are differentiated exactly, D^T included.

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
        """The feedback weights B, each of the shape of its layer's weight, by the qualified name of the layer."""
        return self._paths.kept()

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the feedback alignment update to `.grad`; see `Credit.backward`."""
        return self._paths.backward(
            self._checked_model(inputs), loss_function, inputs, targets, self.feedback_weights()
        )


@final
@register
class DirectFeedbackAlignment(Credit):
    r"""The error at the outputs is sent to every layer directly, through fixed random weights.

    $$\delta_l = f'(a_l) \odot B_{l+1}^T e, \quad e = \partial L / \partial y, \quad \Delta W_l = \sum \delta_l x_l^T$$

    with B_l of shape (outputs, units), the random projection of the error to the input of layer l. The output layer
    learns from its true error. Everything between the layers with weights is differentiated exactly, poolings and
    normalisation included: the signal arrives at the input of a layer, behind them.

    In front of a convolution B_l has the shape (outputs, channels, *positions): one weight for every unit of the map,
    as Nøkland has it. So it is drawn when the size of the images is known, in the first pass, and holds for images of
    that size.

    B_l is Gaussian, with the root mean square that the weight of layer l has at creation times `scale`; a layer that
    starts at zero gets 1 / sqrt(3 inputs of a unit).

    In time a layer receives the same e at all its steps: where it is called once a step, and where its inputs have a
    dimension that the error lacks, (batch, time, features) or, with `time_first`, (time, batch, features). A readout
    that averages over T steps would pass e / T on to each of them: `scale=1 / T` makes up for that.

    Cost: as backprop, with products of width `outputs` instead of the layers' widths.

    Source: Nøkland 2016, Direct feedback alignment provides learning in deep neural networks, arXiv:1609.01596.

    Args:
        model: A network whose layers with weights are torch's Linear and convolutions, transposed ones included.
        seed: Seed of the feedback weights.
        scale: Root mean square of the feedback weights relative to the layer's own weights.
        feedback_site: Where the signal of a decorrelated layer arrives; see `FeedbackAlignment`. Patches of a
            decorrelated convolution are no units, so that these take "pre_decorrelation" alone.
        outputs: Size of the last dimension of the model's output; by default the outputs or the channels of the layer
            with weights that the model defines last.
        time_first: Whether layers run over sequences (time, batch, features); else over (batch, time, features).

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
        time_first: bool = False,
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
                    f"{self.name}: the patches behind the Decorrelation of the convolution '{name}' are no units that "
                    "an error could be sent to; use feedback_site='pre_decorrelation'."
                )
            self._to_draw[name] = self._paths.seed(), self._paths.size(name)

    def feedback_weights(self) -> dict[str, Tensor]:
        """The feedback weights B (outputs, *units) by the name of their layer; of convolutions from the first pass."""
        drawn = {name: layer for name, layer in self._paths.layers.items() if hasattr(self, key_of(name))}
        return {name: kept(self, name, layer.weight) for name, layer in drawn.items()}

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the direct feedback alignment update to `.grad`; see `Credit.backward`."""
        model = self._checked_model(inputs)
        broadcast = ErrorBroadcast(self.outputs, self.time_first)
        with self._paths.sending(self._sent, broadcast):
            outputs = model(inputs)
            if not isinstance(outputs, Tensor):
                raise Unsupported(f"{self.name} needs a model that returns one tensor, got {type(outputs)}")
            # The hook runs when the gradient of the outputs is complete, before it goes on to any layer.
            outputs.register_hook(broadcast.receive)  # type: ignore[no-untyped-call]
            loss = scalar_loss(loss_function, outputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _sent(self, name: str, shape: torch.Size) -> Tensor:
        """The weights from the outputs to the input of a layer, for an input of a shape."""
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
                f"{tuple(weight.shape[1:])}, and this pass has {tuple(units)} there; give images of one size, or use "
                "feedback_alignment."
            )
        return weight

    def get_extra_state(self) -> dict[str, tuple[int, float]]:
        """What the weights in front of convolutions are drawn from, in the first pass."""
        return dict(self._to_draw)

    def set_extra_state(self, state: dict[str, tuple[int, float]]) -> None:
        """Draw them as a saved credit would have."""
        self._to_draw = dict(state)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Have the weights in front of convolutions that the saved credit had drawn, and no others."""
        for name in self._to_draw:
            saved = state_dict.get(prefix + key_of(name))
            if saved is not None:
                keep(self, name, torch.empty_like(saved).to(self._paths.layers[name].weight))
            elif hasattr(self, key_of(name)):
                delattr(self, key_of(name))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
