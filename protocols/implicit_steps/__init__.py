"""Do implicit steps, decorrelated inputs, or both make learning robust to the step size?

Question. A gradient step of size alpha is stable up to 2 / lambda_max of the curvature; an implicit one, which takes
the gradient where it arrives, is stable for every alpha. Decorrelation acts on the curvature itself. Which of the two
widens the range of step sizes that one can use, and do they add up? And does decorrelation help a physics-informed
network, for which implicit steps were proposed?

Data. `quadratic`: a linear teacher of 20 inputs with a covariance of condition 1e4, learnt from exact statistics.
`online`: a linear teacher of 20 inputs with correlation .95 and a common mean, learnt a sample at a time. `poisson`: a
tanh network for -u'' = f on [-1, 1] with u = sin(pi x) + 0.1 sin(4 pi x).

Conditions. Linear problems: explicit or implicit step x arm x damping x a grid of step sizes, all of which are shown;
arms: nothing, centring, FOOF (control on the gradient side; its implicit step is in the same metric), the rule
whitening, which learns meanwhile and keeps the function of the layer (`compensate`). All inputs have one variance, so
that batch normalisation would be centring. Poisson: Adam, or implicit steps by L-BFGS with as many evaluations of the
gradient; arms: nothing, centring, FOOF, whitening with and without compensation. As many rates for each, chosen
by the error on other seeds. Running statistics only: those of a batch would couple the points, and spoil u''.

Measured. Steps until the error is 1e-6 (quadratic) or 1e-4 (online) of the first; decades of step sizes, between .001
and 100, that need at most twice the fewest steps of the arm. On exact statistics an implicit step nears Newton's as it
grows and has no best size, so there both are compared with the fewest explicit steps. Relative L2 error of u.

Sources. Li, Chen, Huang (2023), Implicit stochastic gradient descent for training physics-informed neural networks,
arXiv:2303.01767.

Does not say. Targets have no noise, so that no implicit step is too large; with noise the largest sizes keep an error
of its size. Before a linear layer whitening and FOOF differ only in how they follow the statistics. The networks for
Poisson's equation are small and trained briefly, and the result depends on when the rates are chosen. Evaluations of
the gradient are counted, not time.
"""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import Field

from analysis import implicit_steps
from neuro_decorr import study
from protocols.implicit_steps import poisson, regression

LINEAR: dict[str, float] = {"quadratic": 1e-6, "online": 1e-4}
"""Error, relative to the first, at which the teacher counts as learnt."""
FINEST = 8
"""Step sizes a decade."""
SOLVED: tuple[tuple[poisson.Solver, poisson.Arm], ...] = (
    ("adam", "none"),
    ("adam", "center"),
    ("adam", "foof"),
    ("adam", "whitening"),
    ("adam", "whitening_uncompensated"),
    ("implicit", "none"),
    ("implicit", "whitening"),
)
RATES = {"adam": (1e-3, 3e-3, 1e-2, 3e-2), "implicit": (1.0, 10.0, 100.0, 1e3)}


class Configuration(study.Configuration):
    """Options of the protocol."""

    features: int = Field(20, ge=2, description="inputs of the linear teachers")
    condition: float = Field(1e4, ge=1, description="condition number of the inputs of the problem 'quadratic'")
    correlation: float = Field(0.95, ge=0, lt=1, description="correlation between the inputs of the problem 'online'")
    mean: float = Field(0.5, description="mean of the inputs of the problem 'online', whose variance is 1")
    samples: int = Field(4_000, ge=5, description="number of samples of the problem 'online'")
    sizes: tuple[float, float] = Field((1e-3, 1e2), description="smallest and largest step size")
    dampings: tuple[float, ...] = Field(
        (0.01, 0.1), description="dampings of foof and whitening for the linear teachers"
    )
    hidden: tuple[int, ...] = Field((32, 32), min_length=1, description="hidden units of the network for Poisson")
    frequency: int = Field(4, ge=1, description="K of the solution sin(pi x) + 0.1 sin(K pi x)")
    points: int = Field(64, ge=2, description="points per step")
    evaluations: int = Field(500, ge=10, description="evaluations of the gradient in total")
    selection_evaluations: int = Field(500, ge=10, description="evaluations of the gradient in a selection run")
    inner: int = Field(10, ge=2, description="evaluations of one implicit step")
    damping: float = Field(0.1, gt=0, description="damping of foof and whitening in the network for Poisson")


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Solvers and arms of the network."""
    made: list[study.Levels] = [
        {"problem": "poisson", "solver": solver, "arm": arm, "damping": None} for solver, arm in SOLVED
    ]
    return made


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Return equally many rates for each method."""
    return [{"rate": rate} for rate in RATES[levels["solver"]]]


SELECTION = study.Selection(
    conditions=conditions, grid=grid, kind="solutions", column="error", maximise=False, diverged=math.inf
)


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare the network at its best rates, and the linear teachers at all step sizes."""
    settings: list[tuple[str, float | None]] = [("none", None), ("center", None)]
    settings += [(arm, damping) for arm in ("foof", "whitening") for damping in configuration.dampings]
    linear = [
        study.Condition(
            "measure", seed, {"problem": problem, "solver": None, "arm": arm, "damping": damping, "rate": None}
        )
        for problem in LINEAR for arm, damping in settings for seed in seeds
    ]  # fmt: skip
    return linear + SELECTION.measured_runs(configuration, seeds, tables)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network, or one arm of a linear teacher with every step size."""
    c, seed = configuration, condition.seed
    problem, solver, arm, damping, rate = condition.factors.values()
    if problem == "poisson":
        poisson.solve(
            solver, arm, rate, recorder, hidden=c.hidden, frequency=c.frequency, points=c.points, inner=c.inner,
            evaluations=c.evaluations if condition.stage == "measure" else c.selection_evaluations, damping=c.damping,
            seed=seed,
        )  # fmt: skip
        return
    decades = math.log10(c.sizes[1] / c.sizes[0])
    sizes = study.logarithmic_grid(*c.sizes, round(FINEST * decades) + 1)
    if problem == "quadratic":
        steps = regression.quadratic(
            arm, sizes, features=c.features, condition=c.condition, damping=damping, target=LINEAR[problem], seed=seed
        )
    else:
        errors = regression.online(
            arm, sizes, features=c.features, correlation=c.correlation, mean=c.mean, samples=c.samples, damping=damping,
            seed=seed,
        )  # fmt: skip
        steps = regression.steps_until(errors, LINEAR[problem])
    for step, found in zip(regression.STEPS, steps, strict=True):
        for size, number in zip(sizes, found.tolist(), strict=True):
            recorder.row("steps", step=step, size=size, steps=number if math.isfinite(number) else None)
        compared = steps[0] if problem == "quadratic" else found
        width, smallest = regression.usable(sizes, found, float(compared.min()))
        fewest = float(found.min()) if width else None
        recorder.row("ranges", step=step, decades=width, smallest=smallest, fewest=fewest)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure, the tables and the finding."""
    print(implicit_steps.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="implicit_steps",
    question="Do implicit steps, decorrelated inputs, or both make learning robust to the step size?",
    configuration=Configuration,
    full={"hidden": (64, 64, 64), "points": 128, "evaluations": 3_000, "selection_evaluations": 3_000},
    stages=(SELECTION.selection_runs, measured_runs),
    run=run,
    report=report,
)
