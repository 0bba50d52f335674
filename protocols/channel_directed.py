"""Do channel-directed gradients help, and do they add to decorrelated inputs?

Question. A gradient in a metric that correlates the output channels of a layer is smoothed along them; a decorrelation
of the inputs acts on the other side of the same gradient. The two commute. Do their gains add up, or does one of them
do what the other does?

Sources. Lao, Zhu, Wonka and Sundaramoorthi (2020), Channel-directed gradients for optimization of convolutional neural
networks, arXiv:2008.10766.

Data. Handwritten digits with common modes added to every image (strength by option). A convolutional network: two
convolutions, a dense layer, the output; backpropagation, gradient descent.

Conditions. Factorial. Arm: nothing, centring, batch normalisation, FOOF (the gradient-side control, on centred inputs),
interneurons. Gradient: as it is; `h0`, towards the mean over output channels; `h1`, smooth along their order, which
means nothing here. The gradient of every Linear and convolution is transformed, after FOOF where there is FOOF.

Budget. Six learning rates for every condition, each on four seeds that are not measured, chosen on the validation
split. Then paired seeds; the test split is touched once.

Measured. Test accuracy; within every arm the paired difference to the gradient as it is; and the interaction, how much
more the metric brings with interneurons than with centring.

Does not say. One small network on 8 x 8 digits, with one weight of each metric and no momentum; the authors report
gains on residual networks and CIFAR, which were not tried. One damping of the interneurons: a rate that is stable on
the selection seeds can diverge on a measured one, and that run counts at chance. `h1` smooths along an order of
channels that means nothing in such a network.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from pydantic import Field
from torch import nn

import neuro_decorr as nd
from analysis import channel_directed as analysis
from models.convolutional import convolutional
from neuro_decorr import data, study
from protocols._controls import equip, learn

ArmName = Literal["none", "center", "batch_normalisation", "foof", "interneuron"]
Gradient = Literal["plain", "h0", "h1"]
RATES = (0.02, 1.28)
"""Ends of the grid of learning rates."""
SETTINGS = 6
"""Of every condition."""
WEIGHTS: dict[Gradient, float] = {"plain": 1.0, "h0": 4.0, "h1": 0.03}
"""Divisor of the differences between channels (h0); h1 divides its slowest mode by 1.2, and mode n by n^2 more."""
DAMPING = 0.3
"""Damping of interneurons and of FOOF, relative to the mean power."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    strength: float = Field(1.0, ge=0, description="strength of the common modes")
    arms: tuple[ArmName, ...] = Field(get_args(ArmName), min_length=1, description="arms")
    gradients: tuple[Gradient, ...] = Field(
        get_args(Gradient), min_length=1, description="metrics of the gradient; plain is required"
    )
    channels: tuple[int, ...] = Field((16, 16), min_length=1, description="channels of the convolutions")
    hidden: int = Field(64, ge=1, description="units of the dense layer")
    epochs: int = Field(5, ge=1, description="passes over the training images")
    selection_epochs: int = Field(2, ge=1, description="passes of a selection run")
    batch_size: int = Field(64, ge=2, description="images per step")


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Arm x gradient."""
    return [{"arm": arm, "gradient": kind} for arm in configuration.arms for kind in configuration.gradients]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: as many settings for every condition."""
    kind = levels["gradient"]
    # What the metric takes from the length of a step is given back, so that the grid has its middle at the same step.
    scale = 1.0 if kind == "plain" else WEIGHTS["h0"]
    return [{"rate": rate * scale} for rate in study.logarithmic_grid(*RATES, SETTINGS)]


SELECTION = study.Selection(
    conditions=conditions, grid=grid, kind="curves", column="validation_accuracy", diverged=0.0, seeds=lambda _: 4
)


def direct_gradients(signals: nd.conditioning.Signals, kind: Gradient) -> None:
    """Change the gradient of every layer by the metric, which acts on its left side."""
    for layer in signals:
        if kind != "plain":
            layer.gradient = nd.conditioning.channel_directed(layer.gradient, weight=WEIGHTS[kind], metric=kind)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    c, level, seed, measured = configuration, condition.factors, condition.seed, condition.stage == "measure"
    images = data.with_common_modes(data.digits(seed), c.strength, seed)
    assert images.image_shape is not None
    image = (1, *images.image_shape)
    equipped = equip(
        level["arm"],
        lambda normalisation: nn.Sequential(
            nn.Unflatten(1, image),
            convolutional(image, c.channels, c.hidden, images.classes, normalisation, seed=seed),
        ),
        damping=DAMPING, interneurons=8, row_fraction=0.5,
    )  # fmt: skip
    model = equipped.model
    conditioned = partial(change_gradients, equipped.conditioned, nd.conditioning.Signals(model), level["gradient"])
    learn(
        equipped._replace(conditioned=conditioned), nd.credit.get("backprop", model),
        torch.optim.SGD(model.parameters(), lr=level["rate"]), images, recorder, measured=measured, seed=seed,
        batch_size=c.batch_size, epochs=c.epochs if measured else c.selection_epochs,
    )  # fmt: skip


def change_gradients(before: Callable[[], None] | None, signals: nd.conditioning.Signals, gradient: Gradient) -> None:
    """Change the gradients by the arm, if it does so, and then by the metric."""
    if before is not None:
        before()
    direct_gradients(signals, gradient)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the table, the figure and the finding in words."""
    print(analysis.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="channel_directed",
    question="Do channel-directed gradients help, and do they add to decorrelated inputs?",
    configuration=Configuration,
    full={"channels": (32, 32, 64, 64), "hidden": 256, "epochs": 20, "selection_epochs": 5},
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
