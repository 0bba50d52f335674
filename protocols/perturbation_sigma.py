"""Which sizes of the noise can a perturbation of spiking networks learn from?

Question. Node perturbation compares a pass with noise to one without. Of spiking networks noise that is too small
changes no spike, and noise that is too large leaves what a derivative says. Is there a size between, before and after
learning, and is it that of rate networks?

Sources. The question is this package's own; Fiete and Seung (2006), Gradient learning in spiking neural networks by
dynamic perturbation of conductances, doi:10.1103/PhysRevLett.97.048104, for the credit.

Data. Networks 64-128-10 of handwritten digits: spiking (25 time steps of constant currents) as drawn and after two
epochs of backpropagation, and one of tanh units.

Conditions. Network x state x how the noise is held (one current a pass, or anew in every step). Every run tries all
sizes of the noise; seeds set network, noise and data. Nothing is selected.

Measured. How the losses of single samples answer to the noise (`nd.credit.linearity`), and how alike independent
estimates of the gradient are, which is what an update is worth.

Does not say. Networks of one size on 8 x 8 digits, two states of training, three seeds. The size of the noise that is
found belongs to this gain, these time constants and this loss; `nd.credit.linearity` finds it for another network.
Nothing is trained by perturbation here, so it is not said how well that learns.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import perturbation_sigma
from models.dense import dense
from models.spiking import spiking
from neuro_decorr import study
from neuro_decorr.credit import Hold

STEPS, DIRECTIONS, ESTIMATES = 25, 4, 8
CONDITIONS: tuple[tuple[str, str, Hold], ...] = (
    ("spikes", "trained", "pass"),
    ("spikes", "drawn", "pass"),
    ("spikes", "trained", "step"),
    ("spikes", "drawn", "step"),
    ("rates", "trained", "step"),
)


class Configuration(study.Configuration):
    """Options of the protocol."""

    sigmas: tuple[float, ...] = Field(
        (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0), description="standard deviations of the noise"
    )
    samples: int = Field(128, ge=1, description="number of images in the batch")


def measured_runs(configuration: Configuration, seeds: list[int], tables: study.Tables) -> list[study.Condition]:
    """Declare every network, state and hold, with every seed."""
    return [
        study.Condition("measure", seed, {"network": kind, "state": state, "hold": hold})
        for kind, state, hold in CONDITIONS
        for seed in seeds
    ]


def network(kind: str, state: str, seed: int, images: nd.data.Split) -> nn.Module:
    """Make a network, as drawn or after two epochs of backpropagation."""
    sizes = [64, 128, 10]
    model = spiking(sizes, steps=STEPS, gain=2.0, seed=seed) if kind == "spikes" else dense(sizes, nn.Tanh, seed=seed)
    if state == "trained":
        optimiser = torch.optim.Adam(model.parameters(), 3e-3)
        batches = nd.data.batches(*images, 64, torch.Generator().manual_seed(seed))
        for inputs, targets in itertools.chain(batches, batches):
            optimiser.zero_grad()
            loss: Tensor = F.cross_entropy(model(inputs), targets)
            torch.autograd.backward(loss)
            optimiser.step()
    return model


def agreement(model: nn.Module, batch: tuple[Tensor, Tensor], sigma: float, hold: Hold, seed: int) -> float:
    """Mean cosine of independent estimates of the gradient."""
    options = {"hold": hold, "time_first": True, "directions": DIRECTIONS, "vectorised": True, "seed": seed}
    credit = nd.credit.get("node_perturbation", model, sigma=sigma, **options)
    estimates = []
    for _ in range(ESTIMATES):
        model.zero_grad()
        credit.backward(F.cross_entropy, *batch)
        estimates.append(
            torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])
        )
    unit = F.normalize(torch.stack(estimates), dim=1)
    return float(((unit @ unit.T).sum() - ESTIMATES) / (ESTIMATES * (ESTIMATES - 1)))


def run(configuration: Configuration, condition: study.Condition, recorder: study.Recorder) -> None:
    """Measure all sizes of the noise in one network."""
    (kind, state, hold), seed = condition.factors.values(), condition.seed
    images = nd.data.digits(seed).train
    model = network(kind, state, seed, images)
    batch = (images.inputs[: configuration.samples], images.targets[: configuration.samples])
    responses = nd.credit.linearity(
        model,
        F.cross_entropy,
        *batch,
        configuration.sigmas,
        directions=DIRECTIONS,
        hold=hold,
        time_first=True,
        seed=seed,
    )
    default = nd.credit.default_sigma(model, hold)
    for response in responses:
        alike = agreement(model, batch, response.sigma, hold, seed)
        facts = {"linear": response.linear, **response._asdict(), "agreement": alike, "default": default}
        recorder.row("responses", **facts)


def report(configuration: Configuration, tables: study.Tables, directory: Path) -> None:
    """Write the figure and the table, print the finding."""
    print(perturbation_sigma.draw(tables, directory))


PROTOCOL = study.Protocol(
    name="perturbation_sigma",
    question="Which sizes of the noise can a perturbation of spiking networks learn from?",
    configuration=Configuration,
    seeds=3,
    stages=(measured_runs,),
    run=run,
    report=report,
)
