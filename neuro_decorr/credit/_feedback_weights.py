"""Feedback weights: drawn once, kept by a credit, sent through for the duration of a pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._feedback_layers import WeightLayer
from neuro_decorr.credit._feedback_path import ErrorBroadcast, FeedbackPath, send
from neuro_decorr.credit._layers import Forward, replaced
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss

FeedbackSite = Literal["pre_decorrelation", "post_decorrelation"]
"""Where the signal of a layer arrives whose input is transformed, by a Decorrelation or by forward pre-hooks.

`pre_decorrelation`: straight at the input of these, which are skipped, so that no lateral weights are transported (and
parameters inside get no gradient).
`post_decorrelation`: behind them, and they are differentiated exactly, D^T included.
"""


def common_problems(seed: object, scale: object, feedback_site: object) -> tuple[str | None, ...]:
    """The problems with the parameters that all kinds of feedback have."""
    return (
        checks.whole_number("seed", seed, least=0),
        checks.number("scale", scale, above=0),
        checks.word("feedback_site", feedback_site, get_args(FeedbackSite)),
    )


def size_of(weight: Tensor) -> float:
    """The root mean square of a layer's weights; where they are zero, that with which torch would have drawn them."""
    weight = weight.detach()
    return weight.double().square().mean().sqrt().item() or (3 * weight[0].numel()) ** -0.5


def gaussian(shape: Any, size: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Gaussian numbers of a root mean square `size`, of the type and on the device of a tensor.

    Drawn in float64 on the CPU: the same seed gives the same feedback on every device and in every precision.
    """
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * size).to(like.detach())


def key_of(layer: str) -> str:
    """What a credit calls the feedback weights of a layer: unlike a layer's, the name of a tensor may hold no dots."""
    return f"feedback/{layer.replace('/', '//').replace('.', '/')}" if layer else "feedback"


def keep(credit: Credit, layer: str, weight: Tensor, learned: bool = False) -> None:
    """Keep the feedback weights of a layer, as a buffer, or as a parameter where an optimiser moves them."""
    if learned:
        credit.register_parameter(key_of(layer), nn.Parameter(weight))
    else:
        credit.register_buffer(key_of(layer), weight)


def kept(credit: Credit, layer: str, like: Tensor) -> Tensor:
    """The feedback weights of a layer, after the credit has followed a model that moved to another device."""
    weight: Tensor = getattr(credit, key_of(layer))
    if weight.device != like.device:
        moved = weight.detach().to(like.device)
        if isinstance(weight, nn.Parameter):  # stays the one that an optimiser holds
            weight.data = moved
        else:
            credit._buffers[key_of(layer)] = weight = moved
    return weight.detach() if weight.requires_grad else weight


@final
class FeedbackPaths:
    """The feedback paths of layers with weights, and passes that send signals through them.

    Args:
        layers: The layers by name.
        between: Decorrelations that belong to none of them.
        site: Where the signals arrive.
    """

    def __init__(self, layers: dict[str, WeightLayer], between: list[nn.Module], site: FeedbackSite) -> None:
        self.layers = layers
        self._paths = [FeedbackPath(name, layer) for name, layer in layers.items()]
        self._skips = site == "pre_decorrelation"
        self._between = between if self._skips else []

    def draw(self, credit: Credit, generator: torch.Generator, scale: float, learned: bool = False) -> None:
        """Draw feedback weights of the shapes of the layers' own, and keep them."""
        for name, layer in self.layers.items():
            weight = layer.weight
            keep(credit, name, gaussian(weight.shape, scale * size_of(weight), generator, weight), learned)

    def kept(self, credit: Credit) -> dict[str, Tensor]:
        """The feedback weights that a credit keeps, by the name of their layer."""
        return {name: kept(credit, name, layer.weight) for name, layer in self.layers.items()}

    def arriving(self, name: str, weight: Tensor) -> Tensor:
        """What weights in the place of a layer's own send to the input of the layer: with D, where that is passed."""
        return weight if self._skips else decorrelated(self.layers[name], weight)

    def backward(
        self, model: nn.Module, loss_function: LossFunction, inputs: Any, targets: Any, weights: dict[str, Tensor]
    ) -> Tensor:
        """A forward and a backward pass through feedback weights of the shapes of the layers' own; gives the loss."""
        sent = weights if self._skips else {name: self.arriving(name, weight) for name, weight in weights.items()}
        with self.sending(lambda name, _: sent[name]):
            loss = scalar_loss(loss_function, model(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @contextmanager
    def sending(
        self, weights: Callable[[str, torch.Size], Tensor], broadcast: ErrorBroadcast | None = None
    ) -> Iterator[None]:
        """Let the layers send their feedback signals, for the duration of one forward and backward pass.

        Args:
            weights: Gives the feedback weights for a layer's name and the shape of its input.
            broadcast: The error at the outputs, if that is sent to all layers.
        """
        hooks = []
        stand_ins: list[tuple[nn.Module, str, Forward]] = [
            (module, method, _straight_through(getattr(module, method)))
            for module in self._between
            for method in ("run", "run_steps")
        ]
        try:
            for path in self._paths:
                path.weight = functools.partial(weights, path.name)
                path.broadcast = broadcast
                if self._skips and path.layer._forward_pre_hooks:
                    hooks.append(path.layer.register_forward_pre_hook(path.remember, prepend=True, with_kwargs=True))
                stand_ins.append((path.layer, "forward", path.forward))
            with replaced(stand_ins):
                yield
        finally:
            for hook in hooks:
                hook.remove()
            for path in self._paths:
                path.weight = path.broadcast = path.receiver = None


def decorrelated(layer: WeightLayer, weight: Tensor) -> Tensor:
    """Weights in the place of a layer's own, times D where the layer is decorrelated."""
    with_transform: Callable[[Tensor], Tensor] | None = getattr(layer, "decorrelated_weight", None)
    return weight if with_transform is None else with_transform(weight)


@final
class _Straight:
    """Sends errors as they are."""

    @staticmethod
    def signal(delta: Tensor, shape: torch.Size) -> Tensor:  # noqa: ARG004  # of the protocol
        """The error itself."""
        return delta


def _straight_through(method: Forward) -> Forward:
    """A method of a Decorrelation whose backward passes the error by it."""

    def stand_in(inputs: Tensor, *arguments: Any, **keywords: Any) -> Any:
        found = method(inputs.detach(), *arguments, **keywords)
        if isinstance(found, tuple):
            return send(_Straight, inputs, found[0]), *found[1:]
        return send(_Straight, inputs, found)

    return stand_in
