"""Put a Decorrelation before every weight layer of any model, and take them out again."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import nn
from torch.nn.utils import parametrize

from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported, unknown_name
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.convolution import attach, detach
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.traces import Signal, Trace
from neuro_decorr.rate.weights import (
    WeightLayer,
    Weights,
    computes_of_its_own,
    decorrelations_of,
    folded,
    weights_behind_cells,
)

ModelType = TypeVar("ModelType", bound=nn.Module)

ConvolutionForm = Literal["patches", "channels"]
"""What of the input of a convolution is decorrelated: whole patches, or the channels at every position alike."""

_CONVOLUTIONS = nn.modules.conv._ConvNd  # transposed and lazy ones too: they are refused by name


def decorrelate(
    model: ModelType,
    skip: Iterable[str] = (),
    *,
    center: bool = True,
    sample: float = 0.1,
    convolution: ConvolutionForm = "patches",
    structure: Literal["dense", "centering"] = "dense",
    signal: Signal | Trace = "spikes",
) -> ModelType:
    r"""A copy of a model in which every Linear and convolution receives centred, decorrelated inputs.

    .. math:: y = W D (z - \mu) + b

    Each layer keeps its class, its name and its parameters, and gains a submodule `decorrelation`. A Linear has it
    applied to its input by a forward pre-hook. For a convolution D is folded into the kernel at every forward pass, and
    a grouped one has a D for each of its groups (see `neuro_decorr.rate.convolution`). Nothing learns until a
    `Plasticity` steps. Layers of other classes are left as they are (docs/layers.md has the table).

    Args:
        model: Any module, or a single layer.
        skip: Qualified names of layers to leave alone, wildcards allowed (`encoder.*`).
        center: Subtract the running mean of every layer's input.
        sample: Fraction of a batch's rows that drive the plasticity.
        convolution: `patches`: z is a patch, padding included, and D has the size of channels times kernel positions.
            `channels`: z is the channels at one position, as of a 1x1 convolution behind the padding: cheaper by the
            kernel positions squared, and correlations between positions stay.
        structure: `dense`: every D starts as a full identity matrix, which rules of that structure move and any user
            may set. `centering`: D = I without a matrix until a Plasticity brings the structure of its rule; for very
            wide layers that get interneurons, since features^2 numbers are never held.
        signal: What drives the statistics: `spikes`, the inputs themselves; or where Linear layers are given whole
            sequences (steps, batch, features), as in a spiking network, their `trace` or `rate`.

    Returns:
        The copy; the original is untouched.

    Raises:
        UnknownName: A name in `skip` matches no layer.
        InvalidValue: An option that does not exist.
        Unsupported: A layer cannot be decorrelated (a transposed convolution, a lazy layer, the inside of an attention
            module, a convolution with a forward of its own), or none is left.
        StateMismatch: The model is decorrelated already.
    """
    _check_option("convolution", convolution, get_args(ConvolutionForm))
    decorrelated = copy.deepcopy(model)
    for name, layer in _chosen(decorrelated, skip).items():
        weight: torch.Tensor = layer.weight
        if signal != "spikes" and not isinstance(layer, nn.Linear):
            raise Unsupported(
                f"layer '{name}' ({type(layer).__name__}) has no traces: they need a Linear layer; "
                f"use signal='spikes', or leave it out with skip=('{name}',)."
            )
        on_channels = convolution == "channels" and not isinstance(layer, nn.Linear)
        features = weight.shape[1] if on_channels else weight[0].numel()  # of one group
        decorrelations = [
            Decorrelation(
                features,
                center,
                sample=sample,
                structure=structure,
                signal=signal,
                device=weight.device,
                dtype=torch.float64 if weight.dtype == torch.float64 else torch.float32,
            ).train(layer.training)
            for _ in range(1 if isinstance(layer, nn.Linear) else layer.groups)
        ]
        if isinstance(layer, nn.Linear):
            layer.decorrelation = decorrelations[0]
            layer.register_forward_pre_hook(_decorrelate_input, with_kwargs=True)
        else:
            attach(layer, decorrelations)
    return decorrelated


def fold(model: ModelType) -> ModelType:
    r"""The plain network that computes the same: :math:`W \leftarrow W D,\; b \leftarrow b - W D \mu`.

    The result holds no class and no hook of this library. A Decorrelation that stands by itself, in a Sequential for
    instance, becomes a Linear with weight D and bias -D mean. Tied weights come apart, since each was behind a D of its
    own; a layer that is used in several places stays one. Parametrizations of a folded weight are evaluated.

    Args:
        model: What `decorrelate` returned, or any model with a Decorrelation in it.

    Returns:
        A plain copy; the original is untouched. Products are taken in double precision.

    Raises:
        Unsupported: A layer computes something of its own with its weight, so that W D is not what it would need.
    """
    plain = copy.deepcopy(model)
    for name, layer in list(plain.named_modules()):
        if any(True for _ in decorrelations_of(layer)):
            assert isinstance(layer, WeightLayer)
            _fold_into(name, layer)
            if isinstance(layer, nn.Linear):
                del layer.decorrelation
                _remove_hook(layer)
            else:
                detach(layer)
    if isinstance(plain, Decorrelation):
        return _as_linear(plain)  # type: ignore[return-value]  # a Decorrelation alone becomes a Linear
    if isinstance(plain, DecorrelationCell):
        return _as_linear(plain.decorrelation)  # type: ignore[return-value]
    linears: dict[nn.Module, nn.Linear] = {}
    for parent in list(plain.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, Decorrelation | DecorrelationCell):
                held = child if isinstance(child, Decorrelation) else child.decorrelation
                parent._modules[name] = linears.setdefault(child, _as_linear(held))
                if isinstance(stateful := getattr(parent, "stateful_layers", None), list):
                    stateful[int(name)] = False  # Norse's SequentialState has noted which of its modules have a state
    return plain


def decorrelated_layers(model: nn.Module) -> Iterator[tuple[str, Decorrelation, Weights | None]]:
    """Every Decorrelation of a model with its name and, where they are known, the weights behind it.

    They are known where `decorrelate` put it there, and of a cell that a plain Linear follows in a Sequential.
    """
    behind = {found: weights for module in model.modules() for found, weights in decorrelations_of(module)}
    behind |= weights_behind_cells(model)
    for name, module in model.named_modules():
        if isinstance(module, Decorrelation):
            weights = behind.get(module)
            if weights is None:
                yield name, module, None
            else:
                place = name.removesuffix(f".{weights.group}") if weights.groups > 1 else name
                layer = place.removesuffix("decorrelation").removesuffix(".")
                yield layer if weights.groups == 1 else f"{layer} (group {weights.group})".lstrip(), module, weights


def _remove_hook(layer: nn.Module) -> None:
    """Take our forward pre-hook off a layer."""
    for key, hook in list(layer._forward_pre_hooks.items()):
        if hook is _decorrelate_input:
            del layer._forward_pre_hooks[key]
            layer._forward_pre_hooks_with_kwargs.pop(key, None)


def _decorrelate_input(
    layer: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    decorrelation = layer.decorrelation
    assert isinstance(decorrelation, Decorrelation)
    if arguments:
        return (decorrelation(arguments[0]), *arguments[1:]), keywords
    return arguments, {**keywords, "input": decorrelation(keywords["input"])}


def _check_option(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidValue(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}.")


def _chosen(model: nn.Module, skip: Iterable[str]) -> dict[str, WeightLayer]:
    """The layers to decorrelate, checked, by name."""
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | _CONVOLUTIONS)}
    patterns = [skip] if isinstance(skip, str) else list(skip)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in layers):
            raise unknown_name("layer to skip", pattern, layers)
    kept = {n: layer for n, layer in layers.items() if not any(fnmatch.fnmatchcase(n, p) for p in patterns)}
    if not kept:
        raise Unsupported(f"{type(model).__name__} has no Linear or convolution left to decorrelate.")
    inside_attention = _inside_attention(model)
    return {name: _checked(name, layer, name in inside_attention) for name, layer in kept.items()}


def _inside_attention(model: nn.Module) -> set[str]:
    """Names of layers whose forward an attention module never calls: it reads their weights instead."""
    return {
        f"{name}.{child}".lstrip(".")
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
        for child, _ in module.named_modules()
    }


def _checked(name: str, layer: nn.Module, inside_attention: bool) -> WeightLayer:
    place = f"layer '{name}' ({type(layer).__name__})"
    mend = f"leave it out with skip=('{name}',)"
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
        raise Unsupported(f"{place} does not know its input size yet: run one batch through the model, or {mend}.")
    if not isinstance(layer, WeightLayer):
        raise Unsupported(
            f"{place}: each of its outputs is a sum over several inputs' patches, so it has no patches of its own to "
            "decorrelate, and at its borders fewer of them meet, so that no bias could carry the mean of its channels; "
            f"{mend}."
        )
    if isinstance(layer, _CONVOLUTIONS) and computes_of_its_own(layer):
        raise Unsupported(
            f"{place} has a forward of its own, which a convolution with decorrelated patches replaces; {mend}."
        )
    if inside_attention:
        raise Unsupported(
            f"{place}: its attention module reads the weight without calling the layer, so its input cannot be "
            f"decorrelated; {mend}."
        )
    if any(True for _ in decorrelations_of(layer)):
        raise StateMismatch(f"{place} is decorrelated already; nd.fold the model first, or {mend}.")
    if hasattr(layer, "decorrelation"):
        raise Unsupported(f"{place} has an attribute 'decorrelation' of its own; rename that, or {mend}.")
    return layer


@torch.no_grad()
def _fold_into(name: str, layer: WeightLayer) -> None:
    _evaluate_parametrizations(layer)
    if "weight" not in layer._parameters or (isinstance(layer, nn.Linear) and computes_of_its_own(layer)):
        raise Unsupported(
            f"layer '{name}' ({type(layer).__name__}) makes its weight anew at every forward pass, or has a forward of "
            "its own: what W D is to it is not known. Turn it into a plain layer, or nd.decorrelate(model, skip=...)."
        )
    weight, shift = folded(layer, torch.float64)
    trainable = layer.weight.requires_grad
    bias: torch.Tensor | None = layer.bias
    if bias is not None:
        layer.bias = nn.Parameter((bias.double() - shift).to(bias.dtype), bias.requires_grad)
    elif bool(shift.any()):
        layer.bias = nn.Parameter(-shift.to(layer.weight.dtype), trainable)
    # A new parameter, never a change in place: another layer may share the old one.
    layer.weight = nn.Parameter(torch.empty_like(layer.weight).copy_(weight), trainable)


def _evaluate_parametrizations(layer: nn.Module) -> None:
    """Make parameters of what parametrizations compute.

    Not by torch's own remove_parametrizations: it takes the property away from the class, which a copy shares with its
    original.
    """
    if not parametrize.is_parametrized(layer):
        return
    parametrizations = layer.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    parametrizations.eval()  # some move on when they are read in train mode
    values = {
        of: nn.Parameter(getattr(layer, of).clone(), any(p.requires_grad for p in originals.parameters()))
        for of, originals in parametrizations.items()
    }
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    for of, value in values.items():
        layer.register_parameter(of, value)


@torch.no_grad()
def _as_linear(decorrelation: Decorrelation) -> nn.Linear:
    features = decorrelation.features
    linear = nn.Linear(features, features, device=decorrelation.mean.device, dtype=decorrelation.mean.dtype)
    linear.weight.copy_(decorrelation.matrix)
    linear.bias.copy_(-(decorrelation.matrix.double() @ decorrelation.subtracted().double()))
    return linear.train(decorrelation.training).requires_grad_(False)
