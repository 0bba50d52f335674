"""Arms that are compared with centring on equal budgets: what such protocols let choose, and their runs."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import nn

import neuro_decorr as nd
from neuro_decorr import data, study
from neuro_decorr.errors import NeuroDecorrError
from neuro_decorr.learning import Geometry, Plasticities, accuracy, train
from neuro_decorr.report import save_sweep

SETTINGS = 2
"""Of every rule, between which the selection chooses."""
Constant: TypeAlias = Literal["error", "allow"]
SearchName: TypeAlias = Literal["grid", "random", "tpe", "gp"]
REFERENCE = "center"
"""Arm to which all differences are taken."""


class Configuration(study.Configuration):
    """Options of all of them; of the first, each says what is allowed and the default."""

    credits: tuple[str, ...]
    arms: tuple[str, ...]
    strengths: tuple[float, ...]
    dose: tuple[float, ...]
    dose_arms: tuple[str, ...]
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int = Field(64, ge=2, description="images per step")
    selection_runs: int = Field(6, ge=2, multiple_of=SETTINGS, description="number of selection runs of every arm")
    search: SearchName = Field("grid", description="method that proposes the settings; all except a grid need Optuna")
    selection_seeds: int = Field(1, ge=1, description="number of seeds of every setting in the selection")
    file: study.DataPath | None = Field(None, description=".npz file of inputs and targets, used instead of the digits")
    constant_features: Constant = Field("error", description="treatment of features of your file that never vary")

    @abstractmethod
    def own_data(self) -> data.Dataset | None:
        """Return the images that the options name, or None for the digits."""

    @abstractmethod
    def settings(self, arm: str) -> int:
        """Between how many settings the selection of an arm chooses."""

    @abstractmethod
    def learning_rates(self, credit: str) -> tuple[float, float]:
        """Ends of the grid of learning rates."""

    @property
    def source(self) -> str:
        """Return the option that names the images."""
        return "--file"

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Check combinations of values, and the data; all problems are reported at once."""
        problems = [f"--strengths and --dose: got {s}, allowed is >= 0" for s in (*self.strengths, *self.dose) if s < 0]
        arms = {*self.arms, *self.dose_arms}
        if REFERENCE not in self.arms or (self.dose and REFERENCE not in self.dose_arms):
            problems.append(f"--arms and --dose-arms: each needs '{REFERENCE}', the reference of all differences")
        least = nd.rules.Interneuron().interneurons if any(arm.startswith("interneuron") for arm in arms) else 1
        if min(self.hidden, default=0) < least:
            problems.append(f"--hidden: got {self.hidden}, allowed is layers of at least {least} units for these arms")
        try:
            images = self.own_data()
        except NeuroDecorrError as error:
            problems.append(f"{self.source}: {error}")
        else:
            samples, features = images.train.inputs.shape if images else (data.TRAINING_DIGITS, 64)
            if self.batch_size > samples:
                problems.append(f"--batch-size: got {self.batch_size}, allowed is up to {samples} training samples")
            if features < least:
                problems.append(f"{self.source}: got {features} features, allowed is at least {least} for these arms")
            if images and images.image_shape is None and any((*self.strengths, *self.dose)):
                problems.append("--file: holds no images (samples, height, width), so --strengths 0 and --dose '' only")
        if problems:
            raise ValueError("\n".join(problems))
        return self


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Credit x arm x strength; the strengths of the dose response have fewer arms."""
    arms = dict.fromkeys(configuration.strengths, configuration.arms)
    for strength in configuration.dose:
        arms.setdefault(strength, configuration.dose_arms)
    return [
        {"credit": credit, "arm": arm, "strength": strength}
        for strength in sorted(arms)
        for credit in configuration.credits
        for arm in arms[strength]
    ]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: as many pairs of learning rate and setting for every arm."""
    settings = configuration.settings(str(levels["arm"]))
    low, high = configuration.learning_rates(str(levels["credit"]))
    rates = study.logarithmic_grid(low, high, configuration.selection_runs // settings)
    return [{"learning_rate": rate, "setting": setting} for rate in rates for setting in range(settings)]


def search(configuration: Configuration, levels: study.Levels) -> study.Search | None:
    """Make a search with as many settings as the grid has, between its ends; None where the grid is run."""
    if configuration.search == "grid":
        return None
    settings = tuple(range(configuration.settings(str(levels["arm"]))))
    rates = study.Range(*configuration.learning_rates(str(levels["credit"])), log=True)
    ranges: dict[str, study.Range | tuple[int, ...]] = {"learning_rate": rates, "setting": settings}
    return study.Search(ranges=ranges, settings=configuration.selection_runs, sampler=configuration.search)


def save_search(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the tables and the figure of a search."""
    if configuration.search != "grid":
        save_sweep(SELECTION, configuration, tables, directory)


SELECTION = study.Selection(
    conditions=conditions,
    grid=grid,
    search=search,
    rounds=4,
    seeds=lambda configuration: configuration.selection_seeds,
    kind="curves",
    column="validation_accuracy",
    diverged=0.0,
)


def learn(
    configuration: Configuration,
    condition: study.Condition,
    recorder: study.Recorder,
    images: data.Dataset,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    plasticity: Plasticities,
    geometry: Geometry | None = None,
    **options: Any,
) -> bool:
    """Train the network of an arm; where it is measured, keep its weights and touch the test split once, at the end.

    Args:
        configuration: Configuration of the protocol.
        condition: Whose `credit` teaches the network.
        recorder: Recorder of the learning curve, the weights and the test accuracy.
        images: The data.
        network: The network of the arm.
        optimiser: Optimiser of its weights.
        plasticity: Plasticity of its lateral weights, if any.
        geometry: Record of the updates, where it is measured.
        options: Options of the credit.

    Returns:
        Whether the test split was touched: in measured runs that did not diverge.
    """
    measured, seed = condition.stage == "measure", condition.seed
    credit = nd.credit.get(condition.factors["credit"], network, seed=seed, **options)
    finished = train(
        network, credit, optimiser, images, recorder, plasticity=plasticity, seed=seed, layers=measured,
        geometry=geometry if measured else None, epochs=configuration.epochs, batch_size=configuration.batch_size,
    )  # fmt: skip
    if measured:
        recorder.weights(network.state_dict())
        right = accuracy(network, images.test) if finished else None
        recorder.row("tests", test_accuracy=right, chance=1 / images.classes)
    return measured and finished


def condition_gradients(signals: nd.conditioning.Signals, damping: float) -> None:
    """Divide the gradient of every layer by the second moment of its inputs."""
    for layer in signals:
        layer.gradient = nd.conditioning.foof(layer.gradient, layer.inputs, damping=damping)
