"""Models that keep the state of their neurons themselves, as attributes, in one of the ways that there are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from tests.credit.loops import gradients

WAYS = ["attribute", "dict", "list", "in place"]
CREDITS = [
    ("node_perturbation", {"directions": 2}),
    ("activity_perturbation", {}),
    ("forward_gradient", {"tangents": "weights"}),
    ("forward_gradient", {"tangents": "activities"}),
]


class Leaky(nn.Module):
    """A leaky unit whose state stays in it: what came in before counts, until it is reset."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.reset()

    def reset(self) -> None:
        self.v: Tensor | float = torch.zeros(4, 6).double() if self.way == "in place" else 0.0
        self.memories = {"v": 0.0}
        self.history = [0.0]

    def forward(self, inputs: Tensor) -> Tensor:
        if self.way == "stateless":
            return torch.tanh(inputs)
        before = {"dict": self.memories["v"], "list": self.history[-1]}.get(self.way, self.v)
        v = 0.5 * (before.clone() if isinstance(before, Tensor) else before) + inputs
        if self.way == "dict":
            self.memories["v"] = v
        elif self.way == "list":
            self.history.append(v)
        elif self.way == "in place":
            self.v.copy_(v.detach())
        else:
            self.v = v
        return torch.tanh(v)


def model_of(way: str) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), Leaky(way), nn.Linear(6, 3)).double()


@pytest.mark.parametrize(("name", "options"), CREDITS)
@pytest.mark.parametrize("way", WAYS)
def test_a_state_that_is_reset_is_none(way, name, options) -> None:
    """The gradients are those of a model without a state, which no pass can leave one."""
    inputs, targets = torch.randn(4, 5).double(), torch.randn(4, 3).double()
    found = []
    for model in (model_of(way), model_of("stateless")):
        assignment = credit.get(name, model, seed=3, **options)
        for _ in range(3):
            model[1].reset()
            assignment.backward(F.mse_loss, inputs, targets)
        found.append(gradients(model))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "options"), CREDITS)
@pytest.mark.parametrize("way", WAYS)
def test_a_state_that_is_kept_is_that_of_the_clean_passes(way, name, options) -> None:
    model, clean = model_of(way), model_of(way)
    assignment = credit.get(name, model, **options)
    for _ in range(3):
        inputs, targets = torch.randn(4, 5).double(), torch.randn(4, 3).double()
        with torch.no_grad():
            expected = F.mse_loss(clean(inputs), targets)
        torch.testing.assert_close(assignment.backward(F.mse_loss, inputs, targets), expected)
    state = {"dict": model[1].memories["v"], "list": model[1].history[-1]}.get(way, model[1].v)
    wanted = {"dict": clean[1].memories["v"], "list": clean[1].history[-1]}.get(way, clean[1].v)
    torch.testing.assert_close(state, wanted)
    assert len(model[1].history) == len(clean[1].history)


class Remembering(nn.Module):
    """Spiking neurons that go on from where they were, unless they are reset."""

    def __init__(self, keeps: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.neurons, self.readout = nn.Linear(5, 6), nd.norse.LIF(6, threshold=0.3), nn.Linear(6, 3)
        self.keeps, self.state = keeps, None

    def forward(self, inputs: Tensor) -> Tensor:
        spikes, state = self.neurons(self.layer(inputs), self.state)
        if self.keeps:
            self.state = state
        return self.readout(spikes.mean(0))


@pytest.mark.parametrize("options", [{}, {"directions": 3, "vectorised": True}])
def test_spiking_neurons_that_keep_their_state(options) -> None:
    inputs, targets = (torch.rand(6, 4, 5) < 0.5).float(), torch.tensor([0, 1, 2, 1])
    found = []
    for keeps in (False, True):
        model = Remembering(keeps)
        assignment = credit.get("node_perturbation", model, hold="pass", time_first=True, **options)
        for _ in range(3):
            model.state = None
            assignment.backward(F.cross_entropy, inputs, targets)
        found.append(gradients(model))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
