"""Inputs of the layers of a network: the activity whose correlations are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.row_choice import Convolution, TransposedConvolution

Patches: TypeAlias = Literal["all", "one"]
"""Rows of a convolution: all its patches, or one patch of each image, at a position drawn at random."""


def layer_inputs(
    model: nn.Module,
    inputs: Tensor,
    kind: type[nn.Module] | tuple[type[nn.Module], ...] | None = None,
    *,
    patches: Patches = "all",
    seed: int = 0,
) -> dict[str, Tensor]:
    """Record the activity that the layers receive, in eval mode and without gradients.

    The activity is taken as the weights receive it: after forward pre-hooks and after the Decorrelation of the layer. A
    convolution receives patches, padding included: one row per image and position; a transposed convolution receives
    the channels at every position. The modes of the model (training or eval) are restored afterwards.

    Units that never vary, as behind a ReLU, have no correlation: measure the others with `silent="drop"`.

    Rows of one image are not independent samples, since its patches overlap and resemble each other. The floor of
    `summary` takes every row for an independent sample, so that it is far too low for them (its intervals allow for
    rows that are alike if they are neighbours). `patches="one"` draws one patch of each image, so that rows are as
    independent as the images. The same holds for tokens and time steps of one sequence: take one of each yourself.

    Cost: one forward pass; memory for the inputs of all these layers. With `patches="all"` a convolution takes the
    memory of its input times the number of kernel positions, over the stride; with `"one"` that of one patch per image.

    Args:
        model: Any module.
        inputs: Batch of inputs for the model.
        kind: Class of the layers, or several, subclasses included, such as `nn.Conv2d`. None: every Linear, convolution
            and transposed convolution, and every other layer that `decorrelate` decorrelated.
        patches: Rows of convolutions, transposed ones too: `"all"`, or `"one"` of each image in each call.
        seed: Seed of the positions of these patches, which every layer draws anew.

    Returns:
        Activity by the qualified name of the layer, in the order of the calls, shape `(samples, units)`. Leading
        dimensions are flattened; the inputs of a layer that is called more than once are stacked along the samples.
        The units of a convolution are channels times kernel positions, in the order of `weight.flatten(1)`.

    Raises:
        InvalidValue: The model has no such layer, or `kind` or `patches` is none of these.
    """
    checks.refuse("layer_inputs", checks.word("patches", patches, get_args(Patches)))
    layers = {name: module for name, module in model.named_modules() if _is_of(module, kind)}
    if not layers:
        raise _no_layer(model, kind)
    # Here, since recordings are analysed without it.
    from neuro_decorr.conditioning._rows import input_rows, one_row_of_each, transposed_rows

    generator = torch.Generator().manual_seed(seed)

    def rows_of(layer: Any, activity: Tensor) -> Tensor:
        if isinstance(layer, Convolution | TransposedConvolution):
            if patches == "one":
                rows = one_row_of_each(layer, activity, generator)
            elif isinstance(layer, Convolution):
                rows = input_rows(layer, activity, most=None)
            else:
                rows = transposed_rows(layer, activity)
            return rows if rows.dim() == 2 else rows.movedim(0, 1).flatten(1)
        if hasattr(type(layer), "decorrelated_input"):
            activity = layer.decorrelated_input(activity)  # in eval mode, so that nothing is remembered
        return flat_rows(layer, activity)

    return recorded(model, inputs, layers, rows_of)


def recorded(
    model: nn.Module, inputs: Tensor, layers: Mapping[str, nn.Module], rows_of: Callable[[Any, Tensor], Tensor]
) -> dict[str, Tensor]:
    """Record rows of the inputs of layers in one pass, in eval mode and without gradients.

    Args:
        model: Any module.
        inputs: Batch of inputs for the model.
        layers: Layers of the model by name.
        rows_of: Function from a layer and its input to rows, whose dimension is the last but one.

    Returns:
        Rows of each layer that was called, those of one call below those of the other.
    """
    received: dict[str, list[Tensor]] = {}

    def remember(name: str) -> Any:
        def hook(layer: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], __: Any) -> None:
            activity = arguments[0] if arguments else keywords["input"]
            rows = rows_of(layer, activity)
            if rows.untyped_storage().data_ptr() == activity.untyped_storage().data_ptr():
                rows = rows.clone()  # what follows may change the input in place, such as a residual sum
            received.setdefault(name, []).append(rows)

        return hook

    modes = [(module, module.training) for module in model.modules()]
    handles = [layer.register_forward_hook(remember(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            model.eval()(inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return {name: torch.cat(calls, dim=-2) if len(calls) > 1 else calls[0] for name, calls in received.items()}


def flat_rows(layer: nn.Module, activity: Tensor) -> Tensor:
    """Rows (rows, features) of the input of a layer that is no convolution."""
    if spatial := getattr(layer, "spatial", 0):  # the cells of neuro_decorr.norse have channels first
        activity = activity.movedim(-1 - spatial, -1)
    return activity.detach().reshape(-1, activity.shape[-1])


def _is_of(module: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] | None) -> bool:
    if kind is None:
        plain = isinstance(module, nn.Linear | Convolution | TransposedConvolution)
        return plain or hasattr(type(module), "decorrelated_input")
    given: object = kind  # users may err
    several = given if isinstance(given, tuple) else (given,)
    if not several or not all(isinstance(one, type) and issubclass(one, nn.Module) for one in several):
        raise InvalidValue(
            "layer_inputs: kind must be a class of torch modules, a tuple of them, or None for every layer that can be "
            f"decorrelated, got {shown(given)}; for example kind=nn.Conv2d."
        )
    return isinstance(module, kind)


def _no_layer(model: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] | None) -> InvalidValue:
    several = kind if isinstance(kind, tuple) else (kind,)
    wanted = "layer of class " + " or ".join(one.__name__ for one in several if one is not None)
    there = sorted({type(module).__name__ for module in model.modules() if not any(module.children())})
    return InvalidValue(
        f"{type(model).__name__} has no {'Linear and no convolution' if kind is None else wanted}; it has "
        f"{', '.join(there)}: give the class of its layers as kind."
    )
