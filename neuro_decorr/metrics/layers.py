"""Inputs of the layers of a network: the activity whose correlations are measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue


def layer_inputs(model: nn.Module, inputs: Tensor, kind: type[nn.Module] = nn.Linear) -> dict[str, Tensor]:
    """Record the activity that every layer of one kind receives, in eval mode and without gradients.

    The activity is taken as the weights receive it: after forward pre-hooks and after the Decorrelation of the layer. A
    convolution receives patches, padding included: one row per image and position; a transposed convolution receives
    the channels at every position. The modes of the model (training or eval) are restored afterwards.

    Cost: one forward pass; memory for the inputs of all layers of the kind, of convolutions for all their patches.

    Args:
        model: Any module.
        inputs: Batch of inputs for the model.
        kind: Class of the layers, subclasses included; `nn.Conv2d` for convolutions.

    Returns:
        Activity by the qualified name of the layer, in the order of the calls, shape `(samples, units)`. Leading
        dimensions are flattened; the inputs of a layer that is called more than once are stacked along the samples.
        The units of a convolution are channels times kernel positions, in the order of `weight.flatten(1)`.

    Raises:
        InvalidValue: The model has no layer of this kind.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kind)}
    if not layers:
        raise InvalidValue(
            f"{type(model).__name__} has no layer of class {kind.__name__}; give the class of its layers as kind."
        )
    # Here, since recordings are analysed without it.
    from neuro_decorr.conditioning._rows import input_rows, transposed_rows

    received: dict[str, list[Tensor]] = {}

    def remember(name: str) -> Any:
        def hook(layer: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], __: Any) -> None:
            activity = arguments[0] if arguments else keywords["input"]
            rows = None
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                rows = input_rows(layer, activity, most=None)
            elif isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
                rows = transposed_rows(layer, activity)
            if rows is not None:
                received.setdefault(name, []).append(rows if rows.dim() == 2 else rows.movedim(0, 1).flatten(1))
                return
            if hasattr(type(layer), "decorrelated_input"):
                activity = layer.decorrelated_input(activity)  # in eval mode, so that nothing is remembered
            if spatial := getattr(layer, "spatial", 0):  # the cells of neuro_decorr.norse have channels first
                activity = activity.movedim(-1 - spatial, -1)
            received.setdefault(name, []).append(activity.detach().reshape(-1, activity.shape[-1]))

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
    return {name: torch.cat(calls) if len(calls) > 1 else calls[0] for name, calls in received.items()}
