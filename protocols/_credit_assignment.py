"""What may be chosen in the protocol `credit_assignment`, and what has to fit together."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from pydantic import Field, model_validator

import neuro_decorr as nd
from analysis import comparison
from neuro_decorr import data, study
from neuro_decorr.errors import NeuroDecorrError

CreditName = Literal[
    "backprop", "feedback_alignment", "direct_feedback_alignment", "node_perturbation", "activity_perturbation"
]

# The rule of each arm and the settings between which the selection chooses; every rule has as many.
RULES: dict[str, tuple[str, list[dict[str, float]]]] = {
    "norm_preserving": ("norm_preserving", [{"rate": 3e-3}, {"rate": 1e-2}]),
    "whitening": ("whitening", [{"damping": 0.3}, {"damping": 3.0}]),
    "interneuron": ("interneuron", [{"damping": 0.3}, {"damping": 3.0}]),
    "decorrelating": ("decorrelating", [{"rate": 3e-3}, {"rate": 1e-2}]),
}
CONTROLS = ("none", "center", "batch_normalisation")
ARMS = (*CONTROLS, "center_compensated", *RULES, *(f"{rule}_compensated" for rule in RULES))
# Of the compensated arms the small size has one dense and one low-rank rule; the full size has all.
SMALL = tuple(arm for arm in ARMS if arm not in ("whitening_compensated", "decorrelating_compensated"))
SETTINGS = 2
# Ends of the grid of learning rates: perturbation estimates are noisier, so their steps are smaller.
LEARNING_RATES = {"gradient": (0.08, 1.3), "perturbation": (0.01, 0.16)}
SELECTION_SEED = 1_000
DIGITS = 1_079  # training images of the digits


class Configuration(study.Configuration):
    """What may be chosen."""

    credits: tuple[CreditName, ...] = Field(CreditName.__args__, description="credit assignments")
    arms: tuple[Literal[ARMS], ...] = Field(SMALL, description="arms; 'center' is the reference of all differences")
    strengths: tuple[float, ...] = Field((0.0, 1.0), description="strengths of the common modes, all arms")
    dose: tuple[float, ...] = Field((0.5, 2.0), description="further strengths, for the dose response only")
    dose_arms: tuple[Literal[ARMS], ...] = Field(("center", "interneuron"), description="arms of the dose response")
    hidden: tuple[int, ...] = Field((100, 100), description="units of the hidden layers")
    epochs: int = Field(3, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images a step")
    trials: int = Field(6, ge=2, multiple_of=SETTINGS, description="selection runs of every arm")
    selection_seeds: int = Field(1, ge=1, description="seeds of every selection run")
    file: str | None = Field(None, description="a .npz of inputs and targets of your own, instead of the digits")
    constant_features: Literal["error", "allow"] = Field("error", description="features of your file that never vary")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Everything that only shows when the values meet each other, and the data, told at once."""
        problems = [f"--strengths and --dose: got {s}, allowed is >= 0" for s in (*self.strengths, *self.dose) if s < 0]
        arms = {*self.arms, *self.dose_arms}
        if comparison.REFERENCE not in self.arms or (self.dose and comparison.REFERENCE not in self.dose_arms):
            problems.append("--arms and --dose-arms: each needs 'center', the reference of all differences")
        least = nd.rules.get("interneuron").interneurons if any(arm.startswith("interneuron") for arm in arms) else 1
        if min(self.hidden, default=0) < least:
            problems.append(f"--hidden: got {self.hidden}, allowed is layers of at least {least} units for these arms")
        try:
            images = dataset(self.file, self.constant_features, 0.0, 0) if self.file else None
        except NeuroDecorrError as error:
            problems.append(f"--file: {error}")
        else:
            samples, features = images.train.inputs.shape if images else (DIGITS, 64)
            if self.batch_size > samples:
                problems.append(f"--batch-size: got {self.batch_size}, allowed is up to {samples} training samples")
            if features < least:
                problems.append(f"--file: got {features} features, allowed is at least {least} for these arms")
            if images and images.image_shape is None and any((*self.strengths, *self.dose)):
                problems.append("--file: holds no images (samples, height, width), so --strengths 0 and --dose '' only")
        if problems:
            raise ValueError("\n".join(problems))
        return self


@lru_cache(maxsize=16)
def dataset(file: str | None, constant_features: str, strength: float, seed: int) -> data.Dataset:
    """The data of a seed; runs that differ in nothing but their arm share them."""
    samples = data.from_file(file, seed=seed, constant_features=constant_features) if file else data.digits(seed)
    return data.with_common_modes(samples, strength, seed) if strength else samples
