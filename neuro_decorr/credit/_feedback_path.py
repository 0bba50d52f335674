"""Stand-in for the forward of a layer whose graph sends a feedback signal back instead of the transported error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from neuro_decorr.credit._feedback_layers import WeightLayer, sent_back
from neuro_decorr.errors import Unsupported
from neuro_decorr.row_choice import Convolution


class Sender(Protocol):
    """Object that the backward pass asks for the signal of a layer."""

    def signal(self, delta: Tensor, shape: torch.Size) -> Tensor:
        """Signal for an input of a shape, from the error at the output."""


def send(sender: Sender, receiver: Tensor, output: Tensor) -> Tensor:
    """Output whose backward passes the error to the graph of the output, and the sender's signal to the receiver.

    Args:
        sender: Object that makes the signal.
        receiver: Tensor that gets the signal.
        output: Output of the layer, whose graph must not reach the receiver, so that no error is transported to it.
    """
    transforms = torch._C._are_functorch_transforms_active()
    if not (receiver.requires_grad or transforms):  # nobody to send to; a tensor inside of vmap does not tell
        return output
    function = _SendUnderTransforms if transforms else _Send
    return function.apply(receiver, output, sender)  # type: ignore[no-any-return, no-untyped-call]


def _signals(ctx: Any, delta: Tensor) -> tuple[Tensor | None, Tensor, None]:
    signal = ctx.sender.signal(delta, ctx.shape) if ctx.needs_input_grad[0] else None
    return signal, delta, None


@final
class _Send(Function):
    """Identity of an output, with a feedback signal to `receiver`.

    The class has no `setup_context`, as in the older style: binding the arguments anew at every call would cost as much
    as a small layer. The output is detached and not copied, so that later modules may work in place.
    """

    @staticmethod
    def forward(ctx: Any, receiver: Tensor, output: Tensor, sender: Sender) -> Tensor:
        ctx.sender, ctx.shape = sender, receiver.shape
        return output.detach()

    backward = staticmethod(_signals)


@final
class _SendUnderTransforms(Function):
    """Identity with a feedback signal for models that use `torch.func` inside, such as vmap over an ensemble."""

    generate_vmap_rule = True

    @staticmethod
    def forward(_receiver: Tensor, output: Tensor, _sender: Sender) -> Tensor:
        return output.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        ctx.sender, ctx.shape = inputs[2], inputs[0].shape

    backward = staticmethod(_signals)


@final
class ErrorBroadcast:
    """Error at the outputs of the network, known once the backward pass has reached it.

    Args:
        outputs: Number of network outputs, the last dimension of the error.
        time_first: True if the dimension of time that the error lacks is the first dimension of a layer's input; False
            if it follows the samples.
    """

    __slots__ = ("error", "outputs", "time_first")

    def __init__(self, outputs: int, time_first: bool = False) -> None:
        self.outputs = outputs
        self.time_first = time_first
        self.error: Tensor | None = None

    def receive(self, error: Tensor) -> None:
        """Keep e = dL/d(outputs), shape (..., outputs), for the layers; a backward hook of the network's outputs."""
        single = self.outputs == 1 and error.shape[-1:] != (1,)
        if single:
            error = error.unsqueeze(-1)
        if error.shape[-1:] != (self.outputs,):
            raise Unsupported(
                f"direct feedback was made for {self.outputs} network outputs, but the last dimension of the model's "
                f"output has {error.shape[-1] if error.dim() else 0}: give the number of outputs as `outputs=`."
            )
        self.error = error

    def signal(self, feedback: Tensor, shape: torch.Size) -> Tensor:
        """Error projected to the input of a layer.

        Args:
            feedback: B (outputs, *units), with the units of one sample: (in_features,) or (channels, *positions).
            shape: Shape of the layer's input, (..., *units).

        Returns:
            e B, of that shape; an error without the inner dimensions, such as time, is repeated along them.
        """
        error, units = self.error, feedback.shape[1:]
        if error is None:
            raise Unsupported(
                "direct feedback: the backward pass reached a layer before the model's output; the loss must "
                "depend on the layers through the model's output only."
            )
        leading = shape[: len(shape) - len(units)]
        signal = (error.to(feedback.dtype) @ feedback.flatten(1)).reshape(*error.shape[:-1], *units)
        given = error.shape[:-1]
        if given == leading or (self.time_first and given == leading[1:]):
            return signal.expand(shape)
        if self.time_first or given != leading[: len(given)]:
            time = "a time dimension before them" if self.time_first else "begin alike (batch, then time)"
            raise Unsupported(
                f"direct feedback: the error at the output has the leading dimensions {tuple(given)}, the input of a "
                f"layer has {tuple(leading)}; they must be equal, or {time}: set time_first=True for layers that run "
                "over (time, batch, units), or use feedback_alignment for a model that folds time into the batch."
            )
        inner = (1,) * (len(leading) - len(given))
        return signal.reshape(*given, *inner, *units).expand(shape)


@final
class FeedbackPath:
    """Layer with its feedback weights for the duration of a pass, and the stand-in for its forward.

    Args:
        name: Qualified name of the layer.
        layer: The layer.

    Attributes:
        weight: Function that returns the feedback weights for an input of a shape, during a pass.
        broadcast: Error at the outputs of the network, if the layer receives it in place of the error at its output.
    """

    __slots__ = (
        "_padding",
        "_padding_mode",
        "_pads",
        "broadcast",
        "layer",
        "name",
        "receiver",
        "weight",
    )

    def __init__(self, name: str, layer: WeightLayer) -> None:
        self.name = name
        self.layer = layer
        self.weight: Callable[[torch.Size], Tensor] | None = None
        self.broadcast: ErrorBroadcast | None = None
        self.receiver: Tensor | None = None
        # Padding with anything but zeros counts as a function before the layer, which is differentiated exactly.
        self._padding: tuple[int, ...] = ()
        self._pads: list[int] | None = None
        if isinstance(layer, Convolution) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            self._padding = layer.padding
        elif isinstance(layer, Convolution):
            self._padding, self._pads = (0,) * len(layer.kernel_size), list(layer._reversed_padding_repeated_twice)
            self._padding_mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode

    def remember(self, layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Keep the input of the layer; a forward pre-hook that runs before all others."""
        self.receiver = arguments[0] if arguments else keywords["input"]

    def forward(self, input: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        """Compute the layer on the input that its pre-hooks returned; the graph sends the signal to the receiver."""
        # The argument has the name that torch's layers give it: it may be passed by that name.
        layer = self.layer
        receiver, self.receiver = (input if self.receiver is None else self.receiver), None
        if receiver.shape != input.shape:
            raise Unsupported(
                f"feedback to the site 'pre_decorrelation' needs pre-hooks that keep the shape, and these changed "
                f"{tuple(receiver.shape)} to {tuple(input.shape)}: use feedback_site='post_decorrelation'."
            )
        if self._pads is not None and self.broadcast is None:
            receiver = F.pad(receiver, self._pads, mode=self._padding_mode)
        forward: Callable[..., Tensor] = type(layer).forward
        return send(self, receiver, forward(layer, input.detach(), *arguments, **keywords))

    def signal(self, delta: Tensor, shape: torch.Size) -> Tensor:
        """Feedback signal for the layer's input."""
        assert self.weight is not None  # the backward pass runs while signals are sent
        weight = self.weight(shape)
        if self.broadcast is not None:
            return self.broadcast.signal(weight, shape)
        if weight.dtype != delta.dtype:  # under autocast
            weight = weight.to(delta.dtype)
        return sent_back(self.layer, delta, weight, shape, self._padding)
