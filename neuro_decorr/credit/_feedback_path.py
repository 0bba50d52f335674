"""The stand-in for a linear layer that sends a random signal back instead of the transported one."""

from __future__ import annotations

from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from neuro_decorr.credit._layers import arriving
from neuro_decorr.errors import Unsupported


@final
class ErrorBroadcast:
    """The error at the outputs of the network, once the backward pass has reached it.

    Args:
        outputs: Number of network outputs, the last dimension of the error.
        time_first: Whether the time that the error lacks is the first dimension of a layer's input, else it comes
            after the samples.
    """

    __slots__ = ("error", "outputs", "time_first")

    def __init__(self, outputs: int, time_first: bool = False) -> None:
        self.outputs = outputs
        self.time_first = time_first
        self.error: Tensor | None = None

    def receive(self, error: Tensor) -> None:
        """Keep e = dL/d(outputs) (..., outputs) for the layers; a backward hook of the network's outputs."""
        single = self.outputs == 1 and error.shape[-1:] != (1,)
        if single:
            error = error.unsqueeze(-1)
        if error.shape[-1:] != (self.outputs,):
            raise Unsupported(
                f"direct feedback was made for {self.outputs} network outputs, but the last dimension of the model's "
                f"output has {error.shape[-1] if error.dim() else 0}; give the number of outputs as `outputs=`."
            )
        self.error = error

    def signal(self, feedback: Tensor, leading: torch.Size) -> Tensor:
        """The error projected to the input of a layer.

        Args:
            feedback: B (outputs, in_features).
            leading: Dimensions of the layer's input before its features.

        Returns:
            e B, shape (*leading, in_features); an error without the inner dimensions, such as time, is repeated
            along them.
        """
        error = self.error
        if error is None:
            raise Unsupported(
                "direct feedback: the backward pass reached a layer before the model's output; the loss must "
                "depend on the layers through the model's output only."
            )
        signal = error.to(feedback.dtype) @ feedback
        shape = signal.shape[:-1]
        if shape == leading:
            return signal
        if self.time_first and shape == leading[1:]:
            return signal.expand(*leading, signal.shape[-1])
        if self.time_first or shape != leading[: len(shape)]:
            time = "a time dimension before them" if self.time_first else "begin alike (batch, then time)"
            raise Unsupported(
                f"direct feedback: the error at the output has the leading dimensions {tuple(shape)}, the input of a "
                f"layer has {tuple(leading)}; they must be equal, or {time}. Layers that run over (time, batch, "
                "units) need time_first=True; a model that folds time into the batch inside needs feedback_alignment."
            )
        inner = (1,) * (len(leading) - len(shape))
        return signal.reshape(*shape, *inner, signal.shape[-1]).expand(*leading, signal.shape[-1])


def _gradients(ctx: Any, delta: Tensor) -> tuple[Tensor | None, ...]:
    """Backward of a linear layer: exact for its own weights, the feedback signal for the receiver.

    The forward weights were not even saved, so nothing here can transport them.
    """
    inputs, feedback = ctx.saved_tensors
    to_receiver, _, to_weight, to_bias, _ = ctx.needs_input_grad
    if inputs.dtype != delta.dtype or feedback.dtype != delta.dtype:  # under autocast
        inputs, feedback = inputs.to(delta.dtype), feedback.to(delta.dtype)
    leading = delta.shape[:-1]
    if len(leading) != 1:
        delta = delta.reshape(-1, delta.shape[-1])
        inputs = inputs.reshape(-1, inputs.shape[-1])
    signal = None
    if to_receiver:
        broadcast = ctx.path.broadcast
        if broadcast is not None:
            signal = broadcast.signal(feedback, leading)
        else:
            signal = delta.mm(feedback)
            if len(leading) != 1:
                signal = signal.reshape(*leading, -1)
    weight_gradient = delta.t().mm(inputs) if to_weight else None
    bias_gradient = delta.sum(0) if to_bias else None
    return signal, None, weight_gradient, bias_gradient, None


@final
class _FeedbackLinear(Function):
    """y = x W^T + b whose backward sends a feedback signal to `receiver`.

    In the older style, without `setup_context`: binding its arguments anew at every call would cost as much as the
    layer itself (a tenth of a step of a small network, per layer).
    """

    @staticmethod
    def forward(
        ctx: Any,
        _receiver: Tensor,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        path: FeedbackPath,
    ) -> Tensor:
        ctx.save_for_backward(inputs, path.feedback)
        ctx.path = path
        return F.linear(inputs, weight, bias)

    backward = staticmethod(_gradients)


@final
class _FeedbackLinearUnderTransforms(Function):
    """The same for models that use `torch.func` inside (vmap over members of an ensemble, say)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        _receiver: Tensor,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        _path: FeedbackPath,
    ) -> Tensor:
        return F.linear(inputs, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[4].feedback)
        ctx.path = inputs[4]

    backward = staticmethod(_gradients)


@final
class FeedbackPath:
    """A linear layer with its feedback weights, and the stand-in for its forward.

    Args:
        layer: The layer.
        buffer: Name of the buffer of the credit that holds the layer's feedback weights.
    """

    __slots__ = ("broadcast", "buffer", "feedback", "layer", "receiver", "skips_transforms")

    def __init__(self, layer: nn.Linear, buffer: str) -> None:
        self.layer = layer
        self.buffer = buffer
        self.feedback: Tensor | None = None
        self.broadcast: ErrorBroadcast | None = None
        self.skips_transforms = False
        self.receiver: Tensor | None = None

    def remember(self, layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Forward pre-hook, to run before all others: keep what the layer was called with."""
        self.receiver = arguments[0] if arguments else keywords["input"]

    def forward(self, input: Tensor) -> Tensor:
        """The layer's output; its graph sends the feedback signal to the receiver.

        Args:
            input: (..., in_features), as the layer's pre-hooks left it; what is done to it in here counts as theirs.

        Returns:
            x W^T + b, shape (..., out_features).
        """
        # The argument has the name that nn.Linear gives it: it may be passed by that name.
        layer = self.layer
        if not self.skips_transforms:
            receiver = input = arriving(layer, input)
        else:
            receiver, self.receiver = (input if self.receiver is None else self.receiver), None
            input = arriving(layer, input.detach())
            if receiver.shape != input.shape:
                raise Unsupported(
                    f"feedback to the site 'pre_decorrelation' needs pre-hooks that keep the shape: they turned "
                    f"{tuple(receiver.shape)} into {tuple(input.shape)}; use feedback_site='post_decorrelation'."
                )
        transforms = torch._C._are_functorch_transforms_active()
        if not (receiver.requires_grad or transforms):  # nobody to send to; a tensor inside of vmap does not tell
            return F.linear(input, layer.weight, layer.bias)
        function = _FeedbackLinearUnderTransforms if transforms else _FeedbackLinear
        output: Tensor = function.apply(receiver, input, layer.weight, layer.bias, self)  # type: ignore[no-untyped-call]
        return output
