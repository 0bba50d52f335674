"""Does a decorrelated hidden state help recurrent networks to learn, and under which credit assignment?

Question. In a recurrent network the inputs of the recurrent weights are the network's own past: they are correlated by
the dynamics, and they change as it learns. Does a D inside the recurrence, which learns from the whole trajectory, help
backpropagation through time, feedback alignment and node perturbation?

Sources. The question is this package's own.

Data. `digits`: handwritten digits, read row by row, eight steps of eight pixels. `delayed_xor`: two bits, three steps
apart, each in a step of its own, to be combined after a delay; their channels are mixed with those of six distractors
of different power, so that inputs are correlated.

Conditions. Task x cell (tanh; gated by option) x credit x arm. Arms: nothing; centring; FOOF, the gradient-side
control, on centred inputs; interneurons before the input, the recurrent and the output weights. Batch normalisation has
no one form in a recurrence and is left out. Feedback alignment replaces the transposed weights in every step back
through time. Plasticity takes one step a batch, from rows of all time steps.

Budget. Six learning rates for every condition, chosen on the validation split with a seed that is not measured. Then
paired seeds; the test split is touched once, at the end.

Measured. Test accuracy against `center`, paired by seed; the correlation of what the recurrent weights receive.

Does not say. 48 units, five passes, one setting of the rule, and two small tasks; gated cells are an option that was
not measured. The grid of learning rates has a factor of two to three between neighbours, one seed chooses, and where a
condition learns nothing its chosen rate means nothing. Feedback alignment replaces the transposed weights in every step
back through time, which is not local in time. Batch normalisation is not a control here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import recurrent as analysis
from models.recurrent import Cell, Recurrent, recurrent
from neuro_decorr import data, metrics, study
from neuro_decorr.data import Dataset, Split, stream
from protocols._controls import equip, learn

TaskName = Literal["digits", "delayed_xor"]
CreditName = Literal["backprop", "feedback_alignment", "node_perturbation"]
ArmName = Literal["none", "center", "foof", "interneuron"]
RATES: dict[CreditName, tuple[float, float]] = {
    "backprop": (0.02, 2.0),
    "feedback_alignment": (0.02, 6.3),
    "node_perturbation": (0.001, 0.1),
}
"""Ends of the grid of learning rates."""
DISTRACTORS, SECOND, EXAMPLES, NOISE = 6, 3, 1_024, 0.2
DAMPING = 3.0
"""Damping of interneurons and FOOF, relative to the mean power."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    tasks: tuple[TaskName, ...] = Field(get_args(TaskName), min_length=1, description="tasks")
    cells: tuple[Cell, ...] = Field(("tanh",), min_length=1, description="hidden units: tanh, gru")
    credits: tuple[CreditName, ...] = Field(get_args(CreditName), min_length=1, description="credit assignments")
    arms: tuple[ArmName, ...] = Field(get_args(ArmName), min_length=1, description="arms; center is the reference")
    units: int = Field(48, ge=8, description="hidden units")
    delay: int = Field(3, ge=1, description="steps from the second bit to the answer")
    epochs: int = Field(5, ge=1, description="passes over the training split")
    selection_epochs: int = Field(5, ge=1, description="passes of a selection run")
    selection_runs: int = Field(6, ge=2, description="number of learning rates that are tried for every condition")
    batch_size: int = Field(32, ge=2, description="sequences per step")


def delayed_xor(delay: int, seed: int) -> Dataset:
    """Two bits, as -1 and 1, in channels of their own at steps 0 and 3, among distractors; all channels mixed.

    Args:
        delay: Steps from the second bit to the last step.
        seed: Seed of bits, distractors and mixing.

    Returns:
        Inputs (examples, steps, 8) of mean power one; the class is the exclusive or.
    """
    generator = stream(seed, "delayed xor")
    channels, steps = DISTRACTORS + 2, SECOND + 1 + delay
    mixing = torch.linalg.qr(torch.randn(channels, channels, generator=generator)).Q
    powers = NOISE * torch.logspace(0.5, -0.5, DISTRACTORS)
    splits = []
    for _ in range(3):
        bits = torch.randint(2, (EXAMPLES, 2), generator=generator)
        made = torch.zeros(EXAMPLES, steps, channels)
        made[..., :DISTRACTORS] = powers * torch.randn(EXAMPLES, steps, DISTRACTORS, generator=generator)
        made[:, 0, DISTRACTORS] = 2.0 * bits[:, 0] - 1
        made[:, SECOND, DISTRACTORS + 1] = 2.0 * bits[:, 1] - 1
        mixed = made @ mixing
        splits.append(Split(mixed / mixed.square().mean().sqrt(), bits.sum(1) % 2))
    train_split, validation, test = splits
    return Dataset(train_split, validation, test, classes=2, source="delayed exclusive or")


def sequences(task: TaskName, delay: int, seed: int) -> Dataset:
    """Make the data of a seed: inputs (examples, steps, channels)."""
    if task == "delayed_xor":
        return delayed_xor(delay, seed)
    images = data.digits(seed)
    learnt, chosen, tested = (
        Split(part.inputs.reshape(-1, 8, 8), part.targets) for part in (images.train, images.validation, images.test)
    )
    return Dataset(learnt, chosen, tested, classes=10, source="digits, row by row")


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Task x cell x credit x arm."""
    c = configuration
    return [
        {"task": task, "cell": cell, "credit": credit, "arm": arm}
        for task in c.tasks for cell in c.cells for credit in c.credits for arm in c.arms
    ]  # fmt: skip


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: as many learning rates."""
    rates = study.logarithmic_grid(*RATES[levels["credit"]], configuration.selection_runs)
    return [{"learning_rate": rate} for rate in rates]


SELECTION = study.Selection(conditions=conditions, grid=grid, kind="curves", column="validation_accuracy", diverged=0.0)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    c, level, seed, measured = configuration, condition.factors, condition.seed, condition.stage == "measure"
    examples = sequences(level["task"], c.delay, seed)
    features = examples.train.inputs.shape[-1]
    equipped = equip(
        level["arm"], lambda _: recurrent(features, c.units, examples.classes, level["cell"], seed=seed),
        damping=DAMPING, interneurons=8, row_fraction=0.5,
    )  # fmt: skip
    model = equipped.model
    tested = learn(
        equipped, nd.credit.get(level["credit"], model, seed=seed),
        torch.optim.SGD(model.parameters(), lr=level["learning_rate"]), examples, recorder, measured=measured,
        seed=seed, batch_size=c.batch_size, epochs=c.epochs if measured else c.selection_epochs,
    )  # fmt: skip
    if tested:
        found = metrics.moments(received(model, examples.validation.inputs[:256]), silent="drop")
        ranks = found.participation_ratio()
        recorder.row("states", correlation=found.pairs.mean_absolute, effective_rank=ranks)


@torch.no_grad()
def received(model: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs of the recurrent weights from the second step on, shape (rows, units)."""
    assert isinstance(model, Recurrent)
    states = model.eval().hidden(inputs)[:-1].flatten(0, 1)
    held = getattr(model.recurrent, "decorrelation", None)
    return held(states) if isinstance(held, nd.Decorrelation) else states


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the table, the figure and the finding in words."""
    print(analysis.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="recurrent",
    question="Does a decorrelated hidden state help recurrent networks to learn, and under which credit assignment?",
    configuration=Configuration,
    full={"cells": get_args(Cell), "units": 128, "epochs": 30, "selection_epochs": 10, "selection_runs": 7},
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
