"""The tensors of a transform D: of several groups, of the identity, in a state dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuro_decorr.rules import State, Structure
from neuro_decorr.rules._rule import TRANSFORM


def stacked(state: Mapping[str, Tensor], groups: int) -> State:
    """The same tensors for every group, along a first dimension.

    Args:
        state: Of one group.
        groups: How many there are.
    """
    return {name: tensor.expand(groups, *tensor.shape).clone() for name, tensor in state.items()}


def is_identity(transform: State) -> bool:
    """Whether D is the identity exactly, in all groups.

    Args:
        transform: The tensors that make up D.
    """
    if "matrix" in transform:
        matrix = transform["matrix"]
        ones = matrix.diagonal(dim1=-2, dim2=-1) == 1
        # Without a second matrix of the size of D.
        return bool(ones.all()) and int(torch.count_nonzero(matrix)) == ones.numel()
    if "directions" in transform:
        return not bool(transform["suppression"].any()) and bool((transform["gain"] == 1).all())
    return True


def structure_in(state_dict: Mapping[str, Any], prefix: str) -> Structure:
    """The structure of the D that a state dict holds.

    Args:
        state_dict: Of a model.
        prefix: Of the names of one Decorrelation in it.
    """
    if prefix + "matrix" in state_dict:
        return "dense"
    return "low_rank" if prefix + "directions" in state_dict else "centering"


def blank(structure: Structure, state_dict: Mapping[str, Any], prefix: str, mean: Tensor) -> State:
    """Tensors of the shapes that a state dict holds, of the type and on the device of the mean.

    Args:
        structure: That of the state dict; the identity stands for what is missing there.
        state_dict: Of a model.
        prefix: Of the names of one Decorrelation in it.
        mean: Its mean.
    """
    tensors = {name: state_dict[prefix + name] for name in TRANSFORM[structure] if prefix + name in state_dict}
    made = {name: mean.new_empty(tensor.shape) for name, tensor in tensors.items()}
    if structure == "low_rank":
        directions = made["directions"]
        made.setdefault("suppression", mean.new_zeros(*directions.shape[:-2], directions.shape[-1]))
        made.setdefault("gain", mean.new_ones(directions.shape[:-2]))
    return made
