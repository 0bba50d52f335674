"""Conversion of layers to nodes of NIR."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neuro_decorr.errors import Unsupported
from neuro_decorr.norse.graphs.cells import Scale, Threshold
from neuro_decorr.norse.graphs.convention import Array
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.weights import computes_of_its_own, decorrelation_of, folded

Shape = tuple[int, ...]

NEED_A_SHAPE = (
    nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Flatten, nn.AvgPool2d, nn.LPPool2d, Scale, Threshold
)  # fmt: skip
"""Layers from which the whole shape of a sample does not follow."""


def array(tensor: Tensor) -> Array:
    """Copy a tensor to an array."""
    found: Array = tensor.detach().cpu().numpy().copy()
    return found


def layer_node(  # noqa: PLR0911  # one for each kind of layer
    place: str, module: nn.Module, shape: Shape, leading: int
) -> nir.NIRNode | None:
    """Make the node of a layer without a state, its weights in double precision.

    Args:
        place: Name of the layer for messages.
        module: The layer.
        shape: Shape of one sample of its input.
        leading: Number of dimensions of the input before those of a sample.

    Returns:
        The node; None for any other module.

    Raises:
        Unsupported: An option of the layer has no form in NIR.
    """
    if isinstance(module, nn.Linear):
        if shape != (module.in_features,):
            raise Unsupported(f"{place} takes {module.in_features} inputs, got an input of {_told(shape)}.")
        weight, bias, metadata = _weights(place, module)
        return nir.Affine(weight=weight, bias=bias, metadata=metadata)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return _convolution(place, module, shape)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return _normalisation(place, module, shape)
    if isinstance(module, nn.Flatten):
        return _flatten(place, module, shape, leading)
    if isinstance(module, nn.AvgPool2d | nn.LPPool2d):
        return _pooling(place, module)
    if isinstance(module, Scale):
        return nir.Scale(scale=array(module.scale))
    if isinstance(module, Threshold):
        return nir.Threshold(threshold=array(module.threshold))
    return None


def transform_node(place: str, held: Decorrelation, shape: Shape) -> nir.NIRNode:
    """Make the node of a single Decorrelation, x = D z - D mean, over features or over the channels of an image.

    Args:
        place: Name of the module for messages.
        held: The Decorrelation.
        shape: Shape of one sample of its input.

    Returns:
        The node.

    Raises:
        Unsupported: The Decorrelation has groups or another number of features.
    """
    if held.groups > 1 or shape[:1] != (held.features,):
        raise Unsupported(f"{place} takes {held.features} features, got an input of {_told(shape)}.")
    matrix = held.matrix.double()
    return pointwise(array(matrix), array(-matrix @ held.subtracted().double()), shape, of(held))


def pointwise(matrix: Array, shift: Array, shape: Shape, metadata: dict[str, Any]) -> nir.NIRNode:
    """Make an affine node of features, or of the channels at every position of an image (a convolution of 1 x 1).

    Args:
        matrix: Weights, shape (outputs, inputs).
        shift: Biases, shape (outputs,).
        shape: Shape of one sample of the input, the features or channels first.
        metadata: Metadata of the node.

    Returns:
        The node.
    """
    if len(shape) == 1:
        return nir.Affine(weight=matrix, bias=shift, metadata=metadata)
    kernel = matrix.reshape(*matrix.shape, *[1] * (len(shape) - 1))
    kind, size, options = (nir.Conv1d, shape[1], (1, 0, 1)) if len(shape) == 2 else (
        nir.Conv2d, shape[1:], ((1, 1), (0, 0), (1, 1)))  # fmt: skip
    stride, padding, dilation = options
    return kind(size, kernel, stride, padding, dilation, 1, shift, metadata=metadata)


def of(held: Decorrelation) -> dict[str, Any]:
    """Metadata on the origin of a transform, as far as it is known."""
    rule = held.rule
    described = {} if rule is None else {"rule": rule.name, "rule_parameters": repr(rule)}
    trace = {} if held.trace is None else {"trace_time": held.trace.time}
    return {"decorrelation": "folded into the weight", "structure": held.structure, **trace, **described}


def _weights(place: str, layer: Any) -> tuple[Array, Array, dict[str, Any]]:
    """Weights and biases, with the decorrelation of `decorrelate` folded in, and its metadata."""
    if computes_of_its_own(layer):
        raise Unsupported(f"{place} has a forward of its own, for which NIR has no node; use the plain layer of torch.")
    for hook in layer._forward_pre_hooks.values():
        hook(layer, None)  # pruning and the older weight norm compute the weight before every pass
    weight = layer.weight.detach().double()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()
    found = decorrelation_of(layer)
    if found is None:
        return array(weight), array(bias), {}
    weight, shift = folded(layer, torch.float64)
    return array(weight), array(bias - shift.detach()), of(found[0])


def _convolution(place: str, module: nn.Conv1d | nn.Conv2d, shape: Shape) -> nir.NIRNode:
    if len(shape) != module.weight.dim() - 1 or shape[0] != module.in_channels:
        raise Unsupported(f"{place} takes {module.in_channels} channels, got an input of {_told(shape)}.")
    if module.padding_mode != "zeros":
        raise Unsupported(
            f"{place} has padding_mode='{module.padding_mode}', for which NIR has no node; use padding_mode='zeros'."
        )
    if len(set(module.kernel_size)) > 1:
        raise Unsupported(
            f"{place} has a kernel of {tuple(module.kernel_size)}, and the package nir infers shapes for square "
            "kernels only: fill the kernel up with zeros."
        )
    weight, bias, metadata = _weights(place, module)
    if module.groups > 1:  # most readers do not support groups
        metadata["groups"] = module.groups
        whole = np.zeros((len(weight), module.in_channels, *weight.shape[2:]))
        for rows, inputs in zip(
            np.split(np.arange(len(weight)), module.groups),
            np.split(np.arange(module.in_channels), module.groups),
            strict=True,
        ):
            whole[np.ix_(rows, inputs)] = weight[rows]
        weight = whole
    options = [module.stride, module.padding, module.dilation]
    if isinstance(module, nn.Conv1d):
        stride, padding, dilation = (one if isinstance(one, str) else int(one[0]) for one in options)
        return nir.Conv1d(shape[1], weight, stride, padding, dilation, 1, bias, metadata=metadata)
    stride, padding, dilation = options  # type: ignore[assignment]  # pairs
    return nir.Conv2d(shape[1:], weight, stride, padding, dilation, 1, bias, metadata=metadata)


def _normalisation(place: str, module: nn.BatchNorm1d | nn.BatchNorm2d, shape: Shape) -> nir.NIRNode:
    r"""Node of a batch normalisation in eval mode: y = a x + c, a = gamma / sqrt(var + eps), c = beta - a mean."""
    mean, variance = module._buffers["running_mean"], module._buffers["running_var"]
    if mean is None or variance is None:
        raise Unsupported(
            f"{place} keeps no running statistics, so that it is no fixed affine function: use "
            "track_running_stats=True."
        )
    if shape[0] != module.num_features:
        raise Unsupported(f"{place} takes {module.num_features} channels, got an input of {_told(shape)}.")
    factor = 1 / torch.sqrt(variance.double() + module.eps)
    factor = factor * module.weight.detach().double() if module.affine else factor
    shift = -factor * mean.double()
    shift = shift + module.bias.detach().double() if module.affine else shift
    return pointwise(np.diag(array(factor)), array(shift), shape, {})


def _flatten(place: str, module: nn.Flatten, shape: Shape, leading: int) -> nir.NIRNode:
    first, last = (one - leading if one >= 0 else one for one in (module.start_dim, module.end_dim))
    if first < 0 <= module.start_dim:
        raise Unsupported(
            f"{place} flattens dimension {module.start_dim}, which is no dimension of a sample: inputs are "
            f"{'sequences, with time and batch' if leading == 2 else 'time steps, with the batch'} before the sample. "
            f"Use Flatten({leading})."
        )
    return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=first, end_dim=last)


def _pooling(place: str, module: nn.AvgPool2d | nn.LPPool2d) -> nir.NIRNode:
    padding: Any = getattr(module, "padding", 0)
    pair = [
        np.broadcast_to(one, 2).copy() for one in (module.kernel_size, module.stride or module.kernel_size, padding)
    ]
    if isinstance(module, nn.AvgPool2d):
        summed = module.divisor_override == 1
        plain = module.divisor_override in (None, 1) and (module.count_include_pad or not np.any(padding))
    else:
        summed, plain = True, float(module.norm_type) == 1.0
    if not plain or module.ceil_mode:
        raise Unsupported(f"{place} has options that have no form in NIR; use plain means or sums over windows.")
    return (nir.SumPool2d if summed else nir.AvgPool2d)(*pair)


def _told(shape: Shape) -> str:
    return f"{shape[0]} units" if len(shape) == 1 else f"the shape {shape}"
