"""Detection of weights that are used outside of their own layer, as in the decoder of a tied autoencoder.

`fold` and compensation change the weight of a layer so that the layer keeps its function behind D. Any other use of the
weight is not behind D, and would change. Only a forward pass shows such uses, so the first pass of a decorrelated model
is watched.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode, resolve_name

from neuro_decorr.errors import Unsupported
from neuro_decorr.rate.copying import is_compiled
from neuro_decorr.rate.weights import decorrelation_of

_MARK = "_used_elsewhere"
_OWN = frozenset({"forward", "_forward", "_call_impl"})
"""Functions of a module in which its own forward pass runs, its hooks included."""
_OF_ANOTHER = frozenset({"to", "type_as", "expand_as", "view_as", "reshape_as"})
"""Functions that take only type, device and shape of their second tensor."""


def watch_first_pass(model: nn.Module) -> None:
    """Find, at the first eager forward pass of a decorrelated model, weights that are used outside of their layer.

    The watch ends after that pass and leaves no trace. Compiled passes show nothing, so that the watch continues.
    """
    if decorrelation_of(model) is None:  # a single layer has nothing around it
        model.register_forward_pre_hook(_begin, prepend=True)


def forget_watch(model: nn.Module) -> None:
    """Remove the watch from a model, and its findings from the layers."""
    for module in model.modules():
        vars(module).pop(_MARK, None)
        for key, hook in list(module._forward_pre_hooks.items()):
            if hook is _begin:
                del module._forward_pre_hooks[key]


def check_not_used_elsewhere(title: str, layer: nn.Module) -> None:
    """Refuse a layer whose weight was used outside of the layer.

    Args:
        title: Name of the layer in the message.
        layer: A decorrelated layer.

    Raises:
        Unsupported: The weight or bias was used outside of the layer.
    """
    function = vars(layer).get(_MARK)
    if function is not None:
        raise Unsupported(
            f"{title}: {function} uses its weight or bias outside of the layer, where D does not act, so that a change "
            "for the layer would change the other use: leave the layer out of nd.decorrelate with skip=, or hold the "
            "parameter a second time where it is used (self.tied = self.encoder.weight), so that fold separates them."
        )


def _begin(model: nn.Module, _: object) -> None:
    if (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or getattr(model, "_is_replica", False)
        or any(is_compiled(m) or m._compiled_call_impl for m in model.modules())
    ):
        return
    for key, hook in list(model._forward_pre_hooks.items()):
        if hook is _begin:
            del model._forward_pre_hooks[key]
    watch = _Watch(model)
    watch.__enter__()  # type: ignore[no-untyped-call]  # torch types it not
    watch.handle = model.register_forward_hook(functools.partial(_end, watch), always_call=True)


def _end(watch: _Watch, *_: object) -> None:
    assert watch.handle is not None
    watch.handle.remove()
    watch.__exit__(None, None, None)  # type: ignore[no-untyped-call]


@final
class _Watch(TorchFunctionMode):
    """Mode that searches the arguments of every function of torch for weights of decorrelated layers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.handle: torch.utils.hooks.RemovableHandle | None = None
        self._layers = [module for module in model.modules() if decorrelation_of(module) is not None]
        self._of = {id(p): layer for layer in self._layers for p in layer.parameters()}
        self._owners: dict[int, list[nn.Module]] = {key: [layer] for key, layer in self._of.items()}
        for module in model.modules():
            for parameter in module._parameters.values():
                if id(parameter) in self._owners and not isinstance(module, parametrize.ParametrizationList):
                    self._owners[id(parameter)].append(module)
        # Weights that a hook computes anew at every pass are other tensors each time.
        self._computed = [layer for layer in self._layers if isinstance(vars(layer).get("weight"), Tensor)]

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for tensor in _tensors((*args, *kwargs.values())):
            layer = self._of.get(id(tensor)) or next(
                (layer for layer in self._computed if vars(layer).get("weight") is tensor), None
            )
            if (
                layer is not None
                and _depends(func, args, tensor, result)
                and not _inside(self._owners.get(id(tensor), [layer]))
            ):
                vars(layer).setdefault(_MARK, resolve_name(func) or getattr(func, "__name__", repr(func)))
        return result


def _tensors(values: Iterable[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _depends(function: Callable[..., Any], arguments: tuple[Any, ...], tensor: Tensor, result: object) -> bool:
    """True if a result depends on the values of a tensor, and not only on its type, device or shape."""
    if not any(found.is_floating_point() or found.is_complex() for found in _tensors((result,))):
        return False
    name = getattr(function, "__name__", "")
    if name == "__get__":
        return getattr(getattr(function, "__self__", None), "__name__", "") != "grad"
    if name in _OF_ANOTHER:
        return bool(arguments) and arguments[0] is tensor
    return not (name.endswith("_like") or name.startswith("new_") or name == "requires_grad_")


def _inside(owners: list[nn.Module]) -> bool:
    """True if the forward pass of a module that owns the tensor is running, according to the frames above."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if code.co_name in _OWN and code.co_argcount:
            first = frame.f_locals.get(code.co_varnames[0])
            if any(first is owner for owner in owners):
                return True
        frame = frame.f_back
    return False
