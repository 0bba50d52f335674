"""Is decorrelation worth its time when every layer keeps its function meanwhile?

Question. When D moves, the function of the layer behind it moves too, unless its weights follow: W <- W D_old D_new^-1.
How does that change what decorrelation does for learning, at which damping and learning rate, and does a low-rank,
damped, compensated network learn faster than a centred one at equal wall clock?

Sources. Ahmad, Schrader, van Gerven (2023), Constrained parameter inference as a principle for learning,
arXiv:2203.13203, lets the weights follow to first order; Ahmad (2024), Correlations are ruining your gradient descent,
arXiv:2407.10780, has the dense rule.

Data. CIFAR-10 from its binary files (`--full --data-dir DIR`); by default digits with common modes, which only show
that everything works.

Conditions. Credit assignment x arm x damping x {compensated, not} x learning rate. Arms: `none`, the control
`center`, k interneurons; for some credits the dense rule of Ahmad (2024) too.

Measured. Validation and test accuracy after every epoch, with the processor seconds of the training alone. Learning
rate and damping of an arm are chosen on the validation split; the test split tells what came of it. Paired seeds.

Does not say. Digits with strong common modes are one small case; on real images (`--full`) the order of the arms is
another. Times are of a shared machine. The moments of the optimiser stay in the old coordinates. Feedback alignment
sends its error past D, and compensation that begins after D has learnt is not an arm.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import neuro_decorr as nd
from analysis import compensation
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.learning import train
from protocols.compensation.configuration import CIFAR10, Configuration, dataset


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare the whole grid; arms of one seed follow each other, so that the machine is in a similar state."""
    return [
        study.Condition("measure", seed, {"credit": credit, "learning_rate": rate, **arm})
        for rate in configuration.learning_rates
        for credit in configuration.credits
        for seed in seeds
        for arm in arms(configuration, credit)
    ]


def arms(configuration: Configuration, credit: str) -> list[dict[str, str | float | bool]]:
    """Controls, then dampings x compensation, then the dense rule; damping 0 where there is none."""
    damped = [("interneuron", damping, kept) for damping in configuration.dampings for kept in (False, True)]
    full = [("norm_preserving", 0.0, kept) for kept in (False, True) if credit in configuration.dense]
    listed = [("none", 0.0, False), ("center", 0.0, False), *damped, *full]
    return [{"arm": arm, "damping": damping, "compensated": kept} for arm, damping, kept in listed]


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    level, seed = condition.factors, condition.seed
    c = configuration
    images = dataset(c.data_dir, c.training, c.evaluated, c.strength, seed)
    network = dense([images.features, *c.hidden, images.classes], seed=seed)
    plasticity = None
    if level["arm"] != "none":
        network = nd.decorrelate(network)
        parameters = {
            "center": {},
            # What is damped stays damped here: giving its power back would change the function that is to be kept.
            "interneuron": {"interneurons": c.interneurons, "damping": level["damping"], "preserve_power": False},
            "norm_preserving": {"rate": c.dense_rate, "form": "published"},
        }[level["arm"]]
        rule = nd.rules.get(level["arm"], **parameters)
        plasticity = nd.Plasticity(network, rule, row_fraction=c.row_fraction, compensate=level["compensated"])
    optimiser = _optimiser(c, network, level["learning_rate"])
    credit = nd.credit.get(level["credit"], network, seed=seed)
    train(
        network, credit, optimiser, images, recorder, plasticity=plasticity, seed=seed, test=True,
        epochs=c.epochs, batch_size=c.batch_size,
    )  # fmt: skip


def _optimiser(configuration: Configuration, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    if configuration.optimiser == "adam":
        return torch.optim.Adam(network.parameters(), lr=rate)
    return torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Table, figure and finding."""
    print(compensation.draw(tables, directory, configuration.target))


PROTOCOL = study.Protocol(
    name="compensation",
    question="Is decorrelation worth its time when every layer keeps its function meanwhile?",
    configuration=Configuration,
    full=CIFAR10,
    seeds=5,
    stages=(measured_runs,),
    run=run,
    report=report,
)
