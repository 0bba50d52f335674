"""A training run that is interrupted in any epoch ends with the same rows and weights, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import neuro_decorr as nd
from neuro_decorr import study
from neuro_decorr.data import Dataset, from_arrays
from neuro_decorr.errors import InvalidValue
from neuro_decorr.learning import train
from neuro_decorr.study.checkpoints import Place
from protocols.deep_spiking.network import deep_spiking

EPOCHS = 4
UPDATES = 6
"""In an epoch: 120 samples in batches of 20."""


class Blow(BaseException):
    """The end of a process; no error that a run handles."""


class Gradients:
    """What changes the gradients: counts the updates, and ends the process at one of them; its count is not kept."""

    def __init__(self, signals: nd.conditioning.Signals | None, blow: int | None) -> None:
        self.signals, self.left = signals, blow

    def __call__(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Blow
            self.left -= 1
        for layer in self.signals or ():
            layer.gradient = nd.conditioning.kfac(
                layer.gradient, input_moment=layer.input_moment, error_moment=layer.error_moment, damping=0.1
            )

    def state_dict(self) -> dict[str, Any]:
        return {} if self.signals is None else self.signals.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.signals is not None:
            self.signals.load_state_dict(state)


@pytest.fixture(scope="module")
def data() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 6, generator=generator)
    return from_arrays(inputs, (inputs[:, 0] + inputs[:, 1] > 0).long(), source="a line")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 2))


class Arm(NamedTuple):
    rule: str | None = None
    rule_options: Mapping[str, Any] = MappingProxyType({})
    credit: str = "backprop"
    optimiser: Callable[..., torch.optim.Optimizer] = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    compensate: bool = False
    averages: bool = False
    model: Callable[[], nn.Module] = network


def run(arm: Arm, data: Dataset, place: Place | None, blow: int | None) -> tuple[study.Recorder, dict[str, Any]]:
    torch.manual_seed(1)
    model = arm.model()
    plasticity: torch.optim.Optimizer | None = None
    if any(isinstance(module, nd.norse.LateralLIF) for module in model.modules()):
        plasticity = nd.norse.NeuronPlasticity(model)
    if arm.rule is not None:
        model = nd.decorrelate(model)
        rule = nd.rules.get(arm.rule, **arm.rule_options)
        plasticity = nd.Plasticity(model, rule, compensate=arm.compensate, row_fraction=0.5)
    credit = nd.credit.get(arm.credit, model, seed=3)
    optimiser = arm.optimiser([*model.parameters(), *credit.parameters()])
    signals = nd.conditioning.Signals(model, errors=True, decay=0.9) if arm.averages else None
    recorder = study.Recorder(place=place)
    train(
        model, credit, optimiser, data, recorder, plasticity=plasticity, conditioned=Gradients(signals, blow),
        epochs=EPOCHS, batch_size=20, seed=0, layers=True,
    )  # fmt: skip
    held = {"model": model.state_dict(), "credit": credit.state_dict(), "optimiser": optimiser.state_dict()["state"]}
    return recorder, {**held, "plasticity": None if plasticity is None else plasticity.state_dict()["state"]}


def check_resumes(arm: Arm, data: Dataset, directory: Path, blows: list[int]) -> None:
    """Uninterrupted, and interrupted at some updates, each time in a session that goes on from the one before."""
    whole, states = run(arm, data, None, None)
    assert whole.reason is None
    told: list[str] = []
    place = Place(directory, study.Condition("measure", 0, {}), {"study": "a"}, told.append, every=0)
    for blow in blows:
        with pytest.raises(Blow):
            run(arm, data, place, blow)
    recorder, found = run(arm, data, place, None)
    kinds = ("curves", "layers", "spectra")
    assert {kind: recorder.rows[kind] for kind in kinds} == {kind: whole.rows[kind] for kind in kinds}
    assert [row["epoch"] for row in recorder.rows["timings"]] == list(range(EPOCHS + 1))
    torch.testing.assert_close(found, states, rtol=0, atol=0, equal_nan=True)
    assert told == []


@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_after_any_epoch(data: Dataset, tmp_path: Path, epoch: int) -> None:
    check_resumes(Arm("whitening"), data, tmp_path, [epoch * UPDATES + 2])


def muon(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Muon([each for each in parameters if each.dim() == 2])


@pytest.mark.parametrize(
    "optimiser",
    [torch.optim.Adam, *(pytest.param(each, marks=pytest.mark.slow) for each in (torch.optim.RMSprop, muon))],
)
def test_optimisers(data: Dataset, tmp_path: Path, optimiser: Any) -> None:
    check_resumes(Arm(optimiser=optimiser), data, tmp_path, [UPDATES + 1, UPDATES + 3])


OPTIONS: dict[str, dict[str, Any]] = {"interneuron": {"interneurons": 3}, "interneuron_local": {"interneurons": 3}}


def others_slow(names: list[str], quick: set[str]) -> list[Any]:
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("rule", others_slow(nd.rules.names(), {"interneuron"}))
def test_rules(data: Dataset, tmp_path: Path, rule: str) -> None:
    check_resumes(Arm(rule, OPTIONS.get(rule, {})), data, tmp_path, [2 * UPDATES + 1])


@pytest.mark.parametrize("rule", others_slow(["whitening", "interneuron"], {"whitening"}))
def test_compensation_keeps_what_float32_cannot_hold(data: Dataset, tmp_path: Path, rule: str) -> None:
    check_resumes(Arm(rule, OPTIONS.get(rule, {}), compensate=True), data, tmp_path, [2 * UPDATES + 1])


CREDITS = [name for name in nd.credit.names() if name != "eprop"]


@pytest.mark.parametrize("credit", others_slow(CREDITS, {"node_perturbation", "weight_mirror"}))
def test_credits(data: Dataset, tmp_path: Path, credit: str) -> None:
    check_resumes(Arm("center", credit=credit), data, tmp_path, [2 * UPDATES + 1])


@pytest.mark.slow
@pytest.mark.parametrize("credit", ["eprop", "node_perturbation"])
@pytest.mark.parametrize("rule", ["center", None])
def test_neurons_that_learn(data: Dataset, tmp_path: Path, credit: str, rule: str | None) -> None:
    def spiking() -> nn.Module:
        return deep_spiking([6, 8, 8, 2], 5, inhibition=None if rule else 0.1, seed=0)

    check_resumes(Arm(rule, credit=credit, model=spiking), data, tmp_path, [2 * UPDATES + 1])


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    )


@pytest.mark.parametrize(
    "credit", others_slow(["backprop", "direct_feedback_alignment", "node_perturbation"], {"direct_feedback_alignment"})
)
def test_convolutions_and_running_statistics(data: Dataset, tmp_path: Path, credit: str) -> None:
    check_resumes(Arm("interneuron", {"interneurons": 2}, credit=credit, model=convolutional), data, tmp_path, [8, 3])


def test_averages_that_condition_gradients(data: Dataset, tmp_path: Path) -> None:
    check_resumes(Arm("center", averages=True), data, tmp_path, [2 * UPDATES + 1])


def test_what_changes_gradients_and_hides_what_it_remembers_is_refused(data: Dataset) -> None:
    model, updates = network(), []
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InvalidValue, match="conditioned is a function with variables of an enclosing function"):
        train(
            model, nd.credit.get("backprop", model), optimiser, data, study.Recorder(),
            conditioned=lambda: updates.append(1), epochs=1, batch_size=20, seed=0,
        )  # fmt: skip
