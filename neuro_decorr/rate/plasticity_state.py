"""The state of a Plasticity: what each rule remembers of a layer, in its own floating types, saved and restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from neuro_decorr.errors import InvalidValue, StateMismatch, shown
from neuro_decorr.rate.parameter_groups import Layer, fresh_state

RESIDUALS = ("weight_residual", "bias_residual", "matrix_residual")
"""What a compensation keeps beside the rule's statistics; at the start these are zeros."""


def moved_state(layer: Layer, state: Mapping[str, Any], residuals: Mapping[str, Tensor]) -> dict[str, Any]:
    """The state of a layer whose module was moved or cast: every tensor in the type that the rule gives it there.

    Args:
        layer: As it is by now.
        state: As it was.
        residuals: Empty ones, as the compensation keeps them now: where float64 needs none they are dropped.
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
    """Raise StateMismatch where a layer has got another structure than the rule left it, by loading or another rule."""
    rule, module = layer.settings.rule, layer.module
    if module.structure != rule.structure or (module.rule is not rule and module.rule != rule):
        held = f"a {module.structure} transform" if module.structure != rule.structure else "another rule's transform"
        raise StateMismatch(
            f"{layer.title} holds {held} by now, and the rule '{rule.name}' of this Plasticity made a "
            f"{rule.structure} one: load the model's state before you build the Plasticity, and only one for a layer."
        )


def check_saved(saved: object) -> None:
    """Raise unless something can be the state of a Plasticity.

    Raises:
        InvalidValue: No dictionary.
        StateMismatch: A dictionary of another kind, such as the state of a model.
    """
    if not isinstance(saved, Mapping):
        raise InvalidValue(f"load_state_dict takes what state_dict() of a Plasticity returned, got {shown(saved)}.")
    if not isinstance(saved.get("state"), Mapping) or not isinstance(saved.get("param_groups"), list):
        keys = ", ".join(repr(key) for key in list(saved)[:3]) or "none"
        raise StateMismatch(
            f"load_state_dict takes what state_dict() of a Plasticity returned, with the keys 'state' and "
            f"'param_groups'; this dictionary has {len(saved)} keys ({keys}{', ...' if len(saved) > 3 else ''}): a "
            "model's state goes into model.load_state_dict."
        )


def check_groups(saved: Sequence[Mapping[str, Any]], present: Sequence[Mapping[str, Any]]) -> None:
    """Raise StateMismatch unless saved parameter groups are of the same rules and as many layers."""
    if len(saved) != len(present):
        raise StateMismatch(f"the saved state has {len(saved)} parameter groups, this Plasticity {len(present)}.")
    for index, (theirs, ours) in enumerate(zip(saved, present, strict=True)):
        place = f" in parameter group {index}" if len(present) > 1 else ""
        if theirs.get("rule") != ours["rule"]:
            raise StateMismatch(
                f"the saved state is of the rule {theirs.get('rule')!r}{place}, this Plasticity has {ours['rule']!r}: "
                "build it with the rule of the saved one."
            )
        if len(theirs["params"]) != len(ours["params"]):
            raise StateMismatch(
                f"the saved state is of {len(theirs['params'])} layers{place}, this Plasticity acts on "
                f"{len(ours['params'])}: build it for the same layers."
            )
        missing = [key for key in ours if key not in theirs and key not in ("initial_lr", "swap_lr")]
        if missing:
            raise StateMismatch(f"the saved state has no {', '.join(map(repr, missing))}{place}.")


def restored(layer: Layer, saved: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Copies of the saved tensors, to the last bit where types agree.

    Torch's own loading casts all floating tensors to the type of the parameter, which would round residuals and powers.

    Args:
        layer: That they belong to.
        saved: Its state in a state dict.
        present: Its state now, from which types and devices are taken. Residuals that are missing stay as they are.

    Raises:
        StateMismatch: Other names or shapes.
    """
    own = {key: value for key, value in saved.items() if key not in RESIDUALS or key in present}
    missing = [key for key in present if key not in own and key not in RESIDUALS]
    unknown = [key for key in own if key not in present]
    if missing or unknown:
        told = [f"{what} {', '.join(map(repr, keys))}" for what, keys in (("lacks", missing), ("has", unknown)) if keys]
        raise StateMismatch(f"the saved state of {layer.title} {' and '.join(told)}, unlike that of this Plasticity.")
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
