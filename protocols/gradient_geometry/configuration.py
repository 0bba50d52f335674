"""Options of the protocol `gradient_geometry`, and its data."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Literal, get_args

import torch.nn.functional as F
from pydantic import Field, model_validator

from neuro_decorr import data, study
from neuro_decorr.data import Dataset, Split

ImagesName = Literal["digits", "clothes"]
CreditName = Literal["backprop", "feedback_alignment", "direct_feedback_alignment", "node_perturbation"]
ArmName = Literal["center", "zca", "scalar_gain", "diagonal", "foof", "frozen_zca", "rotated_zca"]

RATES: dict[str, tuple[float, float]] = {
    "backprop": (0.02, 2.0),
    "feedback_alignment": (0.02, 2.0),
    "direct_feedback_alignment": (0.02, 2.0),
    "node_perturbation": (0.004, 0.4),
}
"""Ends of the grid of learning rates."""
POOLED = 4
"""Pixels of a side over which the images of clothes are averaged: 28 x 28 become 7 x 7."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    images: tuple[ImagesName, ...] = Field(
        ("digits",), description="images: digits with common modes, or clothes without them"
    )
    strength: float = Field(1.0, ge=0, description="standard deviation of the common modes of the digits")
    credits: tuple[CreditName, ...] = Field(
        ("backprop", "feedback_alignment", "node_perturbation"), description="credit assignments"
    )
    arms: tuple[ArmName, ...] = Field(get_args(ArmName), description="arms; 'center' and 'zca' are the references")
    hidden: tuple[int, ...] = Field((24, 24), description="units of the hidden layers")
    damping: float = Field(0.3, gt=0, description="damping of D, relative to the mean power of a layer's input")
    natural_dampings: tuple[float, ...] = Field(
        (1.0, 10.0, 100.0), min_length=1, description="dampings of the natural gradient, relative to its mean power"
    )
    samples: int = Field(48, ge=2, description="number of images for the natural gradient")
    epochs: int = Field(6, ge=2, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per step")
    selection_runs: int = Field(5, ge=1, description="number of learning rates to choose from")
    selection_seeds: int = Field(2, ge=1, description="number of seeds of every learning rate that is tried")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Everything that only shows when the values meet each other, told at once."""
        problems = []
        if not {"center", "zca"} <= set(self.arms):
            problems.append("--arms: needs 'center' and 'zca', to which the others are compared")
        if min(self.natural_dampings) <= 0:
            problems.append(f"--natural-dampings: got {self.natural_dampings}, allowed is > 0")
        if self.batch_size > data.TRAINING_DIGITS:
            problems.append(f"--batch-size: got {self.batch_size}, allowed is up to {data.TRAINING_DIGITS}")
        if problems:
            raise ValueError("\n".join(problems))
        return self


@lru_cache(maxsize=16)
def dataset(images: ImagesName, strength: float, seed: int) -> Dataset:
    """Load the data of a seed; all arms share them."""
    if images == "digits":
        return data.with_common_modes(data.digits(seed), strength, seed)
    clothes = data.fashion(seed)
    train, validation, test = (
        Split(F.avg_pool2d(split.inputs.view(-1, 1, 28, 28), POOLED).flatten(1), split.targets)
        for split in (clothes.train, clothes.validation, clothes.test)
    )
    side = 28 // POOLED
    return dataclasses.replace(clothes, train=train, validation=validation, test=test, image_shape=(side, side))
