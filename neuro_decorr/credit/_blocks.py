"""A model cut into blocks of weight layers, each of which learns from a loss of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from neuro_decorr.credit._layers import name_of
from neuro_decorr.errors import InvalidValue, Unsupported, unknown_name

Groups = int | Literal["units"]
"""How many groups of channels share a block's loss; `units`: every channel has one of its own."""


class Blocks(NamedTuple):
    """The weight layers of a model.

    Attributes:
        layers: Those of every block, from input to output.
        last: The model's own readout, which is that of the last block.
    """

    layers: list[list[nn.Module]]
    last: nn.Module

    def position(self) -> dict[nn.Module, int]:
        """The number of the block of every weight layer; the readout comes after the last block."""
        return {layer: number for number, block in enumerate([*self.layers, [self.last]]) for layer in block}

    def starts(self) -> list[Any]:
        """The layer behind every block, which receives the output of the block."""
        return [block[0] for block in self.layers[1:]] + [self.last] if self.layers else []


def channels_first(layer: nn.Module) -> bool:
    """Whether the channels of what a weight layer receives and returns come before the positions."""
    return isinstance(layer, _ConvNd)


def features_in(layer: Any) -> int:
    """How many channels a weight layer receives."""
    size: int = layer.in_channels if channels_first(layer) else layer.in_features
    return size


def features_out(layer: Any) -> int:
    """How many channels a weight layer returns."""
    size: int = layer.out_channels if channels_first(layer) else layer.out_features
    return size


def cut(model: nn.Module, blocks: Sequence[str | Sequence[str]] | None) -> Blocks:
    """Cut a model into blocks.

    Args:
        model: The model.
        blocks: The names of the layers of every block, or of modules that hold them; None: every layer is a block.

    Raises:
        UnknownName: A name that no weight layer has, and no module that holds one.
        InvalidValue: A layer in two blocks, or more or fewer than one left for the readout.
        Unsupported: The model has no weight layers, or they have no sizes yet.
    """
    named = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | _ConvNd)}
    if not named:
        raise Unsupported("local losses need a model with Linear or convolutional layers; this one has none.")
    for name, layer in named.items():
        if is_lazy(layer.weight):
            raise Unsupported(f"layer '{name}' has no weights yet; run the model once before making the credit.")
    names = list(named)
    chosen = [[name] for name in names[:-1]] if blocks is None else [_inside(names, entry) for entry in blocks]
    flat = [name for block in chosen for name in block]
    twice = sorted({name for name in flat if flat.count(name) > 1})
    left = [name for name in names if name not in flat]
    if twice or len(left) != 1:
        problem = f"{', '.join(twice)} in two of them" if twice else f"{', '.join(left) or 'no layer'} left"
        raise InvalidValue(
            f"blocks must name every weight layer once, but for one, the model's readout; got {problem}. The layers "
            f"are {', '.join(names)}."
        )
    return Blocks([[named[name] for name in block] for block in chosen], named[left[0]])


def check_groups(model: nn.Module, blocks: Blocks, groups: Groups) -> None:
    """Refuse groups that cannot be of one size.

    Raises:
        InvalidValue: The channels of a block's last layer, or of its output, are no multiple of the groups.
    """
    if groups == "units":
        return
    sizes = {name_of(model, block[-1]): features_out(block[-1]) for block in blocks.layers}
    sizes |= {f"the input of {name_of(model, start)}": features_in(start) for start in blocks.starts()}
    wrong = [f"{size} of {what}" for what, size in sizes.items() if size % groups]
    if wrong:
        raise InvalidValue(
            f"groups must divide the channels of every block, got {groups} groups and {', '.join(wrong)} channels; "
            "take a common divisor, or groups='units'."
        )


def _inside(names: list[str], entry: str | Sequence[str]) -> list[str]:
    """The names of the layers that an entry of `blocks` means."""
    found: list[str] = []
    for wanted in [entry] if isinstance(entry, str) else entry:
        inside = [name for name in names if name == wanted or name.startswith(f"{wanted}.")]
        if not inside:
            raise unknown_name("weight layer, or module that holds one,", str(wanted), names)
        found += inside
    return found
