"""State of the objects that change in a run, as a checkpoint keeps it and puts it back."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, final

from neuro_decorr.errors import InvalidValue, shown

Getter: TypeAlias = Callable[[], Any]
Setter: TypeAlias = Callable[[Any], None]


@final
class Held:
    """Object whose state can be taken and put back.

    Args:
        name: Name of the object, for the message.
        thing: An object with `state_dict` and `load_state_dict`; a generator of torch or NumPy, or a `random.Random`; a
            dict; None; a tuple or list of these; a function that has no state, since it refers to no variables of an
            enclosing function; a method or a `functools.partial` of these, with numbers and texts as arguments.

    Raises:
        InvalidValue: The object is of another kind.
    """

    def __init__(self, name: str, thing: Any) -> None:
        if isinstance(thing, str | int | float):
            raise InvalidValue(
                f"checkpoints: {name} is {shown(thing)}, which cannot be put back into your variable; keep what "
                f"changes in a dict: {name}={{...}}."
            )
        self.get, self.set = _access(name, thing)


def _access(name: str, thing: Any) -> tuple[Getter, Setter]:
    parts = _parts(thing)
    if parts is not None:
        return _each(name, parts)
    # A function without variables of an enclosing function has no state.
    bare = inspect.isfunction(thing) and thing.__closure__ is None
    if thing is None or bare or isinstance(thing, str | int | float):
        return lambda: None, lambda _: None
    found = _own_access(thing)
    if found is None:
        told = "a function with variables of an enclosing function" if inspect.isfunction(thing) else shown(thing)
        raise InvalidValue(
            f"checkpoints: {name} is {told}, whose state is not known; allowed are objects with state_dict and "
            "load_state_dict, generators of torch and NumPy, dicts, None, tuples and lists of these, and "
            "functools.partial of a function with these. Give its class the methods state_dict and load_state_dict."
        )
    return found


def _parts(thing: Any) -> tuple[Any, ...] | None:
    """Parts of an object whose state is that of its parts; None for other objects."""
    if isinstance(thing, partial):
        return (thing.func, *thing.args, *thing.keywords.values())
    if inspect.ismethod(thing):
        return (thing.__self__,)
    return tuple(thing) if isinstance(thing, list | tuple) else None


def _own_access(thing: Any) -> tuple[Getter, Setter] | None:
    if isinstance(thing, dict):
        return lambda: dict(thing), partial(_replace, thing)
    if inspect.isclass(thing):  # the methods of a class belong to its instances
        return None
    if callable(getattr(thing, "state_dict", None)) and callable(getattr(thing, "load_state_dict", None)):
        return _module(thing) if hasattr(thing, "named_modules") else (thing.state_dict, thing.load_state_dict)
    return _generator(thing)


def _generator(thing: Any) -> tuple[Getter, Setter] | None:
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if isinstance(thing, random.Random):
        return thing.getstate, thing.setstate
    if torch is not None and isinstance(thing, torch.Generator):
        return thing.get_state, thing.set_state
    if numpy is not None and isinstance(thing, numpy.random.Generator):
        return lambda: thing.bit_generator.state, lambda state: setattr(thing.bit_generator, "state", state)
    if numpy is not None and isinstance(thing, numpy.random.RandomState):
        return partial(thing.get_state, legacy=False), thing.set_state
    return None


def _replace(held: dict[Any, Any], state: dict[Any, Any]) -> None:
    held.clear()
    held.update(state)


def _each(name: str, things: tuple[Any, ...]) -> tuple[Getter, Setter]:
    access = [_access(f"{name}[{index}]", thing) for index, thing in enumerate(things)]

    def put_back(states: tuple[Any, ...]) -> None:
        for (_, put), state in zip(access, states, strict=True):
            put(state)

    return lambda: tuple(get() for get, _ in access), put_back


def _module(module: Any) -> tuple[Getter, Setter]:
    """Access to a torch module, with the tensors and numbers in attributes and the freezing that `state_dict` omits."""
    import torch

    common = vars(torch.nn.Module()).keys() - {"training"}

    def attributes(each: Any) -> dict[str, Any]:
        own = {name: value for name, value in vars(each).items() if name not in common}
        own |= {name: each._buffers[name] for name in each._non_persistent_buffers_set}
        kinds = (torch.Tensor, bool, int, float, type(None))
        return {name: value for name, value in own.items() if type(value) in kinds}

    def get() -> dict[str, Any]:
        return {
            "state": module.state_dict(),
            "attributes": {name: attributes(each) for name, each in module.named_modules()},
            "frozen": [name for name, each in module.named_parameters() if not each.requires_grad],
        }

    def put_back(state: dict[str, Any]) -> None:
        frozen = set(state["frozen"])
        for name, each in module.named_modules():
            for attribute, value in state["attributes"][name].items():
                own = each._buffers if attribute in each._buffers else vars(each)
                held = own.get(attribute)
                if isinstance(held, torch.Tensor) and isinstance(value, torch.Tensor) and held.shape == value.shape:
                    with torch.no_grad():
                        held.copy_(value)  # in place, since the tensor may be a view of another one
                else:
                    own[attribute] = value
        # Last, since a module may put back more than its attributes, such as a generator.
        module.load_state_dict(state["state"])
        for name, each in module.named_parameters():
            each.requires_grad_(name not in frozen)

    return get, put_back


def random_states() -> dict[str, Any]:
    """Return the global random states of Python, NumPy and torch if they are loaded, and of CUDA if it is in use."""
    found: dict[str, Any] = {"python": random.getstate()}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        found["numpy"] = numpy.random.get_state(legacy=False)
    if torch is not None:
        found["torch"] = torch.get_rng_state()
        if torch.cuda.is_initialized():
            found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def put_back_random_states(states: dict[str, Any]) -> None:
    """Put back the states that `random_states` returned."""
    import numpy as np
    import torch

    random.setstate(states["python"])
    if "numpy" in states:
        np.random.set_state(states["numpy"])  # noqa: NPY002 - the global state
    if "torch" in states:
        torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
