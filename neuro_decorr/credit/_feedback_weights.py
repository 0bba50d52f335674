"""Feedback weights, which are drawn once, kept by a credit and used for the duration of a pass."""

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
from neuro_decorr.credit._run import run
from neuro_decorr.credit.base import Credit, LossFunction, scalar_loss

FeedbackSite = Literal["pre_decorrelation", "post_decorrelation"]
"""Site at which the signal arrives, for a layer whose input is transformed by a Decorrelation or forward pre-hooks.

`pre_decorrelation`: at the input of the transform, which the signal skips, so that no lateral weights are transported
(and parameters inside get no gradient).
`post_decorrelation`: at the output of the transform, which is then differentiated exactly, D^T included.
"""


def size_of(weight: Tensor) -> float:
    """Root mean square of a layer's weights; for weights of zero, the size with which torch would have drawn them."""
    weight = weight.detach()
    return weight.double().square().mean().sqrt().item() or (3 * weight[0].numel()) ** -0.5


def gaussian(shape: Any, size: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """Gaussian numbers of a root mean square `size`, of the type and on the device of a tensor.

    The numbers are drawn in float64 on the CPU, so that a seed gives the same feedback on every device and in every
    precision.
    """
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * size).to(like.detach())


def key_of(layer: str) -> str:
    """Name of a layer's feedback weights in a credit, without dots, which the name of a tensor may not contain."""
    return f"feedback/{layer.replace('/', '//').replace('.', '/')}" if layer else "feedback"


def keep(credit: Credit, layer: str, weight: Tensor, learned: bool = False) -> None:
    """Keep the feedback weights of a layer, as a buffer, or as a parameter if an optimiser moves them."""
    if learned:
        credit.register_parameter(key_of(layer), nn.Parameter(weight))
    else:
        credit.register_buffer(key_of(layer), weight)


def kept(credit: Credit, layer: str, like: Tensor) -> Tensor:
    """Feedback weights of a layer, moved to the device of the model if necessary."""
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
    """Feedback paths of the weight layers of a credit's model, and passes that send signals through them.

    Args:
        credit: Credit that keeps the feedback weights.
        seed: Seed of the feedback weights.
        scale: Root mean square of the feedback weights relative to the layers' own weights.
        site: Site at which the signals arrive.
        *problems: Problems of further parameters of the credit, reported together with those of the parameters here.

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
        """Root mean square of the feedback weights of a layer."""
        return self._scale * size_of(self.layers[name].weight)

    def gaussian(self, name: str, shape: Any = None) -> Tensor:
        """Draw the next feedback weights for a layer, of a given shape or that of the layer's own weights."""
        weight = self.layers[name].weight
        return gaussian(weight.shape if shape is None else shape, self.size(name), self._generator, weight)

    def draw(self, learned: bool = False) -> None:
        """Draw feedback weights of the shapes of the layers' own, and keep them."""
        for name in self.layers:
            keep(self._credit, name, self.gaussian(name), learned)

    def kept(self) -> dict[str, Tensor]:
        """Feedback weights that the credit keeps, by the name of their layer."""
        return {name: kept(self._credit, name, layer.weight) for name, layer in self.layers.items()}

    def seed(self) -> int:
        """Seed for later draws."""
        return int(torch.randint(2**62, (), generator=self._generator))

    def arriving(self, name: str, weight: Tensor) -> Tensor:
        """Weights that send errors to the input of a layer, times D if the errors pass through it."""
        return weight if self._skips else decorrelated(self.layers[name], weight)

    def backward(
        self, model: nn.Module, loss_function: LossFunction, inputs: Any, targets: Any, weights: dict[str, Tensor]
    ) -> Tensor:
        """Run a forward and a backward pass through feedback weights of the layers' shapes, and return the loss."""
        sent = weights if self._skips else {name: self.arriving(name, weight) for name, weight in weights.items()}
        with self.sending(lambda name, _: sent[name]):
            loss = scalar_loss(loss_function, run(model, inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @contextmanager
    def sending(
        self, weights: Callable[[str, torch.Size], Tensor], broadcast: ErrorBroadcast | None = None
    ) -> Iterator[None]:
        """Let the layers send their feedback signals, for the duration of one forward and backward pass.

        Args:
            weights: Function that returns the feedback weights for the name of a layer and the shape of its input.
            broadcast: Error at the outputs, if all layers receive it.
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
    """Weights in place of a layer's own, times D if the layer is decorrelated."""
    with_transform: Callable[[Tensor], Tensor] | None = getattr(layer, "decorrelated_weight", None)
    return weight if with_transform is None else with_transform(weight)


@final
class _Straight:
    """Sender of unchanged errors."""

    @staticmethod
    def signal(delta: Tensor, shape: torch.Size) -> Tensor:  # noqa: ARG004  # of the protocol
        """Error, unchanged."""
        return delta


def _straight_through(method: Forward) -> Forward:
    """Method of a Decorrelation whose backward lets the error skip the transform."""

    def stand_in(inputs: Tensor, *arguments: Any, **keywords: Any) -> Any:
        found = method(inputs.detach(), *arguments, **keywords)
        if isinstance(found, tuple):
            return send(_Straight, inputs, found[0]), *found[1:]
        return send(_Straight, inputs, found)

    return stand_in
