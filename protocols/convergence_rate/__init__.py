"""How fast does a wide shallow network with biases learn, and is the rate that theory predicts the measured one?

Question. A shallow ReLU network, wide beside the number of samples, learns by full-batch gradient descent at a rate
that the least eigenvalue of its tangent kernel sets, relative to the largest one, which sets the largest learning rate.
Does decorrelation of the inputs raise that ratio, and does the network learn faster by as much?

Data. `common_mode`: Gaussian samples whose features share a strong common mode. `parallel`: every second sample is
twice the one before, which only biases tell apart. `digits`: handwritten digits, of which only the kernel is computed.
Targets are what the network answers at the start and a small normal number, so that weights move little: theory is of
this regime.

Conditions. Inputs x arm x damping. Arms: nothing; centring; batch normalisation (of the inputs); FOOF on centred
inputs, the control on the gradient side; rules. Rules learn before the weights do, and are held. Parallel inputs with
and without biases. Nothing is selected: each arm has the learning rate 1 / lambda_max of its own kernel, and all
dampings are shown. Seeds set the samples, the targets and the weights, in all arms the same.

Measured. By how much the logarithm of the loss falls at every step, over the last third of the steps before the loss is
1e-10 of what it was (rounding would follow); beside it -2 ln(1 - lambda_min / lambda_max) of the infinitely wide
network, computed from what the layer receives.

Sources. Jentzen, Kroeger (2021), Convergence rates for gradient descent in the training of overparameterized
artificial neural networks with biases, arXiv:2102.11840.

Does not say. The theory is of weights that hardly move: targets differ from the first answers by little, and 4,000
units learn a dozen samples, as the theorem asks and no application does. Rates are those that the theory allows, not
tuned ones. Digits are used for the condition of the kernel alone; nothing is learnt from them, and a fast rate on the
samples says nothing of other inputs.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import convergence_rate
from neuro_decorr import data, study
from neuro_decorr.data import stream
from protocols.convergence_rate.theory import course, rate, tail, tangent_kernel

Arm = Literal["none", "center", "batch_normalisation", "foof", "whitening", "interneuron", "norm_preserving"]
DAMPED: tuple[Arm, ...] = ("foof", "whitening", "interneuron")
SETTLING = {"center": (1.0, 2), "whitening": (1.0, 40), "interneuron": (0.1, 400), "norm_preserving": (0.1, 400)}
"""Rate and number of the updates of a rule before the weights learn."""
INTERNEURONS = 3
SMALLEST = 1e-10
"""Loss, relative to the first one, at which a run ends."""


class Configuration(study.Configuration):
    """Options of the protocol."""

    arms: tuple[Arm, ...] = Field(get_args(Arm), description="arms; 'none' and 'center' are the references")
    dampings: tuple[float, ...] = Field((0.001, 0.01, 0.1, 1.0), description="dampings of foof and of damped rules")
    samples: int = Field(12, ge=4, multiple_of=2, description="training samples")
    features: int = Field(6, ge=INTERNEURONS, description="features")
    mode: float = Field(3.0, ge=0, description="standard deviation of the common mode; that of the rest is 1")
    residual: float = Field(
        0.1, gt=0, description="standard deviation of the difference between targets and first outputs"
    )
    width: int = Field(4_000, ge=2, description="hidden units")
    steps: int = Field(2_000, ge=6, description="largest number of steps")
    digits: tuple[int, ...] = Field(
        (10, 30, 100, 300, 1_000), description="numbers of digits for which the kernel is computed"
    )


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Everything, with every seed."""
    c = configuration
    settings = [(arm, damping) for arm in c.arms for damping in (c.dampings if arm in DAMPED else (None,))]
    levels: list[study.Levels] = [
        {"inputs": inputs, "bias": True, "arm": arm, "damping": damping}
        for inputs in ("common_mode", "digits") for arm, damping in settings
    ]  # fmt: skip
    pairs = [(bias, arm) for bias in (False, True) for arm in ("none", "center")]
    levels += [{"inputs": "parallel", "bias": bias, "arm": arm, "damping": None} for bias, arm in pairs]
    return [study.Condition("measure", seed, level) for level in levels for seed in seeds]


def samples(configuration: Configuration, inputs: str, seed: int) -> Tensor:
    """Draw the inputs, shape (samples, features), in double precision."""
    c, generator = configuration, stream(seed, "inputs")
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    if inputs == "digits":
        return images(seed)
    if inputs == "common_mode":
        return draw(c.samples, c.features) + c.mode * draw(c.samples, 1)
    half = draw(c.samples // 2, c.features)
    return torch.stack([half, 2 * half], dim=1).flatten(0, 1)


@lru_cache(maxsize=8)
def images(seed: int) -> Tensor:
    """Handwritten digits in random order, shape (samples, 64)."""
    return data.digits(seed).train.inputs.double()  # the split is drawn at random


def front(arm: Arm, damping: float | None, inputs: Tensor) -> nn.Module:
    """Decorrelation before the hidden weights, which has learnt from all inputs already."""
    features = inputs.shape[1]
    if arm == "none":
        return nn.Identity()
    if arm == "batch_normalisation":
        return nn.BatchNorm1d(features, affine=False, dtype=inputs.dtype)
    name = "center" if arm == "foof" else arm
    options: dict[str, float | None] = {"damping": damping} if name in DAMPED else {}
    if arm == "interneuron":
        options["interneurons"] = INTERNEURONS
    own_rate, updates = SETTLING[name]
    layer = nd.Decorrelation(features, dtype=inputs.dtype)
    plasticity = nd.Plasticity(layer, nd.rules.get(name, rate=own_rate, **options), row_fraction=1.0)
    for _ in range(updates):
        layer(inputs)
        plasticity.step()
    return layer


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Train one network, or compute the kernels of one arm."""
    kind, bias, arm, damping = condition.factors.values()
    inputs = samples(configuration, kind, condition.seed)
    for number in configuration.digits if kind == "digits" else (len(inputs),):
        received = front(arm, damping, inputs[:number])(inputs[:number])
        metric = None
        if arm == "foof":
            identity = torch.eye(inputs.shape[1], dtype=inputs.dtype)
            metric = nd.conditioning.foof(identity, received, damping=damping)
        kernel = tangent_kernel(received, bias=bias, metric=metric)
        values = torch.linalg.eigvalsh(kernel)
        row = {"samples": number, "least": values[0], "largest": values[-1], "predicted": rate(kernel)}
        if kind == "digits":
            recorder.row("kernels", **row)
    if kind != "digits":
        losses, residual = learn(configuration, received, 1 / float(values[-1]), condition, recorder)
        linear = course(kernel, residual, len(losses) - 1).tolist()
        for step in range(0, len(losses), max(1, len(losses) // 100)):
            recorder.row("courses", step=step, ratio=losses[step] / losses[0], linear=linear[step] / linear[0])
        end = {"measured": tail(losses), "linear": tail(linear), "ratio": losses[-1] / losses[0]}
        recorder.row("ends", **row, **end, steps=len(losses) - 1)


def learn(
    configuration: Configuration, inputs: Tensor, step: float, condition: study.Condition, recorder: study.Recorder
) -> tuple[list[float], Tensor]:
    """Losses before every step of gradient descent on half the summed squared error, and the first residual."""
    c, level = configuration, condition.factors
    weights, labels = stream(condition.seed, "weights"), stream(condition.seed, "labels")
    hidden = nn.Linear(inputs.shape[1], c.width, bias=level["bias"], dtype=inputs.dtype)
    for parameter in hidden.parameters():
        nn.init.normal_(parameter, generator=weights)
    signs = (2 * torch.randint(0, 2, (c.width,), generator=weights) - 1).to(inputs.dtype) / c.width**0.5

    def answers() -> Tensor:
        given: Tensor = torch.relu(hidden(inputs)) @ signs
        return given

    first = -c.residual * torch.randn(len(inputs), generator=labels, dtype=inputs.dtype)
    targets = answers().detach() - first
    optimiser = torch.optim.SGD(hidden.parameters(), lr=step)
    losses: list[float] = []
    for index in range(c.steps + 1):
        optimiser.zero_grad()
        loss = (answers() - targets).square().sum()
        losses.append(loss.item())
        if not losses[-1] > SMALLEST * losses[0]:
            break
        torch.autograd.backward(loss / 2)
        if level["arm"] == "foof":
            assert hidden.weight.grad is not None
            hidden.weight.grad = nd.conditioning.foof(hidden.weight.grad, inputs, damping=level["damping"])
        optimiser.step()
        recorder.progress(index, c.steps)
    return losses, first


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure, the tables and the finding."""
    print(convergence_rate.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="convergence_rate",
    question="How fast does a wide shallow network with biases learn, and is that the rate that theory predicts?",
    configuration=Configuration,
    stages=(measured_runs,),
    run=run,
    report=report,
)
