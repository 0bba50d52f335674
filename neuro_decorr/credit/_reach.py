"""Parts of a block's loss to which a node contributes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor

from neuro_decorr.credit._blocks import Groups
from neuro_decorr.credit._local_pass import Draw, End, Node


class Reach(NamedTuple):
    """Division of a block's and a layer's output into corresponding parts: groups of channels, cells of positions.

    Attributes:
        groups: Number of groups.
        cells: Number of cells in every dimension of positions; empty if a part holds all positions.
    """

    groups: int = 1
    cells: tuple[int, ...] = ()

    def slopes(self, products: Tensor) -> Tensor:
        """Sums over the parts of a block's output (samples, channels, *positions): (samples, groups, *cells)."""
        return products.reshape(len(products), self.groups, -1, *self.cells).sum(2)

    def weighed(self, nodes: Tensor, slopes: Tensor) -> Tensor:
        """Multiply node values (samples, channels, *positions) by the slope of their part."""
        samples, channels, *positions = nodes.shape
        inner = [each for cell, size in zip(self.cells, positions, strict=False) for each in (cell, size // cell)]
        if not self.cells:
            inner = [math.prod(positions)]
        split = nodes.reshape(samples, self.groups, channels // self.groups, *inner)
        shape = [each for cell in self.cells for each in (cell, 1)] or [1]
        return (split * slopes.reshape(len(slopes), self.groups, 1, *shape)).reshape(nodes.shape)


def by_channel(tensor: Tensor, channels_first: bool) -> Tensor:
    """Tensor with the dimensions (samples, channels, positions)."""
    return tensor if channels_first else tensor.movedim(-1, 1)


def weigh(direction: Tensor, channels_first: bool, reach: Reach, slopes: Tensor) -> Tensor:
    """Multiply every element of the direction of a node tensor by the slope of its part."""
    weighed = reach.weighed(by_channel(direction, channels_first), slopes)
    return weighed if channels_first else weighed.movedim(1, -1)


def survey(run: Callable[[Draw], list[End]], groups: Groups) -> list[list[Reach]]:
    """Find, for every node tensor of every block, the finest parts that do not mix before the end of the block.

    Random directions in half of the parts must not move the output in the other half. Divisions are tried from fine to
    coarse, since some mix (by a normalisation over all channels, or another dense layer of the block): groups and
    cells, groups, and finally everything as one part.

    Args:
        run: Function that runs a pass with given directions.
        groups: Groups of channels.
    """
    ends = run(lambda *_: None)
    found = [[_candidates(node, end, groups) for node in end.nodes] for end in ends]
    for place in range(max((len(block) for block in found), default=0)):
        tried = {number: block[place] for number, block in enumerate(found) if place < len(block)}
        while tried := {number: candidates for number, candidates in tried.items() if len(candidates) > 1}:
            trial = _Trial(place, {number: candidates[0] for number, candidates in tried.items()}, ends)
            for number, end in enumerate(run(trial.draw)):
                if number not in tried:
                    continue
                if trial.kept_apart(number, end):
                    del tried[number]
                else:
                    tried[number].pop(0)
    return [[candidates[0] for candidates in block] for block in found]


@final
class _Trial:
    """Directions in half of the parts of one node tensor of a block."""

    def __init__(self, place: int, reaches: dict[int, Reach], ends: list[End]) -> None:
        self._place = place
        self._reaches = reaches
        self._ends = ends
        self._halves: dict[int, Tensor] = {}

    def draw(self, block: int, place: int, output: Tensor) -> Tensor | None:
        if place != self._place or block not in self._reaches:
            return None
        reach = self._reaches[block]
        generator = torch.Generator(output.device).manual_seed(block)
        parts = math.prod((reach.groups, *reach.cells))
        half = torch.randperm(parts, generator=generator, device=output.device) < parts // 2
        self._halves[block] = half.view(1, reach.groups, *reach.cells)
        noise = torch.empty_like(output).normal_(generator=generator)
        return weigh(noise, self._ends[block].nodes[place].channels_first, reach, self._halves[block])

    def kept_apart(self, block: int, end: End) -> bool:
        if end.derivative is None:
            return True
        moved = self._reaches[block].slopes(by_channel(end.derivative, end.channels_first).abs())
        return not bool((moved * ~self._halves[block]).any())


def _candidates(node: Node, end: End, groups: Groups) -> list[Reach]:
    """Parts of a node tensor and of its block's output, from fine to coarse; the last is everything."""
    channels, *positions = by_channel(node.output, node.channels_first).shape[1:]
    features, *cells = by_channel(end.output, end.channels_first).shape[1:]
    count = channels if groups == "units" else groups
    if channels % count or features % count:
        return [Reach()]
    flattened = bool(positions) and not cells
    if flattened:  # possibly after pooling
        pooled = round((channels * math.prod(positions) / features) ** (1 / len(positions))) or 1
        cells = [max(1, size // pooled) for size in positions]
    size = math.prod(cells)
    each, rest = divmod(features, size) if flattened else (features, 0)
    fits = len(cells) == len(positions) and all(size % cell == 0 for cell, size in zip(cells, positions, strict=True))
    found = [Reach(count, tuple(cells))] if size > 1 and fits and not rest and each % count == 0 else []
    if count > 1:
        found.append(Reach(count))
    return [*found, Reach()]
