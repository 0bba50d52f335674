"""Options of the protocol `compensation`, and how they must fit together."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Literal, get_args

from pydantic import Field, model_validator

from neuro_decorr import data, study
from neuro_decorr.data import Dataset, Split
from neuro_decorr.errors import NeuroDecorrError

CreditName = Literal["backprop", "feedback_alignment", "node_perturbation"]

CIFAR10 = {
    "dampings": (10.0, 30.0, 100.0),
    "learning_rates": (3e-4, 1e-4, 1e-3),
    "dense_rate": 1e-5,
    "hidden": (1_000,) * 4,
    "interneurons": 64,
    "epochs": 6,
    "batch_size": 256,
    "row_fraction": 0.1,
    "target": 0.45,
}
"""Full size for CIFAR-10: `neuro-decorr run compensation --full --data-dir DIR`."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    data_dir: study.DataPath | None = Field(None, description="folder of CIFAR-10's binary files; digits if not given")
    training: int = Field(10_000, ge=10, description="training images of CIFAR-10")
    evaluated: int = Field(
        4_000, ge=10, description="largest number of validation images, and of test images, at every epoch"
    )
    strength: float = Field(1.0, ge=0, description="strength of the common modes added to the digits")
    credits: tuple[CreditName, ...] = Field(get_args(CreditName), description="credit assignments")
    dampings: tuple[float, ...] = Field((0.03, 0.3, 3.0, 30.0), description="dampings of the interneurons")
    learning_rates: tuple[float, ...] = Field(
        (3e-3, 1e-3, 1e-2, 3e-2, 1e-1), description="learning rates to choose from, for every arm"
    )
    dense: tuple[CreditName, ...] = Field(
        ("feedback_alignment",), description="credit assignments with which the dense rule runs too"
    )
    dense_rate: float = Field(3e-3, gt=0, description="plasticity rate of the dense rule, norm_preserving")
    optimiser: Literal["adam", "sgd"] = Field("adam", description="optimiser of the weights; sgd has momentum 0.9")
    hidden: tuple[int, ...] = Field((100, 100), description="units of the hidden layers")
    interneurons: int = Field(16, ge=1, description="number of interneurons of every layer")
    row_fraction: float = Field(0.5, gt=0, le=1, description="fraction of a batch that drives the plasticity")
    epochs: int = Field(6, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per step")
    target: float = Field(0.8, gt=0, lt=1, description="test accuracy for which the time is reported")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Check combinations of values, and the data; all problems are reported at once."""
        problems = []
        for option, values in {"--dampings": self.dampings, "--learning-rates": self.learning_rates}.items():
            if not values or min(values) <= 0 or len(set(values)) < len(values):
                problems.append(f"{option}: got {values}, allowed are distinct numbers > 0, at least one")
        if min(self.hidden, default=0) < self.interneurons:
            problems.append(f"--hidden: got {self.hidden}, allowed is layers of at least --interneurons units")
        if self.data_dir is None and self.interneurons > 64:
            problems.append(f"--interneurons: got {self.interneurons}, allowed is up to 64, the pixels of a digit")
        samples = data.TRAINING_DIGITS if self.data_dir is None else self.training
        if self.batch_size > samples:
            problems.append(f"--batch-size: got {self.batch_size}, allowed is up to {samples} training samples")
        if self.data_dir is not None:
            try:
                _images(self.data_dir, self.training, 0)
            except NeuroDecorrError as error:
                problems.append(f"--data-dir: {error}")
        if problems:
            raise ValueError("\n".join(problems))
        return self


@lru_cache(maxsize=2)
def _images(data_dir: str, training: int, seed: int) -> Dataset:
    """CIFAR-10 in the split of a seed, read once a process: to check the options, and to run."""
    return data.cifar10(data_dir, seed, training=training, download=False)


@lru_cache(maxsize=2)
def dataset(data_dir: str | None, training: int, evaluated: int, strength: float, seed: int) -> Dataset:
    """Load the data of a seed, with limited numbers of validation and test images, on which every epoch is measured."""
    if data_dir is None:
        images = data.with_common_modes(data.digits(seed), strength, seed)
    else:
        images = _images(data_dir, training, seed)
    return dataclasses.replace(
        images, validation=_first(images.validation, evaluated), test=_first(images.test, evaluated)
    )


def _first(split: Split, count: int) -> Split:
    return Split(split.inputs[:count].clone(), split.targets[:count])
