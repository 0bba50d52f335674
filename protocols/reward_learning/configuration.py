"""Options of the protocol `reward_learning`, the trials of a run, and its results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from models.spiking_discrimination import Size
from neuro_decorr import data, errors, metrics, study
from neuro_decorr.data import Split
from protocols._spiking_program import Results, Target

Arm = Literal["none", "homeostasis", "lateral", "shuffled", "uniform"]
BASE, GAIN = 300.0, 700.0  # Hz of an input's afferents for black, and what white adds
Array = NDArray[np.float64]


class Configuration(study.Configuration):
    """Options of the protocol."""

    arms: tuple[Arm, ...] = Field(
        get_args(Arm), description="inhibition in the input population; 'none' is the reference"
    )
    classes: int = Field(3, ge=2, le=10, description="digits 0, 1, ... to tell apart")
    strength: float = Field(0.4, ge=0, description="strength of the common modes added to every image")
    learning_rates: tuple[float, ...] = Field(
        (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2), description="learning rates; every run has all of them"
    )
    hidden: int = Field(
        20, ge=1, description="number of hidden neurons of the networks that learn by broadcast feedback"
    )
    adaptation: int = Field(
        1_000, ge=10, multiple_of=10, description="number of trials in which the inputs adapt, before learning"
    )
    pairs: int = Field(1_600, ge=1, description="number of pairs of trials for learning")
    checks: int = Field(4, ge=1, description="number of validations during learning")
    validation: int = Field(108, ge=2, multiple_of=2, description="number of trials of a validation")
    test: int = Field(216, ge=2, multiple_of=2, description="number of trials of the test at the end")
    trial: float = Field(0.15, gt=0, description="duration of an image (s), in whole milliseconds")
    selection_seeds: int = Field(1, ge=1, description="number of further seeds on which learning rates are chosen")
    target: Target = Field("cpp_standalone", description="target of Brian2; numpy needs no compiler and takes hours")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Everything that only shows when the values meet each other, told at once."""
        problems = []
        if "none" not in self.arms or len(set(self.arms)) < len(self.arms):
            problems.append(f"--arms: got {self.arms}, allowed are distinct arms with 'none', the reference")
        if {"shuffled", "uniform"} & set(self.arms) and "lateral" not in self.arms:
            problems.append("--arms: 'shuffled' and 'uniform' take the weights of 'lateral', which is missing")
        if min(self.learning_rates, default=0) <= 0 or len(set(self.learning_rates)) < len(self.learning_rates):
            problems.append(f"--learning-rates: got {self.learning_rates}, allowed are distinct numbers > 0")
        if self.pairs % self.checks:
            problems.append(f"--checks: got {self.checks}, allowed are divisors of --pairs {self.pairs}")
        if abs(self.trial * 1_000 - round(self.trial * 1_000)) > 1e-9:
            problems.append(f"--trial: got {self.trial}, allowed are whole milliseconds")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def trials(self) -> int:
        """All of a run."""
        return self.adaptation + 2 * self.pairs + (self.checks + 1) * self.validation + self.test


@final
@dataclass(frozen=True)
class Trials:
    """Stimuli of every trial of a run, and what may learn in it.

    Attributes:
        kinds: `adaptation`, `learning`, `validation` or `test`.
        learnt: Trials of learning before it.
        labels: Class of the pattern.
        afferents: Rates of the afferents, (trials, inputs), Hz.
        noise: Perturbations of the output neurons, (trials, classes), the same in both trials of a pair.
    """

    kinds: NDArray[np.str_]
    learnt: NDArray[np.int64]
    labels: NDArray[np.int64]
    afferents: Array
    noise: Array

    def settings(self) -> dict[str, Array]:
        """Return the arrays over trials for the network, with one more row for the time step after the last trial."""
        learning = self.kinds == "learning"
        columns = {
            "afferents": self.afferents,
            "noise": self.noise,
            "label": self.labels,
            "parity": np.resize([1.0, -1.0], len(self.kinds)),
            "learns": learning,
            "adapts": learning | (self.kinds == "adaptation"),
        }
        return {name: np.concatenate([values, 0.0 * values[-1:]]).astype(float) for name, values in columns.items()}

    @cached_property
    def checks(self) -> list[tuple[str, int]]:
        """Return the periods without noise and learning, in order: kind, and number of learning trials before."""
        pairs = zip(self.kinds.tolist(), self.learnt.tolist(), strict=True)
        return [pair for pair in dict.fromkeys(pairs) if pair[0] in ("validation", "test")]

    def at(self, check: tuple[str, int]) -> NDArray[np.bool_]:
        """Return the trials that belong to a check."""
        return np.asarray((self.kinds == check[0]) & (self.learnt == check[1]))


def trials(configuration: Configuration, seed: int) -> Trials:
    """The trials of a seed: digits with common modes, anew for every image shown, as rates of afferents.

    A rate is 300 Hz + 700 Hz x grey level, and 0 where common modes would make it negative.
    """
    c, images = configuration, data.digits(seed)
    splits = [_first_classes(split, c.classes) for split in (images.train, images.validation, images.test)]
    generator = data.stream(seed, "trials")

    def drawn(split: Split, count: int) -> list[int]:
        return torch.randint(len(split.targets), (count,), generator=generator).tolist()

    def each(split: Split, count: int) -> list[int]:  # every image once before any comes again
        orders = [
            torch.randperm(len(split.targets), generator=generator) for _ in range(-(-count // len(split.targets)))
        ]
        return torch.cat(orders)[:count].tolist()

    train, validation, test = splits
    part = c.pairs // c.checks
    plan = [
        ("adaptation", train, drawn(train, c.adaptation), 1, 0),
        ("validation", validation, each(validation, c.validation), 1, 0),
    ]
    for check in range(1, c.checks + 1):
        plan.append(("learning", train, drawn(train, part), 2, 2 * part * (check - 1)))
        plan.append(("validation", validation, each(validation, c.validation), 1, 2 * part * check))
    plan.append(("test", test, each(test, c.test), 1, 2 * c.pairs))
    shown, labels, kinds, learnt = [], [], [], []
    for kind, split, indices, times, before in plan:
        modes = data.common_modes(split.inputs[indices].double(), c.strength, generator, (8, 8))
        shown.append(modes.repeat_interleave(times, dim=0))
        labels.append(split.targets[indices].repeat_interleave(times))
        kinds += [kind] * (times * len(indices))
        learnt += [before + (k if kind == "learning" else 0) for k in range(times * len(indices))]
    noise = torch.randn(c.trials // 2, c.classes, generator=generator, dtype=torch.float64).repeat_interleave(2, dim=0)
    rates = (BASE + GAIN * torch.cat(shown)).clamp(min=0)
    return Trials(np.array(kinds), np.array(learnt), torch.cat(labels).numpy(), rates.numpy(), noise.numpy())


def _first_classes(split: Split, classes: int) -> Split:
    chosen = split.targets < classes
    return Split(split.inputs[chosen], split.targets[chosen])


Level = dict[str, str | float]


def readouts(configuration: Configuration) -> dict[str, list[Level]]:
    """Return all readouts and networks on the same input spikes in one run, by the population that decides."""

    def levels(credit: str, *eligibilities: str) -> list[Level]:
        grid = [(name, rate) for name in eligibilities for rate in configuration.learning_rates]
        return [{"credit": credit, "eligibility": name, "learning_rate": rate} for name, rate in grid]

    still: Level = {"eligibility": "no learning", "learning_rate": 0.0}
    return {
        "outputs": [*levels("node_perturbation", "centred", "uncentred"), {"credit": "node_perturbation", **still}],
        "decisions": [
            *levels("broadcast_feedback", "centred", "uncentred"),
            {"credit": "broadcast_feedback", **still},
            *levels("hidden_fixed", "centred"),
        ],
    }


def size(configuration: Configuration) -> Size:
    """Sizes that are compiled in."""
    populations = readouts(configuration)
    return Size(
        classes=configuration.classes,
        readouts=len(populations["outputs"]),
        networks=len(populations["decisions"]),
        hidden=configuration.hidden,
        trials=configuration.trials,
        trial=configuration.trial,
        adaptation=configuration.adaptation * configuration.trial,
    )


def start(configuration: Configuration, seed: int) -> dict[str, Array]:
    """Initial weights, the same for all readouts and for all networks, and how each of them learns."""
    c, populations = configuration, readouts(configuration)
    generator = np.random.default_rng(seed)
    many, inputs = len(populations["decisions"]), size(configuration).inputs
    shapes = {  # before, copies, after
        "weights": (inputs, len(populations["outputs"]), c.classes, 0.5),
        "hidden_weights": (inputs, many, c.hidden, 2.0),
        "output_weights": (c.hidden, many, c.classes, 1.0),
        "feedback": (c.classes, many, c.hidden, 1.0),
    }
    values = {}
    for name, (before, copies, after, scale) in shapes.items():
        drawn = np.tile(generator.normal(scale=scale, size=(before, 1, after)), (1, copies, 1))
        if name == "feedback":
            drawn[:, [level["credit"] == "hidden_fixed" for level in populations["decisions"]]] = 0.0
        # Synapses stand in the order of their presynaptic neurons, which are the hidden or output ones of all networks.
        within = name in ("output_weights", "feedback")
        values[name] = (drawn.transpose(1, 0, 2) if within else drawn).ravel()
    layers = {"": ("outputs", c.classes), "hidden_": ("decisions", c.hidden), "output_": ("decisions", c.classes)}
    for prefix, (population, count) in layers.items():
        levels = populations[population]
        values[f"{prefix}learning_rate"] = np.repeat([float(level["learning_rate"]) for level in levels], count)
        values[f"{prefix}centred"] = np.repeat([float(level["eligibility"] != "uncentred") for level in levels], count)
    return values


def accuracy(counts: Array, labels: NDArray[np.int64]) -> Array:
    """Fraction of trials in which the right output neuron spikes most; of n that tie, each counts 1/n.

    Args:
        counts: Shape (trials, readouts, classes).
        labels: Shape (trials,).

    Returns:
        Shape (readouts,).
    """
    best = counts == counts.max(axis=2, keepdims=True)
    share = best / best.sum(axis=2, keepdims=True)
    return np.asarray(share[np.arange(len(labels)), :, labels].mean(axis=0))


def described(counts: Array, shown: Trials, trial: float) -> dict[str, float]:
    """Description of the spike counts of the inputs (trials, inputs): rate, correlations, a linear decoder.

    Correlations are over trials of learning, one a pair, of neurons that spike at all; the floor is what independent
    neurons would show. The decoder (linear discriminant with shrinkage) is fitted on all of them and read on the test.
    """
    discriminant = errors.require("sklearn.discriminant_analysis", "study").LinearDiscriminantAnalysis
    learning = np.flatnonzero(shown.kinds == "learning")[::2]
    test = shown.kinds == "test"
    active = counts[learning].std(axis=0) > 0
    fitted = shown.kinds == "learning"
    decoder = discriminant(solver="lsqr", shrinkage="auto").fit(counts[fitted], shown.labels[fitted])
    return {
        "rate": float(counts[learning].mean() / trial),
        "correlation": float(metrics.mean_absolute_correlation(counts[learning][:, active])),
        "floor": float(np.sqrt(2 / np.pi / len(learning))),
        "dimensions": float(metrics.participation_ratio(counts[learning])),
        "silent": int((~active).sum()),
        "decoder": float(decoder.score(counts[test], shown.labels[test])),
    }


def inhibition(arm: Arm, learnt: Results | None, seed: int) -> Results:
    """Return the settings of an arm's input population.

    Args:
        arm: The arm.
        learnt: Results of the run in which inhibition was learnt, for the arms that take its weights.
        seed: Seed of the shuffle of weights.
    """
    settings = {"lateral_learning": np.array(float(arm == "lateral")), "homeostasis": np.array(float(arm != "none"))}
    if arm in ("none", "homeostasis", "lateral") or learnt is None:
        return settings
    matrix = learnt["lateral_matrix"]
    weights = shuffled(matrix, seed) if arm == "shuffled" else 0 * matrix + np.nanmean(matrix)
    # The calibration is over: homeostasis from the first trial on, at the rates there were before any inhibition.
    given = {"own_spikes": learnt["own_spikes"], "elapsed": learnt["calibration"]}
    return settings | given | {"lateral_weights": weights[~np.isnan(weights)]}


def shuffled(matrix: Array, seed: int) -> Array:
    """Shuffle the weights between different neurons."""
    pairs = ~np.eye(len(matrix), dtype=bool)
    drawn = np.random.default_rng([seed, 1]).permutation(matrix[pairs])
    result = np.full_like(matrix, np.nan)
    result[pairs] = drawn
    return result
