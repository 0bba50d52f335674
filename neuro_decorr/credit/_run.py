"""One pass of a model: the output for the loss, and the graphs of earlier passes that it must not reach."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any, TypeGuard, final

import torch
from torch import Tensor, nn

from neuro_decorr.credit._layers import name_of, walk
from neuro_decorr.errors import StateMismatch, Unsupported

NO_STATE = frozenset(vars(nn.Module())) | {"forward", "remembers"}
"""Attributes that every module has and attributes that credits set for a pass; all others may hold a state."""


def run(model: nn.Module, inputs: Any) -> Any:
    """Run a pass and return the output for the loss.

    Args:
        model: The model.
        inputs: Inputs of the model.

    Raises:
        StateMismatch: A state that the model keeps carries the graph of an earlier pass.
    """
    if not torch.is_grad_enabled():
        return output_of(model(inputs))
    earlier = EarlierGraphs(model)
    output = output_of(model(inputs))
    earlier.refuse(output)
    return output


def output_of(returned: Any) -> Any:
    """Output of a model that returns (output, state); for any other model all that it returns.

    A state is a NamedTuple, a tuple, list or dict, or None. A pair of tensors counts as two outputs.
    """
    is_pair = isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], Tensor)
    return returned[0] if is_pair and not isinstance(returned[1], Tensor) else returned


def one_tensor(name: str, output: Any) -> Tensor:
    """Output of a model for a credit that needs one tensor.

    Args:
        name: Name of the credit.
        output: Output of the model.

    Raises:
        Unsupported: It is something else.
    """
    if isinstance(output, Tensor):
        return output
    raise Unsupported(
        f"{name} needs a model that returns one tensor, got {type(output).__name__}: wrap the model in one whose "
        "forward returns the tensor that the loss needs, or use backprop, feedback_alignment or weight_perturbation."
    )


def is_record(value: Any) -> TypeGuard[Any]:
    """True if a value is an object whose attributes may hold a state: a data class or a namespace."""
    return hasattr(value, "__dict__") and (
        isinstance(value, SimpleNamespace) or (is_dataclass(value) and not isinstance(value, type))
    )


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors of which a state consists; objects may refer to each other in circles."""
    waiting, seen = [value], {id(value)}
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (dict, list, tuple, set, deque)) or is_record(value):
            values = vars(value) if is_record(value) else value
            fresh = [item for item in (values.values() if isinstance(values, dict) else values) if id(item) not in seen]
            seen.update(map(id, fresh))
            waiting.extend(reversed(fresh))


@final
class EarlierGraphs:
    """Graphs of earlier passes in the state that a model keeps, read before a pass.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._found: dict[Any, str] = {}
        for module in walk(model):
            if type(module).__module__.startswith("torch.nn."):  # keeps no state
                continue
            kept = {name: value for name, value in vars(module).items() if name not in NO_STATE}
            for name, value in (kept | module._buffers).items():
                for tensor in tensors_in(value):
                    if tensor.grad_fn is not None:
                        self._found[tensor.grad_fn] = f"'{name}' of {name_of(model, module)}"

    def refuse(self, *outputs: Any) -> None:
        """Refuse a pass whose outputs depend on one of these graphs.

        Raises:
            StateMismatch: An output depends on one of them.
        """
        if not self._found:
            return
        waiting = [output.grad_fn for output in outputs if isinstance(output, Tensor) and output.grad_fn is not None]
        seen = set(waiting)
        for node in waiting:
            if (name := self._found.get(node)) is not None:
                raise StateMismatch(
                    f"{name} still carries the graph of an earlier pass, to which this pass would assign credit: "
                    "before each batch reset it, or detach it (nd.norse.detach(state)) to continue from it. The credit "
                    "detaches a model that has reset() and detach(), see nd.credit.Stateful."
                )
            fresh = [earlier for earlier, _ in node.next_functions if earlier is not None and earlier not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
