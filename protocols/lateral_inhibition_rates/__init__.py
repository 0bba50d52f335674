"""Do the rate rules learn in Brian2 what they learn in torch, and what if stimuli are held too briefly?

Question. The library's rules step from stimulus to stimulus, with settled activity. In Brian2 the same rules work on
rate units that settle in continuous time. Where does that make a difference?

Sources. The question is this package's own; each rule names its source in `neuro_decorr.rules.table()`.

Data. Gaussian stimuli, drawn anew for every seed.

Network. tau x' = -x + z - M x, with Gaussian stimuli z, each held for some time constants. A few common modes have
more variance than all other directions; the interneurons' damping would just level them.

Conditions. Each rule in torch (float64, settled exactly), in Brian2, and in Brian2 with stimuli held too briefly. The
same stimuli, one an update, and the same initial weights: paired by seed.

Measured. Of the covariance D S D^T, with S that of the stimuli and D = (I + M)^-1 what the weights make of them once
settled: mean squared correlation, and relative distance from the rule's own fixed point. The largest difference of a
weight from its value in torch.

Target. numpy: a run of this size takes 3 to 9 CPU seconds there, and compiling its circuit 18 in C++ and 35 with Cython
(docs/brian_rates.md). For larger populations and longer runs choose `--target cython`.

Does not say. Twenty linear rate units and one drive: no spikes, no delays, no rectification, and stimuli of mean zero.
Two hold times, of which one is long enough and one is not; where between them the limit lies is `settling_limits`.
What remains with settled activity is the noise of single stimuli at these rates, which annealing would lower.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal, get_args

import brian2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor

import neuro_decorr as nd
from analysis import rate_rules
from neuro_decorr import data, study
from protocols.lateral_inhibition_rates.simulators import MARKS, in_brian, in_torch
from protocols.whitening import distance_from_fixed_point

Simulator = Literal["torch", "brian2", "brian2_short"]


class Configuration(study.Configuration):
    """Options of the protocol."""

    rules: tuple[str, ...] = Field(("lateral", "anti_hebbian", "interneuron_local"), description="rules to compare")
    units: int = Field(20, ge=2, description="rate units")
    stimuli: int = Field(900, multiple_of=MARKS, ge=MARKS, description="number of stimuli, with one update for each")
    modes: int = Field(4, ge=1, description="number of common modes of the stimuli, and of interneurons")
    strength: float = Field(6.0, gt=1, description="variance of a mode relative to that of other directions")
    rate: float = Field(3e-3, gt=0, description="plasticity rate of lateral and anti_hebbian")
    interneuron_rate: float = Field(1e-2, gt=0, le=1, description="plasticity rate of the interneurons")
    hold: float = Field(10.0, gt=0, description="duration of a stimulus, in time constants")
    short_hold: float = Field(1.0, gt=0, description="duration that is too short, in time constants")
    step: float = Field(0.25, gt=0, description="time step, in time constants")
    target: Literal["numpy", "cython"] = Field("numpy", description="target of Brian2")


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare every rule in every simulator, with every paired seed."""
    return [
        study.Condition("measure", seed, {"rule": name, "simulator": simulator})
        for seed in seeds
        for name in configuration.rules
        for simulator in get_args(Simulator)
    ]


def parameters(configuration: Configuration, name: str) -> dict[str, Any]:
    """Parameters of a rule, the same in both simulators."""
    if name == "interneuron_local":
        strong, weak = torch.linalg.eigvalsh(covariance(configuration, 0))[[-1, 0]].tolist()
        levelling = strong * weak / (strong - weak)
        return {"rate": configuration.interneuron_rate, "interneurons": configuration.modes, "damping": levelling}
    return {"rate": configuration.rate}


def covariance(configuration: Configuration, seed: int) -> Tensor:
    """Make the covariance of the stimuli, of mean variance 1, with modes in random orthogonal directions."""
    shape, generator = (configuration.units, configuration.modes), data.stream(seed, "modes")
    modes = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64)).Q
    unscaled = torch.eye(configuration.units, dtype=torch.float64) + (configuration.strength - 1) * modes @ modes.T
    scaled: Tensor = unscaled * configuration.units / unscaled.trace()
    return scaled


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run one rule in one simulator."""
    name, simulator = condition.factors["rule"], condition.factors["simulator"]
    rule = nd.brian.get(name, **parameters(configuration, name))
    source = covariance(configuration, condition.seed)
    stimuli = data.gaussian(source, configuration.stimuli, data.stream(condition.seed, "stimuli"))
    started, found = time.perf_counter(), None
    expected = in_torch(rule.library, stimuli)
    if simulator != "torch":
        started = time.perf_counter()
        hold = configuration.hold if simulator == "brian2" else configuration.short_hold
        brian2.prefs.codegen.target = configuration.target
        found = in_brian(rule, stimuli, hold, configuration.step, recorder)
    recorder.time(updates=configuration.stimuli, wall_seconds=time.perf_counter() - started)
    at_rest = distance_from_fixed_point(rule.library, rule.library.fixed_point(source), source)[1]
    for mark, ((weights, _), (own, matrix)) in enumerate(zip(expected, found or expected, strict=True)):
        outputs = matrix @ source @ matrix.T
        if not bool(torch.isfinite(outputs).all()):
            recorder.diverged(mark * configuration.stimuli // MARKS, "the weights are not finite")
            return
        distance, correlated = distance_from_fixed_point(rule.library, outputs, source)
        apart = float((own - weights).abs().max()) if found else np.nan
        recorder.row(
            "courses",
            updates=mark * configuration.stimuli // MARKS,
            distance=distance,
            mean_squared_correlation=correlated,
            at_rest=at_rest,
            weights_apart=apart,
        )


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure, the table and the differences."""
    holds = {"torch": np.inf, "brian2": configuration.hold, "brian2_short": configuration.short_hold}
    print(rate_rules.draw(tables, holds, directory))


PROTOCOL = study.Protocol(
    name="lateral_inhibition_rates",
    question="Do the rate rules learn in Brian2 what they learn in torch, and what if stimuli are held too briefly?",
    configuration=Configuration,
    full={"units": 60, "stimuli": 6_000, "rate": 1e-3, "interneuron_rate": 3e-3},
    stages=(measured_runs,),
    run=run,
    report=report,
)
