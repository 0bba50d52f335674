"""How long must a stimulus be held, and how late may inhibition come, for the recurrent form to work?

Question. A Decorrelation computes x = D z at once; a circuit has to settle, and its inhibition comes late. From which
hold time on does a circuit reach what the matrix does, what do its synapses learn before that, and which delay makes
it oscillate?

Sources. The question is this package's own; the limit of the delay is a closed form of linear delay equations.

Network. 20 units that settle under lateral inhibition, x = (I + M)^-1 z once settled, in continuous time.

Data. Gaussian drives of known covariance.

Conditions. Four parts. `settling`: a circuit that whitens its drive, by the condition number of the drive and by how
long each of successive stimuli is held. `learning`: two rules that only see what the circuit had reached by the end of
each stimulus (Gaussian drive of condition 10). `delay`: modes of the lateral weights, simulated with delays 5 % below
and above the exact limit. `late`: circuits that whiten one strong common mode, by the delay of their inhibition. Only
`learning` draws anew for every seed; the others run with the first.

Measured. Distance from the fixed point, relative to the activity; mean absolute correlation of held-out activity; which
oscillations grow.

Does not say. Linear units and one drive; delays are the same for all synapses. The synapses of `lateral` are simulated
as drive times activity; the library's rule is derived for settled activity. Only the part `learning` draws anew for
every seed; the others are one example each, beside their closed form. Nothing is said of neurons that spike.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

import neuro_decorr as nd
from analysis import settling_limits
from neuro_decorr import study
from neuro_decorr.rate import settling

UNITS, ROWS, TEST = 20, 32, 4_000
RATES = {"anti_hebbian": 0.01, "lateral": 0.01}
SIMULATED = (0.95, 1.05)
"""Delays, relative to the limit."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    holds: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0, 5.0, 10.0, 20.0), description="durations of a stimulus during learning, in time constants"
    )
    updates: int = Field(1_000, ge=1, description="number of plasticity updates")
    conditions: tuple[int, ...] = Field((10, 100, 1_000), description="condition numbers of the drive, for settling")
    modes: tuple[float, ...] = Field((1.2, 2.0, 5.0, 15.0, 50.0), description="eigenvalues of the simulated modes")
    powers: tuple[int, ...] = Field((9, 49, 225), description="variances of the common mode; all other variances are 1")


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare all parts; the three without random draws get the first seed only."""
    c = configuration
    once: list[dict[str, Any]] = [
        *({"part": "settling", "level": condition} for condition in c.conditions),
        *({"part": "delay", "level": mode} for mode in c.modes),
        *({"part": "late", "level": power} for power in c.powers),
    ]
    learning = [{"part": "learning", "rule": rule, "level": hold} for rule in RATES for hold in c.holds]
    return [study.Condition("measure", seed, levels) for levels in learning for seed in seeds] + [
        study.Condition("measure", seeds[0], levels) for levels in once
    ]


def covariance(condition: float, seed: int = 0) -> NDArray[np.float64]:
    """Draw a covariance with a log-uniform spectrum of mean 1."""
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(UNITS, UNITS)))[0]
    spectrum = np.logspace(0, np.log10(condition), UNITS)
    made: NDArray[np.float64] = (basis * (spectrum / spectrum.mean())) @ basis.T
    return made


def root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the symmetric square root."""
    values, vectors = np.linalg.eigh(matrix)
    made: NDArray[np.float64] = (vectors * np.sqrt(values)) @ vectors.T
    return made


def stream(condition: float, count: int, seed: int) -> Tensor:
    """Independent Gaussian stimuli, shape (count, UNITS)."""
    generator = np.random.default_rng([seed, 1])
    return torch.from_numpy(generator.normal(size=(count, UNITS)) @ root(covariance(condition, seed)))


def whitening(condition: float) -> nd.LateralWeights:
    """Compute the lateral weights that whiten: I + M = S^{1/2}."""
    return nd.LateralWeights(torch.from_numpy(root(covariance(condition)) - np.eye(UNITS)))


def remaining(activity: Tensor, fixed: Tensor) -> float:
    """Root mean square distance from the fixed point relative to the root mean square activity at it."""
    return float(((activity - fixed).square().mean() / fixed.square().mean()).sqrt())


def learnt(rule: str, hold: float, updates: int, seed: int) -> float:
    """Mean absolute correlation of held-out activity after learning from unfinished settling.

    Raises:
        Diverged: The circuit did.
    """
    drive = stream(10, updates * ROWS + TEST, seed)
    lateral = torch.zeros(UNITS, UNITS, dtype=torch.float64)
    options: dict[str, Any] = {"hold": hold, "successive": True}
    module = nd.Decorrelation(UNITS, center=False, row_fraction=1.0, dtype=torch.float64)
    circuit = nd.Recurrent(module, "continuous", **options)
    plasticity = nd.Plasticity(circuit, nd.rules.get("anti_hebbian", rate=RATES["anti_hebbian"]))
    state = torch.zeros(UNITS, dtype=torch.float64)
    for update in range(updates):
        inputs = drive[update * ROWS : (update + 1) * ROWS]
        if rule == "anti_hebbian":
            activity = circuit(inputs, initial=state)
            plasticity.step()
        else:
            # The synapses of `lateral` themselves: drive times activity, whatever it is, and a scaling.
            activity = nd.settle(inputs, lateral, "continuous", initial=state, **options)
            lateral = lateral + RATES[rule] * inputs.T @ activity / ROWS
            gain = float((inputs.norm(dim=1) / activity.norm(dim=1)).mean())
            lateral = (lateral + torch.eye(UNITS)) / gain - torch.eye(UNITS)
        state = activity[-1]
    weights = circuit.lateral_weights() if rule == "anti_hebbian" else nd.LateralWeights(lateral)
    settled = nd.settle(drive[-TEST:], weights, "continuous", initial=state, **options)
    return nd.metrics.mean_absolute_correlation(settled)


def grows(mode: float, delay: float) -> bool:
    """Return True if the oscillation of a simulated mode grows: later maxima are above earlier ones."""
    step, one = delay / 400, torch.ones(1, dtype=torch.float64)
    _, course = nd.settling_course(one, mode * one[None], duration=24_000 * step, step=step, delay=delay)
    deviation = (course - 1 / (1 + mode)).abs()
    return float(deviation[-6_000:].max()) > float(deviation[6_000:12_000].max())


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run one condition of one part."""
    part, level, seed = condition.factors["part"], condition.factors["level"], condition.seed
    if part == "settling":
        weights, drive = whitening(level), stream(level, 400, 0)
        fixed = nd.settle(drive, weights)
        for hold in np.geomspace(0.25, 40, 25).tolist():
            left = remaining(nd.settle(drive, weights, "continuous", hold=hold, successive=True), fixed)
            recorder.row("settling", hold=hold, distance=left)
    elif part == "learning":
        before = nd.metrics.mean_absolute_correlation(stream(10, TEST, seed))
        # Of independent units the mean absolute correlation is the floor of sampling.
        floor = math.sqrt(2 / (math.pi * TEST))
        correlation = learnt(condition.factors["rule"], level, configuration.updates, seed)
        recorder.row("learning", correlation=correlation, before=before, floor=floor)
    elif part == "delay":
        limit = float(settling.delay_limits(torch.tensor(level, dtype=torch.float64)))
        for factor in SIMULATED:
            recorder.row(
                "delays", relative=factor, delay=factor * limit, limit=limit, grows=grows(level, factor * limit)
            )
    else:
        late(level, recorder)


def late(power: float, recorder: study.Recorder) -> None:
    """Distance from the fixed point after 20 time constants, by the delay of the inhibition."""
    common = np.ones((UNITS, 1)) / math.sqrt(UNITS)
    amplitude = torch.from_numpy((math.sqrt(power) - 1) * common @ common.T)
    weights = nd.LateralWeights(amplitude)
    private = torch.randn(50, UNITS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drive = private + private @ amplitude
    fixed = nd.settle(drive, weights)
    limit = float(settling.largest_delay(weights))
    for delay in (limit * np.geomspace(0.1, 1.5, 40)).tolist():
        step = delay / 20
        duration = round(20 / step) * step
        course = nd.settling_course(drive, weights, duration=duration, step=step, delay=delay)[1]
        recorder.row("late", delay=delay, limit=limit, distance=remaining(course[-1], fixed))


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure and the table."""
    print(settling_limits.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="settling_limits",
    question="How long must a stimulus be held, and how late may inhibition come, for the recurrent form to work?",
    configuration=Configuration,
    full={"updates": 2_000},
    seeds=3,
    stages=(measured_runs,),
    run=run,
    report=report,
)
