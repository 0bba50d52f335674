"""Layers whose transposes feedback replaces, and the functions between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeGuard, get_args, runtime_checkable

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad
from torch.nn.parameter import is_lazy

from neuro_decorr.credit._layers import name_of, own_parameters, walk
from neuro_decorr.credit.base import Credit
from neuro_decorr.errors import Unsupported
from neuro_decorr.row_choice import Convolution, TransposedConvolution

WeightLayer: TypeAlias = nn.Linear | Convolution | TransposedConvolution

_KINDS: tuple[type[nn.Module], ...] = (nn.Linear, *get_args(Convolution), *get_args(TransposedConvolution))
_METHODS = ("forward", "_conv_forward", "_output_padding")
# Modules whose weights are differentiated exactly: they scale single features or look up rows.
_ELEMENTWISE = (nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.EmbeddingBag)

_CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TO_INPUT: dict[int, Callable[..., Tensor]] = {1: grad.conv1d_input, 2: grad.conv2d_input, 3: grad.conv3d_input}


@runtime_checkable
class Transform(Protocol):
    """Protocol of a Decorrelation, which transforms a batch or a sequence by one of these methods only."""

    def run(self, inputs: Tensor, compute: Any) -> Tensor:
        """Output x for a batch z."""

    def run_steps(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Output x for time steps z."""


def is_weight_layer(module: nn.Module) -> TypeGuard[WeightLayer]:
    """True if a module computes torch's Linear or convolution, of its input or of its decorrelated input."""
    plain = getattr(type(module), "plain_class", type(module))
    return "forward" not in vars(module) and any(
        isinstance(module, kind)
        and all(getattr(plain, method, None) is getattr(kind, method, None) for method in _METHODS)
        for kind in _KINDS
    )


def outputs_of(layer: WeightLayer) -> int:
    """Number of units or channels at the output of a layer."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def split(credit: Credit) -> tuple[dict[str, WeightLayer], list[nn.Module]]:
    """Weight layers of a model by name, in the order of their definition, and the Decorrelations between them.

    Raises:
        Unsupported: The model has no weight layer, or weights of another kind, which would be transported.
    """
    inside: set[nn.Module] = set()  # modules inside a layer, such as a decorrelating transform, are part of it
    layers: dict[str, WeightLayer] = {}
    between: list[nn.Module] = []
    for name, module in credit.model.named_modules():
        if module in inside:
            continue
        if is_weight_layer(module):
            if is_lazy(module.weight):
                raise Unsupported(f"layer '{name}' has no weights yet: run the model once before making the credit.")
            inside.update(walk(module))
            layers[name] = module
        elif isinstance(module, Transform):
            between.append(module)  # type: ignore[arg-type]  # a module as before
        elif not isinstance(module, _ELEMENTWISE) and any(p.dim() > 1 for p in own_parameters(module)):
            raise Unsupported(
                f"{credit.name} covers the Linear and convolutional layers of torch, and layer "
                f"{name_of(credit.model, module)} has weights of another kind, or a forward of its own, through which "
                "the error would be transported exactly: use backprop or weight_perturbation, which take any layer."
            )
    if not layers:
        raise Unsupported(f"{credit.name} needs a model with Linear or convolutional layers; this one has none.")
    return layers, between


def sent_back(layer: WeightLayer, delta: Tensor, weight: Tensor, shape: Any, padding: tuple[int, ...]) -> Tensor:
    """Apply the transpose of a layer's map to errors at its output, with other weights in place of its own.

    Args:
        layer: The layer.
        delta: Errors at its output.
        weight: Weights of the shape of the layer's own.
        shape: Shape of the layer's input, with any padding that `padding` does not include.
        padding: Number of zeros at both ends of every dimension of a convolution.
    """
    if isinstance(layer, nn.Linear):
        return delta @ weight
    dimensions = weight.dim() - 2
    if isinstance(layer, TransposedConvolution):
        return _CONVOLVE[dimensions](delta, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
    if delta.dim() == dimensions + 1:  # one image, without a batch
        return sent_back(layer, delta.unsqueeze(0), weight, (1, *shape), padding).squeeze(0)
    return _TO_INPUT[dimensions](shape, weight, delta, layer.stride, padding, layer.dilation, layer.groups)
