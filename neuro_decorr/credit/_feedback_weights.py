"""Feedback weights: drawn once, kept by a credit, sent through for the duration of a pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.credit._feedback_layers import WeightLayer, split
from neuro_decorr.credit._feedback_path import ErrorBroadcast, FeedbackPath, send
from neuro_decorr.credit._layers import Forward, replaced
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss

FeedbackSite = Literal["pre_decorrelation", "post_decorrelation"]
"""Where the signal of a layer arrives whose input is transformed, by a Decorrelation or by forward pre-hooks.

`pre_decorrelation`: straight at the input of these, which are skipped, so that no lateral weights are transported (and
parameters inside get no gradient).
`post_decorrelation`: behind them, and they are differentiated exactly, D^T included.
"""


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
    """The feedback paths of the layers with weights of a credit's model, and passes that send signals through them.

    Args:
        credit: That keeps the feedback weights.
        seed: Of the feedback weights.
        scale: Their root mean square relative to the layers' own weights.
        site: Where the signals arrive.
        *problems: With further parameters of the credit, to be told with those of the ones here.

    Raises:
        InvalidValue: A parameter is out of range.
        Unsupported: The model has no layer with weights, or weights of another kind.
    """

    def __init__(self, credit: Credit, seed: int, scale: float, site: FeedbackSite, *problems: str | None) -> None:
        checks.refuse(
            credit.name,
            *problems,
            checks.whole_number("seed", seed, least=0),
            checks.number("scale", scale, above=0),
            checks.word("feedback_site", site, get_args(FeedbackSite)),
        )
        self.layers, between = split(credit)
        self._credit = credit
        self._scale = scale
        self._generator = torch.Generator().manual_seed(seed)
        self._paths = [FeedbackPath(name, layer) for name, layer in self.layers.items()]
        self._skips = site == "pre_decorrelation"
        self._between = between if self._skips else []

    def size(self, name: str) -> float:
        """The root mean square of the feedback weights of a layer."""
        return self._scale * size_of(self.layers[name].weight)

    def gaussian(self, name: str, shape: Any = None) -> Tensor:
        """Feedback weights for a layer: the next ones, of a shape, or that of the layer's own."""
        weight = self.layers[name].weight
        return gaussian(weight.shape if shape is None else shape, self.size(name), self._generator, weight)

    def draw(self, learned: bool = False) -> None:
        """Draw feedback weights of the shapes of the layers' own, and keep them."""
        for name in self.layers:
            keep(self._credit, name, self.gaussian(name), learned)

    def kept(self) -> dict[str, Tensor]:
        """The feedback weights that the credit keeps, by the name of their layer."""
        return {name: kept(self._credit, name, layer.weight) for name, layer in self.layers.items()}

    def seed(self) -> int:
        """A seed for what is drawn later."""
        return int(torch.randint(2**62, (), generator=self._generator))

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
