"""Do fast gains over slow synapses re-whiten in a new context faster than either of them alone?

Question. Whitening by lateral synapses is as slow as the synapses are. Gains of interneurons can follow the statistics
of the moment while their synapses learn what all contexts share. How much faster is a new context whitened that way,
and what if contexts share nothing?

Data. Gaussian samples of N units from a sequence of contexts, each held for the same number of updates. In context c
they have the covariance (I + V diag(lambda_c) V^T)^2, lambda_c uniform in [0, 10] or, with probability one half, zero.
`shared`: all contexts have one orthogonal V. `own`: each has another one, so that there is nothing to learn slowly.

Conditions. Contexts (shared, own) x circuit: N interneurons whose gains adapt over slow synapses; the same with fixed
random synapses; N (N + 1) / 2 interneurons with fixed synapses, which suffice for any covariance; lateral synapses
without gains (`anti_hebbian`), on one time scale; and gains over the synapses V, which a circuit cannot know. Rates are
chosen on other seeds, out of as many settings for every circuit, by the mean error over the last contexts.

Measured. Relative distance of the outputs' exact covariance from the identity, |C - I| / N^1/2, by updates since the
context began; in the first and in the last contexts, none of which comes again.

Sources. Duong, Simoncelli, Chklovskii, Lipshutz (2023), Adaptive whitening with fast gain modulation and slow synaptic
plasticity, arXiv:2308.13633.

Does not say. Gaussian samples of ten units, contexts of one length, and a model of contexts that the slow synapses can
learn by construction. Whether natural stimuli share axes in that way is not asked. Circuits are compared at the rates
that were best over the last contexts, not at equal metabolic or wiring cost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import neuro_decorr as nd
from analysis import context_adaptation
from neuro_decorr import study
from neuro_decorr.errors import Diverged
from neuro_decorr.rules import Sample, transform

Circuit = Literal["slow_synapses", "fixed_synapses", "all_pairs", "synapses_alone", "known_synapses"]
World = Literal["shared", "own"]
LARGEST = 10.0
"""Of lambda."""
COMPARED = 20
"""First and last contexts that are recorded."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    circuits: tuple[Circuit, ...] = Field(get_args(Circuit), description="circuits")
    worlds: tuple[World, ...] = Field(
        get_args(World), description="worlds: contexts share their axes, or have their own"
    )
    units: int = Field(10, ge=2, description="units")
    contexts: int = Field(150, ge=2, description="number of successive contexts")
    hold: int = Field(60, ge=2, description="updates per context")
    batch: int = Field(16, ge=1, description="samples per update")
    rates: tuple[float, ...] = Field((0.1, 0.3, 1.0), description="plasticity rates of the gains")
    synapse_rates: tuple[float, ...] = Field(
        (0.0003, 0.001, 0.003, 0.01, 0.03), description="plasticity rates of the slow synapses"
    )
    selection_seeds: int = Field(1, ge=1, description="number of seeds on which the rates are chosen")


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Worlds x circuits."""
    return [{"world": world, "circuit": one} for world in configuration.worlds for one in configuration.circuits]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Return equally many settings for every circuit: pairs of both rates, or rates of one kind over a wider range."""
    both = [(rate, slow) for rate in configuration.rates for slow in configuration.synapse_rates]
    if levels["circuit"] == "slow_synapses":
        return [{"rate": rate, "synapse_rate": slow} for rate, slow in both]
    lowest, highest = min(configuration.rates) / 3, max(configuration.rates)
    rates = study.logarithmic_grid(lowest, highest, len(both)) if len(both) > 1 else [highest]
    return [{"rate": rate, "synapse_rate": 0.0} for rate in rates]


SELECTION = study.Selection(
    conditions=conditions,
    grid=grid,
    kind="ends",
    column="error",
    maximise=False,
    seeds=lambda configuration: configuration.selection_seeds,
)


def axes(units: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw a random orthogonal V."""
    made: NDArray[np.float64] = np.linalg.qr(generator.normal(size=(units, units)))[0]
    return made


def roots(world: World, units: int, count: int, seed: int) -> tuple[list[Tensor], Tensor]:
    """Square roots of the covariances of all contexts, and the V that the first of them has."""
    generator = np.random.default_rng([seed, 0])
    known = axes(units, generator)
    made = []
    for context in range(count):
        own = known if world == "shared" or context == 0 else axes(units, generator)
        strengths = generator.uniform(0, LARGEST, units) * (generator.random(units) < 0.5)
        made.append(torch.from_numpy(np.eye(units) + (own * strengths) @ own.T))
    return made, torch.from_numpy(known)


def courses(
    configuration: Configuration, world: World, circuit: Circuit, rate: float, synapse_rate: float, seed: int
) -> NDArray[np.float64]:
    """Errors, shape (contexts, hold), each before the update of its number.

    Raises:
        Diverged: The circuit did.
    """
    c = configuration
    if circuit == "synapses_alone":
        rule = nd.rules.get("anti_hebbian", rate=rate)
    else:
        interneurons = None if circuit == "all_pairs" else c.units
        rule = nd.rules.get(
            "gain_modulation", rate=rate, interneurons=interneurons, seed=seed, synapse_rate=synapse_rate
        )
    contexts, known = roots(world, c.units, c.contexts, seed)
    state = rule.initial_state(c.units, dtype=torch.float64)
    if circuit == "known_synapses":
        state["frame"].copy_(known)
    identity, none = torch.eye(c.units, dtype=torch.float64), torch.zeros(c.units, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    errors = np.empty((c.contexts, c.hold))
    for context, root in enumerate(contexts):
        for update in range(c.hold):
            response = state["matrix"] @ root
            errors[context, update] = float((response @ response.T - identity).norm()) / c.units**0.5
            inputs = torch.randn(c.batch, c.units, generator=generator, dtype=torch.float64) @ root
            rule.update_(state, Sample(inputs, transform(state, inputs), none), rate)
        if not errors[context, -1] < 1e6:
            raise Diverged(
                f"{circuit} at rate {rate:g}: the covariance is {errors[context, -1]:.3g} from the identity."
            )
    return errors


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run one circuit through all contexts."""
    world, circuit, rate, synapse_rate = condition.factors.values()
    errors = courses(configuration, world, circuit, rate, synapse_rate, condition.seed)
    compared = min(COMPARED, configuration.contexts // 2)
    if condition.stage == "measure":
        for when, part in (("first", errors[:compared]), ("last", errors[-compared:])):
            for update, error in enumerate(np.median(part, axis=0).tolist()):
                recorder.row("courses", when=when, update=update, error=error)
        for context, error in enumerate(errors.mean(axis=1).tolist()):
            recorder.row("contexts", context=context, error=error)
    recorder.row("ends", error=float(errors[-compared:].mean()), first=float(errors[:compared].mean()))


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure and the table."""
    print(context_adaptation.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="context_adaptation",
    question="Do fast gains over slow synapses re-whiten in a new context faster than either of them alone?",
    configuration=Configuration,
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
