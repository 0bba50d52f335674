"""Put a Decorrelation before every weight layer of any model, and take them out again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar, get_args

import torch
from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, Unsupported, shown
from neuro_decorr.libraries import replaced_by_stateless
from neuro_decorr.rate.attached import attach, detach, keep_within_reach
from neuro_decorr.rate.cell import DecorrelationCell
from neuro_decorr.rate.copying import at_rest, check_model, copied, place, plain_name
from neuro_decorr.rate.decorrelation import Decorrelation
from neuro_decorr.rate.selection import Skip, chosen, mark_skipped, unmark
from neuro_decorr.rate.traces import Signal, Trace
from neuro_decorr.rate.uses import check_not_used_elsewhere, forget_watch, watch_first_pass
from neuro_decorr.rate.weights import (
    TransposedConvolution,
    WeightLayer,
    Weights,
    computes_of_its_own,
    decorrelation_of,
    features_of,
    folded,
    groups_of,
    is_weight_layer,
    weights_behind_cells,
)

ModelType = TypeVar("ModelType", bound=nn.Module)

ConvolutionForm = Literal["patches", "channels"]
"""What of the input of a convolution is decorrelated: whole patches, or the channels at every position alike."""


def decorrelate(
    model: ModelType,
    skip: Skip | Iterable[Skip] = (),
    *,
    center: bool = True,
    row_fraction: float = 0.1,
    convolution: ConvolutionForm = "patches",
    signal: Signal | Trace = "spikes",
) -> ModelType:
    r"""A copy of a model in which every Linear and convolution receives centred, decorrelated inputs.

    $$y = W D (z - \mu) + b$$

    Each layer keeps its name and its parameters, and gains a submodule `decorrelation` and a subclass of its own class,
    in whose forward D is applied to the input (see `neuro_decorr.rate.attached`). For a convolution D is folded into
    the kernel at every forward pass, and a grouped one has a D for each of its groups (see
    `neuro_decorr.rate.convolution`). Nothing learns until a `Plasticity` steps, whose rule also decides what D holds:
    a matrix, interneurons, or nothing. Layers of other classes are left as they are: `neuro_decorr.coverage` tells
    which. The first forward pass is watched for weights that are used outside
    of their layers (see `neuro_decorr.rate.uses`). The copy is not compiled: compile it, not the model.

    Args:
        model: Any module, or a single layer.
        skip: Layers to leave alone, one or several of: a qualified name, wildcards allowed (`encoder.*`); a class; a
            module of this model (of both all that lies in them); a predicate of the qualified name and the layer.
        center: Subtract the running mean of every layer's input.
        row_fraction: Fraction of a batch's rows that drive the plasticity.
        convolution: `patches`: z is a patch, padding included, and D has the size of channels times kernel positions.
            `channels`: z is the channels at one position, as of a 1x1 convolution behind the padding: cheaper by the
            kernel positions squared, and correlations between positions stay.
        signal: What drives the statistics: `spikes`, the inputs themselves; or where Linear layers are given whole
            sequences (steps, batch, features), as in a spiking network, their `trace` or `rate`.

    Returns:
        The copy; the original is untouched.

    Raises:
        UnknownName: A name, class or module in `skip` matches no layer.
        InvalidValue: Not a model; an option that does not exist; a predicate in `skip` that fails.
        Unsupported: Layers cannot be decorrelated (a lazy layer, the inside of an attention module, a convolution with
            a forward of its own, complex or sharded weights, a compiled module), all of them told at once, or none is
            left; docs/layers.md has the table.
        StateMismatch: The model is decorrelated already.
    """
    check_model("decorrelate", model)
    checks.refuse("decorrelate", checks.flag("center", center))
    _check_option("convolution", convolution, get_args(ConvolutionForm))
    found = chosen(model, skip, signal)
    decorrelated = copied(model)
    copies = dict(decorrelated.named_modules())
    with at_rest(decorrelated):
        for candidate in found:
            layer = copies[candidate.name]
            assert is_weight_layer(layer)
            if candidate.skipped is not None:
                mark_skipped(layer, candidate.skipped)
                continue
            weight: torch.Tensor = layer.weight
            decorrelation = Decorrelation(
                features_of(layer, on_channels=convolution == "channels"),
                center,
                groups=groups_of(layer),
                subtract=not isinstance(layer, TransposedConvolution),
                row_fraction=row_fraction,
                signal=signal,
                device=weight.device,
                dtype=torch.float64 if weight.dtype == torch.float64 else torch.float32,
            )
            attach(layer, decorrelation.train(layer.training))
    keep_within_reach(decorrelated)
    watch_first_pass(decorrelated)
    return decorrelated


def fold(model: ModelType) -> ModelType:
    r"""The plain network that computes the same: $W \leftarrow W D,\; b \leftarrow b - W D \mu$.

    The result holds no class and no hook of this library. A Decorrelation that stands by itself, in a Sequential for
    instance, becomes a Linear with weight D and bias -D mean. Tied weights come apart, since each was behind a D of its
    own; a layer that is used in several places stays one. Parametrizations of a folded weight, pruning and the older
    weight and spectral norm are evaluated. The result is not compiled, also where the model was.

    Args:
        model: What `decorrelate` returned, or any model with a Decorrelation in it.

    Returns:
        A plain copy; the original is untouched. Products are taken in double precision.

    Raises:
        InvalidValue: Not a model.
        Unsupported: A layer computes something of its own with its weight, so that W D is not what it would need; its
            weight was seen in use outside of the layer at the first forward pass; the model is sharded.
    """
    check_model("fold", model)
    for name, layer in model.named_modules():
        check_not_used_elsewhere(place(plain_name(name), layer), layer)
    plain = copied(model)
    forget_watch(plain)
    for name, layer in list(plain.named_modules()):
        unmark(layer)
        if is_weight_layer(layer) and decorrelation_of(layer) is not None:
            _fold_into(name, layer)
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
                replaced_by_stateless(parent, name)
    return plain


def decorrelated_layers(model: nn.Module) -> Iterator[tuple[str, Decorrelation, Weights | None]]:
    """Every Decorrelation of a model with its name and, where they are known, the weights behind it.

    They are known where `decorrelate` put it there, and of a cell that a plain Linear follows in a Sequential.
    """
    behind = dict(found for module in model.modules() if (found := decorrelation_of(module)) is not None)
    behind |= weights_behind_cells(model)
    for name, module in model.named_modules():
        if isinstance(module, Decorrelation):
            weights = behind.get(module)
            if weights is None:
                yield name, module, None
            else:
                yield name.removesuffix("decorrelation").removesuffix("."), module, weights


def _check_option(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidValue(f"{name} must be one of {', '.join(map(repr, allowed))}; got {shown(value)}.")


@torch.no_grad()
def _fold_into(name: str, layer: WeightLayer) -> None:
    _evaluate_parametrizations(layer)
    _evaluate_hooks(layer)
    if "weight" not in layer._parameters or computes_of_its_own(layer):
        raise Unsupported(
            f"{place(name, layer)} makes its weight anew at every forward pass, or has a forward of its "
            "own: what W D is to it is not known. Turn it into a plain layer, or nd.decorrelate(model, skip=...)."
        )
    weight, shift = folded(layer, torch.float64)
    trainable = layer.weight.requires_grad
    bias: torch.Tensor | None = layer.bias
    if bias is not None:
        follows = bias.requires_grad if "bias" in layer._parameters else trainable  # else it is an offset
        layer.bias = nn.Parameter((bias.double() - shift).to(bias.dtype), follows)
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


def _evaluate_hooks(layer: nn.Module) -> None:
    """Make parameters of what forward pre-hooks of torch compute: pruning, the older weight norm and spectral norm."""
    for hook in list(layer._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            original = f"{hook._tensor_name}_orig"
            held = layer._parameters[original]
            assert held is not None
            # Torch writes into it, and another layer may share it.
            layer._parameters[original] = nn.Parameter(held.detach().clone(), held.requires_grad)
            prune.remove(layer, hook._tensor_name)  # type: ignore[no-untyped-call]  # torch types it not
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(layer, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(layer, hook.name)


@torch.no_grad()
def _as_linear(decorrelation: Decorrelation) -> nn.Linear:
    features = decorrelation.features
    linear = nn.Linear(features, features, device=decorrelation.mean.device, dtype=decorrelation.mean.dtype)
    linear.weight.copy_(decorrelation.matrix)
    linear.bias.copy_(-(decorrelation.matrix.double() @ decorrelation.subtracted().double()))
    return linear.train(decorrelation.training).requires_grad_(False)
