"""Can hidden layers learn by regressions on borrowed states, and what do decorrelated inputs save them?

Question. In the bootstrap algorithm no derivative crosses a layer: each one regresses the hidden state of another
sample, which fits better, on what it receives, by iterative refinement. How well does a network learn that way beside
gradient methods at as many epochs, and how many refinements does it take with and without decorrelated inputs?

Sources. Kouritzin, Styles, Vritsiou (2023), A bootstrap algorithm for fast supervised learning, arXiv:2305.03099.

Data. sin 5x + .3 sin 15x at 400 points in [-1, 1], without noise; 200 more to validate; 500 on a grid to test.

Conditions. Method x arm; 1-20-1 tanh units, all methods from the same weights. `bootstrap`: `none`, `center`,
`batch_normalisation`, `foof` (refinement conditioned on its gradient side) and a D that the rule `whitening` learns
meanwhile, before the output layer. `sgd` and `adam` with the arms that torch has for them, and `lbfgs` with four
evaluations of all points an epoch, as many as there are batches. Each has eight settings to choose from by the error
on the validation points, with a seed that is not measured: the temperature of the bootstrap, the learning rate of the
others.

Measured. R^2 on the grid after every epoch of 15; refinements of the output layer's regression until a step is below
1e-6, in every batch, and the condition number of what is solved. No more than 20,000 are made; how many more would have
been needed is known, see `refine`. Seeds draw points, weights, order and partners.

Does not say. One function on a line, without noise, and one hidden layer: nothing is said of deeper networks, whose
layers would have to borrow from different samples. Refinements are counted by their closed form, and no time is
measured; a layer of 20 units is solved directly at once. Temperatures and rates were chosen on one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import bootstrap_learning
from neuro_decorr import study
from neuro_decorr.data import Split, batches, stream
from neuro_decorr.errors import Diverged
from protocols._arms import condition_gradients
from protocols.bootstrap_learning.bootstrap import Bootstrap, initial_weights
from protocols.bootstrap_learning.refinement import Arm

Method = Literal["bootstrap", "sgd", "adam", "lbfgs"]
ARMS: dict[Method, tuple[str, ...]] = {
    "bootstrap": ("none", "center", "batch_normalisation", "foof", "whitening"),
    "sgd": ("none", "center", "foof", "whitening"),
    "adam": ("none", "whitening"),
    "lbfgs": ("none",),
}
MIDDLE: dict[Method, float] = {"bootstrap": 0.1, "sgd": 0.03, "adam": 0.3, "lbfgs": 0.3}
"""Middle of the grid of temperatures and of learning rates."""
SPAN = 30.0
"""Ratio of the ends of the grid to its middle."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    methods: tuple[Method, ...] = Field(get_args(Method), description="methods; bootstrap is required")
    hidden: int = Field(20, ge=1, description="units of the hidden layer")
    points: int = Field(400, ge=20, description="training points")
    batch: int = Field(100, ge=10, description="points per batch")
    epochs: int = Field(15, ge=1, description="passes over the points")
    ridge: float = Field(1e-4, gt=0, description="ridge of every regression, relative to the mean power of its inputs")
    tolerance: float = Field(1e-6, gt=0, description="size of the step at which the refinement ends")
    most: int = Field(20_000, ge=1, description="largest number of refinements of a regression")
    damping: float = Field(0.1, gt=0, description="damping of foof and whitening with gradient methods")
    selection_runs: int = Field(8, ge=2, description="number of settings that are tried for every method and arm")


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Method x arm."""
    return [{"method": method, "arm": arm} for method in configuration.methods for arm in ARMS[method]]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Temperatures, or learning rates."""
    middle = MIDDLE[levels["method"]]
    return [{"setting": s} for s in study.logarithmic_grid(middle / SPAN, middle * SPAN, configuration.selection_runs)]


SELECTION = study.Selection(conditions=conditions, grid=grid, kind="curves", column="validation_r2", diverged=-1.0)


def points(count: int, seed: int) -> dict[str, Split]:
    """Training, validation and test points; inputs and values standardised as in training.

    Args:
        count: Training points.
        seed: Seed of the points.
    """

    def values(at: Tensor) -> Tensor:
        return torch.sin(5 * at) + 0.3 * torch.sin(15 * at)

    def drawn(number: int, name: str) -> Tensor:
        return 2 * torch.rand(number, 1, generator=stream(seed, name), dtype=torch.float64) - 1

    made = {"training": drawn(count, "training"), "validation": drawn(200, "validation")}
    made["test"] = torch.linspace(-1, 1, 500, dtype=torch.float64)[:, None]
    inputs, outputs = made["training"], values(made["training"])
    return {
        name: Split((at - inputs.mean()) / inputs.std(), (values(at) - outputs.mean()) / outputs.std())
        for name, at in made.items()
    }


def r_squared(predict: Callable[[Tensor], Tensor], split: Split) -> float:
    """Compute R^2: one minus the mean squared error over the variance."""
    with torch.no_grad():
        error = (predict(split.inputs) - split.targets).square().mean()
    return float(1 - error / split.targets.var(correction=0))


def regressor(sizes: list[int], seed: int) -> nn.Sequential:
    """Make the same network with the same initial weights for gradient methods."""
    weights = initial_weights(sizes, stream(seed, "bootstrap"))
    made: list[nn.Module] = []
    for weight in weights:
        layer = nn.Linear(weight.shape[1] - 1, len(weight), dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(weight[:, :-1])
            layer.bias.copy_(weight[:, -1])
        made += [layer, nn.Tanh()]
    return nn.Sequential(*made[:-1])


def descent(
    configuration: Configuration, method: Method, arm: str, rate: float, data: Split, seed: int
) -> tuple[Callable[[Tensor], Tensor], Iterator[None]]:
    """Make a gradient method: the network, and an iterator that runs one epoch at every step."""
    c = configuration
    model: nn.Module = regressor([1, c.hidden, 1], seed)
    plasticity, signals = None, None
    if arm != "none":
        model = nd.decorrelate(model)
        rule = nd.rules.get("whitening", damping=c.damping) if arm == "whitening" else nd.rules.get("center")
        plasticity = nd.Plasticity(model, rule, row_fraction=1.0)
        signals = nd.conditioning.Signals(model) if arm == "foof" else None
    kinds: dict[Method, Callable[..., torch.optim.Optimizer]] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    optimiser = kinds[method](model.parameters(), lr=rate) if method in kinds else None
    lbfgs = torch.optim.LBFGS(model.parameters(), lr=rate, max_iter=4, max_eval=4)
    order = batches(*data, c.batch, stream(seed, "order"))

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = F.mse_loss(model(data.inputs), data.targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch types it not
        return loss

    def epochs() -> Iterator[None]:
        while True:
            if optimiser is None:
                lbfgs.step(closure)  # type: ignore[no-untyped-call]
                yield
                continue
            for inputs, targets in order:
                optimiser.zero_grad()
                F.mse_loss(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
                if signals is not None:
                    condition_gradients(signals, c.damping)
                optimiser.step()
                if plasticity is not None:
                    plasticity.step()
            yield

    return model, epochs()


def bootstrap(
    configuration: Configuration, arm: Arm, temperature: float, data: Split, seed: int, recorder: study.Recorder
) -> tuple[Callable[[Tensor], Tensor], Iterator[None]]:
    """Make the bootstrap algorithm in the same form; it records its refinements."""
    c = configuration
    network = Bootstrap(
        [1, c.hidden, 1], arm, batch=c.batch, temperature=temperature, ridge=c.ridge, tolerance=c.tolerance,
        most=c.most, generator=stream(seed, "bootstrap"),
    )  # fmt: skip
    order = batches(*data, c.batch, stream(seed, "order"))

    def epochs() -> Iterator[None]:
        number = 0
        while True:
            for inputs, targets in order:
                number += 1
                found = network.learn(inputs, targets)
                for layer, one in enumerate(found, start=1):
                    recorder.row(
                        "refinements", batch=number, layer=layer, needed=one.needed, condition=one.condition,
                        solved=one.needed <= c.most,
                    )  # fmt: skip
            yield

    return network.predict, epochs()


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one method from its seed to its end."""
    method, arm, setting = condition.factors.values()
    data = points(configuration.points, condition.seed)
    if method == "bootstrap":
        predict, epochs = bootstrap(configuration, arm, setting, data["training"], condition.seed, recorder)
    else:
        predict, epochs = descent(configuration, method, arm, setting, data["training"], condition.seed)
    for epoch in range(configuration.epochs + 1):
        if epoch > 0:
            next(epochs)
        reached = {f"{name}_r2": r_squared(predict, data[name]) for name in ("validation", "test")}
        if not min(reached.values()) > -1e6:
            raise Diverged(f"R^2 is {reached['validation_r2']:.3g} after {epoch} epochs.")
        recorder.row("curves", epoch=epoch, **reached)
        recorder.progress(epoch, configuration.epochs)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure and the tables."""
    print(bootstrap_learning.draw(tables, directory, configuration.tolerance, configuration.most))


PROTOCOL = study.Protocol(
    name="bootstrap_learning",
    question="Can hidden layers learn by regressions on borrowed states, and what do decorrelated inputs save them?",
    configuration=Configuration,
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
