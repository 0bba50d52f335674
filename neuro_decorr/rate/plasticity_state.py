"""State of a Plasticity: the statistics of each rule for a layer, saved and restored in their own floating types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from neuro_decorr.errors import InvalidValue, StateMismatch, shown
from neuro_decorr.rate.parameter_groups import Layer, fresh_state, structure_of

RESIDUALS = ("weight_residual", "bias_residual", "matrix_residual")
"""Tensors that a compensation keeps beside the rule's statistics; zeros at the start."""


def moved_state(layer: Layer, state: Mapping[str, Any], residuals: Mapping[str, Tensor]) -> dict[str, Any]:
    """State of a layer whose module was moved or cast: every tensor in the type that the rule gives it there.

    Args:
        layer: Layer after the move.
        state: State before the move.
        residuals: Residuals of zero that the compensation needs now; float64 needs none, and they are dropped.
    """
    fresh = fresh_state(layer.settings.rule, layer.module)
    moved = {}
    for name, value in state.items():
        like = residuals.get(name, fresh.get(name))
        if isinstance(value, Tensor) and (like is not None or name not in RESIDUALS):
            moved[name] = value.to(layer.module.mean.device, value.dtype if like is None else like.dtype)
        elif not isinstance(value, Tensor):
            moved[name] = value
    return {**residuals, **moved}


def check_structure(layer: Layer) -> None:
    """Raise StateMismatch if loading or another rule has changed the structure of a layer."""
    rule, module = layer.settings.rule, layer.module
    structure = rule.structure if rule.structure == module.structure else structure_of(rule, module)
    if module.structure != structure or (module.rule is not rule and module.rule != rule):
        held = f"a {module.structure} transform" if module.structure != structure else "another rule's transform"
        raise StateMismatch(
            f"{layer.title} now holds {held}, and the rule '{rule.name}' of this Plasticity made a {structure} one: "
            "load the model's state before you build the Plasticity, and build one Plasticity per layer."
        )


def check_saved(saved: object) -> None:
    """Check that a value can be the state of a Plasticity.

    Raises:
        InvalidValue: The value is not a dictionary.
        StateMismatch: The dictionary is of another kind, such as the state of a model.
    """
    if not isinstance(saved, Mapping):
        raise InvalidValue(
            f"load_state_dict takes the result of state_dict() of a Plasticity, a dictionary, got {shown(saved)}."
        )
    if not isinstance(saved.get("state"), Mapping) or not isinstance(saved.get("param_groups"), list):
        keys = ", ".join(repr(key) for key in list(saved)[:3]) or "none"
        raise StateMismatch(
            f"load_state_dict takes the result of state_dict() of a Plasticity, with the keys 'state' and "
            f"'param_groups'; this dictionary has {len(saved)} keys ({keys}{', ...' if len(saved) > 3 else ''}): load "
            "the state of a model by model.load_state_dict."
        )


def check_groups(saved: Sequence[Mapping[str, Any]], present: Sequence[Mapping[str, Any]]) -> None:
    """Raise StateMismatch unless saved parameter groups have the same rules and as many layers."""
    if len(saved) != len(present):
        raise StateMismatch(
            f"the saved state has {len(saved)} parameter groups, this Plasticity has {len(present)}: build it with the "
            "groups of the saved one."
        )
    for index, (theirs, ours) in enumerate(zip(saved, present, strict=True)):
        place = f" in parameter group {index}" if len(present) > 1 else ""
        if theirs.get("rule") != ours["rule"]:
            raise StateMismatch(
                f"the saved state is of the rule {theirs.get('rule')!r}{place}, this Plasticity has {ours['rule']!r}: "
                "build it with the rule of the saved state."
            )
        if len(theirs["params"]) != len(ours["params"]):
            raise StateMismatch(
                f"the saved state is of {len(theirs['params'])} layers{place}, this Plasticity acts on "
                f"{len(ours['params'])}: build it for the layers of the saved state."
            )
        missing = [key for key in ours if key not in theirs and key not in ("initial_lr", "swap_lr")]
        if missing:
            raise StateMismatch(f"the saved state has no {', '.join(map(repr, missing))}{place}.")


def restored(layer: Layer, saved: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Copies of the saved tensors, exact to the last bit if types agree.

    The loading of torch casts all floating tensors to the type of the parameter, which would round residuals and
    powers.

    Args:
        layer: Layer to which the tensors belong.
        saved: State of the layer in a state dict.
        present: State of the layer now, which gives types and devices. Missing residuals stay as they are.

    Raises:
        StateMismatch: The names or shapes differ.
    """
    own = {key: value for key, value in saved.items() if key not in RESIDUALS or key in present}
    missing = [key for key in present if key not in own and key not in RESIDUALS]
    unknown = [key for key in own if key not in present]
    if missing or unknown:
        told = [f"{what} {', '.join(map(repr, keys))}" for what, keys in (("lacks", missing), ("has", unknown)) if keys]
        raise StateMismatch(
            f"the saved state of {layer.title} {' and '.join(told)}, unlike that of this Plasticity: build it with the "
            "same rule and options."
        )
    state = dict(present)
    for key, value in own.items():
        like = present[key]
        if not isinstance(like, Tensor):
            state[key] = value
            continue
        if not isinstance(value, Tensor) or value.shape != like.shape:
            shape = tuple(value.shape) if isinstance(value, Tensor) else value
            raise StateMismatch(
                f"the saved '{key}' of {layer.title} has the shape {shape}, this Plasticity needs {tuple(like.shape)}: "
                "build it with the same rule, parameters and layers."
            )
        state[key] = value.to(like.device, like.dtype, copy=True)
    return state
