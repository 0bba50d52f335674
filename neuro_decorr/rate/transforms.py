"""Tensors of a transform D: for several groups, for the identity, and in a state dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rules import Rule, State, Structure
from neuro_decorr.rules._state import transform_names
from neuro_decorr.rules.connectivity import Connectivity


def stacked(state: Mapping[str, Tensor], groups: int) -> State:
    """Stack the same tensors for every group, along a first dimension.

    Args:
        state: State of one group.
        groups: Number of groups.
    """
    return {name: tensor.expand(groups, *tensor.shape).clone() for name, tensor in state.items()}


def is_identity(transform: State) -> bool:
    """True if D is exactly the identity in all groups.

    Args:
        transform: Tensors that make up D.
    """
    if "matrix" in transform:
        matrix = transform["matrix"]
        ones = matrix.diagonal(dim1=-2, dim2=-1) == 1
        # Without a second matrix of the size of D.
        return bool(ones.all()) and int(torch.count_nonzero(matrix)) == ones.numel()
    if "directions" in transform:
        return not bool(transform["suppression"].any()) and bool((transform["gain"] == 1).all())
    if "values" in transform:
        features = transform["row_starts"].shape[-1] - 1
        places = transform["columns"].view(-1, transform["columns"].shape[-1])[0]
        starts = transform["row_starts"].view(-1, features + 1)[0]
        rows = torch.arange(features, device=starts.device).repeat_interleave(starts.diff())
        return bool((transform["values"] == (rows == places).to(transform["values"].dtype)).all())
    blocks = [tensor for name, tensor in transform.items() if name.startswith("blocks_")]
    return all(is_identity({"matrix": tensor}) for tensor in blocks)


def same_form(one: State, other: State) -> bool:
    """True if two transforms have the same tensors and the same connections, with any values."""
    return one.keys() == other.keys() and all(
        tensor.shape == other[name].shape and (tensor.is_floating_point() or torch.equal(tensor, other[name]))
        for name, tensor in one.items()
    )


@lru_cache(maxsize=256)
def confined_to(rule: Rule, connectivity: Connectivity) -> Rule:
    """Rule confined to the connections of a layer; a rule that only centres stays as it is.

    Raises:
        InvalidValue: The rule has its own connections.
        Unsupported: The D of the rule cannot be confined.
    """
    if rule.structure == "centering":
        return rule
    if rule.connectivity is not None and rule.connectivity != connectivity:
        raise InvalidValue(
            f"this layer confines its D to {connectivity}, and the rule '{rule.name}' to {rule.connectivity}: give "
            "only one of them."
        )
    if rule.confinement == "none":
        raise Unsupported(
            f"this layer confines its D to {connectivity}, and the D of the rule '{rule.name}' is {rule.structure}, "
            "which cannot be confined: use a rule with a dense D, such as 'whitening'."
        )
    return replace(rule, connectivity=connectivity)


def structure_in(state_dict: Mapping[str, Any], prefix: str) -> Structure:
    """Structure of the D that a state dict holds.

    Args:
        state_dict: State dict of a model.
        prefix: Prefix of the names of one Decorrelation in it.
    """
    marks: dict[str, Structure] = {"matrix": "dense", "directions": "low_rank", "values": "sparse"}
    found = [structure for mark, structure in marks.items() if prefix + mark in state_dict]
    blocks = any(name.startswith(f"{prefix}blocks_") for name in state_dict)
    return found[0] if found else "blocks" if blocks else "centering"


def blank(structure: Structure, state_dict: Mapping[str, Any], prefix: str, mean: Tensor) -> State:
    """Tensors with the shapes in a state dict and with the type and device of the mean.

    Args:
        structure: Structure in the state dict; missing tensors are those of the identity.
        state_dict: State dict of a model.
        prefix: Prefix of the names of one Decorrelation in it.
        mean: Mean of that Decorrelation.
    """
    held = [name.removeprefix(prefix) for name in state_dict if name.startswith(prefix)]
    tensors = {name: state_dict[prefix + name] for name in transform_names(structure, held)}
    made = {
        name: mean.new_empty(tensor.shape, dtype=mean.dtype if tensor.is_floating_point() else tensor.dtype)
        for name, tensor in tensors.items()
    }
    if structure == "low_rank":
        directions = made["directions"]
        made.setdefault("suppression", mean.new_zeros(*directions.shape[:-2], directions.shape[-1]))
        made.setdefault("gain", mean.new_ones(directions.shape[:-2]))
    return made
