"""Do a user's learning rates stay valid when the inputs of every layer are decorrelated?

Question. A damped rule takes power from the inputs of a layer, and so from the layer's gradient. Does it help to give
that power back by one scalar, so that the learning rates that suit the plain network suit the decorrelated one?

Sources. The question is this package's own, asked since rates that were tuned for a network should stay valid when a
rule is added.

Data. Handwritten digits, as they are and with common modes added to every image.

Conditions. Arm x learning rate x strength of the common modes. Arms: nothing; centring; two damped rules at two
dampings, with their power given back and without; a rule that preserves the norm by itself. Nothing is selected: the
whole grid is shown, with paired seeds.

Measured. Validation accuracy after a few passes.

Does not say. Digits of 8 x 8 pixels, a few passes, backpropagation, three seeds and a grid of six rates; dampings are
two. That the rates of the plain network suit the decorrelated one here is no proof for another optimiser or task. The
power of hidden layers is given back by a scalar a layer: single directions still change.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field

import neuro_decorr as nd
from analysis import learning_rates
from models.dense import dense
from neuro_decorr import data, study
from neuro_decorr.learning import train

ARMS: dict[str, tuple[str, dict[str, float | bool]] | None] = {
    "none": None,
    "center": ("center", {}),
    "norm_preserving": ("norm_preserving", {}),
    **{
        f"{rule}, damping {damping:g}, {power}": (rule, {"damping": damping, "preserve_power": power == "given back"})
        for rule in ("whitening", "interneuron")
        for damping in (0.3, 3.0)
        for power in ("given back", "taken")
    },
}


class Configuration(study.Configuration):
    """Options of the protocol."""

    arms: tuple[str, ...] = Field(tuple(ARMS), description="arms")
    learning_rates: tuple[float, ...] = Field((0.003, 0.01, 0.03, 0.1, 0.3, 1.0), description="learning rates")
    strengths: tuple[float, ...] = Field((0.0, 1.0), description="strengths of the common modes")
    hidden: tuple[int, ...] = Field((100, 100), description="units of the hidden layers")
    epochs: int = Field(3, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images per step")


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare every arm at every learning rate and strength, with every paired seed."""
    return [
        study.Condition("measure", seed, {"arm": arm, "learning_rate": rate, "strength": strength})
        for strength in configuration.strengths
        for arm in configuration.arms
        for rate in configuration.learning_rates
        for seed in seeds
    ]


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    level, seed = condition.factors, condition.seed
    images = data.digits(seed)
    if level["strength"]:
        images = data.with_common_modes(images, level["strength"], seed)
    network = dense([images.features, *configuration.hidden, images.classes], seed=seed)
    plasticity = None
    if (chosen := ARMS[level["arm"]]) is not None:
        network = nd.decorrelate(network)
        plasticity = nd.Plasticity(network, nd.rules.get(chosen[0], **chosen[1]), row_fraction=0.5)
    optimiser = torch.optim.SGD(network.parameters(), lr=level["learning_rate"])
    train(
        network, nd.credit.get("backprop", network), optimiser, images, recorder, plasticity=plasticity, seed=seed,
        epochs=configuration.epochs, batch_size=configuration.batch_size,
    )  # fmt: skip


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure, the table and the finding."""
    print(learning_rates.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="learning_rates",
    question="Do learning rates stay valid when the inputs of every layer are decorrelated?",
    configuration=Configuration,
    full={"epochs": 30},
    stages=(measured_runs,),
    run=run,
    report=report,
    seeds=3,
)
