"""States of cells, nested to any depth."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor

from neuro_decorr.errors import InvalidValue, shown

State = TypeVar("State")


def detach(state: State) -> State:
    """Detach a state from its graph, to truncate backpropagation through time.

    Args:
        state: State that a network returned: tensors and None in lists, tuples, named tuples and dicts, of any depth,
            Norse's states included.

    Returns:
        A copy of the same structure, whose tensors share their memory with the old ones.

    Raises:
        InvalidValue: The state holds an object of another kind, in which tensors would keep their graph.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> cell = nd.norse.LIF(3)
        >>> _, state = cell(torch.ones(20, 4, 3, requires_grad=True))
        >>> state.potential.requires_grad, nd.norse.detach(state).potential.requires_grad
        (True, False)
    """
    found: Any = state
    if isinstance(found, Tensor):
        return found.detach()  # type: ignore[return-value]  # the type variable does not know that it is a tensor
    if isinstance(found, dict):
        return type(found)((key, detach(value)) for key, value in found.items())  # type: ignore[return-value]
    if isinstance(found, tuple) and hasattr(found, "_fields"):
        return type(found)(*map(detach, found))  # type: ignore[return-value]
    if isinstance(found, list | tuple):
        return type(found)(map(detach, found))  # type: ignore[return-value]
    if not isinstance(found, str | bytes | int | float | None):
        raise InvalidValue(
            f"detach takes tensors in lists, tuples and dicts, got {shown(found)}, in which tensors would keep their "
            "graph: detach the tensors of this object yourself."
        )
    return state
