"""Data sets: three disjoint splits, and the facts about them that a study needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro_decorr.data.seeds import stream
from neuro_decorr.errors import InvalidValue


class Split(NamedTuple):
    """Samples and their labels, a pair: `inputs, targets = data.train`."""

    inputs: Tensor  # (samples, features), float32
    targets: Tensor  # (samples,), int64, 0 .. classes - 1


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Labelled samples in three disjoint splits: learn on `train`, choose on `validation`, report once on `test`."""

    train: Split
    validation: Split
    test: Split
    classes: int  # number of classes
    source: str  # origin of the samples, in words
    image_shape: tuple[int, ...] | None = None  # (height, width) or (channels, height, width); None: not images

    def __repr__(self) -> str:
        """Sizes and shapes in one line, with the layer that gives the images back."""
        sizes = ", ".join(f"{len(getattr(self, name).inputs)} {name}" for name in ("train", "validation", "test"))
        shape = self.image_shape
        channels_first = (1, *shape) if shape is not None and len(shape) == 2 else shape
        images = "" if shape is None else f", images {shape} flattened (back: nn.Unflatten(1, {channels_first}))"
        return f"Dataset of {self.source}: {sizes}; {self.features} features{images}; {self.classes} classes"

    @property
    def features(self) -> int:
        """Number of input features."""
        return int(self.train.inputs.shape[1])

    @property
    def constant_features(self) -> tuple[int, ...]:
        """Indices of features that never vary in the training split: null directions, which a rule must not amplify."""
        inputs = self.train.inputs
        return tuple((inputs.amax(dim=0) == inputs.amin(dim=0)).nonzero().flatten().tolist())


def stratified(targets: Tensor, held_out: Sequence[float], seed: int) -> tuple[Tensor, ...]:
    """Draw disjoint splits in which every class keeps its share, to within one sample.

    Args:
        targets: Labels, shape `(samples,)`, integers.
        held_out: Fraction of the samples for each split that is held out, each positive, of sum below 1.
        seed: Seed of the draw.

    Returns:
        Ascending indices of the training split, then of each split that is held out. Every sample is in one split, and
        every split has a sample of each class.

    Raises:
        InvalidValue: The fractions leave no sample to train on, or a class has too few samples.
    """
    if min(held_out) <= 0 or not sum(held_out) < 1:
        raise InvalidValue(
            f"fractions held out: got {', '.join(map(str, held_out))}; allowed are positive numbers of sum below 1."
        )
    labels, counts = np.unique(targets.numpy(), return_counts=True)
    held = np.stack([np.maximum(allocate(counts, round(fraction * len(targets))), 1) for fraction in held_out])
    rest = counts - held.sum(axis=0)
    if (rest < 1).any():
        short = ", ".join(f"{label} ({count})" for label, count in zip(labels[rest < 1], counts[rest < 1], strict=True))
        raise InvalidValue(
            f"targets: too few samples of class {short} for one in each of {1 + len(held_out)} splits; "
            "add samples, merge or leave out these classes, or hold out less."
        )
    generator = stream(seed, "split")
    drawn = []
    for label, sizes in zip(labels.tolist(), np.vstack([rest, held]).T.tolist(), strict=True):
        of_class = (targets == label).nonzero().flatten()
        drawn.append(torch.split(of_class[torch.randperm(len(of_class), generator=generator)], sizes))
    return tuple(torch.cat(part).sort().values for part in zip(*drawn, strict=True))


def subset(indices: Tensor, labels: Tensor, size: int, seed: int) -> Tensor:
    """Draw a subset of samples, every class in proportion.

    Args:
        indices: Indices of samples, shape `(chosen,)`.
        labels: Labels of all samples, shape `(samples,)`, integers.
        size: Number of samples to keep, at least one per class.
        seed: Seed of the draw.

    Returns:
        Ascending indices, shape `(size,)`.

    Raises:
        InvalidValue: The size is below the number of classes or above that of the samples.
    """
    kinds, counts = np.unique(labels[indices].numpy(), return_counts=True)
    if not len(kinds) <= size <= len(indices):
        raise InvalidValue(f"training: got {size}; allowed are {len(kinds)} to {len(indices)} images.")
    generator = stream(seed, "training subset")
    kept = []
    for label, share in zip(kinds.tolist(), allocate(counts, size).tolist(), strict=True):
        of_class = indices[labels[indices] == label]
        kept.append(of_class[torch.randperm(len(of_class), generator=generator)[:share]])
    return torch.cat(kept).sort().values


def allocate(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Share a total among classes in proportion to their counts, by largest remainder.

    Args:
        counts: Number of samples of each class, shape `(classes,)`.
        total: Number of samples to share.

    Returns:
        Whole numbers of sum `total`, each within one of its exact share; ties go to the earlier class.
    """
    exact: NDArray[np.float64] = counts * total / counts.sum()
    shares: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - shares), kind="stable")
    shares[order[: total - int(shares.sum())]] += 1
    return shares
