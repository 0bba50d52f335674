"""Put a Decorrelation before every weight layer of any model, and take them out again."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from neuro_decorr.errors import StateMismatch, Unsupported, unknown_name
from neuro_decorr.rate import convolution
from neuro_decorr.rate.decorrelation import Decorrelation, owner_of

ModelType = TypeVar("ModelType", bound=nn.Module)

_CONVOLUTIONS = nn.modules.conv._ConvNd  # transposed and lazy ones too: they are refused by name
WeightLayer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
"""The layers that can be decorrelated."""


def decorrelate(model: ModelType, skip: Iterable[str] = (), *, center: bool = True, sample: float = 0.1) -> ModelType:
    r"""A copy of a model in which every Linear and convolution receives centred, decorrelated inputs.

    .. math:: y = W D (z - \mu) + b

    Each layer keeps its class, its name and its parameters, and gains a submodule `decorrelation`. A Linear has it
    applied to its input by a forward pre-hook. For a convolution z is a patch, padding included, and D is folded into
    the kernel at every forward pass (see `neuro_decorr.rate.convolution`). Nothing learns until a `Plasticity` steps.

    Args:
        model: Any module, or a single layer.
        skip: Qualified names of layers to leave alone, wildcards allowed (`encoder.*`).
        center: Subtract the running mean of every layer's input.
        sample: Fraction of a batch's rows that drive the plasticity.

    Returns:
        The copy; the original is untouched.

    Raises:
        UnknownName: A name in `skip` matches no layer.
        Unsupported: A layer cannot be decorrelated (a transposed or grouped convolution, a lazy layer, the inside of
            an attention module), or none is left.
        StateMismatch: The model is decorrelated already.
    """
    decorrelated = copy.deepcopy(model)
    layers = {name: layer for name, layer in decorrelated.named_modules() if _is_weight_layer(layer)}
    patterns = [skip] if isinstance(skip, str) else list(skip)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in layers):
            raise unknown_name("layer to skip", pattern, layers)
    kept = {n: layer for n, layer in layers.items() if not any(fnmatch.fnmatchcase(n, p) for p in patterns)}
    if not kept:
        raise Unsupported(f"{type(model).__name__} has no Linear or convolution left to decorrelate.")
    inside_attention = _inside_attention(decorrelated)
    for name, layer in kept.items():
        _check_layer(name, layer, name in inside_attention)
        assert isinstance(layer, WeightLayer)
        decorrelation = Decorrelation(
            layer.weight[0].numel(),  # of a Linear its inputs, of a convolution the features of a patch
            center,
            sample=sample,
            device=layer.weight.device,
            dtype=torch.float64 if layer.weight.dtype == torch.float64 else torch.float32,
        )
        decorrelation.train(layer.training)
        if isinstance(layer, nn.Linear):
            layer.decorrelation = decorrelation
            layer.register_forward_pre_hook(_decorrelate_input, with_kwargs=True)
        else:
            convolution.attach(layer, decorrelation)
    return decorrelated


def fold(model: ModelType) -> ModelType:
    r"""The plain network that computes the same: :math:`W \leftarrow W D,\; b \leftarrow b - W D \mu`.

    The result holds no class and no hook of this library. A Decorrelation that stands by itself, in a Sequential for
    instance, becomes a Linear with weight D and bias -D mean.

    Args:
        model: What `decorrelate` returned, or any model with a Decorrelation in it.

    Returns:
        A plain copy; the original is untouched. Products are taken in double precision.
    """
    folded = copy.deepcopy(model)
    for layer in list(folded.modules()):
        decorrelation = owner_of(layer)
        if decorrelation is not None:
            assert isinstance(layer, WeightLayer)
            _fold_into(layer, decorrelation)
            if isinstance(layer, nn.Linear):
                del layer.decorrelation
                _remove_hook(layer)
            else:
                convolution.detach(layer)
    if isinstance(folded, Decorrelation):
        return _as_linear(folded)  # type: ignore[return-value]  # a Decorrelation alone becomes a Linear
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Decorrelation):
                setattr(parent, name, _as_linear(child))
    return folded


def decorrelated_layers(model: nn.Module) -> Iterator[tuple[str, Decorrelation, WeightLayer | None]]:
    """Every Decorrelation of a model with its name and, where `decorrelate` put it there, the layer behind it."""
    owners = {owner_of(module): module for module in model.modules() if owner_of(module) is not None}
    for name, module in model.named_modules():
        if isinstance(module, Decorrelation):
            layer = owners.get(module)
            yield name.removesuffix(".decorrelation"), module, layer if isinstance(layer, WeightLayer) else None


def _remove_hook(layer: nn.Module) -> None:
    """Take our forward pre-hook off a layer."""
    for key, hook in list(layer._forward_pre_hooks.items()):
        if hook is _decorrelate_input:
            del layer._forward_pre_hooks[key]
            layer._forward_pre_hooks_with_kwargs.pop(key, None)


def _decorrelate_input(
    layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    decorrelation = owner_of(layer)
    assert decorrelation is not None
    if arguments:
        return (decorrelation(arguments[0]), *arguments[1:]), keywords
    return arguments, {**keywords, "input": decorrelation(keywords["input"])}


def _is_weight_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | _CONVOLUTIONS)


def _inside_attention(model: nn.Module) -> set[str]:
    """Names of layers whose forward an attention module never calls: it reads their weights instead."""
    return {
        f"{name}.{child}".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
        for child, _ in module.named_modules()
    }


def _check_layer(name: str, layer: nn.Module, inside_attention: bool) -> None:
    place = f"layer '{name}' ({type(layer).__name__})"
    mend = f"leave it out with skip=('{name}',)"
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
        raise Unsupported(f"{place} does not know its input size yet: run one batch through the model, or {mend}.")
    if not isinstance(layer, WeightLayer):
        raise Unsupported(
            f"{place}: each of its outputs is a sum over several inputs' patches, so it has no patches of its own to "
            f"decorrelate; {mend}."
        )
    if isinstance(layer, _CONVOLUTIONS) and layer.groups > 1:
        raise Unsupported(f"{place}: its {layer.groups} groups would need a transform each; {mend}.")
    if inside_attention:
        raise Unsupported(
            f"{place}: its attention module reads the weight without calling the layer, so its input cannot be "
            f"decorrelated; {mend}."
        )
    if owner_of(layer) is not None:
        raise StateMismatch(f"{place} is decorrelated already; nd.fold the model first, or {mend}.")
    if hasattr(layer, "decorrelation"):
        raise Unsupported(f"{place} has an attribute 'decorrelation' of its own; rename that, or {mend}.")


@torch.no_grad()
def _fold_into(layer: WeightLayer, decorrelation: Decorrelation) -> None:
    weight = layer.weight.flatten(1).double() @ decorrelation.matrix.double()
    shift = weight @ decorrelation.subtracted().double()
    trainable = layer.weight.requires_grad
    bias: Tensor | None = layer.bias
    if bias is not None:
        layer.bias = nn.Parameter((bias.double() - shift).to(bias.dtype), bias.requires_grad)
    elif bool(shift.any()):
        layer.bias = nn.Parameter(-shift.to(layer.weight.dtype), trainable)
    # A new parameter, never a change in place: another layer may share the old one.
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype).view_as(layer.weight), trainable)


@torch.no_grad()
def _as_linear(decorrelation: Decorrelation) -> nn.Linear:
    features = decorrelation.features
    linear = nn.Linear(features, features, device=decorrelation.mean.device, dtype=decorrelation.mean.dtype)
    linear.weight.copy_(decorrelation.matrix)
    linear.bias.copy_(-(decorrelation.matrix.double() @ decorrelation.subtracted().double()))
    return linear.train(decorrelation.training).requires_grad_(False)
