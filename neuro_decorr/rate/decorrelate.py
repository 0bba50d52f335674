"""Insertion of a Decorrelation before every weight layer of a model, and folding into plain layers."""

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
    WeightLayer,
    Weights,
    computes_of_its_own,
    decorrelation_of,
    features_of,
    folded,
    groups_of,
    is_linear,
    is_weight_layer,
    weights_behind_cells,
)
from neuro_decorr.row_choice import TransposedConvolution
from neuro_decorr.rules.connectivity import Connectivity, of_weight

ModelType = TypeVar("ModelType", bound=nn.Module)

ConvolutionForm = Literal["patches", "channels"]
"""Part of the input of a convolution that D acts on: whole patches, or the channels at every position."""


def decorrelate(
    model: ModelType,
    skip: Skip | Iterable[Skip] = (),
    *,
    center: bool = True,
    row_fraction: float = 0.1,
    convolution: ConvolutionForm = "patches",
    signal: Signal | Trace = "spikes",
    keep_sparsity: bool = False,
) -> ModelType:
    r"""Return a copy of a model in which every Linear and convolution receives centred, decorrelated inputs.

    $$y = W D (z - \mu) + b$$

    Each layer keeps its name and its parameters. It gains a submodule `decorrelation`, and its class becomes a subclass
    of its own class, whose forward applies D to the input (see `neuro_decorr.rate.attached`). For a convolution D is
    folded into the kernel at every forward pass, and a grouped convolution has a D for each of its groups (see
    `neuro_decorr.rate.convolution`). D learns only when a `Plasticity` steps, whose rule also sets the structure of D:
    a matrix, interneurons, or centring alone. Layers of other classes stay as they are; `neuro_decorr.coverage` lists
    them. The first forward pass is watched for weights that are used outside of their layers (see
    `neuro_decorr.rate.uses`). The copy is not compiled: compile the copy, not the model.

    Cost of a forward pass: 2 features^2 flop per row for a dense D of a Linear layer, 4 k features for k interneurons;
    for a convolution one product of its kernel with D per pass.

    Args:
        model: Any module, or a single layer.
        skip: Layers to leave as they are, one or several of: a qualified name, with wildcards (`encoder.*`); a class; a
            module of this model; a predicate of the qualified name and the layer. A class or a module includes all
            layers inside.
        center: True subtracts the running mean of every layer's input.
        row_fraction: Fraction of a batch's rows that drive the plasticity, in (0, 1].
        convolution: `patches`: z is a patch, padding included, and D has the size of channels times kernel positions.
            `channels`: z is the channels at one position, as for a 1x1 convolution after the padding; this is cheaper
            by the square of the kernel positions and leaves correlations between positions.
        signal: Signal that drives the statistics: `spikes`, the inputs themselves; or, for Linear layers that receive
            whole sequences (steps, batch, features), as in a spiking network, their `trace` or `rate`.
        keep_sparsity: True confines the D of every layer to connections that keep the zeros of its weight, see
            `neuro_decorr.rules.connectivity.of_weight`, so that D can be folded into the weight. The zeros are those of
            the weight now, or those of a pruning by `torch.nn.utils.prune`.

    Returns:
        The copy; the original is unchanged.

    Raises:
        UnknownName: A name, class or module in `skip` matches no layer.
        InvalidValue: The argument is not a model; an option does not exist; a predicate in `skip` fails.
        Unsupported: Layers cannot be decorrelated (a lazy layer, the inside of an attention module, a convolution with
            a forward of its own, complex or sharded weights, a compiled module); one error names all of them. Or no
            layer is left. docs/layers.md has the table.
        StateMismatch: The model is decorrelated already.
    """
    check_model("decorrelate", model)
    checks.refuse("decorrelate", checks.flag("center", center), checks.flag("keep_sparsity", keep_sparsity))
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
                connectivity=_sparsity_of(layer, convolution == "channels") if keep_sparsity else None,
                device=weight.device,
                dtype=torch.float64 if weight.dtype == torch.float64 else torch.float32,
            )
            attach(layer, decorrelation.train(layer.training))
    keep_within_reach(decorrelated)
    watch_first_pass(decorrelated)
    return decorrelated


def fold(model: ModelType, *, keep_sparsity: bool = False) -> ModelType:
    r"""Return the plain network that computes the same: $W \leftarrow W D,\; b \leftarrow b - W D \mu$.

    The result holds no class and no hook of this library. A Decorrelation that stands by itself, for instance in a
    Sequential, becomes a Linear with weight D and bias -D mean. Tied weights become separate, since each had its own D;
    a layer that is used in several places stays one layer. Parametrizations of a folded weight, pruning and the older
    weight norm and spectral norm are evaluated. The result is not compiled, even if the model was. A layer without bias
    gains one where D subtracts a mean, so that the result's `state_dict` does not load into such a class; with
    `decorrelate(model, center=False)` it does.

    Cost: 2 outputs features^2 flop per layer with a dense D.

    Args:
        model: Result of `decorrelate`, or any model with a Decorrelation in it.
        keep_sparsity: True refuses to fill in zeros, so that an output of the folded layer reads no further inputs.

    Returns:
        A plain copy; the original is unchanged. Products are computed in float64.

    Raises:
        InvalidValue: The argument is not a model; or, with `keep_sparsity`, D would fill in zeros of a layer.
        Unsupported: A layer uses its weight in a way of its own, so that W D would not replace it; the first forward
            pass used the weight outside of its layer; the model is sharded.
    """
    check_model("fold", model)
    checks.refuse("fold", checks.flag("keep_sparsity", keep_sparsity))
    for name, layer in model.named_modules():
        check_not_used_elsewhere(place(plain_name(name), layer), layer)
    plain = copied(model)
    forget_watch(plain)
    for name, layer in list(plain.named_modules()):
        unmark(layer)
        if is_weight_layer(layer) and decorrelation_of(layer) is not None:
            _fold_into(name, layer, keep_sparsity)
            detach(layer)
    if isinstance(plain, Decorrelation):
        return _as_linear(plain)  # type: ignore[return-value]  # a Decorrelation alone becomes a Linear
    if isinstance(plain, DecorrelationCell):
        return plain.plain(_as_linear(plain.decorrelation))  # type: ignore[return-value]
    linears: dict[nn.Module, nn.Module] = {}
    for parent in list(plain.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, Decorrelation | DecorrelationCell):
                if child not in linears:
                    cell = child if isinstance(child, DecorrelationCell) else None
                    held = child if isinstance(child, Decorrelation) else child.decorrelation
                    linears[child] = _as_linear(held) if cell is None else cell.plain(_as_linear(held))
                parent._modules[name] = linears[child]
                replaced_by_stateless(parent, name)
    return plain


def decorrelated_layers(model: nn.Module) -> Iterator[tuple[str, Decorrelation, Weights | None]]:
    """Every Decorrelation of a model with its name and, if known, the weights behind it.

    The weights are known for layers of `decorrelate`, and for a cell that a plain Linear follows in a Sequential.

    Args:
        model: Any model.

    Yields:
        Name of the layer, its Decorrelation, and the weights behind it or None.
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


def _sparsity_of(layer: WeightLayer, on_channels: bool) -> Connectivity:
    """Connections that keep the zeros of a layer's weight, after its hooks have computed the weight."""
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, prune.BasePruningMethod):
            hook(layer, ())
    groups = groups_of(layer)
    per_channel = on_channels or isinstance(layer, TransposedConvolution)
    return of_weight(Weights(layer, groups, per_channel and not is_linear(layer)).matrix())


def _check_option(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidValue(f"{name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}.")


@torch.no_grad()
def _fold_into(name: str, layer: WeightLayer, keep_sparsity: bool) -> None:
    _evaluate_parametrizations(layer)
    _evaluate_hooks(layer)
    if "weight" not in layer._parameters or computes_of_its_own(layer):
        raise Unsupported(
            f"{place(name, layer)} computes its weight anew at every forward pass, or has a forward of its own, so "
            "that W D cannot replace its weight: turn it into a plain layer, or use nd.decorrelate(model, skip=...)."
        )
    weight, shift = folded(layer, torch.float64)
    filled = int(((weight != 0) & (layer.weight == 0)).sum()) if keep_sparsity else 0
    if filled:
        present = int((layer.weight != 0).sum())
        raise InvalidValue(
            f"{place(name, layer)}: folding would turn {present} nonzero weights into {present + filled}: confine D by "
            "nd.decorrelate(model, keep_sparsity=True), or fold without keep_sparsity."
        )
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
    """Turn the results of parametrizations into parameters.

    torch's own remove_parametrizations is not used, since it removes the property from the class, which a copy shares
    with its original.
    """
    if not parametrize.is_parametrized(layer):
        return
    parametrizations = layer.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    parametrizations.eval()  # some change their state when they are read in train mode
    values = {
        of: nn.Parameter(getattr(layer, of).clone(), any(p.requires_grad for p in originals.parameters()))
        for of, originals in parametrizations.items()
    }
    layer.__class__ = parametrize.type_before_parametrizations(layer)
    del layer.parametrizations
    for of, value in values.items():
        layer.register_parameter(of, value)


def _evaluate_hooks(layer: nn.Module) -> None:
    """Turn results of torch's forward pre-hooks (pruning, older weight norm and spectral norm) into parameters."""
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
