"""Options of the protocol `spiking_decorrelation`, and the trials of a condition."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from brian2 import Hz, Quantity, second
from numpy.typing import NDArray
from pydantic import Field, model_validator

import neuro_decorr as nd
from models.correlated_population import Mixing, held_out, mixing
from neuro_decorr import study
from protocols.spiking_decorrelation.population import SOURCE_STEP, Size

SOURCES = 5
LARGEST = 5.0
"""Bound of the weights, which none reaches; of its negative, where weights are signed."""
Sign = Literal["non-negative", "signed"]


class Configuration(study.Configuration):
    """Options of the protocol."""

    target: Literal["cpp_standalone", "numpy"] = Field("cpp_standalone", description="target of Brian2")
    neurons: int = Field(100, ge=2 * SOURCES, description="neurons")
    mixings: tuple[Mixing, ...] = Field(get_args(Mixing), description="how neurons mix the sources")
    signs: tuple[Sign, ...] = Field(get_args(Sign), description="signs that lateral weights may have")
    controls: tuple[Mixing, ...] = Field(("positive",), description="mixings for which the controls run too")
    heterogeneity: float = Field(
        0.0, ge=0, le=0.3, description="relative standard deviation of drive and of shared input over neurons"
    )
    drive: float = Field(17.0, gt=0, description="mean drive (mV), threshold 20")
    shared: float = Field(4.0, gt=0, description="standard deviation of the shared input (mV)")
    rate: float = Field(1e-2, gt=0, description="learning rate before it is annealed")
    homeostasis_rate: float = Field(2.0, gt=0, description="rate of the homeostasis (Hz)")
    average_time: float = Field(40.0, gt=0, description="averaging time of the bias that is held (s)")
    step: float = Field(0.5, gt=0, le=2, description="time step (ms)")
    test: float = Field(200.0, gt=0, description="duration of the test input, before and after (s)")
    calibration: float = Field(
        100.0, gt=0, description="duration of the calibration, which counts each neuron's rate (s)"
    )
    learning: float = Field(120.0, gt=0, description="duration of learning at the full rate (s)")
    annealing: float = Field(160.0, gt=0, description="duration of learning at a falling rate (s)")
    consolidation: float = Field(80.0, gt=0, description="duration of homeostasis alone (s)")
    bins: tuple[float, ...] = Field(
        (0.01, 0.02, 0.05, 0.1, 0.2), description="widths of the bins of the spike counts (s)"
    )
    window: float = Field(20.0, gt=0, description="width of the windows in which learning is followed (s)")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Everything that only shows when the values meet each other, told at once."""
        problems = []
        if not self.bins or min(self.bins) < self.step / 1e3 or max(self.bins) > self.test / 20:
            problems.append(f"--bins: got {self.bins}, allowed is from the step to a twentieth of --test")
        if not set(self.controls) <= set(self.mixings):
            problems.append(f"--controls: got {self.controls}, allowed are the --mixings that run: {self.mixings}")
        if self.window > self.learning + self.annealing:
            problems.append(f"--window: got {self.window:g} s, allowed is up to --learning and --annealing together")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def size(self) -> Size:
        """Sizes that are compiled in."""
        return Size(neurons=self.neurons, sources=SOURCES, step=self.step, test=self.test, rule=self.rule)

    @property
    def rule(self) -> nd.brian.SpikingRule:
        """Make the rule with its schedule, whose baseline is the test before learning."""
        homeostasis = nd.brian.Homeostasis(
            calibration=self.calibration * second,
            rate=self.homeostasis_rate * Hz,
            average_time=self.average_time * second,
        )
        schedule = nd.brian.Schedule(
            baseline=self.test * second,
            learning=self.learning * second,
            annealing=self.annealing * second,
            consolidation=self.consolidation * second,
        )
        rule: nd.brian.SpikingRule = nd.brian.get(
            "lateral_covariance",
            rate=self.rate,
            largest_weight=LARGEST,
            homeostasis=homeostasis,
            schedule=schedule,
            gain=None,
        )
        return rule

    @property
    def phases(self) -> list[Quantity]:
        """Between the two tests: counting, learning, consolidating."""
        return [t * second for t in (self.calibration, self.learning + self.annealing, self.consolidation)]


def settings(configuration: Configuration, kind: Mixing, sign: Sign, seed: int) -> dict[str, Any]:
    """Return the settings of the population of a seed, with its inputs; its weights start at zero."""
    c = configuration
    spread = np.random.default_rng([seed, 3]).uniform(-np.sqrt(3), np.sqrt(3), (2, c.neurons)) * c.heterogeneity
    mixed = c.shared * (1 + spread[0])[:, None] * mixing(kind, c.neurons, seed, SOURCES)
    return {
        "sources": held_out(c.test * second, c.phases, SOURCE_STEP, seed, SOURCES),
        "drive": c.drive * (1 + spread[1]) / 1e3,
        **{f"mixing_{k}": column / 1e3 for k, column in enumerate(mixed.T)},
        "weights": np.zeros(c.neurons * (c.neurons - 1)),
        "learning": 1.0,
        "smallest_weight": 0.0 if sign == "non-negative" else -LARGEST,
    }


def fixed(weights: NDArray[np.float64]) -> dict[str, Any]:
    """Settings of a control: given weights, of all but the diagonal, that do not learn."""
    return {"weights": weights[~np.eye(len(weights), dtype=bool)], "learning": 0.0, "smallest_weight": -LARGEST}


def shuffled(weights: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Move the weights of every pair, in both directions, to another pair."""
    first, second_ = np.triu_indices(len(weights), 1)
    order = np.random.default_rng([seed, 4]).permutation(len(first))
    moved = np.zeros_like(weights)
    moved[first, second_] = weights[first[order], second_[order]]
    moved[second_, first] = weights[second_[order], first[order]]
    return moved
