"""Copies of models, including models that torch cannot copy and models whose copies would run the original."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from neuro_decorr.errors import InvalidValue, Unsupported, shown
from neuro_decorr.libraries import reset_of, was_copied

ModelType = TypeVar("ModelType", bound=nn.Module)

_SHARDED = frozenset({"FSDPModule", "FullyShardedDataParallel"})


def check_model(caller: str, model: object) -> None:
    """Check that a value is a model whose layers are accessible.

    Args:
        caller: Function that received the value, for the message.
        model: The value.

    Raises:
        InvalidValue: The value is not a module of torch.
        Unsupported: The model was scripted or traced, so that its layers are not Python objects.
    """
    if not isinstance(model, nn.Module):
        made = ": make a model of that class first" if isinstance(model, type) and issubclass(model, nn.Module) else ""
        raise InvalidValue(f"{caller}: pass a torch.nn.Module, got {shown(model)}{made}.")
    if isinstance(model, torch.jit.ScriptModule):
        raise Unsupported(
            f"{caller}: {type(model).__name__} was made by torch.jit, so that its layers are not accessible: pass the "
            "plain model, and script or trace the result of nd.fold."
        )


def place(name: str, module: nn.Module) -> str:
    """Name of a module of a model in messages; the model itself has no name of its own."""
    kind = class_name(module)
    return f"'{name}' ({kind})" if name else f"the model itself ({kind})"


def class_name(module: nn.Module) -> str:
    """Name of the class that a user gave a module, beneath the classes of decorrelations and parametrizations."""
    parametrized = parametrize.is_parametrized(module)
    found = parametrize.type_before_parametrizations(module) if parametrized else type(module)
    return getattr(found, "plain_class", found).__name__


def plain_name(name: str) -> str:
    """Name without the parts that torch.compile adds."""
    return name.replace("_orig_mod.", "").removesuffix("_orig_mod").removesuffix(".")


def copied(model: ModelType) -> ModelType:
    """Make a deep copy that is not compiled and whose tensors belong to no graph of the original.

    A compiled module is copied as the plain module, since the wrapper of the compiler would call the original. A weight
    that a hook computes from others (pruning, the older weight norm) is the result of an operation, which torch refuses
    to copy; its copy is a plain tensor until the hook computes it again.

    Args:
        model: Any module.

    Raises:
        Unsupported: The model is sharded, or holds something that cannot be copied; the message names the module.
    """
    modules = list(model.named_modules())
    for name, module in modules:
        if is_sharded(module):
            raise Unsupported(
                f"{place(plain_name(name), module)} is sharded by FSDP, so that no process holds a whole copy of it: "
                "load its full state (torch.distributed.checkpoint.state_dict.get_model_state_dict, "
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
    """Context that reads parametrized weights without changing them; spectral norm changes when read in train mode."""
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
    """True if a module is the wrapper of torch.compile; recognised by name, since its import takes long."""
    return type(module).__name__ == "OptimizedModule" and type(module).__module__.startswith("torch._dynamo")


def is_sharded(module: nn.Module) -> bool:
    """True if FSDP has sharded a module."""
    return any(kind.__name__ in _SHARDED and kind.__module__.startswith("torch.") for kind in type(module).__mro__)


def is_distributed(tensor: Tensor) -> bool:
    """True if a tensor is spread over processes (a DTensor)."""
    return any(kind.__name__ == "DTensor" and kind.__module__.startswith("torch.") for kind in type(tensor).__mro__)


def runs_the_original(module: nn.Module, modules: frozenset[nn.Module]) -> bool:
    """True if a forward set on an instance (a closure) would run modules of the original in a copy.

    Bound methods and partial functions are copied with the objects that they hold; functions are not.
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
        made = copy.deepcopy(model, memo)
    except (RuntimeError, TypeError) as error:
        for name, module in model.named_modules():
            for key, value in vars(module).items():
                if key in ("_modules", "_parameters", "_buffers"):
                    continue
                try:
                    copy.deepcopy(value, dict(known))
                except (RuntimeError, TypeError):
                    reset = reset_of(module)
                    mend = f"Forget the state first: {reset}" if reset else "Delete that attribute first."
                    raise Unsupported(
                        f"{place(plain_name(name), module)} cannot be copied because of its attribute '{key}' "
                        f"({type(value).__name__}): {str(error).splitlines()[0]} {mend}"
                    ) from error
        raise
    originals = set(model.modules())
    for module in made.modules():
        if module not in originals:
            was_copied(module)
    return made
