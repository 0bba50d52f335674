"""What reaches the layers of a network: the activity that measures of decorrelation are taken of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuro_decorr.errors import InvalidValue


def layer_inputs(model: nn.Module, inputs: Tensor, kind: type[nn.Module] = nn.Linear) -> dict[str, Tensor]:
    """The activity that every layer of one kind receives, in eval mode and without gradients.

    What a layer receives is what its weights see: behind forward pre-hooks and behind the Decorrelation of a Linear (a
    convolution folds it into the kernel and receives its plain input). The model's modes are put back as they were.

    Args:
        model: Any module.
        inputs: A batch for it.
        kind: Class of the layers, subclasses included.

    Returns:
        Activity by the layer's qualified name, in the order of the calls, shape `(samples, units)`: leading dimensions
        are flattened, a layer that is called more than once has its calls one below the other.

    Raises:
        InvalidValue: The model has no layer of this kind.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kind)}
    if not layers:
        raise InvalidValue(f"{type(model).__name__} has no layer of class {kind.__name__} to look at.")
    received: dict[str, list[Tensor]] = {}

    def remember(name: str) -> Any:
        def hook(layer: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], __: Any) -> None:
            activity = arguments[0] if arguments else keywords["input"]
            if hasattr(type(layer), "decorrelated_input"):
                activity = layer.decorrelated_input(activity)  # of eval mode: nothing is remembered
            received.setdefault(name, []).append(activity.detach().flatten(0, -2) if activity.dim() > 1 else activity)

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
