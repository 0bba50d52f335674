"""How fast, and how far, does every rule reach its fixed point?

Question. A rule's speed at decorrelating and its use for learning are different questions; this one asks the first.

Sources. The question is this package's own; each rule names its source in `neuro_decorr.rules.table()`.

Data. Gaussian samples of known covariance; 8 x 8 patches of two photographs; a drifting source, whose covariance is
replaced by another twice on the way.

Conditions. Every registered rule x source. The plasticity rate is chosen on a seed that is not measured, from as many
rates for every rule; then all rules run on the same paired samples.

Measured. Relative distance of the outputs' covariance from the rule's own closed-form fixed point (up to the scales
that it leaves free), and the mean squared correlation, which compares rules with each other; by updates and by wall
clock. The covariance is that of the source, exactly: D S D^T.

Does not say. Speed at decorrelating is not use for learning, and fast rules can learn worse. One rate for each rule,
the best of nine on one seed; dampings and other settings are the defaults. Rules with different fixed points are
compared by the squared correlation only, which some of them do not aim at. Wall clock is of a shared machine and of 64
units or fewer.
"""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch
from pydantic import Field
from torch import Tensor

import neuro_decorr as nd
from analysis import whitening_course
from neuro_decorr import data, study
from neuro_decorr.rules import Rule, Sample, dense_matrix, transform

SourceName = Literal["gaussian", "patches", "drifting"]
FEATURES = 64
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # times the rule's default


class Configuration(study.Configuration):
    """Options of the protocol."""

    rules: tuple[str, ...] = Field(tuple(nd.rules.names()), description="rules to compare")
    sources: tuple[SourceName, ...] = Field(get_args(SourceName), description="sources of samples")
    updates: int = Field(600, ge=30, description="number of updates of every run")
    batch_size: int = Field(64, ge=1, description="samples per update")
    condition: float = Field(1e3, ge=1, description="condition number of the generated covariances")


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Declare every rule on every source."""
    return [{"source": source, "rule": name} for source in configuration.sources for name in configuration.rules]


def allowed_rates(name: str) -> list[float]:
    """Return the grid of rates around the default of a rule."""
    default, rates = nd.rules.get(name).rate, []
    for factor in RATES:
        try:
            rates.append(nd.rules.get(name, rate=round(default * factor, 9)).rate)
        except nd.errors.InvalidValue:
            continue  # a forgetting factor, say, ends at 1
    return rates


SELECTION = study.Selection(
    conditions=conditions,
    grid=lambda configuration, levels: [{"rate": rate} for rate in allowed_rates(levels["rule"])],
    kind="courses",
    column="distance",
    maximise=False,
    equal_budgets=False,  # rates that a rule does not allow are left out of its grid
)


@lru_cache(maxsize=4)
def photographs() -> Tensor:
    """Cut 8 x 8 patches at every fourth pixel of the two photographs in scikit-learn, in grey, shape (patches, 64)."""
    images = nd.errors.require("sklearn.datasets", "study").load_sample_images().images
    grey = [torch.tensor(image, dtype=torch.float64).mean(dim=2) / 255 for image in images]
    windows = [image.unfold(0, 8, 4).unfold(1, 8, 4).reshape(-1, FEATURES) for image in grey]
    return torch.cat(windows)


@lru_cache(maxsize=8)
def source(name: SourceName, condition: float, phase: int, seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Covariance in a phase of the run, and samples of it, shape (count, 64)."""
    generator = data.stream(seed, f"samples of phase {phase}")
    if name == "patches":
        patches = photographs() - photographs().mean(dim=0)
        drawn = torch.randint(len(patches), (count,), generator=generator)
        return patches.T @ patches / len(patches), patches[drawn].float()
    covariance = data.covariance_with_condition(FEATURES, condition, seed=10 * seed + phase)
    return covariance, data.gaussian(covariance, count, generator).float()


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run one rule on one source."""
    level, seed = condition.factors, condition.seed
    rule = nd.rules.get(level["rule"], rate=level["rate"])
    size, phases = configuration.batch_size, 3 if level["source"] == "drifting" else 1
    length = -(-configuration.updates // phases)
    state = rule.initial_state(FEATURES)
    seconds, marks = 0.0, {round(configuration.updates * k / 30) for k in range(31)}
    for updates in range(configuration.updates + 1):
        phase = max(updates - 1, 0) // length
        covariance, samples = source(level["source"], configuration.condition, phase, seed, length * size)
        if updates in marks:
            matrix = dense_matrix(state, FEATURES, covariance.float()).double()
            found = matrix @ covariance @ matrix.T
            if not bool(torch.isfinite(found).all()):
                recorder.diverged(updates, "the transform is not finite")
                return
            distance, correlated = distance_from_fixed_point(rule, found, covariance)
            recorder.row("courses", updates=updates, distance=distance, mean_squared_correlation=correlated)
            recorder.time(updates=updates, wall_seconds=seconds)
            recorder.progress(updates, configuration.updates)
        if updates == configuration.updates:
            break
        covariance, samples = source(level["source"], configuration.condition, updates // length, seed, length * size)
        batch = samples[updates % length * size :][:size]
        seconds -= time.perf_counter()
        rule.update_(state, Sample(batch, transform(state, batch), torch.zeros(FEATURES)), rule.rate)
        seconds += time.perf_counter()


def distance_from_fixed_point(rule: Rule, found: Tensor, covariance: Tensor) -> tuple[float, float]:
    """Relative Frobenius distance up to what the rule leaves free, and the mean squared correlation."""
    expected = rule.fixed_point(covariance)
    values, vectors = torch.linalg.eigh(found)
    samples = (vectors * (len(values) * values.clamp_min(0)).sqrt()).T  # whose second moment is exactly the one found
    correlated = nd.metrics.mean_squared_correlation(samples, center=False)
    if rule.fixed_point_up_to == "unit_scales":
        found, expected = nd.metrics.correlation(samples, center=False), torch.eye(len(values), dtype=torch.float64)
    if rule.fixed_point_up_to == "scale":
        found, expected = found / found.trace(), expected / expected.trace()
    return float((found - expected).norm() / expected.norm()), correlated


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure, the table and the order of the rules."""
    print(whitening_course.draw(tables.of("measure"), directory))


PROTOCOL = study.Protocol(
    name="whitening",
    question="How fast, and how far, does every rule reach its fixed point?",
    configuration=Configuration,
    full={"updates": 9_000},
    stages=SELECTION.stages,
    run=run,
    report=report,
)
