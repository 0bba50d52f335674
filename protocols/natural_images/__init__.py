"""Which ways of assigning credit does decorrelation help on real images, and beyond which controls?

Question. Real images are correlated by themselves. How far does each way of assigning credit come on them, and what
does it gain when the input of every layer is decorrelated, beyond what centring, batch normalisation, or the same
conditioning of the gradient gives?

Sources. Ahmad (2024), Correlations are ruining your gradient descent, arXiv:2407.10780; Benzing (2022), Gradient
descent on neurons and its link to approximate second-order optimization, arXiv:2201.12250, for `foof`.

Data. 6,000 images of Fashion-MNIST that come with the package; CIFAR-10, CIFAR-100, MNIST or all of Fashion-MNIST from
files. The mean of a pixel is not removed.

Conditions. Credit assignment x arm, on a dense, a convolutional, or a residual network. Arms: nothing; centring; batch
normalisation; `foof`, the conditioning of the gradient by the second moment of the centred inputs, of the same damping
as D; `norm_preserving` as published by Ahmad (2024); interneurons; whitening.

Budget. Every arm gets the same number of selection runs, on a grid of learning rates around a middle of its own; with
more dampings than one, the arms that have one spend them on fewer learning rates x dampings. The choice is made on the
validation split, with a seed that is not measured. Then all arms run with the same paired seeds.

Measured. Accuracy on the validation and the test split after every epoch, with the processor seconds of the training
alone; nothing is chosen by the test split. The table tells where a choice lies at the end of its grid. On request the
geometry of the updates: `--geometry backprop`, or `natural` for small networks.

Does not say. Small networks, few images, few passes: differences between arms, not records. With other widths,
optimisers or data the order may differ; larger images, convolutional and residual networks are options that the
default does not run. The order of `foof` and interneurons depends on the damping, which is one value and was not
tuned. The middles of the grids were found by pilot runs with the selection seed, which no measured run has. Processor
seconds are of a shared machine.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

import neuro_decorr as nd
from analysis import natural_images
from models.convolutional import convolutional
from models.dense import dense
from models.residual import residual
from neuro_decorr import study
from neuro_decorr.data import Dataset
from neuro_decorr.learning import Geometry, accuracy, train
from protocols._arms import condition_gradients
from protocols._images import dataset, evaluated
from protocols.natural_images.configuration import DAMPED, FULL, RATES, SHIFTS, SPAN, Configuration


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Credit x arm."""
    return [{"credit": credit, "arm": arm} for credit in configuration.credits for arm in configuration.arms]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: learning rates, or fewer learning rates x dampings; damping 0 where there is none."""
    dampings = configuration.dampings if levels["arm"] in DAMPED else (0.0,)
    middle = RATES[configuration.optimiser][levels["credit"]] * SHIFTS.get(levels["arm"], 1.0)
    rates = study.logarithmic_grid(middle / SPAN, middle * SPAN, configuration.selection_runs // len(dampings))
    return [{"learning_rate": rate, "damping": damping} for rate in rates for damping in dampings]


SELECTION = study.Selection(conditions=conditions, grid=grid, kind="curves", column="validation_accuracy", diverged=0.0)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    c, level, seed = configuration, condition.factors, condition.seed
    images = evaluated(dataset(c.images, c.data_dir, c.training, seed), c.evaluated)
    model = network(c, images, batch_normalised=level["arm"] == "batch_normalisation", seed=seed)
    plasticity = None
    if (rule := rule_of(c, level["arm"], level["damping"])) is not None:
        model = nd.decorrelate(model)
        plasticity = nd.Plasticity(model, rule, row_fraction=c.row_fraction)
    name, rate = level["credit"], level["learning_rate"]
    options = {"local_forward_gradient": {"groups": c.groups}, "semi_implicit": {"eta": rate}}.get(name, {})
    credit = nd.credit.get(name, model, seed=seed, **options)
    learned = [*model.parameters(), *credit.parameters()]
    if name == "semi_implicit":  # it proposes the new weights, which gradient descent at rate 1 takes
        optimiser: torch.optim.Optimizer = torch.optim.SGD(learned, lr=1.0)
    else:
        optimiser = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[c.optimiser](learned, lr=rate)
    conditioned = None
    if level["arm"] == "foof":
        signals = nd.conditioning.Signals(model, rows=round(c.row_fraction * c.batch_size))
        conditioned = partial(condition_gradients, signals, level["damping"])
    measured = condition.stage == "measure"
    finished = train(
        model, credit, optimiser, images, recorder, plasticity=plasticity, conditioned=conditioned, seed=seed,
        test=measured, layers=measured and c.layers, geometry=Geometry.of(c.geometry) if measured else None,
        batch_size=c.batch_size,
        epochs=c.epochs if measured else c.selection_epochs or c.epochs,
    )  # fmt: skip
    if measured:
        right = accuracy(model, images.test) if finished else None
        recorder.row("tests", test_accuracy=right, chance=1 / images.classes)


def network(configuration: Configuration, images: Dataset, batch_normalised: bool, seed: int) -> nn.Module:
    """Make the network of a condition, which takes rows of pixels."""
    assert images.image_shape is not None
    normalisation: Literal["batch", "none"] = "batch" if batch_normalised else "none"
    if configuration.network == "dense":
        return dense([images.features, *configuration.hidden, images.classes], normalisation=normalisation, seed=seed)
    shape = (1, *images.image_shape)[-3:]
    if configuration.network == "convolutional":
        layers = convolutional(
            shape, configuration.channels, configuration.hidden_convolutional, images.classes,
            normalisation=normalisation, seed=seed,
        )  # fmt: skip
    else:
        layers = residual(
            configuration.residual_channels, configuration.residual_blocks, images.classes, shape[0],
            normalisation=normalisation, seed=seed,
        )  # fmt: skip
    return nn.Sequential(nn.Unflatten(1, shape), *layers)


def rule_of(configuration: Configuration, arm: str, damping: float) -> nd.rules.Rule | None:
    """Make the rule of the lateral weights of an arm, or None where it has none."""
    parameters: dict[str, Any] = {
        "center": {},
        "foof": {},
        "norm_preserving": {"form": "published", "rate": configuration.published_rate},
        "interneuron": {"interneurons": configuration.interneurons, "damping": damping},
        "whitening": {"damping": damping},
    }
    if arm not in parameters:
        return None
    return nd.rules.get("center" if arm == "foof" else arm, **parameters[arm])


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Table, figures and the finding in words."""
    natural_images.draw(tables, directory)


PROTOCOL = study.Protocol(
    name="natural_images",
    question="On real images, which credit assignment does decorrelation help, and beyond which controls?",
    configuration=Configuration,
    full=FULL,
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
