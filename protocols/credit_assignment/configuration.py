"""Options of the protocol `credit_assignment`, and how they must fit together."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from pydantic import Field

from neuro_decorr import data
from neuro_decorr.learning import Recorded
from protocols import _arms

CreditName = Literal[
    "backprop", "feedback_alignment", "direct_feedback_alignment", "node_perturbation", "activity_perturbation"
]

# The rule of each arm and the settings between which the selection chooses; every rule has as many.
RULES: dict[str, tuple[str, list[dict[str, float]]]] = {
    "norm_preserving": ("norm_preserving", [{"rate": 5e-3}, {"rate": 2e-2}]),
    "whitening": ("whitening", [{"damping": 0.3}, {"damping": 3.0}]),
    "interneuron": ("interneuron", [{"damping": 0.3}, {"damping": 3.0}]),
    "decorrelating": ("decorrelating", [{"rate": 3e-3}, {"rate": 1e-2}]),
}
CONTROLS = ("none", "center", "batch_normalisation")
ARMS = (*CONTROLS, "center_compensated", *RULES, *(f"{rule}_compensated" for rule in RULES))
# Of the compensated arms the small size has one dense and one low-rank rule; the full size has all.
SMALL = tuple(arm for arm in ARMS if arm not in ("whitening_compensated", "decorrelating_compensated"))
# Ends of the grid of learning rates: perturbation estimates are noisier, so their steps are smaller.
LEARNING_RATES = {"gradient": (0.08, 2.6), "perturbation": (0.01, 0.32)}
# Made from the tables above, which types cannot follow: what the options allow.
ArmName: TypeAlias = Literal[ARMS]  # type: ignore[valid-type]


class Configuration(_arms.Configuration):
    """Options of the protocol."""

    credits: tuple[CreditName, ...] = Field(get_args(CreditName), description="credit assignments")
    arms: tuple[ArmName, ...] = Field(SMALL, description="arms; 'center' is the reference for all differences")
    strengths: tuple[float, ...] = Field((0.0, 1.0), description="strengths of the common modes, all arms")
    dose: tuple[float, ...] = Field((0.5, 2.0), description="further strengths, only for the dose response")
    dose_arms: tuple[ArmName, ...] = Field(("center", "interneuron"), description="arms of the dose response")
    hidden: tuple[int, ...] = Field((100, 100), description="units of the hidden layers")
    epochs: int = Field(3, ge=1, description="passes over the training images")
    selection_runs: int = Field(
        8, ge=2, multiple_of=_arms.SETTINGS, description="number of selection runs of every arm"
    )
    geometry: Recorded = Field(
        "none",
        description="measured runs record the alignment of updates with the gradient, and with the natural gradient",
    )

    def own_data(self) -> data.Dataset | None:
        """Load the images of the file, if there is one."""
        return dataset(self.file, self.constant_features, 0.0, 0) if self.file else None

    def settings(self, arm: str) -> int:
        """Number of settings of a rule between which the selection chooses."""
        return len(RULES.get(arm.removesuffix("_compensated"), ("", [{}]))[1])

    def learning_rates(self, credit: str) -> tuple[float, float]:
        """Those of the two kinds of credit assignment."""
        return LEARNING_RATES["perturbation" if credit.endswith("perturbation") else "gradient"]


@lru_cache(maxsize=16)
def dataset(file: str | None, constant_features: _arms.Constant, strength: float, seed: int) -> data.Dataset:
    """Load the data of a seed; runs that differ only in their arm share them."""
    samples = data.from_file(file, seed=seed, constant_features=constant_features) if file else data.digits(seed)
    return data.with_common_modes(samples, strength, seed) if strength else samples
