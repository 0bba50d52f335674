"""Dense networks with decorrelated inputs, and the controls that they are compared with: one arm each."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from models.dense import Normalisation, dense
from neuro_decorr import data, study
from neuro_decorr.data import Dataset, batches, stream
from neuro_decorr.learning import accuracy, train
from protocols._arms import condition_gradients
from protocols._images import dataset

ArmName: TypeAlias = Literal["none", "center", "batch_normalisation", "foof", "interneuron", "whitening"]
"""Nothing; centring; batch normalisation; centring and gradients divided by second moments; a rule at every layer."""
TaskName: TypeAlias = Literal["modes", "digits", "clothes"]
"""Digits with common modes of strength 1; digits as they are; 6,000 images of Fashion-MNIST."""
DAMPED: tuple[ArmName, ...] = ("foof", "interneuron", "whitening")
"""Arms with a damping, relative to the mean power of what a layer receives."""
SETTLING = 40
"""Number of batches that update the lateral weights before a gradient is measured; the other weights stay."""
DAMPINGS: dict[TaskName, float] = {"modes": 0.3, "digits": 3.0, "clothes": 10.0}
"""Damping for a task: the more of the power is in few directions that tell nothing, the stronger."""


def images(task: TaskName, seed: int) -> Dataset:
    """Load the images of a task, split by a seed."""
    if task == "clothes":
        return dataset("embedded", None, None, seed)
    return data.with_common_modes(data.digits(seed), 1.0 if task == "modes" else 0.0, seed)


class Equipped(NamedTuple):
    """Network of an arm, with its plasticity and the change of its gradients.

    Attributes:
        model: The network.
        plasticity: Plasticity of its lateral weights, if any.
        conditioned: What changes the gradients of a step before the optimiser takes them, if anything does.
    """

    model: nn.Module
    plasticity: nd.Plasticity | None
    conditioned: Callable[[], None] | None


def equip(
    arm: ArmName,
    network: Callable[[Normalisation], nn.Module],
    *,
    damping: float,
    interneurons: int,
    row_fraction: float,
    rows: int | None = None,
) -> Equipped:
    """Make the network of an arm.

    Args:
        arm: The arm.
        network: Makes the plain network, with batch normalisation or without.
        damping: Damping of `foof`, of interneurons and of whitening, relative to the mean power.
        interneurons: Number of interneurons per layer, where there are any.
        row_fraction: Fraction of a batch that drives plasticity.
        rows: Samples of a batch that `foof` takes second moments of; None for all.
    """
    model = network("batch" if arm == "batch_normalisation" else "none")
    if arm in ("none", "batch_normalisation"):
        return Equipped(model, None, None)
    options: dict[str, Any] = {
        "interneuron": {"interneurons": interneurons, "damping": damping},
        "whitening": {"damping": damping},
    }
    rule = arm if arm in options else "center"
    model = nd.decorrelate(model)
    plasticity = nd.Plasticity(model, nd.rules.get(rule, **options.get(rule, {})), row_fraction=row_fraction)
    conditioned = None
    if arm == "foof":
        conditioned = partial(condition_gradients, nd.conditioning.Signals(model, rows=rows), damping)
    return Equipped(model, plasticity, conditioned)


def equip_dense(arm: ArmName, sizes: list[int], *, interneurons: int, seed: int, **options: Any) -> Equipped:
    """Make a dense network of rectified units for an arm.

    Args:
        arm: The arm.
        sizes: Units from input to output.
        interneurons: Number of interneurons per layer, where there are any; at most the smallest layer.
        seed: Seed of the weights.
        **options: Further ones of `equip`.
    """
    fewest = min(interneurons, *sizes[:-1])
    return equip(
        arm, lambda normalisation: dense(sizes, nn.ReLU, normalisation, seed=seed), interneurons=fewest, **options
    )


def grid(configuration: Any, _levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: the same learning rates for all conditions, of a configuration that names their ends."""
    low, high = configuration.learning_rates
    rates = study.logarithmic_grid(low, high, configuration.selection_runs)
    return [{"learning_rate": rate} for rate in rates]


def learn(
    arm: Equipped,
    credit: nd.credit.Credit,
    optimiser: torch.optim.Optimizer,
    images: Dataset,
    recorder: study.Recorder,
    *,
    measured: bool,
    **options: Any,
) -> bool:
    """Train the network of an arm; where it is measured, touch the test split once, at the end.

    Args:
        arm: The network, its plasticity and the change of its gradients.
        credit: Credit assignment of its weights.
        optimiser: Optimiser of its weights.
        images: The data.
        recorder: Recorder of the learning curve and the test accuracy.
        measured: Whether this is a measured run.
        **options: Further ones of `train`.

    Returns:
        Whether the test split was touched: in measured runs that did not diverge.
    """
    finished = train(
        arm.model, credit, optimiser, images, recorder,
        plasticity=arm.plasticity, conditioned=arm.conditioned, **options,
    )  # fmt: skip
    if measured:
        right = accuracy(arm.model, images.test) if finished else None
        recorder.row("tests", test_accuracy=right, chance=1 / images.classes)
    return measured and finished


class Batch(NamedTuple):
    """Images and their classes."""

    inputs: Tensor
    targets: Tensor


def gradients(model: nn.Module, credit: nd.credit.Credit, batch: Batch) -> dict[str, Tensor]:
    """Gradients of cross entropy for the weights of every Linear layer that has one, by its name."""
    model.zero_grad()
    credit.zero_grad()
    credit.backward(F.cross_entropy, *batch)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return {name: layer.weight.grad.clone() for name, layer in layers.items() if layer.weight.grad is not None}


def settle(arm: Equipped, images: Dataset, batch_size: int, seed: int) -> Batch:
    """Let the lateral weights of an arm learn on some batches, and return the next one, the same for all arms."""
    epochs = (batches(*images.train, batch_size, stream(seed, f"settling {n}"), last="drop") for n in itertools.count())
    every = itertools.chain.from_iterable(epochs)
    arm.model.train()
    with torch.no_grad():
        for inputs, _ in itertools.islice(every, SETTLING):
            arm.model(inputs)
            if arm.plasticity is not None:
                arm.plasticity.step()
    return Batch(*next(every))
