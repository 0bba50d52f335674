"""Checks of shapes; the options of a cell say which dimensions are time and space, they are never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from norse.torch import Lift
from torch import Tensor, nn

from neuro_decorr import checks
from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.rate.copying import check_model


def checked_input(name: str, inputs: Tensor, units: int, sequences: bool, spatial: int, dtype: torch.dtype) -> Tensor:
    """Check an input, and convert it to the floating type of the parameters if its own is not wider.

    Args:
        name: Name of the cell for messages.
        inputs: Input, shape (steps, batch, units, *space) for sequences, else (batch, units, *space), or (units,).
        units: Number of units or channels.
        sequences: True if the first dimension is time.
        spatial: Number of dimensions of space.
        dtype: Type of the parameters, which bools and whole numbers take.

    Returns:
        The input, of the same shape.

    Raises:
        InvalidValue: The input has another shape, is empty or is complex.
    """
    checked_tensor(name, inputs)
    shape = tuple(inputs.shape)
    least = 2 + sequences + spatial
    fits = inputs.dim() == least or (inputs.dim() == 1 and least == 2)
    if not fits or shape[-1 - spatial] != units:
        told = _wanted(units, sequences, spatial) + _advice(shape, units, sequences, spatial)
        raise InvalidValue(f"{name} got an input of shape {shape}; {told}")
    if inputs.numel() == 0:
        raise InvalidValue(
            f"{name} got an empty input of shape {shape}; give it at least one time step and one sequence."
        )
    if inputs.is_complex():
        raise InvalidValue(f"{name} takes real numbers, got {inputs.dtype}; give inputs.real, for example.")
    return inputs.to(torch.promote_types(inputs.dtype, dtype))


def checked_tensor(name: str, inputs: object) -> None:
    """Raise InvalidValue for an input that is no dense tensor."""
    if not isinstance(inputs, Tensor):
        raise InvalidValue(f"{name} takes a tensor, got {shown(inputs)}: convert an array by torch.as_tensor(...).")
    if inputs.layout != torch.strided:
        raise InvalidValue(f"{name} takes a dense tensor, got one of {inputs.layout}: give inputs.to_dense().")


def check_state(name: str, kind: type, state: Any, shape: torch.Size) -> None:
    """Raise InvalidValue for a state that is not that of a time step of this shape.

    Args:
        name: Name of the cell for messages.
        kind: Class of its states.
        state: State that the cell returned at the step before.
        shape: Shape of one time step of the input.

    Raises:
        InvalidValue: The state has another class or shape.
    """
    if not isinstance(state, kind):
        raise InvalidValue(
            f"{name}: the state must be the {kind.__name__} that it returned at the step before, or None, got "
            f"{shown(state)}."
        )
    for part in state:  # type: ignore[attr-defined]  # a NamedTuple
        if part.dim() and part.shape != shape:
            raise InvalidValue(
                f"{name} got a state of shape {tuple(part.shape)} with time steps of shape {tuple(shape)}; give the "
                "state that the same batch had at the step before, and None at the start of a sequence."
            )


def spatial_problem(spatial: object) -> str | None:
    """Problem of a number of dimensions of space, or None if it is allowed."""
    problem = checks.whole_number("spatial", spatial, least=0, hint="dimensions of space, 2 for images")
    if problem is None and spatial > 3:  # type: ignore[operator]  # a whole number
        return f"spatial must be a whole number >= 0 and <= 3, got {spatial} (dimensions of space, 2 for images)"
    return problem


def check_size(name: str, size: Sequence[int], spatial: int) -> None:
    """Raise InvalidValue for a size of space that has another number of dimensions."""
    if len(size) != spatial:
        raise InvalidValue(f"{name}: size, the size of space, must be {spatial} numbers, got {tuple(size)}.")


def set_sequences(network: nn.Module, sequences: bool) -> None:
    """Let all cells of a network take sequences, or let all take one time step.

    The function sets the option `sequences` of every module that has it: the cells of `neuro_decorr.norse`, and graphs
    from `from_nir`. It does not change Norse's own cells, which have no such option, nor modules in Norse's `Lift`,
    which get single steps.

    Args:
        network: The network, or a cell.
        sequences: True: inputs are (steps, batch, features); False: inputs are one time step, (batch, features).

    Raises:
        InvalidValue: The network is no module, or `sequences` is neither True nor False.

    Example:
        >>> import torch
        >>> import neuro_decorr as nd
        >>> network = torch.nn.Sequential(nd.norse.LIF(3))
        >>> nd.norse.set_sequences(network, False)
        >>> spikes, state = network(torch.ones(4, 3))
        >>> spikes.shape
        torch.Size([4, 3])
    """
    check_model("set_sequences", network)
    if not isinstance(sequences, bool):
        raise InvalidValue(f"set_sequences: sequences must be True or False, got {shown(sequences)}.")
    if isinstance(getattr(network, "sequences", None), bool):
        network.sequences = sequences  # type: ignore[assignment]  # an option, no submodule
    elif not isinstance(network, Lift):
        for child in network.children():
            set_sequences(child, sequences)


def _wanted(units: int, sequences: bool, spatial: int) -> str:
    unit = ", ".join([f"{units}", *("depth", "height", "width")[3 - spatial :]])
    if sequences:
        return f"sequences must be (steps, batch, {unit})."
    return f"with sequences=False a time step must be (batch, {unit})" + ("." if spatial else f" or ({units},).")


def _advice(shape: tuple[int, ...], units: int, sequences: bool, spatial: int) -> str:
    least = 2 + sequences + spatial
    if len(shape) == least:
        return f" Dimension {len(shape) - 1 - spatial} must be {units}."
    if sequences and len(shape) < least:
        one = " For one sequence add a batch dimension, unsqueeze(1)." if len(shape) == least - 1 else ""
        return f"{one} For one time step give sequences=False, or call nd.norse.set_sequences(network, False)."
    if not sequences and len(shape) == least + 1:
        return " For a sequence give sequences=True, or call nd.norse.set_sequences(network, True)."
    if len(shape) > least and not spatial:
        return " For images with channels first give spatial=2."
    return ""
