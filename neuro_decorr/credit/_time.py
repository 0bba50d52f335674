"""Layout of time and samples in the tensors of a model, and the time over which noise is held."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from neuro_decorr import checks
from neuro_decorr.credit._structure import over_sequences, takes_sequences
from neuro_decorr.errors import InvalidValue

Hold: TypeAlias = Literal["step", "pass"]
"""Time for which a node keeps its noise.

`step`: fresh noise in every call of a layer, and in every element of its output.
`pass`: one number per sample and unit, the same in all calls of the layer and along a leading time dimension.
"""


class Layout(NamedTuple):
    """Layout of the tensors of a model.

    Attributes:
        time_first: True if tensors of three or more dimensions are (time, samples, ...); False if samples come first.
        hold: Time for which noise is held.
    """

    time_first: bool = False
    hold: Hold = "step"

    def of(self, layer: nn.Module) -> Layout:
        """Layout of a layer's output: as the layer declares it; samples come first if channels precede positions."""
        said = False if isinstance(layer, (_ConvNd, _NormBase, nn.GroupNorm)) else takes_sequences(layer)
        return self if said is None else self._replace(time_first=said)

    @property
    def held(self) -> bool:
        """True if noise is held over a pass."""
        return self.hold == "pass"

    def is_sequence(self, tensor: Tensor) -> bool:
        """True if the first dimension of a tensor is time."""
        return self.time_first and tensor.dim() > 2

    def sample_dimension(self, tensor: Tensor) -> int:
        """Index of the dimension of the samples."""
        return int(self.is_sequence(tensor))

    def samples(self, tensor: Tensor) -> int | None:
        """Number of samples in a tensor; None for a scalar."""
        return tensor.shape[self.sample_dimension(tensor)] if tensor.dim() else None

    def drawn(self, output: Tensor) -> Tensor:
        """Tensor of the shape in which noise for an output is drawn."""
        return output[0] if self.held and self.is_sequence(output) else output

    def weights(self, tensor: Tensor, weight: Tensor) -> Tensor:
        """Weights, one per sample, shaped to multiply a tensor."""
        shape = [1] * tensor.dim()
        shape[self.sample_dimension(tensor)] = -1
        return weight.to(tensor.dtype).view(shape)

    def squares(self, tensor: Tensor) -> Tensor:
        """Sum of squares of every sample, float64, shape (samples,)."""
        by_sample = tensor.transpose(0, 1) if self.is_sequence(tensor) else tensor
        return by_sample.flatten(1).square().sum(1, dtype=torch.float64)


def layout_problems(time_first: object, hold: object = "step") -> tuple[str | None, ...]:
    """Problems of the parameters of a layout."""
    return (
        None if time_first is None else checks.flag("time_first", time_first),
        checks.word("hold", hold, get_args(Hold)),
    )


def is_time_first(model: nn.Module, given: bool | None) -> bool:
    """True if tensors of three or more dimensions begin with time: as given, or as declared by the neurons of a model.

    Raises:
        InvalidValue: The given value is False, and the model has neurons that run over sequences.
    """
    if given:
        return True
    saying = over_sequences(model)
    if given is False and saying is not None:
        raise InvalidValue(
            f"time_first must be True or left out, since {saying} runs over sequences (time, samples, ...), got False: "
            "leave it out, or let the neurons run step by step."
        )
    return saying is not None


def low_passed(
    tensors: list[Tensor], layers: list[nn.Module], layout: Layout, trace: float, backward: bool = False
) -> list[Tensor]:
    r"""Exponential traces of the outputs of layers, or the adjoint of this filter.

    $$y_t = e^{-1/\tau} y_{t-1} + a_t$$

    Args:
        tensors: Tensors of the visits, in their order; overwritten.
        layers: Layers of the visits; the visits of one layer follow each other in time.
        layout: Layout of the tensors, which may hold whole sequences.
        trace: tau, in time steps.
        backward: True filters from the last step to the first.

    Returns:
        The traces, in the order of the visits.
    """
    left = math.exp(-1 / trace)
    last: dict[nn.Module, Tensor] = {}
    visits = list(zip(layers, tensors, strict=True))
    for layer, tensor in reversed(visits) if backward else visits:
        steps = tensor.unbind() if layout.of(layer).is_sequence(tensor) else (tensor,)
        for step in reversed(steps) if backward else steps:
            if layer in last:
                step.add_(last[layer], alpha=left)
            last[layer] = step
    return tensors
