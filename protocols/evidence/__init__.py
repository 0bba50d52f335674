"""Can damping and weight decay be chosen by the marginal likelihood of the training set, and how tight are its bounds?

Question. Laplace's approximation of the marginal likelihood chooses hyperparameters without validation data. Exact, it
needs the determinant of a matrix of all samples and outputs, or of all parameters; cheap bounds leave out correlations
between samples or between parameters. Correlated inputs make these large. Do decorrelated inputs make the bounds tight?

Sources. Immer, van der Ouderaa, van der Wilk et al. (2023), Stochastic marginal likelihood gradients using neural
tangent kernels, arXiv:2306.03968. That decorrelation acts on the bounds is this protocol's own question.

Data. 100 images of handwritten digits with common modes; a network 64-16-10.

Conditions. Two parts of one grid, arm x
damping x prior precision delta. Bounds: `none`, `center`, `batch_normalisation`, `foof` (the gradient side),
`whitening` of the inputs of both layers, which gives the power back that damping takes, and `damped`, which does not;
all at one damping and delta. Choice: `center` and `whitening`, over dampings and deltas. Each is trained to the
maximum of its own posterior, mean cross-entropy + delta |theta|^2 / 2N, by Adam on all images; the compared arms once
more with a smaller delta, as where weight decay is fixed and the likelihood looked at afterwards. D and means stand
still in the second half and afterwards. Nothing is selected before.

Measured. The log marginal likelihood, an image; by how much the log determinant of every bound is above the exact one
(its slack), and the effective dimension by it, its derivative by log delta. Accuracy on the validation and the test
split. Then damping and delta are chosen, seed by seed, by the marginal likelihood, exact or bounded, and by the
validation split; rank correlations over the settings. Seeds draw split, modes, weights and batches.

Does not say. One small network and 100 images with strong common modes; where correlations are weak there is less to
gain. Twelve settings, and the best may lie at an end of them. The networks end near the maximum of their posterior,
not at it. Kronecker factors, the most used cheap structure, are an approximation and no bound, and are not compared.
That the parameters of D have no prior, and so no price, favours it in principle.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import evidence
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.data import Split, stream
from neuro_decorr.learning import accuracy
from protocols._controls import Equipped, equip_dense, images
from protocols.evidence import marginal_likelihood as bounds

Arm = Literal["none", "center", "batch_normalisation", "foof", "whitening", "damped"]
UNDAMPED = ("none", "center", "batch_normalisation")
CONTROL: Arm = "center"


class Configuration(study.Configuration):
    """Options of the protocol."""

    arms: tuple[Arm, ...] = Field(get_args(Arm), description="arms whose bounds are compared; center is required")
    damping: float = Field(0.3, gt=0, description="damping of the compared arms, relative to the mean power")
    precision: float = Field(1.0, gt=0, description="prior precision delta of the compared arms")
    trained: float = Field(
        0.2, gt=0, description="prior precision delta during the training of the networks that are measured afterwards"
    )
    dampings: tuple[float, ...] = Field((0.03, 0.3, 3.0), description="dampings of whitening to choose from")
    precisions: tuple[float, ...] = Field((0.1, 1.0, 10.0), description="prior precisions delta to choose from")
    images: int = Field(100, ge=10, description="number of training images")
    hidden: int = Field(16, ge=2, description="hidden units")
    steps: int = Field(200, ge=2, description="number of training steps")
    learning_rate: float = Field(0.02, gt=0, description="learning rate of Adam")
    batches: tuple[int, ...] = Field((5, 10, 25, 50), description="batch sizes of the bounds")


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Everything, with every seed."""
    c = configuration
    Run = tuple[Arm, float | None, float, float]
    compared: list[Run] = [
        (arm, None if arm in UNDAMPED else c.damping, c.precision, trained)
        for trained in (c.precision, c.trained)
        for arm in c.arms
    ]
    choice: list[Run] = [("whitening", damping, delta, delta) for damping in c.dampings for delta in c.precisions]
    choice += [(CONTROL, None, delta, delta) for delta in c.precisions]
    return [
        study.Condition("measure", seed, {"arm": arm, "damping": damping, "delta": delta, "trained": trained})
        for seed in seeds
        for arm, damping, delta, trained in dict.fromkeys(compared + choice)
    ]


def network(arm: Arm, sizes: list[int], damping: float | None, rows: int, seed: int) -> Equipped:
    """Make the network of an arm; all rows of a batch drive its statistics."""
    if arm == "damped":
        model = nd.decorrelate(dense(sizes, nn.ReLU, seed=seed))
        assert damping is not None
        rule = nd.rules.get("whitening", damping=damping, preserve_power=False)
        return Equipped(model, nd.Plasticity(model, rule, row_fraction=1.0), None)
    strength = 1.0 if damping is None else damping  # of an arm that has none
    return equip_dense(arm, sizes, damping=strength, interneurons=1, row_fraction=1.0, rows=rows, seed=seed)


def fit(configuration: Configuration, arm: Equipped, training: Split, delta: float) -> None:
    """Train the network of an arm to the maximum of its posterior; its lateral weights in the first half alone.

    Args:
        configuration: Configuration of the protocol.
        arm: The network.
        training: All images are a batch.
        delta: Precision of the prior.
    """
    parameters = list(arm.model.parameters())
    optimiser = torch.optim.Adam(parameters, lr=configuration.learning_rate)
    arm.model.train()
    for step in range(configuration.steps):
        if 2 * step >= configuration.steps:
            arm.model.eval()  # from here on nothing depends on the batch, and nothing is remembered
        optimiser.zero_grad()
        power = torch.stack([parameter.square().sum() for parameter in parameters]).sum()
        loss = (
            F.cross_entropy(arm.model(training.inputs), training.targets) + delta / (2 * len(training.inputs)) * power
        )
        loss.backward()  # type: ignore[no-untyped-call]  # torch types it not
        if arm.conditioned is not None:
            arm.conditioned()
        optimiser.step()
        if arm.plasticity is not None and arm.model.training:
            arm.plasticity.step()


def log_determinants(
    factor: Tensor, outputs: int, sizes: list[int], batches: tuple[int, ...], generator: torch.Generator
) -> dict[str, Callable[..., Tensor]]:
    """Return the log determinant as functions of the keyword delta: exact, and by every bound.

    Args:
        factor: A.
        outputs: Outputs a sample.
        sizes: Parameters of every tensor.
        batches: Sizes of batches; the last of a partition may be smaller.
        generator: Draws the partitions, each finer one from the same order.
    """
    order = torch.randperm(len(factor) // outputs, generator=generator)
    made: dict[str, Callable[..., Tensor]] = {"exact": partial(bounds.log_determinant, factor)}
    for size in batches:
        made[f"batches of {size}"] = partial(bounds.of_batches, factor, outputs, batches=torch.split(order, size))
    made["outputs"] = partial(bounds.of_outputs, factor, outputs)
    made["tensors"] = partial(bounds.of_tensors, factor, sizes)
    made["diagonal"] = partial(bounds.of_diagonal, factor)
    return made


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train and measure one arm."""
    c, seed = configuration, condition.seed
    name, damping, delta, trained = condition.factors.values()
    data = images("modes", seed)
    training = Split(data.train.inputs[: c.images], data.train.targets[: c.images])
    sizes = [data.features, c.hidden, data.classes]
    arm = network(name, sizes, damping, c.images, seed)
    fit(c, arm, training, trained)
    with torch.no_grad():
        likelihood = -float(F.cross_entropy(arm.model(training.inputs), training.targets, reduction="sum"))
        power = sum(float(parameter.square().sum()) for parameter in arm.model.parameters())
    # The library's matrix is the mean over samples, the evidence has the sum.
    curvature = nd.metrics.gauss_newton(arm.model, training.inputs)
    factor = curvature.factor * c.images**0.5
    parts = [shape.numel() for shape in curvature.shapes]
    logarithm = torch.tensor(delta, dtype=torch.float64).log().requires_grad_()
    exact = 0.0
    for bound, of in log_determinants(factor, data.classes, parts, c.batches, stream(seed, "partition")).items():
        found = of(delta=logarithm.exp())
        (slope,) = torch.autograd.grad(found, logarithm)
        value = float(found.detach())
        exact = value if bound == "exact" else exact
        recorder.row(
            "bounds", bound=bound, slack=value - exact, effective_dimension=-float(slope),
            log_evidence=bounds.log_evidence(likelihood, power, value, delta) / c.images,
        )  # fmt: skip
    recorder.row(
        "ends", log_likelihood=likelihood / c.images, log_determinant=exact, squared_norm=power,
        validation_accuracy=accuracy(arm.model, data.validation), test_accuracy=accuracy(arm.model, data.test),
    )  # fmt: skip


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure and the tables."""
    print(evidence.draw(tables, directory, configuration.damping, configuration.precision, configuration.trained))


PROTOCOL = study.Protocol(
    name="evidence",
    question="Can damping and weight decay be chosen by the marginal likelihood, and does D make its bounds tight?",
    configuration=Configuration,
    seeds=5,
    stages=(measured_runs,),
    run=run,
    report=report,
)
