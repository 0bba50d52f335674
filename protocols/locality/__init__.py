"""How much decorrelation and learning survive as the neighbourhood of a unit shrinks?

Question. Between all pairs of n units a decorrelation has n^2 connections; a chip, and a cortex, has few. How much of
the decorrelation of a layer, and of what it is worth for learning, is left where a unit hears its neighbours only, or
a limited number of others, and what do the connections that are kept cost?

Sources. The question is this package's own; the rule of the first part is that of Ahmad (2024), arXiv:2407.10780, in
its bounded form.

Data. 6,000 images of Fashion-MNIST that come with the package, at their size or enlarged to a side (bilinear); or
those of files.

Conditions. `local`: D of the image layer is confined to positions within a radius (all channels of them), D of hidden
layers, whose units have no place, to as many random others; `random`: as many random others everywhere; `full`: all
pairs. Controls: `none`; `center`; `foof`, centring and gradients divided by second moments.

Measured. Two parts. Decorrelation: the rule norm_preserving, bounded, moves D of the image layer alone, for a number
of batches. Measured on test images: the mean squared correlation of all pairs and of the connected ones, before and
after; connections; processor seconds of an update and of a forward pass.

Learning: a dense network; rule whitening, damped; credit x arm x reach. Learning rates are chosen on the validation
split with as many runs for every condition and a seed that is not measured. Then paired seeds; test accuracy after the
last epoch.

Does not say. Images are smooth and have few modes: in data whose correlations do not follow a distance only as many
pairs are decorrelated as there are connections. The damping is that of the full D for all arms, and the rate of
whitening was not chosen for each reach. Learning rates lie a factor of 3.7 apart and are chosen with one seed.
Connections are counted, wires and energy are not.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, final, get_args

import torch
from pydantic import Field, model_validator
from torch import nn

import neuro_decorr as nd
from analysis import locality as analysis
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.data import Dataset
from neuro_decorr.rules.connectivity import Connectivity, FanIn, Neighbourhood
from protocols._arms import condition_gradients
from protocols._controls import Equipped, learn
from protocols._images import ImagesName, batch_problems, dataset, enlarged, evaluated
from protocols.locality.settling import TIMED, settle

ControlName: TypeAlias = Literal["none", "center", "foof"]
CreditName: TypeAlias = Literal["backprop", "local_forward_gradient", "node_perturbation"]

RATES: dict[CreditName, tuple[float, float]] = {
    "backprop": (0.003, 0.1),
    "local_forward_gradient": (0.002, 0.1),
    "node_perturbation": (0.0002, 0.01),
}
"""Ends of the grids of learning rates."""


@final
class Configuration(study.Configuration):
    """Options of the protocol."""

    images: ImagesName = Field("embedded", description="embedded: 6,000 images of Fashion-MNIST; the others need files")
    data_dir: study.DataPath | None = Field(
        None, description="folder of the files; missing files are downloaded into it"
    )
    training: int | None = Field(1_500, ge=10, description="training images; all if not given")
    side: int | None = Field(None, ge=2, description="enlarge the images: 32 are 1,024 units, 128 are 16,384")
    evaluated: int = Field(1_000, ge=10, description="largest number of validation images, and of test images")
    radii: tuple[float, ...] = Field((1.0, 2.0, 4.0), min_length=1, description="radii of neighbourhoods, in pixels")
    all_pairs: bool = Field(True, description="run D between all pairs of units too (n^2 numbers)")
    hidden: tuple[int, ...] = Field((100,), min_length=1, description="units of the hidden layers")
    credits: tuple[CreditName, ...] = Field(("backprop", "local_forward_gradient"), description="credit assignments")
    controls: tuple[ControlName, ...] = Field(get_args(ControlName), description="controls; center is required")
    damping: float = Field(3.0, gt=0, description="damping of whitening and foof, relative to the mean power")
    row_fraction: float = Field(0.5, gt=0, le=1, description="fraction of a batch that drives plasticity and moments")
    settling: int = Field(
        100, ge=TIMED + 1, description="number of updates of D where decorrelation is measured without learning"
    )
    epochs: int = Field(4, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per step")
    selection_runs: int = Field(4, ge=2, description="number of learning rates that are tried for every condition")

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Check combinations of values, and the data; all problems are reported at once."""
        problems = batch_problems(self.images, self.data_dir, self.training, self.batch_size)
        if "center" not in self.controls:
            problems.append("--controls: centring is the reference of all differences; name it")
        if problems:
            raise ValueError("\n".join(problems))
        return self


def reaches(configuration: Configuration) -> list[study.Levels]:
    """Arm and radius of every confined D, and the full one; a radius of 0 stands for none."""
    found: list[study.Levels] = [{"arm": a, "radius": r} for a in ("local", "random") for r in configuration.radii]
    return [*found, *([{"arm": "full", "radius": 0.0}] if configuration.all_pairs else [])]


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Credit x (control, or arm and radius)."""
    arms = [*({"arm": control, "radius": 0.0} for control in configuration.controls), *reaches(configuration)]
    return [{"credit": credit, **arm} for credit in configuration.credits for arm in arms]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: as many learning rates."""
    rates = study.logarithmic_grid(*RATES[levels["credit"]], configuration.selection_runs)
    return [{"learning_rate": rate} for rate in rates]


SELECTION = study.Selection(conditions=conditions, grid=grid, kind="curves", column="validation_accuracy", diverged=0.0)


def settled_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Decorrelation alone, of every arm with a D; a stage."""
    return [study.Condition("settle", seed, levels) for levels in reaches(configuration) for seed in seeds]


def neighbours(radius: float) -> int:
    """Count the positions of a grid within a radius of one position, without that position."""
    side = 2 * int(radius) + 1
    return int(Neighbourhood((side, side), radius).matrix(side**2)[side**2 // 2].sum()) - 1


def connected(arm: str, radius: float, images: Dataset) -> tuple[Connectivity | None, Connectivity | None]:
    """Return the connections of the image layer and of hidden layers; None: all."""
    if arm == "full":
        return None, None
    assert images.image_shape is not None
    channels = images.features // (images.image_shape[-2] * images.image_shape[-1])
    others = FanIn(channels * (neighbours(radius) + 1) - 1)
    return (Neighbourhood(tuple(images.image_shape[-2:]), radius) if arm == "local" else others), others


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Settle one layer, or train one network from its seed to its end."""
    c, level, seed = configuration, condition.factors, condition.seed
    images = evaluated(dataset(c.images, c.data_dir, None if c.images == "embedded" else c.training, seed), c.evaluated)
    images = enlarged(images, c.side, c.training)
    if condition.stage == "settle":
        connectivity, _ = connected(level["arm"], level["radius"], images)
        settle(images, connectivity, recorder, c.settling, c.batch_size, c.row_fraction, seed)
        return
    model: nn.Module = dense([images.features, *c.hidden, images.classes], nn.ReLU, seed=seed)
    arm, plasticity, conditioned = level["arm"], None, None
    if arm != "none":
        model = nd.decorrelate(model)
        rule: nd.rules.Rule = nd.rules.get("center")
        groups: list[dict[str, Any]] = [{"modules": model}]
        if arm not in get_args(ControlName):
            rule = nd.rules.get("whitening", damping=c.damping)
            first, later = connected(arm, level["radius"], images)
            layers = list(model.children())
            groups = [{"modules": layers[0], "connectivity": first}, {"modules": layers[1:], "connectivity": later}]
        plasticity = nd.Plasticity(groups, rule, row_fraction=c.row_fraction)
        if arm == "foof":
            signals = nd.conditioning.Signals(model, rows=round(c.row_fraction * c.batch_size))
            conditioned = partial(condition_gradients, signals, c.damping)
    learn(
        Equipped(model, plasticity, conditioned), nd.credit.get(level["credit"], model, seed=seed),
        torch.optim.SGD(model.parameters(), level["learning_rate"], momentum=0.9), images, recorder,
        measured=condition.stage == "measure", seed=seed, epochs=c.epochs, batch_size=c.batch_size,
    )  # fmt: skip


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:  # its signature
    """Tables, figure and the finding in words."""
    analysis.draw(tables, directory)


PROTOCOL = study.Protocol(
    name="locality",
    question="How much decorrelation and learning survive as the neighbourhood of a unit shrinks?",
    configuration=Configuration,
    full={"training": None, "hidden": (200, 200), "epochs": 10, "radii": (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)},
    seeds=5,
    stages=(settled_runs, *SELECTION.stages),
    run=run,
    report=report,
)
