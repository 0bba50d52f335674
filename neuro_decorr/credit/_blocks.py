"""Division of a model into blocks of weight layers, each of which learns from its own loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from neuro_decorr.credit._layers import name_of
from neuro_decorr.errors import InvalidValue, Unsupported, unknown_name

Groups = int | Literal["units"]
"""Number of groups of channels in a block, each with its own share of the loss; `units`: every channel is a group."""


class Blocks(NamedTuple):
    """Weight layers of a model.

    Attributes:
        layers: Weight layers of every block, from input to output.
        last: Readout of the model, which is that of the last block.
    """

    layers: list[list[nn.Module]]
    last: nn.Module

    def position(self) -> dict[nn.Module, int]:
        """Index of the block of every weight layer; the readout comes after the last block."""
        return {layer: number for number, block in enumerate([*self.layers, [self.last]]) for layer in block}

    def starts(self) -> list[Any]:
        """Layer after every block, which receives the output of the block."""
        return [block[0] for block in self.layers[1:]] + [self.last] if self.layers else []


def channels_first(layer: nn.Module) -> bool:
    """True if channels come before positions in the input and the output of a weight layer."""
    return isinstance(layer, _ConvNd)


def features_in(layer: Any) -> int:
    """Number of channels that a weight layer receives."""
    size: int = layer.in_channels if channels_first(layer) else layer.in_features
    return size


def features_out(layer: Any) -> int:
    """Number of channels that a weight layer returns."""
    size: int = layer.out_channels if channels_first(layer) else layer.out_features
    return size


def cut(model: nn.Module, blocks: Sequence[str | Sequence[str]] | None) -> Blocks:
    """Cut a model into blocks.

    Args:
        model: The model.
        blocks: Names of the layers of every block, or of modules that hold them. None: every layer is a block.

    Raises:
        UnknownName: A name matches no weight layer and no module that holds one.
        InvalidValue: A layer is in two blocks, or more or fewer than one layer is left for the readout.
        Unsupported: The model has no weight layers, or their sizes are not known yet.
    """
    named = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | _ConvNd)}
    if not named:
        raise Unsupported("local losses need a model with Linear or convolutional layers; this one has none.")
    for name, layer in named.items():
        if is_lazy(layer.weight):
            raise Unsupported(f"layer '{name}' has no weights yet: run the model once before making the credit.")
    names = list(named)
    chosen = [[name] for name in names[:-1]] if blocks is None else [_inside(names, entry) for entry in blocks]
    flat = [name for block in chosen for name in block]
    twice = sorted({name for name in flat if flat.count(name) > 1})
    left = [name for name in names if name not in flat]
    if twice or len(left) != 1:
        problem = f"{', '.join(twice)} in two of them" if twice else f"{', '.join(left) or 'no layer'} left"
        raise InvalidValue(
            f"blocks must name every weight layer once except one, the readout of the model, got {problem}: choose "
            f"from {', '.join(names)}."
        )
    return Blocks([[named[name] for name in block] for block in chosen], named[left[0]])


def check_groups(model: nn.Module, blocks: Blocks, groups: Groups) -> None:
    """Check that groups can be of equal size.

    Raises:
        InvalidValue: The number of channels of a block's last layer, or of its output, is not a multiple of the groups.
    """
    if groups == "units":
        return
    sizes = {name_of(model, block[-1]): features_out(block[-1]) for block in blocks.layers}
    sizes |= {f"the input of {name_of(model, start)}": features_in(start) for start in blocks.starts()}
    wrong = [f"{size} of {what}" for what, size in sizes.items() if size % groups]
    if wrong:
        raise InvalidValue(
            f"groups must divide the channels of every block, got {groups} groups and {', '.join(wrong)} channels: "
            "use a common divisor, or groups='units'."
        )


def _inside(names: list[str], entry: str | Sequence[str]) -> list[str]:
    """Names of the layers that an entry of `blocks` denotes."""
    found: list[str] = []
    for wanted in [entry] if isinstance(entry, str) else entry:
        inside = [name for name in names if name == wanted or name.startswith(f"{wanted}.")]
        if not inside:
            raise unknown_name("weight layer, or module that holds one,", str(wanted), names)
        found += inside
    return found
