"""How fast do the rules with interneurons come to their fixed point, and how near to it do they stay?

Question. Both rules damp the leading directions of their inputs by the same circuit, and rest at the same point. One
finds the directions by subspace iteration, the other by plasticity that is local to each synapse, with signs that are
learnt or fixed. What does locality cost in updates, and in noise?

Sources. Sanger (1989), Optimal unsupervised learning in a single-layer linear feedforward neural network,
doi:10.1016/0893-6080(89)90044-0, for the local form; the comparison is this package's own.

Data. Gaussian samples of three spectra: condition 1e4 with 20 and 64 units, and a power law with 64.

Conditions. Rule (interneurons; local ones, whose signs are learnt or fixed) x spectrum x number of interneurons x rate
x statistics: exact at every update, which shows the speed, or of batches of 26 samples, which show the noise floor.
Seeds set the basis, the initial synapses and the samples. Nothing is selected.

Measured. Relative distance of the outputs' covariance from the damped fixed point, by updates; the first update from
which on it stays below 5 %; its mean over the last half of the updates.

Does not say. Gaussian samples of three spectra, at one damping, with up to 16 interneurons. Speed at decorrelating is
not use for learning. Where the k-th and the next direction have nearly the same variance the number of updates varies
by factors between seeds, and five seeds show no more than that. No other rule is compared.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import neuro_decorr as nd
from analysis import interneuron_convergence
from neuro_decorr import study
from neuro_decorr.rules import suite

Spectrum = Literal["condition 1e4, 20 units", "condition 1e4, 64 units", "power law -1.5, 64 units"]
BATCH, NEAR = 26, 0.05
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "interneuron": ("interneuron", {"preserve_power": False}),
    "interneuron_local": ("interneuron_local", {"preserve_power": False}),
    "interneuron_local, fixed signs": ("interneuron_local", {"preserve_power": False, "signs": "fixed"}),
}
"""As their page was measured: the fixed point is the damped one, without its power given back."""
UPDATES = {"exact": 60, "batches": 100}
"""Numbers of updates, times the reciprocal of the rate."""
RECORDED = {"exact": 500, "batches": 1_000}
"""Updates of which every one is recorded."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    spectra: tuple[Spectrum, ...] = Field(get_args(Spectrum), description="spectra of the inputs")
    interneurons: tuple[int, ...] = Field((8, 16), description="numbers of interneurons")
    rates: tuple[float, ...] = Field((0.1, 0.03), description="plasticity rates")
    updates: float = Field(
        1.0, gt=0, description="number of updates, as a multiple of 60 / rate (exact) or 100 / rate (batches)"
    )


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Everything, with every seed."""
    c = configuration
    return [
        study.Condition("measure", seed, {
            "statistics": statistics, "spectrum": spectrum, "rule": rule, "interneurons": count, "rate": rate,
        })
        for statistics in UPDATES for spectrum in c.spectra for rule in VARIANTS for count in c.interneurons
        for rate in c.rates for seed in seeds
    ]  # fmt: skip


def covariance(spectrum: Spectrum, seed: int = 0) -> Tensor:
    """Of unit mean power, in a random basis."""
    units = int(spectrum.split()[-2])
    if spectrum.startswith("condition"):
        return suite.covariance(1e4, units, seed)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(units, units, generator=generator, dtype=torch.float64)).Q
    values = torch.arange(1, units + 1, dtype=torch.float64) ** -1.5
    made: Tensor = (basis * (values * units / values.sum())) @ basis.T
    return made


def course(
    variant: str, spectrum: Spectrum, interneurons: int, rate: float, updates: int, seed: int, batch: int | None = None
) -> NDArray[np.float64]:
    """Distance from the fixed point after 0, 1, ..., `updates` updates; exact statistics where there is no batch."""
    name, options = VARIANTS[variant]
    # The start must not share its random numbers with the basis.
    rule = nd.rules.get(name, interneurons=interneurons, rate=rate, every=1, seed=1_000 + seed, **options)
    moment = covariance(spectrum, seed)
    exact, fixed, root = suite.rows_with(moment), rule.fixed_point(moment), torch.linalg.cholesky(moment)
    generator = torch.Generator().manual_seed(2_000 + seed)
    state = rule.initial_state(len(moment), dtype=torch.float64)
    distances = []
    for update in range(updates + 1):
        distances.append(float((suite.second_moment(state, exact) - fixed).norm() / fixed.norm()))
        if update < updates:
            seen = exact
            if batch is not None:
                seen = torch.randn(batch, len(moment), generator=generator, dtype=torch.float64) @ root.T
            suite.run(rule, seen, 1, state)
    return np.array(distances)


def updates_until_near(distances: NDArray[np.float64]) -> float:
    """The first update from which on the distance stays below 5 %; not a number where it ends above."""
    above = np.flatnonzero(distances >= NEAR)
    first = int(above[-1]) + 1 if len(above) else 0
    return float(first) if first < len(distances) else math.nan


def floor(distances: NDArray[np.float64]) -> float:
    """Mean distance over the last half of the updates."""
    return float(distances[len(distances) // 2 :].mean())


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run one rule towards its fixed point."""
    statistics, spectrum, rule, count, rate = condition.factors.values()
    updates = math.ceil(configuration.updates * UPDATES[statistics] / rate)
    batch = BATCH if statistics == "batches" else None
    distances = course(rule, spectrum, count, rate, updates, condition.seed, batch)
    for update, distance in enumerate(distances[: RECORDED[statistics] + 1].tolist()):
        recorder.row("courses", update=update, distance=distance)
    recorder.row("ends", updates=updates_until_near(distances), floor=floor(distances))


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure and the table."""
    print(interneuron_convergence.draw(tables, directory, NEAR))


PROTOCOL = study.Protocol(
    name="interneuron_convergence",
    question="How fast do the rules with interneurons come to their fixed point, and how near to it do they stay?",
    configuration=Configuration,
    stages=(measured_runs,),
    run=run,
    report=report,
)
