"""What are decorrelated inputs worth to semi-implicit back propagation, and how many solver steps do they save?

Question. Semi-implicit back propagation moves every layer to a target by a linear system, so that the second moment of
the inputs is divided out of the update. Does a decorrelation of the inputs add anything to that, and does it make the
systems so well conditioned that one or two steps of conjugate gradients solve them?

Sources. Liu and Zhang (2020), Semi-implicit back propagation, arXiv:2002.03516.

Data. Handwritten digits, as they are and with common modes added to every image; a dense network.

Conditions. Credit x arm x strength of the modes x steps of conjugate gradients. Backpropagation: nothing, centring,
batch normalisation, FOOF (the gradient-side control), interneurons. Semi-implicit: nothing, centring, interneurons,
with few and many steps. Interneurons have one setting everywhere.

Budget. Eight selection runs for every condition, on the validation split and with a seed that is not measured: learning
rates for backpropagation (fewer, x damping, for FOOF); eta x damping for the semi-implicit step, whose learning rate is
one. Then paired seeds; the test split is touched once.

Measured. Test accuracy. Of the trained networks, the linear systems of the hidden layers that one batch poses: the
median condition number over units, and the steps of conjugate gradients (scipy's) to a hundredth of the residual, each
at the same damping, 0.1.

Does not say. Small dense networks on digits, five passes. Eta and damping have grids of 4 x 2, so that the best
damping may lie outside. Hidden layers are linearised at their old weights, where the authors take Fletcher-Reeves
steps on the problem that is not. The condition numbers are of one batch of the trained networks; processor time is not
compared at equal accuracy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import semi_implicit as analysis
from models.dense import dense
from neuro_decorr import data, study
from protocols._controls import equip, learn

BackpropArm = Literal["none", "center", "batch_normalisation", "foof", "interneuron"]
ProposedArm = Literal["none", "center", "interneuron"]
RATES, ETAS, DAMPINGS = (0.02, 5.12), (0.3, 10.0), (0.1, 1.0)
"""Ends of the grids."""
SETTINGS = 8
"""Of every condition."""
FOOF_DAMPINGS = (0.3, 3.0)
"""Relative to the mean power, as that of the interneurons, which is the first of them."""
COMPARED_DAMPING, RESIDUAL = 0.1, 0.01


class Configuration(study.Configuration):
    """Options of the protocol."""

    strengths: tuple[float, ...] = Field((0.0, 1.0), min_length=1, description="strengths of the common modes")
    steps: tuple[int, ...] = Field((1, 2, 5, 20), min_length=1, description="numbers of steps of conjugate gradients")
    backprop_arms: tuple[BackpropArm, ...] = Field(get_args(BackpropArm), description="arms of backpropagation")
    arms: tuple[ProposedArm, ...] = Field(get_args(ProposedArm), description="arms of semi-implicit back propagation")
    hidden: tuple[int, ...] = Field((100, 100), min_length=1, description="units of the hidden layers")
    epochs: int = Field(5, ge=1, description="passes over the training images")
    selection_epochs: int = Field(2, ge=1, description="passes of a selection run")
    batch_size: int = Field(64, ge=2, description="images per step")


def conditions(configuration: Configuration) -> list[study.Levels]:
    """Declare the conditions: all numbers of steps at the strongest modes, the last but one elsewhere."""
    c = configuration
    made: list[study.Levels] = []
    for strength in c.strengths:
        made += [{"strength": strength, "credit": "backprop", "arm": arm, "steps": 0} for arm in c.backprop_arms]
        several = c.steps if strength == max(c.strengths) else c.steps[-2:-1] or c.steps
        made += [
            {"strength": strength, "credit": "semi_implicit", "arm": arm, "steps": steps}
            for steps in several
            for arm in c.arms
        ]
    return made


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets: as many settings for every condition."""
    if levels["credit"] == "semi_implicit":
        dampings: tuple[float, ...] = DAMPINGS
        ends = ETAS
    else:
        dampings, ends = (FOOF_DAMPINGS if levels["arm"] == "foof" else (FOOF_DAMPINGS[0],)), RATES
    rates = study.logarithmic_grid(*ends, SETTINGS // len(dampings))
    return [{"rate": rate, "damping": damping} for rate in rates for damping in dampings]


SELECTION = study.Selection(conditions=conditions, grid=grid, kind="curves", column="validation_accuracy", diverged=0.0)


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    c, level, seed, measured = configuration, condition.factors, condition.seed, condition.stage == "measure"
    images = data.digits(seed)
    if level["strength"]:
        images = data.with_common_modes(images, level["strength"], seed)
    arm, proposed = level["arm"], level["credit"] == "semi_implicit"
    sizes = [images.features, *c.hidden, images.classes]
    equipped = equip(
        arm, lambda normalisation: dense(sizes, normalisation=normalisation, seed=seed), interneurons=16,
        damping=level["damping"] if arm == "foof" else FOOF_DAMPINGS[0], row_fraction=0.5,
    )  # fmt: skip
    model = equipped.model
    options = {"eta": level["rate"], "damping": level["damping"], "steps": level["steps"]} if proposed else {}
    credit = nd.credit.get(level["credit"], model, seed=seed, **options)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0 if proposed else level["rate"])
    tested = learn(
        equipped, credit, optimiser, images, recorder, measured=measured, seed=seed, batch_size=c.batch_size,
        epochs=c.epochs if measured else c.selection_epochs,
    )  # fmt: skip
    if tested and proposed:
        for layer, (inputs, active, aim) in systems(model, *images.train, c.batch_size).items():
            condition_number, steps = solved(inputs, active, aim)
            recorder.row("systems", layer=layer, condition_number=condition_number, solver_steps=steps)


def systems(model: nn.Module, inputs: Tensor, targets: Tensor, samples: int) -> dict[int, tuple[NDArray[Any], ...]]:
    """Linear systems of the first batch for every hidden layer, by its number.

    Returns:
        Inputs with a constant one, shape (samples, features + 1); active units, (samples, units); the gradient at the
        weights and biases, (units, features + 1).
    """
    signals = nd.conditioning.Signals(model, errors=True)
    model.eval()
    F.cross_entropy(model(inputs[:samples]), targets[:samples]).backward()  # type: ignore[no-untyped-call]  # torch types it not
    made: dict[int, tuple[NDArray[Any], ...]] = {}
    for number, layer in enumerate(list(signals)[:-1], start=1):
        held = layer.layer
        rows = torch.cat([layer.inputs, layer.inputs.new_ones(samples, 1)], dim=1).double().numpy()
        values = layer.inputs @ held.weight.detach().T + (0 if held.bias is None else held.bias.detach())
        slopes = torch.where(values > 0, 1.0, 0.01).double().numpy()  # of the leaky rectifier
        made[number] = rows, slopes, layer.errors.double().numpy().T @ rows
    signals.close()
    return made


def solved(inputs: NDArray[Any], slopes: NDArray[Any], aim: NDArray[Any]) -> tuple[float, int]:
    r"""Measure the systems of a layer, $(X^T M_u X / B + \lambda I) w_u = a_u$ for every unit u together.

    Args:
        inputs: X, shape (samples B, features).
        slopes: Derivatives of the units, (samples, units); M_u holds their squares.
        aim: a, (units, features).

    Returns:
        The median condition number over units, and the steps of conjugate gradients to `RESIDUAL`.
    """
    weights = slopes**2 / len(inputs)
    identity = COMPARED_DAMPING * np.eye(inputs.shape[1])
    values = np.array([np.linalg.eigvalsh((inputs.T * w) @ inputs + identity) for w in weights.T])

    def curved(flat: NDArray[Any]) -> NDArray[Any]:
        changes = flat.reshape(aim.shape)
        made: NDArray[Any] = (weights * (inputs @ changes.T)).T @ inputs + COMPARED_DAMPING * changes
        return made.ravel()

    taken = 0

    def count(_: NDArray[Any]) -> None:
        nonlocal taken
        taken += 1

    operator = LinearOperator((aim.size, aim.size), matvec=curved, dtype=np.float64)
    cg(operator, aim.ravel(), rtol=RESIDUAL, atol=0.0, callback=count)
    return float(np.median(values[:, -1] / values[:, 0])), taken


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Tables, the figure, the finding in words."""
    print(analysis.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="semi_implicit",
    question="What are decorrelated inputs worth to semi-implicit back propagation, and how many steps do they save?",
    configuration=Configuration,
    full={"epochs": 20, "selection_epochs": 5},
    seeds=5,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
