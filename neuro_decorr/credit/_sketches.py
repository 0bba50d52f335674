"""Linear maps and convolutions that keep a sketch of their input for the gradient of their weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from neuro_decorr.credit._layers import check_differentiated

Draw = Callable[[Tensor], Tensor]
"""Function that returns the same probes (probes, ...) at every call, for values (samples, ...) of the same shape."""


class _Linear:
    """Linear map x W^T + b."""

    def run(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(inputs, weight, bias)

    def to_input(self, delta: Tensor, weight: Tensor, _shape: torch.Size) -> Tensor:
        return delta @ weight

    def to_weight(self, delta: Tensor, inputs: Tensor, _shape: torch.Size) -> Tensor:
        return delta.mT @ inputs


class _Convolution(NamedTuple):
    """Convolution, transposed or not."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    added: list[int]
    groups: int

    def run(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.convolution(inputs, weight, bias, *self)

    def to_input(self, delta: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        return self._backward(delta, delta.new_empty(1).expand(shape), weight, 0)

    def to_weight(self, delta: Tensor, inputs: Tensor, shape: torch.Size) -> Tensor:
        return self._backward(delta, inputs, delta.new_empty(1).expand(shape), 1)

    def _backward(self, delta: Tensor, inputs: Tensor, weight: Tensor, wanted: int) -> Tensor:
        mask = [wanted == 0, wanted == 1, False]
        gradients = torch.ops.aten.convolution_backward(delta, inputs, weight, None, *self, mask)
        found: Tensor = gradients[wanted]
        return found


@final
class _Sketched(Function):
    """Map whose gradient of the weights uses X Z and Z in place of X."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, operation: _Linear | _Convolution, draw: Draw
    ) -> Tensor:
        ctx.save_for_backward(inputs.flatten(1) @ draw(inputs).flatten(1).mT, weight)
        ctx.operation, ctx.draw, ctx.shape = operation, draw, inputs.shape
        return operation.run(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, ...]:
        sketch, weight = ctx.saved_tensors
        to_input = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_input = ctx.operation.to_input(delta, weight, ctx.shape)
        if ctx.needs_input_grad[1]:
            probes = ctx.draw(delta.new_empty(1).expand(ctx.shape))
            mixed = (sketch.mT @ delta.flatten(1)).view(len(probes), *delta.shape[1:]) / len(probes)
            to_weight = ctx.operation.to_weight(mixed, probes, weight.shape)
        if ctx.needs_input_grad[2]:
            to_bias = delta.transpose(0, 1).flatten(1).sum(1)
        return to_input, to_weight, to_bias, None, None


@final
class _Rectified(Function):
    """Rectifier that keeps the sign of its input, one byte per unit."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, slope: float) -> Tensor:
        above = inputs > 0
        ctx.save_for_backward(above)
        ctx.slope = slope
        return torch.where(above, inputs, inputs * slope)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None]:
        (above,) = ctx.saved_tensors
        return torch.where(above, delta, delta * ctx.slope), None


@final
class Sketching(TorchFunctionMode):
    """Mode in which linear maps and convolutions of weights that learn are sketched, and rectifiers keep one byte.

    Args:
        draws: Function that returns the probes of the next map.
    """

    def __init__(self, draws: Callable[[], Draw]) -> None:
        super().__init__()
        self.sketched = 0
        self._draws = draws

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.linear:
            return self._linear(func, *args, **kwargs)
        if func in _CONVOLUTIONS:
            return self._convolution(func, *args, **kwargs)
        if func in _TRANSPOSED:
            return self._transposed(func, *args, **kwargs)
        if func is F.relu or func is F.leaky_relu:
            return _rectify(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _linear(self, function: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not weight.requires_grad:
            return function(input, weight, bias)  # type: ignore[no-any-return]
        outputs = self._run(input.reshape(-1, input.shape[-1]), weight, bias, _Linear())
        return outputs.view(*input.shape[:-1], -1)

    def _convolution(
        self,
        function: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if not weight.requires_grad:
            return function(input, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]
        kernel = weight.shape[2:]
        dilation = _each(dilation, len(kernel))
        if padding == "same":  # an odd reach needs one more at the end, which only padding beforehand can do
            reach = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
            input = F.pad(input, [side for r in reversed(reach) for side in (r // 2, r - r // 2)])
        added = [0] * len(kernel)
        padding = added if isinstance(padding, str) else _each(padding, len(kernel))
        operation = _Convolution(_each(stride, len(kernel)), padding, dilation, False, added, groups)
        return self._run_images(input, weight, bias, operation)

    def _transposed(
        self,
        function: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        if not weight.requires_grad:
            arguments = (stride, padding, output_padding, groups, dilation)
            return function(input, weight, bias, *arguments)  # type: ignore[no-any-return]
        stride, padding, dilation, added = (
            _each(size, weight.dim() - 2) for size in (stride, padding, dilation, output_padding)
        )
        return self._run_images(input, weight, bias, _Convolution(stride, padding, dilation, True, added, groups))

    def _run_images(self, inputs: Tensor, weight: Tensor, bias: Tensor | None, operation: _Convolution) -> Tensor:
        if inputs.dim() < weight.dim():  # one image, without a batch
            return self._run(inputs.unsqueeze(0), weight, bias, operation).squeeze(0)
        return self._run(inputs, weight, bias, operation)

    def _run(self, inputs: Tensor, weight: Tensor, bias: Tensor | None, operation: _Linear | _Convolution) -> Tensor:
        check_differentiated()  # a checkpoint would compute the map again, when this mode has ended
        self.sketched += 1
        outputs: Tensor = _Sketched.apply(inputs, weight, bias, operation, self._draws())  # type: ignore[no-untyped-call]
        return outputs


_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def _each(value: Any, dimensions: int) -> list[int]:
    """Numbers of a setting, one for every dimension."""
    return [value] * dimensions if isinstance(value, int) else list(value) * (dimensions // len(value))


def _rectify(function: Any, input: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
    names = ("negative_slope", "inplace") if function is F.leaky_relu else ("inplace",)
    given = dict(zip(names, arguments, strict=False)) | keywords
    if given.get("inplace") or not input.requires_grad:
        return function(input, *arguments, **keywords)  # type: ignore[no-any-return]
    slope = given.get("negative_slope", 0.01 if function is F.leaky_relu else 0.0)
    outputs: Tensor = _Rectified.apply(input, slope)  # type: ignore[no-untyped-call]
    return outputs
