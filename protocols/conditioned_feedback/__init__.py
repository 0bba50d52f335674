"""How much of what conditioning gives direct feedback alignment is its geometry, and at what cost?

Question. Safaai, Reddy and Sabatini (2026) divide the updates of direct feedback alignment (DFA) by the second moments
of activity (nDFA), of errors (error nDFA) or of both (K-nDFA), and report large gains after 1,000 steps at one fixed
learning rate. What remains of the gains when every arm has its own learning rate, and what does decorrelating the
inputs of the layers give instead?

Data. Fashion-MNIST: 6,000 images that come with the package, or all of it from files, as published.

Network. 784 - 300 - 300 - 300 - 10, tanh, sigmoid outputs with binary cross-entropy summed over classes, Glorot's
uniform weights, biases zero; feedback weights N(0, 1); gradient descent on batches of 128 drawn with replacement.

Conditions. Published: DFA and the three conditioned updates at the learning rate 0.001, with dampings 0.03 (activity)
and 30 (errors) and the norm of every layer's update kept. Tuned: the same updates with rate and damping chosen; DFA
with nothing, centring, batch normalisation, interneurons or whitening in front of every layer; nDFA with a running
moment.

Budget. Every tuned arm gets the same number of selection runs: those without a damping spend them on learning rates,
the others on fewer learning rates x dampings. The choice is made on the validation split, with a seed that is not
measured. Then all arms run with the same paired seeds.

Measured. Test accuracy after the last step, validation accuracy on the way, and processor seconds of the training
alone; nothing is chosen by the test split.

Sources. Safaai, Reddy and Sabatini (2026), Conditioned direct feedback alignment via activity and error geometry.

Does not say. One network, one data set and 1,000 steps; the publication is about noise and nuisance variables as well,
which are not here. By default the error side (error nDFA, K-nDFA), batch normalisation, whitening and a running moment
are left out, and 6,000 images stand for 60,000. A handful of selection runs is a coarse grid, and a choice at its end
may gain beyond it. A seed draws split, weights, feedback and batches together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import conditioned_feedback
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.data import Dataset, Split, stream
from neuro_decorr.errors import Diverged
from neuro_decorr.learning import accuracy
from protocols._images import dataset
from protocols.conditioned_feedback.configuration import FULL, MEAN_LEFT, MEAN_LEFT_RATES, UNDAMPED, Configuration

CREDIT = "direct_feedback_alignment"
PUBLISHED_RATE = 1e-3
PUBLISHED_STRENGTHS = {"inputs": 0.03, "errors": 30.0}
"""Lambda of the published updates, in the units of the second moment."""
SIDES = {
    "ndfa": ("inputs",),
    "ndfa_running": ("inputs",),
    "error_ndfa": ("errors",),
    "k_ndfa": ("inputs", "errors"),
}
"""Signals whose second moments divide the update of an arm."""


def conditions(configuration: Configuration) -> list[study.Levels]:
    """The arms."""
    return [{"credit": CREDIT, "arm": arm} for arm in (*configuration.published, *configuration.tuned)]


def grid(configuration: Configuration, levels: study.Levels) -> list[study.Levels]:
    """Equal budgets for tuned arms: learning rates, or fewer learning rates x dampings; 0 where none is chosen."""
    if levels["arm"] in configuration.published:
        return [{"learning_rate": PUBLISHED_RATE, "damping": 0.0}]
    dampings = (0.0,) if levels["arm"] in UNDAMPED else configuration.dampings
    factor = MEAN_LEFT_RATES if levels["arm"] in MEAN_LEFT else 1.0
    low, high = (factor * end for end in configuration.learning_rates)
    rates = study.logarithmic_grid(low, high, configuration.selection_runs // len(dampings))
    return [{"learning_rate": rate, "damping": damping} for rate in rates for damping in dampings]


SELECTION = study.Selection(
    conditions=conditions, grid=grid, kind="curves", column="validation_accuracy", diverged=0.0,
    equal_budgets=False,  # those of the tuned arms are; the published ones have nothing to choose
)  # fmt: skip


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network from its seed to its end."""
    c, arm, seed = configuration, condition.factors["arm"], condition.seed
    images = dataset(c.images, c.data_dir, None, seed)
    model, plasticity = network(c, images, arm, condition.factors["damping"], seed)
    credit = feedback_credit(model, seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=condition.factors["learning_rate"])
    conditioned = conditioning(model, arm, condition.factors["damping"], c.decay)

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        optimiser.zero_grad()
        loss = credit.backward(binary_cross_entropy, inputs, targets)
        conditioned()
        optimiser.step()
        if plasticity is not None:
            plasticity.step()
        return loss

    measured = condition.stage == "measure"
    steps = c.steps if measured or arm in c.tuned else 0  # a published arm has nothing to choose
    finished = learn(c, model, images, step, recorder, seed, steps)
    if measured:
        right = accuracy(model, images.test) if finished else None
        recorder.row("tests", test_accuracy=right, chance=1 / images.classes)


def network(
    configuration: Configuration, images: Dataset, arm: str, damping: float, seed: int
) -> tuple[nn.Module, nd.Plasticity | None]:
    """Make the network of an arm, and the plasticity of its lateral weights, if any."""
    normalisation: Literal["batch", "none"] = "batch" if arm == "batch_normalisation" else "none"
    sizes = [images.features, *configuration.hidden, images.classes]
    model: nn.Module = dense(sizes, activation=nn.Tanh, normalisation=normalisation, seed=seed)
    draws = stream(seed, "Glorot")
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=draws)
    parameters: dict[str, dict[str, Any]] = {
        "center": {},
        "interneuron": {"interneurons": configuration.interneurons, "damping": damping},
        "whitening": {"damping": damping},
    }
    if arm not in parameters:
        return model, None
    model = nd.decorrelate(model)
    return model, nd.Plasticity(model, nd.rules.get(arm, **parameters[arm]), row_fraction=configuration.row_fraction)


def feedback_credit(model: nn.Module, seed: int) -> nd.credit.DirectFeedbackAlignment:
    """Direct feedback alignment with feedback weights N(0, 1), as published."""
    credit = nd.credit.DirectFeedbackAlignment(model, seed=seed)
    draws = stream(seed, "feedback")
    for weights in credit.feedback_weights().values():
        weights.normal_(generator=draws)
    return credit


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute the loss of one sigmoid per class: sum over classes, mean over images; error sigmoid(output) - target."""
    wanted = F.one_hot(targets, outputs.shape[1]).to(outputs)
    return F.binary_cross_entropy_with_logits(outputs, wanted, reduction="sum") / len(outputs)


def conditioning(model: nn.Module, arm: str, damping: float, decay: float) -> Callable[[], None]:
    """Conditioning of the gradients of an arm, between the credit and the optimiser."""
    sides = SIDES.get(arm.removeprefix("published_"), ())
    if not sides:
        return lambda: None
    running = arm == "ndfa_running"
    signals = nd.conditioning.Signals(
        model, errors="errors" in sides, decay=decay if running else None, skip=("output",)
    )
    return partial(condition, signals, sides, None if arm.startswith("published_") else damping, running=running)


def condition(
    signals: nd.conditioning.Signals, sides: tuple[str, ...], damping: float | None, *, running: bool = False
) -> None:
    r"""Divide the gradient of every hidden layer by second moments, and keep its norm.

    $$\tilde G = \frac{\|G\|}{\|H\|} H, \qquad H = (E + \lambda_E I)^{-1}\, G\, (S + \lambda_S I)^{-1}$$

    S is the second moment of the inputs, E that of the errors of single images, over the batch; without a side its
    factor is absent. Biases and the output layer keep their gradients.

    Args:
        signals: Signals that reached the hidden layers.
        sides: `inputs`, `errors` or both.
        damping: lambda relative to the mean power of the inputs, and of the errors; None for the published strengths.
        running: Take the running average of the signals in the place of S.
    """
    for layer in signals:
        raw = divided = layer.gradient
        if "inputs" in sides:
            rows = layer.inputs
            second = {"moment": layer.input_moment} if running else {"inputs": rows}
            divided = nd.conditioning.foof(
                divided, **second, damping=damping or _relative("inputs", rows), preserve_power=False
            )
        if "errors" in sides:
            rows = layer.errors * len(layer.errors)  # the loss is a mean over images
            divided = nd.conditioning.foof(
                divided.mT, rows, damping=damping or _relative("errors", rows), preserve_power=False
            ).mT
        layer.gradient = nd.conditioning.match_norm(divided, raw)


def _relative(side: str, rows: Tensor) -> float:
    """Return the published lambda of a side, relative to the mean power of its rows."""
    return PUBLISHED_STRENGTHS[side] / float(rows.square().mean())


def learn(
    configuration: Configuration,
    model: nn.Module,
    images: Dataset,
    step: Callable[[Tensor, Tensor], Tensor],
    recorder: study.Recorder,
    seed: int,
    steps: int,
) -> bool:
    """Train on batches drawn with replacement, and record the course; whether the run came to its end."""
    c, draws, seconds, loss = configuration, stream(seed, "batches"), 0.0, math.nan
    validation = Split(*(part[: c.evaluated] for part in images.validation))
    for done in range(steps + 1):
        if done % c.measure_every == 0 or done == steps:
            passes = done * c.batch_size / len(images.train.targets)
            right = accuracy(model, validation)
            recorder.row("curves", epoch=passes, updates=done, loss=loss if done else None, validation_accuracy=right)
            recorder.time(epoch=passes, updates=done, processor_seconds=seconds)
            recorder.progress(done, steps)
        if done == steps:
            return True
        seconds -= time.process_time()
        chosen = torch.randint(len(images.train.targets), (c.batch_size,), generator=draws)
        try:
            loss = float(step(images.train.inputs[chosen], images.train.targets[chosen]))
        except Diverged as error:
            recorder.diverged(done, str(error))
            return False
        seconds += time.process_time()
        if not math.isfinite(loss):
            recorder.diverged(done, "the loss is not finite")
            return False
    raise AssertionError("the last step returns")


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Table, figure and the finding in words."""
    conditioned_feedback.draw(tables, directory)


PROTOCOL = study.Protocol(
    name="conditioned_feedback",
    question="What is left of conditioned direct feedback alignment when every arm has its own learning rate?",
    configuration=Configuration,
    full=FULL,
    seeds=3,
    stages=SELECTION.stages,
    run=run,
    report=report,
)
