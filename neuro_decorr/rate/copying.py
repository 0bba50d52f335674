"""Copies of models, also of those that torch alone cannot copy, or would copy only to run the original."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuro_decorr.errors import InvalidValue, Unsupported, shown

ModelType = TypeVar("ModelType", bound=nn.Module)

_SHARDED = frozenset({"FSDPModule", "FullyShardedDataParallel"})


def check_model(caller: str, model: object) -> None:
    """Raise unless a model is one that can be looked into.

    Args:
        caller: The function that was given it, for the message.
        model: What it was given.

    Raises:
        InvalidValue: It is no module of torch.
        Unsupported: It was scripted or traced, so that its layers are no objects of Python any more.
    """
    if not isinstance(model, nn.Module):
        made = ": make a model of that class first" if isinstance(model, type) and issubclass(model, nn.Module) else ""
        raise InvalidValue(f"{caller}: pass a torch.nn.Module, got {shown(model)}{made}.")
    if isinstance(model, torch.jit.ScriptModule):
        raise Unsupported(
            f"{caller}: {type(model).__name__} was made by torch.jit, and its layers can neither be exchanged nor "
            "looked into: pass the plain model, and script or trace the result of nd.fold."
        )


def place(name: str, module: nn.Module) -> str:
    """What messages call a module of a model; the model itself has no name of its own."""
    kind = class_name(module)
    return f"'{name}' ({kind})" if name else f"the model itself ({kind})"


def class_name(module: nn.Module) -> str:
    """The name of the class that a user gave a module, beneath those of decorrelations and parametrizations."""
    parametrized = parametrize.is_parametrized(module)
    found = parametrize.type_before_parametrizations(module) if parametrized else type(module)
    return getattr(found, "plain_class", found).__name__


def plain_name(name: str) -> str:
    """A name without what torch.compile puts into it."""
    return name.replace("_orig_mod.", "").removesuffix("_orig_mod").removesuffix(".")


def copied(model: ModelType) -> ModelType:
    """A deep copy that is not compiled, and whose tensors belong to no graph of the original.

    A compiled module is copied as the plain one, since the compiler's wrapper goes on to call the original. A weight
    that a hook computes from others (pruning, the older weight norm) is the result of an operation, which torch
    refuses to copy: its copy is a plain tensor, until the hook computes it again.

    Args:
        model: Any module.

    Raises:
        Unsupported: It is sharded, or holds something else that cannot be copied; the module is named.
    """
    modules = list(model.named_modules())
    for name, module in modules:
        if is_sharded(module):
            raise Unsupported(
                f"{place(plain_name(name), module)} is sharded by FSDP, and no process holds it whole, so that it "
                "cannot be copied: load its full state (torch.distributed.checkpoint.state_dict.get_model_state_dict, "
                "full_state_dict=True) into a model of the same kind that is not sharded, and pass that."
            )
    memo: dict[int, object] = {}
    for _, module in modules:
        for value in (*vars(module).values(), *module._buffers.values()):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    for _, module in reversed(modules):  # the innermost first
        if is_compiled(module):
            memo[id(module)] = _copied(module._orig_mod, memo)
    return _copied(model, memo)


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Let parametrized weights be read without moving them on: spectral norm does so at every reading in train mode."""
    moving = [
        module
        for found in model.modules()
        if isinstance(found, parametrize.ParametrizationList)
        for module in found.modules()
        if module.training
    ]
    try:
        for module in moving:
            module.training = False
        yield
    finally:
        for module in moving:
            module.training = True


def is_compiled(module: nn.Module) -> bool:
    """Whether a module is the wrapper that torch.compile makes; told by name, since importing it takes long."""
    return type(module).__name__ == "OptimizedModule" and type(module).__module__.startswith("torch._dynamo")


def is_sharded(module: nn.Module) -> bool:
    """Whether FSDP has taken hold of a module."""
    return any(kind.__name__ in _SHARDED and kind.__module__.startswith("torch.") for kind in type(module).__mro__)


def is_distributed(tensor: Tensor) -> bool:
    """Whether a tensor is spread over processes (a DTensor)."""
    return any(kind.__name__ == "DTensor" and kind.__module__.startswith("torch.") for kind in type(tensor).__mro__)


def runs_the_original(module: nn.Module, modules: frozenset[nn.Module]) -> bool:
    """Whether a forward that was put on a module, a closure, would run modules of the original in a copy.

    Bound methods and partial functions are copied with what they hold; functions are not.
    """
    for cell in getattr(vars(module).get("forward"), "__closure__", None) or ():
        try:
            held = cell.cell_contents
        except ValueError:  # empty so far
            continue
        held = getattr(held, "__self__", held)
        if isinstance(held, nn.Module) and held in modules:
            return True
    return False


def _copied(model: ModelType, memo: dict[int, object]) -> ModelType:
    known = dict(memo)
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        for name, module in model.named_modules():
            for key, value in vars(module).items():
                if key in ("_modules", "_parameters", "_buffers"):
                    continue
                try:
                    copy.deepcopy(value, dict(known))
                except (RuntimeError, TypeError):
                    raise Unsupported(
                        f"{place(plain_name(name), module)} cannot be copied, because of its attribute '{key}' "
                        f"({type(value).__name__}): {str(error).splitlines()[0]} Delete that attribute first."
                    ) from error
        raise
