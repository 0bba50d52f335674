"""Functions that read the layers of a model and replace their forward for the duration of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeGuard, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuro_decorr.errors import Unsupported

Forward = Callable[..., Any]

_ABSENT: Any = object()


def walk(model: nn.Module) -> list[nn.Module]:
    """Modules of a model, breadth first; shared modules as often as they occur.

    The walk runs before every backward pass and is several times faster than `model.modules()`; two walks over the same
    modules compare equal.
    """
    found = [model]
    for module in found:
        found.extend(child for child in module._modules.values() if child is not None)
    return found


def name_of(model: nn.Module, layer: nn.Module) -> str:
    """Name of a layer for messages: its qualified name and its class."""
    for name, module in model.named_modules():
        if module is layer:
            return f"'{name}' ({type(layer).__name__})" if name else f"the model itself ({type(layer).__name__})"
    return f"a {type(layer).__name__}"


def is_plain_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """True if a module computes a nn.Linear, of its input or of the input that `arriving` transforms."""
    plain = getattr(type(module), "plain_class", type(module))
    return plain.forward is nn.Linear.forward and "forward" not in module.__dict__


def transforms_input(layer: nn.Module) -> bool:
    """True if the class of a layer transforms the layer's input, as the class of a decorrelated Linear does."""
    return hasattr(type(layer), "decorrelated_input")


def arriving(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Transform the input of a linear layer as its class does before the weights, if it does."""
    if not transforms_input(layer):
        return inputs
    transformed: Tensor = layer.decorrelated_input(inputs)  # type: ignore[operator]  # its class has it
    return transformed


def own_parameters(layer: nn.Module) -> list[Tensor]:
    """Parameters that a layer owns directly, without those of its children.

    Parameters of `torch.nn.utils.parametrize` belong to the layer that uses them, not to the container that stores
    them.
    """
    found: list[Tensor] = [parameter for parameter in layer._parameters.values() if parameter is not None]
    if "parametrizations" in layer._modules and parametrize.is_parametrized(layer):
        found.extend(layer._modules["parametrizations"].parameters())  # type: ignore[union-attr]
    return found


def owners(model: nn.Module) -> list[nn.Module]:
    """Layers that directly own parameters.

    Raises:
        Unsupported: One of them also contains layers that own parameters, so that its output depends on both.
    """
    found = []
    inside_parametrization: set[nn.Module] = set()
    for module in model.modules():
        if module in inside_parametrization or not own_parameters(module):
            continue
        if "parametrizations" in module._modules:
            inside_parametrization.update(module._modules["parametrizations"].modules())  # type: ignore[union-attr]
        inner = [child for child in walk(module)[1:] if child not in inside_parametrization and own_parameters(child)]
        if inner:
            raise Unsupported(
                f"layer {name_of(model, module)} owns parameters and contains {name_of(model, inner[0])}, which owns "
                "some as well: move the parameters of the outer layer into a layer of their own."
            )
        found.append(module)
    return found


@final
class ParameterUses:
    """Search of the graphs of tensors for the parameters of a model; no part of a graph is searched twice.

    Args:
        model: The model.
        without: Parameters to ignore.
    """

    def __init__(self, model: nn.Module, without: Iterable[Tensor] = ()) -> None:
        self._model = model
        self._without = {id(parameter) for parameter in without}
        self._names: dict[int, str] = {}  # filled when first needed, which for most models is never
        self._followed: set[Any] = set()

    def reached(self, *tensors: Any) -> str | None:
        """Name of a parameter that the graph of one of the tensors reaches; None if there is none.

        A tensor that requires a gradient need not depend on a parameter: cells of Norse start from such a state.
        """
        waiting = [node for tensor in tensors if (node := _source(tensor)) is not None]
        if waiting and not self._names:
            named = self._model.named_parameters()
            self._names = {id(each): name for name, each in named if id(each) not in self._without}
        for node in waiting:
            if node in self._followed:
                continue
            self._followed.add(node)
            name = self._names.get(id(getattr(node, "variable", None)))
            if name is not None:
                return name
            waiting.extend(earlier for earlier, _ in node.next_functions if earlier is not None)
        return None


def _source(tensor: Any) -> Any:
    """First node of the graph of a tensor, if it has one; for a leaf the node that accumulates its gradient."""
    if not isinstance(tensor, Tensor) or not tensor.requires_grad:
        return None
    return tensor.grad_fn or torch.autograd.graph.get_gradient_edge(tensor).node


@contextmanager
def replaced(replacements: Iterable[tuple[nn.Module, str, Any]]) -> Iterator[None]:
    """Replace methods or attributes of modules inside the context, and restore them afterwards.

    Args:
        replacements: Triples of a module, the name of its method or attribute, and the replacement.

    Yields:
        Nothing; the replacements are in place.
    """
    saved: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for module, name, function in replacements:
            attributes = module.__dict__
            saved.append((attributes, name, attributes.get(name, _ABSENT)))
            attributes[name] = function
        yield
    finally:
        for attributes, name, function in reversed(saved):
            if function is _ABSENT:
                del attributes[name]
            else:
                attributes[name] = function


def replaced_forwards(replacements: Iterable[tuple[nn.Module, Forward]]) -> AbstractContextManager[None]:
    """Replace the `forward` of layers inside the context.

    The replacements are instance attributes and not hooks: they are cheaper to install for one pass, and they see the
    layer's input after all pre-hooks and its output before any other hook.

    Args:
        replacements: Pairs of a layer and the function to be called instead of its `forward`.
    """
    return replaced((layer, "forward", forward) for layer, forward in replacements)


def check_differentiated(model: nn.Module | None = None, layer: nn.Module | None = None) -> None:
    """Check that torch can differentiate a layer where it is called.

    Inside the forward of an autograd function, such as a reentrant checkpoint, torch builds no graph and drops forward
    derivatives, so that a credit that reads either would silently miss the layer.

    Args:
        model: Model, for the name of the layer.
        layer: Layer that is being called, if it is known.

    Raises:
        Unsupported: The layer is called inside an autograd function.
    """
    if not torch._C._is_fwd_grad_enabled():
        title = "a layer" if model is None or layer is None else f"layer {name_of(model, layer)}"
        raise Unsupported(
            f"{title} is called inside an autograd function (a checkpoint with use_reentrant=True?), where this credit "
            "cannot reach it: run the model without checkpoints, or use backprop."
        )
