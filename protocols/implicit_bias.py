"""Is decorrelation what makes gradient descent on leaky ReLU networks find weights of low rank after one step?

Question. Gradient flow on a two-layer leaky ReLU network has a limit of rank two and a linear boundary where the
samples are nearly orthogonal, min |x_i|^2 >= C n max |<x_i, x_j>|; gradient descent from small weights drops to a small
stable rank in one step. Real inputs are far from orthogonal. But n samples that are centred and whitened by their own
covariance, n - 1 <= d, have |x_i|^2 = n - 1 and <x_i, x_j> = -1 whatever they were before. Does the theorem then hold
for them, and what is it worth?

Data. `isotropic`: Gaussian inputs with random labels, as many of either kind. `correlated`: the same with correlation
.8 between all features. `images`: Fashion-MNIST at 14 x 14 pixels, labelled by whether the number of the class is
even; other images are for the test.

Conditions. Inputs x arm x damping x size of the initial weights. Arms: nothing; centring; batch normalisation; FOOF on
centred inputs, the control on the gradient side; the rule whitening, which has learnt from the samples before. What the
weights receive is scaled to a mean square of one in all arms. Nothing is
selected. Seeds set samples, labels and weights.

Measured. Stable rank |W|_F^2 / |W|_2^2 of the weights, and of what they are to the raw inputs, W D; accuracy on the
samples, and margin min_i y_i f(x_i) / (|W|_F |x|), without which a low rank means nothing: a common mode has it for the
wrong reason. Share of other inputs on whose label the network agrees with its linear part; accuracy on other images.

Sources. Frei, Vardi, Bartlett, Srebro, Hu (2023), Implicit bias in leaky ReLU networks trained on high-dimensional
data, arXiv:2210.07082.

Does not say. 60 samples, and never more than features: with more, no linear map makes them orthogonal. The layer has
learnt from the samples before the weights do; a rule that learns meanwhile would move their inputs. One step size,
relative to the power of the inputs, for all arms; nothing is tuned, and 100 steps are not the limit that the theorem
is about.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import implicit_bias
from neuro_decorr import data, study
from neuro_decorr.data import stream

Inputs = Literal["isotropic", "correlated", "images"]
Arm = Literal["none", "center", "batch_normalisation", "foof", "whitening"]
SLOPE, CORRELATION = 0.1, 0.8
"""Of the activation for negative inputs; between features."""
RECORDED = (0, 1, 3, 10, 30, 100, 300, 1_000)
"""Steps after which the weights are measured."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    inputs: tuple[Inputs, ...] = Field(get_args(Inputs), description="sources of the inputs")
    arms: tuple[Arm, ...] = Field(get_args(Arm), description="arms")
    dampings: tuple[float, ...] = Field(
        (0.0, 0.1, 1.0), description="dampings of whitening; foof has 0.001 instead of 0"
    )
    initial: tuple[float, ...] = Field(
        (1e-3, 1e-1), description="standard deviations of the initial weights, in units of 1 / d^1/2"
    )
    samples: int = Field(60, ge=3, description="training samples")
    features: int = Field(200, ge=2, description="features of Gaussian inputs")
    positive: float = Field(0.5, ge=0, le=1, description="share of positive labels of Gaussian inputs")
    width: int = Field(100, ge=2, description="hidden units")
    step: float = Field(
        4.0,
        gt=0,
        description="learning rate, in units of the number of samples over the mean squared length of the inputs",
    )
    steps: int = Field(100, ge=1, description="steps of gradient descent")


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Everything, with every seed."""
    c = configuration
    settings: list[tuple[Arm, float | None]] = [
        (arm, damping) for arm in c.arms for damping in (c.dampings if arm in ("foof", "whitening") else (None,))
    ]
    return [
        study.Condition("measure", seed, {"inputs": inputs, "arm": arm, "damping": damping, "initial": initial})
        for inputs in c.inputs for arm, damping in settings for initial in c.initial for seed in seeds
    ]  # fmt: skip


@lru_cache(maxsize=8)
def images(seed: int) -> tuple[Tensor, Tensor]:
    """Images of 14 x 14 pixels, shape (images, 196), and labels of -1 and 1."""
    split = data.fashion(seed).train
    small = F.avg_pool2d(split.inputs.view(-1, 1, 28, 28), 2).flatten(1).double()
    return small, 1.0 - 2 * (split.targets % 2).double()


def samples(configuration: Configuration, inputs: Inputs, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and labels to learn, and others of the same kind."""
    c = configuration
    if inputs == "images":
        drawn, labels = images(seed)
    else:
        generator = stream(seed, "inputs")
        drawn = torch.randn(c.samples + 1_000, c.features, generator=generator, dtype=torch.float64)
        labels = 2.0 * torch.randint(0, 2, (len(drawn),), generator=generator).double() - 1
        chosen = torch.randperm(c.samples, generator=generator) < round(c.positive * c.samples)
        labels[: c.samples] = torch.where(chosen, 1.0, -1.0).double()
        if inputs == "correlated":
            spread = torch.full((c.features, c.features), CORRELATION, dtype=torch.float64).fill_diagonal_(1)
            drawn = drawn @ torch.linalg.cholesky(spread).T
    other = slice(c.samples, c.samples + 1_000)
    return drawn[: c.samples], labels[: c.samples], drawn[other], labels[other]


def front(arm: Arm, damping: float | None, inputs: Tensor) -> nn.Module:
    """Decorrelation before the weights: it has learnt from the samples already, and does not go on."""
    features = inputs.shape[1]
    if arm == "none":
        return nn.Identity()
    if arm == "batch_normalisation":
        layer = nn.BatchNorm1d(features, affine=False, momentum=1.0, dtype=inputs.dtype)
        layer(inputs)
        return layer.eval()
    decorrelation = nd.Decorrelation(features, dtype=inputs.dtype)
    rule = nd.rules.get("whitening", rate=1.0, damping=damping) if arm == "whitening" else nd.rules.get("center")
    plasticity = nd.Plasticity(decorrelation, rule, row_fraction=1.0)
    for _ in range(60 if arm == "whitening" else 2):
        decorrelation(inputs)
        plasticity.step()
    return decorrelation.eval()


def orthogonality(inputs: Tensor) -> float:
    """Measure how close samples are to orthogonality: min |x_i|^2 / max |<x_i, x_j>|, infinite for orthogonal ones.

    Args:
        inputs: Samples, shape (samples, features).
    """
    gram = inputs @ inputs.T
    least = float(gram.diagonal().min())
    largest = float((gram - gram.diagonal().diag()).abs().max())
    return least / largest if largest else math.inf


def stable_rank(weights: Tensor) -> float:
    """|W|_F^2 / |W|_2^2: at most the rank."""
    sizes = torch.linalg.svdvals(weights)
    return float((sizes / sizes[0]).square().sum())


def answers(weights: Tensor, signs: Tensor, inputs: Tensor) -> Tensor:
    """f(x) = sum_j a_j phi(<w_j, x>), phi(z) = max(0.1 z, z), of every input."""
    return F.leaky_relu(inputs @ weights.T, SLOPE) @ signs


def gradient(weights: Tensor, signs: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    r"""Gradient of logistic loss, row j: $-\frac1n \sum_i \sigma(-y_i f_i)\, y_i\, a_j\, \phi'(w_j^T x_i)\, x_i$."""
    active = SLOPE + (1 - SLOPE) * (inputs @ weights.T > 0).to(inputs.dtype)
    pulled = torch.sigmoid(-labels * answers(weights, signs, inputs)) * labels
    return -((pulled.unsqueeze(1) * active) * signs).T @ inputs / len(inputs)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network."""
    c, seed = configuration, condition.seed
    kind, arm, damping, initial = condition.factors.values()
    raw, labels, other, other_labels = samples(c, kind, seed)
    layer = front(arm, damping, raw)
    scale = float(layer(raw).square().mean()) ** -0.5
    inputs, others = scale * layer(raw), scale * layer(other)
    features = inputs.shape[1]
    generator = stream(seed, "weights")
    weights = initial / features**0.5 * torch.randn(c.width, features, generator=generator, dtype=torch.float64)
    signs = (2.0 * torch.randint(0, 2, (c.width,), generator=generator).double() - 1) / c.width**0.5
    factor = layer.matrix if arm == "whitening" and isinstance(layer, nd.Decorrelation) else None
    for step in range(c.steps + 1):
        if step in RECORDED or step == c.steps:
            margins = labels * answers(weights, signs, inputs)
            size = float(weights.norm() * inputs.square().sum(dim=1).mean().sqrt())
            there = answers(weights, signs, others)
            linear = others @ (weights.T @ signs)
            recorder.row(
                "courses", step=step, rank=stable_rank(weights),
                raw_rank=stable_rank(weights if factor is None else weights @ factor),
                accuracy=(margins > 0).double().mean(), margin=float(margins.min()) / size,
                linear=(there * linear > 0).double().mean(), other=(there * other_labels > 0).double().mean(),
            )  # fmt: skip
        moved = gradient(weights, signs, inputs, labels)
        if arm == "foof":
            moved = nd.conditioning.foof(moved, inputs, damping=damping or 1e-3)
        weights = weights - c.step / features * len(inputs) * moved
    recorder.row("samples", ratio=orthogonality(inputs), samples=len(inputs))


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure, the table and the finding."""
    print(implicit_bias.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="implicit_bias",
    question="Is decorrelation what makes leaky ReLU networks find weights of low rank after one step?",
    configuration=Configuration,
    stages=(measured_runs,),
    run=run,
    report=report,
)
