"""How far does whitening without tuning come?

Question. One default for all: does it decorrelate as far whatever the width, the batch size, the condition and the
scale of the inputs?

Sources. The question is this package's own; the bound is the error of a sample covariance of as many samples.

Data. Gaussian samples of known covariance, with so many units, such a condition number and scale.

Conditions. Units x batch size x condition x scale. Each runs `whitening` with damping 0 at its default rate: constant
for long enough to forget where it started, then annealed as 1 / t, for twice the samples that the bound of any estimate
asks for. Nothing is selected. All of 16 to 256 units take about half an hour of one core, each cell of 1024 some
minutes; cheap cells come first.

Measured. Mean squared correlation of the exact covariance D S D^T, at the start and at the end.

Does not say. Gaussian samples that are independent: patches of images and successive time steps count as fewer. One
seed a cell. The schedule is made for the bound, so that it shows what can be had, not what a constant rate leaves.
1024 units and beyond are an option, and single precision sets a limit there. Nothing is learnt behind it.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import torch
from pydantic import Field
from torch import nn

import neuro_decorr as nd
from analysis import whitening_map
from neuro_decorr import study
from neuro_decorr.data import covariance_with_condition, stream

GOAL = 1e-3
MARGIN = 2.0
"""Samples of the annealed part, in multiples of those that the bound of any estimate asks for."""
FORGOTTEN = 30.0
"""Time constants before annealing: a start of 1e13 times the power of the weakest direction is gone."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    features: tuple[int, ...] = Field((16, 64, 256), description="units")
    batches: tuple[int, ...] = Field((1, 16, 256), description="samples per update")
    conditions: tuple[float, ...] = Field((1.0, 1e2, 1e4, 1e6), description="condition numbers of the inputs")
    scales: tuple[float, ...] = Field((1e-3, 1.0, 1e3), description="scales of the inputs")


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare all cells, the cheapest first."""
    c = configuration
    cells = itertools.product(c.features, c.batches, c.conditions, c.scales)
    names = ("features", "batch", "condition", "scale")
    return [
        study.Condition("measure", seed, dict(zip(names, cell, strict=True)))
        for cell in sorted(cells, key=lambda cell: (cell[0] ** 2 / cell[1], -cell[2]))
        for seed in seeds
    ]


def mean_squared_correlation(covariance: torch.Tensor) -> float:
    """Compute the mean squared correlation of two different units from a covariance, shape (features, features)."""
    scale = covariance.diagonal().rsqrt()
    correlation = covariance * scale.unsqueeze(1) * scale
    features = len(covariance)
    return max(0.0, float(correlation.square().sum() - features)) / (features * (features - 1))


def schedule(features: int, batch: int, condition: float, start: float) -> tuple[int, int]:
    """Updates at the constant rate, and updates altogether: the same recipe for every cell."""
    hold = math.ceil(FORGOTTEN * (1 / nd.rules.get("whitening").rate + features / batch))
    if condition == 1:  # nothing to remove: as long as for a condition of 100
        start = mean_squared_correlation(covariance_with_condition(features, 1e2, seed=0))
    return hold, hold + math.ceil(MARGIN / (GOAL * start * batch))


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run one cell."""
    features, batch, conditioned, scale = condition.factors.values()
    covariance = scale**2 * covariance_with_condition(features, conditioned, seed=condition.seed)
    start = mean_squared_correlation(covariance)
    hold, updates = schedule(features, batch, conditioned, start)
    values, vectors = torch.linalg.eigh(covariance)
    root = ((vectors * values.clamp_min(0).sqrt()) @ vectors.T).float()
    samples = stream(condition.seed, "samples")

    rule = nd.rules.get("whitening", damping=0.0)
    model = nn.Sequential(nd.Decorrelation(features, center=False))
    plasticity = nd.Plasticity(model, rule, row_fraction=1.0)
    anneal = torch.optim.lr_scheduler.LambdaLR(plasticity, lambda t: 1 / (1 + rule.rate * max(0, t - hold)))
    with torch.no_grad():
        for update in range(updates):
            model(torch.randn(batch, features, generator=samples) @ root)
            plasticity.step()
            anneal.step()
            recorder.progress(update, updates)
    matrix = model[0].matrix.double()
    end = mean_squared_correlation(matrix @ covariance @ matrix.T)
    recorder.row("cells", start=start, end=end, updates=updates, samples=updates * batch)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the map, its table and the finding."""
    print(whitening_map.draw(tables, directory, GOAL))


PROTOCOL = study.Protocol(
    name="whitening_map",
    question="How far does whitening without tuning come, whatever width, batch size, condition and scale?",
    configuration=Configuration,
    full={"features": (16, 64, 256, 1024)},
    seeds=1,
    stages=(measured_runs,),
    run=run,
    report=report,
)
