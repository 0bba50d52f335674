"""How does a Gaussian process learn by stochastic steps, and what are decorrelated features worth to it?

Question. The posterior mean of a Gaussian process solves N linear equations. Stochastic dual descent solves them by
steps on few points. On random features the same process is a linear layer: does a decorrelation of its inputs speed
the solution up, by how much against the same on the side of the gradient, and with few points a step?

Sources. Lin, Padhy, Antoran et al. (2024), Stochastic gradient descent for Gaussian processes done right,
arXiv:2310.20581.

Data. Those of the notebook of the source: 200 points of a noisy function on two intervals, Matern kernel 3/2.

Conditions. Arms: `dual`; `primal`, the same parameters in the primal; and 400 random Fourier features as the inputs of
a linear layer: as they are (`none`); centred, and the values too (`center`); with the gradient conditioned (`foof`);
behind a D that the rules `whitening` and `interneuron` (16 of them) have learnt before. The penalty stays that on the
weights of the features, so that every D has one and the same solution. `center` is another model, with a constant that
has a flat prior; it is compared with its own exact solution.

Two parts. `measure`: 3,000 steps of 10 points, momentum .9, with the running mean of the source (r = 100 / steps); the
rate of every arm out of as many, in units of its largest curvature, by the error on a seed that is not measured.
`iterations`: all points, heavy ball, step 1 / (largest curvature), for several dampings; nothing is chosen, and the
kernel's primal is left out, since its curvature is singular by rounding.

Measured. Relative error against the exact mean on [-3, 3]: root mean square over the standard deviation of the exact
one. Of the dual also 64 posterior samples: their error against those of exact solves with the same draws of the prior,
and their variance over the exact one. Iterations until the error stays below 1 %; condition number of the curvature.
Seeds draw points, noise, features and batches.

Does not say. One data set on a line, of a size that a direct solve does in a millisecond. Iterations are measured, not
time, and a D of 400 features costs more than the solve. To whiten the points, not their features, would change the
kernel: another model. The rates were chosen by the error against the exact mean, which nobody knows who needs these
methods.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

import neuro_decorr as nd
from analysis import dual_descent
from neuro_decorr import study
from neuro_decorr.data import stream
from protocols.dual_descent.descent import Dual, Objective, Primal, descend, learnt
from protocols.dual_descent.gaussian_process import FourierFeatures, Regression, relative_error

Arm = Literal["dual", "primal", "none", "center", "foof", "whitening", "interneuron"]
DAMPED = ("foof", "whitening", "interneuron")
NEAR = 0.01
RECORDED = 50
"""Steps of which one is recorded, of the stochastic descent."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    arms: tuple[Arm, ...] = Field(
        ("dual", "primal", "none", "center", "foof", "whitening"), description="arms of the stochastic descent"
    )
    full_arms: tuple[Arm, ...] = Field(
        ("dual", "none", "center", "foof", "whitening", "interneuron"),
        description="arms of the descent on all points; none is required",
    )
    points: int = Field(200, ge=20, description="number of points")
    features: int = Field(400, ge=20, description="random features")
    steps: int = Field(3_000, ge=100, description="steps of the stochastic descent")
    batch: int = Field(10, ge=1, description="points per step")
    damping: float = Field(1.0, gt=0, description="damping of the stochastic descent, relative to the mean power")
    dampings: tuple[float, ...] = Field((100.0, 1.0, 0.01, 0.0001), description="dampings of the descent on all points")
    iterations: int = Field(2_000, ge=10, description="largest number of iterations on all points")
    selection_runs: int = Field(
        8,
        ge=2,
        description="number of learning rates of every arm; the first is 2, each further one a third of the one before",
    )
    samples: int = Field(64, ge=2, description="posterior samples")


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Arms."""
    return [{"arm": arm, "damping": configuration.damping if arm in DAMPED else None} for arm in configuration.arms]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Steps in units of the largest curvature; at 2 plain descent is at the edge of stability."""
    return [{"rate": round(2 / 3**part, 6)} for part in range(configuration.selection_runs)]


SELECTION = study.Selection(conditions=conditions, grid=grid, kind="ends", column="error", maximise=False)


def iteration_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare the descent on all points, with every damping."""
    return [
        study.Condition("iterations", seed, {"arm": arm, "damping": damping, "rate": 1.0})
        for seed in seeds
        for arm in configuration.full_arms
        for damping in (configuration.dampings if arm in DAMPED else (None,))
    ]


def objective(arm: Arm, regression: Regression, features: FourierFeatures, damping: float | None) -> Objective:
    """Objective that an arm minimises.

    Args:
        arm: Its name.
        regression: The regression problem.
        features: Random features.
        damping: Damping of foof and of the rules, relative to the mean power.
    """
    if arm == "dual":
        return Dual(regression)
    if arm == "primal":
        return Primal(regression, regression.gram, regression.cross, regression.gram)
    rows, asked = features(regression.points), features(regression.grid)
    identity = torch.eye(rows.shape[1], dtype=torch.float64)
    if arm == "center":
        centred = replace(regression, values=regression.values - regression.values.mean())
        return Primal(centred, rows - rows.mean(0), asked - rows.mean(0), identity)
    if arm == "none":
        return Primal(regression, rows, asked, identity)
    assert damping is not None
    if arm == "foof":
        conditioning = nd.conditioning.foof(identity, rows, damping=damping, preserve_power=False)
        return Primal(regression, rows, asked, identity, (conditioning + conditioning.T) / 2)
    matrix = learnt(rows, arm, damping)
    return Primal(regression, rows @ matrix.T, asked @ matrix.T, matrix @ matrix.T)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Run one arm with one seed."""
    c, seed = configuration, condition.seed
    arm, damping, rate = condition.factors.values()
    regression = Regression.drawn(c.points, seed)
    features = FourierFeatures(c.features, np.random.default_rng([seed, 2]))
    made = objective(arm, regression, features, damping)
    exact = made.mean(made.solution()) if isinstance(made, Primal) and arm != "primal" else regression.mean
    if condition.stage == "iterations":
        _iterate(c, made, exact, recorder)
        return
    measured = condition.stage == "measure"
    targets, prior = made.regression.values[:, None], None
    if measured and arm == "dual":
        noisy, prior = regression.priors(c.samples, c.features, seed)
        targets = torch.cat([targets, targets - noisy], dim=1)
    course = descend(
        made, targets, rate * made.largest_step(c.batch), c.steps, batch=c.batch, average=min(1.0, 100 / c.steps),
        generator=stream(seed, "batches"),
    )  # fmt: skip
    for step, parameters in enumerate(course, start=1):
        recorder.progress(step, c.steps)
        if measured and step % RECORDED == 0:
            recorder.row("courses", step=step, error=relative_error(made.mean(parameters[:, :1])[:, 0], exact))
    found = made.mean(parameters)
    recorder.row("ends", error=relative_error(found[:, 0], exact))
    if prior is not None:
        samples = prior + found[:, 1:]
        solved = prior + regression.cross @ torch.linalg.solve(regression.regularised, targets[:, 1:])
        errors = [relative_error(one, other) for one, other in zip(samples.T, solved.T, strict=True)]
        # Of two means, not the mean of ratios: at the points the variance is small, and features are not the kernel.
        ratio = float(samples.var(dim=1).mean() / regression.variance.mean())
        recorder.row("samples", error=max(errors), variance_ratio=ratio)
        _draw(regression, found[:, 0], samples, recorder)


def _draw(regression: Regression, mean: torch.Tensor, samples: torch.Tensor, recorder: study.Recorder) -> None:
    """Record a posterior, for the figure."""
    columns = {"x": regression.grid, "exact": regression.mean, "deviation": regression.variance.clamp_min(0).sqrt()}
    columns |= {"mean": mean, "sample_1": samples[:, 0], "sample_2": samples[:, 1]}
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        recorder.row("posterior", **dict(zip(columns, values, strict=True)))
    for x, y in zip(regression.points.tolist(), regression.values.tolist(), strict=True):
        recorder.row("points", x=x, y=y)


def _iterate(configuration: Configuration, made: Objective, exact: torch.Tensor, recorder: study.Recorder) -> None:
    """Heavy ball on all points until the error stays small."""
    curvature, steps = made.curvature, configuration.iterations
    spectrum = torch.linalg.eigvalsh(curvature)
    errors: list[float] = []
    for parameters in descend(made, made.regression.values, 1 / float(spectrum[-1]), steps, look_ahead=False):
        errors.append(relative_error(made.mean(parameters), exact))
        if errors[-1] < NEAR / 100:  # it swings less by then
            break
    for step in range(1, len(errors) + 1, max(1, steps // 200)):
        recorder.row("descents", step=step, error=errors[step - 1])
    first = next((step for step in range(len(errors), 0, -1) if errors[step - 1] >= NEAR), 0) + 1
    reached = None if first > len(errors) else first
    recorder.row("speeds", iterations=reached, condition=float(spectrum[-1] / spectrum[0]))


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure and the tables."""
    print(dual_descent.draw(tables, directory, NEAR))


PROTOCOL = study.Protocol(
    name="dual_descent",
    question="How does a Gaussian process learn by stochastic steps, and what are decorrelated features worth to it?",
    configuration=Configuration,
    seeds=5,
    stages=(*SELECTION.stages, iteration_runs),
    run=run,
    report=report,
)
