r"""Do losses of their own let blocks of layers learn from a forward pass alone, level with backpropagation?

Question. A forward gradient, the derivative of the loss along one random direction, has a variance in proportion to the
number of nodes. Ren et al. (2023) give every block of layers a loss of its own, and every group of its units a share of
it that has its own direction: fewer nodes share one number. How many groups does a network need on real images, and how
many fewer with decorrelated inputs?

Theory. With $N_g$ nodes in a group and the local gradient delta, $E |\hat\delta - \delta|^2 = (N_g - 1) |\delta|^2$ for
directions of +1 and -1 ($N_g + 1$ for Gaussian ones): groups of one unit have the exact local gradient. What is left is
that local losses are greedy: no block learns what later ones need.

Data. 6,000 images of Fashion-MNIST that come with the package; on request digits, with or without common modes.

Conditions. Learning x arm. Learning: local forward gradients with some numbers of groups; with a group for every unit;
backpropagation. Arms: centring, foof, interneurons; on request nothing and batch normalisation, with the exact local
gradient and backpropagation.

Budget. As many learning rates for every condition, on one grid, chosen on the validation split with a seed that is not
measured. Then paired seeds.

Measured. Test accuracy; after learning, layer by layer on one batch: the variance of the gradient of the weights beside
its closed form, and the cosine between the exact local gradient and that of backpropagation, the cost of greed.

Sources. Ren, Kornblith, Liao and Hinton (2023), Scaling forward gradient with local losses, ICLR, arXiv:2210.03310.

Does not say. One width, few images, six passes. Rates are chosen after half of the passes, and one that is good then
can diverge later. The damping was not tuned, and layers mix no positions, so that the losses of patches of the
publication have no place. On CIFAR-10 the local forward gradient ended below backpropagation; the default says nothing
of that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator

import neuro_decorr as nd
from analysis import local_losses as analysis
from neuro_decorr import study
from protocols import _controls as controls
from protocols._controls import DAMPINGS, ArmName, TaskName
from protocols.local_losses import estimates

UNITS, BACKPROP = "units", "backprop"
EXACT: tuple[ArmName, ...] = ("none", "batch_normalisation")
"""Arms that run with exact gradients alone, local ones and those of backpropagation."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    task: TaskName = Field("clothes", description="clothes: Fashion-MNIST; digits; modes: digits with common modes")
    groups: tuple[int, ...] = Field(
        (1, 10), min_length=1, description="numbers of groups of a block; exact gradients run too"
    )
    noise: Literal["gaussian", "rademacher"] = Field("rademacher", description="directions of groups of several units")
    arms: tuple[ArmName, ...] = Field(
        ("center", "foof", "interneuron"), description="arms; none, batch_normalisation and whitening are available too"
    )
    hidden: tuple[int, ...] = Field((100, 100), min_length=1, description="units of the hidden layers")
    interneurons: int = Field(16, ge=1, description="number of interneurons of every layer")
    learning_rates: tuple[float, float] = Field((0.02, 0.5), description="ends of the grid of learning rates")
    selection_runs: int = Field(5, ge=2, description="number of learning rates that are tried for every condition")
    epochs: int = Field(6, ge=1, description="passes over the training images")
    selection_epochs: int | None = Field(3, ge=1, description="passes of a selection run; --epochs if not given")
    batch_size: int = Field(64, ge=2, description="images per step")
    draws: int = Field(
        40, ge=2, description="number of gradients of one batch that are compared with the exact gradient"
    )

    @model_validator(mode="after")
    def fits(self) -> Configuration:
        """Groups that divide the units of every hidden layer."""
        wrong = [count for count in self.groups if count < 1 or any(units % count for units in self.hidden)]
        if wrong:
            raise ValueError(
                f"--groups: got {wrong}, allowed are numbers that divide every layer of {self.hidden} units"
            )
        return self


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Learning x arm; some controls with exact gradients alone."""
    ways = (*(str(count) for count in configuration.groups), UNITS, BACKPROP)
    return [
        {"learning": way, "arm": arm}
        for way in ways
        for arm in configuration.arms
        if way in (UNITS, BACKPROP) or arm not in EXACT
    ]


SELECTION = study.Selection(
    conditions=conditions, grid=controls.grid, kind="curves", column="validation_accuracy", diverged=0.0
)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end, and measure its gradients there."""
    c, level, seed = configuration, condition.factors, condition.seed
    images = controls.images(c.task, seed)
    arm = controls.equip_dense(
        level["arm"], [images.features, *c.hidden, images.classes], damping=DAMPINGS[c.task],
        interneurons=c.interneurons, row_fraction=0.5, rows=c.batch_size // 2, seed=seed,
    )  # fmt: skip
    credit = credit_of(level["learning"], arm.model, c.noise, seed)
    optimiser = torch.optim.SGD([*arm.model.parameters(), *credit.parameters()], lr=level["learning_rate"])
    measured = condition.stage == "measure"
    tested = controls.learn(
        arm, credit, optimiser, images, recorder, measured=measured, test=measured,
        epochs=c.epochs if measured else c.selection_epochs or c.epochs, batch_size=c.batch_size, seed=seed,
    )  # fmt: skip
    if tested and isinstance(credit, nd.credit.LocalForwardGradient):
        batch = controls.Batch(*(part[: c.batch_size] for part in images.validation))
        for layer in estimates.compare(arm.model, credit, batch, c.noise, c.draws):
            recorder.row("gradients", **layer._asdict())


def credit_of(learning: str, model: torch.nn.Module, noise: estimates.Distribution, seed: int) -> nd.credit.Credit:
    """Backpropagation, or local forward gradients with so many groups, or with one for every unit."""
    if learning == BACKPROP:
        return nd.credit.get("backprop", model, seed=seed)
    if learning == UNITS:
        return nd.credit.LocalForwardGradient(model, groups="units", noise="rademacher", seed=seed)
    return nd.credit.LocalForwardGradient(model, groups=int(learning), noise=noise, seed=seed)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Tables, figure and the finding in words."""
    print(analysis.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="local_losses",
    question="Do losses of their own let blocks of layers learn from a forward pass, level with backpropagation?",
    configuration=Configuration,
    full={
        "groups": (1, 2, 10, 50),
        "arms": ("none", "center", "batch_normalisation", "foof", "interneuron"),
        "selection_epochs": None,
    },
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
