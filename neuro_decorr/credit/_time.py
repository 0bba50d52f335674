"""Where time and samples are in the tensors of a model, and over what of them noise is held."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks

Hold: TypeAlias = Literal["step", "pass"]
"""For how long a node keeps its noise.

`step`: fresh noise in every call of a layer, and in every element of its output.
`pass`: one number per sample and unit, the same in all calls of the layer and along a leading time dimension.
"""


class Layout(NamedTuple):
    """How the tensors of a model are laid out.

    Attributes:
        time_first: Whether tensors of three or more dimensions are (time, samples, ...); else samples come first.
        hold: For how long noise is held.
    """

    time_first: bool = False
    hold: Hold = "step"

    @property
    def held(self) -> bool:
        """Whether noise is held over a pass."""
        return self.hold == "pass"

    def is_sequence(self, tensor: Tensor) -> bool:
        """Whether the first dimension of a tensor is time."""
        return self.time_first and tensor.dim() > 2

    def sample_dimension(self, tensor: Tensor) -> int:
        """Where the samples are."""
        return int(self.is_sequence(tensor))

    def samples(self, tensor: Tensor) -> int | None:
        """How many samples a tensor has; None for a scalar."""
        return tensor.shape[self.sample_dimension(tensor)] if tensor.dim() else None

    def drawn(self, output: Tensor) -> Tensor:
        """A tensor of the shape that noise for an output is drawn in."""
        return output[0] if self.held and self.is_sequence(output) else output

    def weights(self, tensor: Tensor, weight: Tensor) -> Tensor:
        """One weight per sample, shaped to multiply a tensor."""
        shape = [1] * tensor.dim()
        shape[self.sample_dimension(tensor)] = -1
        return weight.to(tensor.dtype).view(shape)

    def squares(self, tensor: Tensor) -> Tensor:
        """The sum of squares of every sample, float64, shape (samples,)."""
        by_sample = tensor.transpose(0, 1) if self.is_sequence(tensor) else tensor
        return by_sample.flatten(1).square().sum(1, dtype=torch.float64)


def layout_problems(time_first: object, hold: object = "step") -> tuple[str | None, ...]:
    """The problems with the parameters of a layout."""
    return (
        checks.flag("time_first", time_first),
        checks.word("hold", hold, get_args(Hold)),
    )


def low_passed(
    tensors: list[Tensor], layers: list[nn.Module], layout: Layout, trace: float, backward: bool = False
) -> list[Tensor]:
    r"""Exponential traces of what the layers return, or the adjoint of taking them.

    $$y_t = e^{-1/\tau} y_{t-1} + a_t$$

    Args:
        tensors: One a visit, in their order; overwritten.
        layers: Whose visits they are: those of one layer follow each other in time.
        layout: Whether tensors hold sequences themselves.
        trace: tau in time steps.
        backward: From the last step to the first.

    Returns:
        The traces, in the order of the visits.
    """
    left = math.exp(-1 / trace)
    last: dict[nn.Module, Tensor] = {}
    visits = list(zip(layers, tensors, strict=True))
    for layer, tensor in reversed(visits) if backward else visits:
        steps = tensor.unbind() if layout.is_sequence(tensor) else (tensor,)
        for step in reversed(steps) if backward else steps:
            if layer in last:
                step.add_(last[layer], alpha=left)
            last[layer] = step
    return tensors
