"""Random feedback: feedback alignment and direct feedback alignment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final, get_args

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from neuro_decorr import checks
from neuro_decorr.credit._feedback_path import ErrorBroadcast, FeedbackPath
from neuro_decorr.credit._feedback_weights import FeedbackSite, make_paths, sending_feedback
from neuro_decorr.credit._layers import is_plain_linear, name_of, own_parameters, walk
from neuro_decorr.credit._time import layout_problems
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss
from neuro_decorr.credit.registry import register
from neuro_decorr.errors import Unsupported

# Modules with weights that feedback leaves to exact differentiation: they scale single features or look up rows.
_ELEMENTWISE = (nn.LayerNorm, nn.Embedding, nn.EmbeddingBag)


@final
@register
class FeedbackAlignment(Credit):
    r"""The error travels back through fixed random weights instead of the transposed forward weights.

    $$\delta_l = f'(a_l) \odot B_{l+1}^T \delta_{l+1}, \qquad \Delta W_l = \sum_n \delta_l x_l^T$$

    with B_l of the shape of W_l (out_features, in_features) and delta (out_features,). Every layer learns from the
    exact outer product with its own input; the output layer from its true error. Everything between the linear
    layers (activation functions, normalisation, reshaping) is differentiated exactly. Cost: as backprop, plus the
    feedback weights.

    In time (a spiking network, one layer used at every step) the same B serves at all steps, and what lies between the
    layers, the membranes and their surrogate derivatives, is differentiated through time.

    B is drawn once, Gaussian, with the root mean square of the layer's weight at creation times `scale`; a layer that
    starts at zero gets 1 / sqrt(3 in_features), what torch would have initialised it with. One B per module: a
    layer that is used several times sends all its signals through the same B.

    Source: Lillicrap, Cownden, Tweed & Akerman 2016, Random synaptic feedback weights support error backpropagation
    for deep learning, doi:10.1038/ncomms13276.

    Args:
        model: A network whose weight layers are `nn.Linear`.
        seed: Seed of the feedback weights.
        scale: Root mean square of the feedback weights relative to the layer's own weights.
        feedback_site: Where the signal of a layer whose input is transformed, by a Decorrelation or by forward
            pre-hooks, arrives. "pre_decorrelation": straight at the input of these, which are skipped, so that no
            lateral weights are transported (and parameters inside get no gradient). "post_decorrelation": behind
            them, and they are differentiated exactly, D^T included.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no linear layer, or another layer with weights that would be transported.
    """

    name = "feedback_alignment"
    signal = "the error, fed back layer by layer through fixed random weights"
    bias = "biased; the forward weights come to align with the feedback"
    variance = "none beyond that of the mini-batch"
    locality = "local given a feedback pathway; no weight transport"
    cost = "1 forward, 1 backward; keeps the activations; one feedback weight per weight"
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
        checks.refuse(self.name, *_common_problems(seed, scale, feedback_site))
        self.feedback_site = feedback_site
        generator = torch.Generator().manual_seed(seed)
        self._paths = make_paths(self, _linear_layers(self), generator, scale, lambda layer: layer.out_features)

    def feedback_weights(self) -> dict[str, Tensor]:
        """The feedback weights B (out_features, in_features) by the qualified name of their layer."""
        return _weights_by_layer(self, self._paths)

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the feedback alignment update to `.grad`; see `Credit.backward`."""
        model = self._checked_model()
        with sending_feedback(self, self._paths, self.feedback_site, None):
            loss = scalar_loss(loss_function, model(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


@final
@register
class DirectFeedbackAlignment(Credit):
    r"""The error at the outputs is sent to every layer directly, through fixed random weights.

    $$\delta_l = f'(a_l) \odot B_{l+1}^T e, \quad e = \partial L / \partial y, \quad \Delta W_l = \sum \delta_l x_l^T$$

    with B_l of shape (outputs, in_features), the random projection of the error to the input of layer l. The output
    layer learns from its true error. Everything between the linear layers is differentiated exactly. Cost: as
    backprop, with products of width `outputs` instead of the layers' widths.

    B_l is drawn once, Gaussian, with the root mean square that the weight of layer l has at creation times `scale`;
    a layer that starts at zero gets 1 / sqrt(3 in_features).

    In time a layer receives the same e at all its steps: where it is called once a step, and where its inputs have a
    dimension that the error lacks, (batch, time, features) or, with `time_first`, (time, batch, features). A readout
    that averages over T steps would pass e / T on to each of them: `scale=1 / T` makes up for that.

    Source: Nøkland 2016, Direct feedback alignment provides learning in deep neural networks, arXiv:1609.01596.

    Args:
        model: A network whose weight layers are `nn.Linear`.
        seed: Seed of the feedback weights.
        scale: Root mean square of the feedback weights relative to the layer's own weights.
        feedback_site: Where the signal of a layer with forward pre-hooks (a decorrelating transform) arrives; see
            `FeedbackAlignment`.
        outputs: Size of the last dimension of the model's output; by default the `out_features` of the linear layer
            that the model defines last.
        time_first: Whether layers run over sequences (time, batch, features); else over (batch, time, features).

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no linear layer, or another layer with weights that would be transported.
    """

    name = "direct_feedback_alignment"
    signal = "the output error, sent to every layer through its own fixed random weights"
    bias = "biased; the forward weights come to align with the feedback"
    variance = "none beyond that of the mini-batch"
    locality = "local given a broadcast error; no weight transport, no layer waits for another"
    cost = "1 forward, 1 backward; keeps the activations; outputs x in_features feedback weights per layer"
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
        problems = (*_common_problems(seed, scale, feedback_site), outputs_problem, *layout_problems(time_first))
        checks.refuse(self.name, *problems)
        self.feedback_site = feedback_site
        self.time_first = time_first
        self.outputs = list(_linear_layers(self))[-1][1].out_features if outputs is None else outputs
        generator = torch.Generator().manual_seed(seed)
        self._paths = make_paths(self, _linear_layers(self), generator, scale, lambda _: self.outputs)

    def feedback_weights(self) -> dict[str, Tensor]:
        """The feedback weights B (outputs, in_features) by the qualified name of their layer."""
        return _weights_by_layer(self, self._paths)

    def backward(self, loss_function: LossFunction, inputs: Any, targets: Any) -> Tensor:
        """Add the direct feedback alignment update to `.grad`; see `Credit.backward`."""
        model = self._checked_model()
        broadcast = ErrorBroadcast(self.outputs, self.time_first)
        with sending_feedback(self, self._paths, self.feedback_site, broadcast):
            outputs = model(inputs)
            if not isinstance(outputs, Tensor):
                raise Unsupported(f"{self.name} needs a model that returns one tensor, got {type(outputs)}")
            # The hook runs when the gradient of the outputs is complete, before it goes on to any layer.
            outputs.register_hook(broadcast.receive)  # type: ignore[no-untyped-call]
            loss = scalar_loss(loss_function, outputs, targets)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def _common_problems(seed: object, scale: object, feedback_site: object) -> tuple[str | None, ...]:
    return (
        checks.whole_number("seed", seed, least=0),
        checks.number("scale", scale, above=0),
        checks.word("feedback_site", feedback_site, get_args(FeedbackSite)),
    )


def _linear_layers(credit: Credit) -> Iterator[tuple[str, nn.Linear]]:
    """The linear layers of the model by name; refuses models in which a weight would be transported unnoticed."""
    inside: set[nn.Module] = set()  # what hangs on a linear layer (a decorrelating transform) is part of that layer
    count = 0
    for name, module in credit.model.named_modules():
        if module in inside:
            continue
        if is_plain_linear(module):
            if is_lazy(module.weight):
                raise Unsupported(f"layer '{name}' has no weights yet; run the model once before making the credit.")
            inside.update(walk(module))
            count += 1
            yield name, module
        elif not isinstance(module, _ELEMENTWISE) and any(p.dim() > 1 for p in own_parameters(module)):
            raise Unsupported(
                f"{credit.name} covers nn.Linear so far, and layer {name_of(credit.model, module)} has "
                "weights of another kind, through which the error would be transported exactly; "
                "use backprop, node_perturbation or activity_perturbation for this model."
            )
    if not count:
        raise Unsupported(f"{credit.name} needs a model with nn.Linear layers; this one has none.")


def _weights_by_layer(credit: Credit, paths: list[FeedbackPath]) -> dict[str, Tensor]:
    names = {module: name for name, module in credit.model.named_modules()}
    return {names[path.layer]: credit.get_buffer(path.buffer) for path in paths}
