"""Models that keep the state of their neurons themselves, as attributes, in one of the ways that there are."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import StateMismatch, Unsupported
from tests.credit.loops import gradients

WAYS = ["attribute", "dict", "list", "in place", "data class", "namespace"]
CREDITS = [
    ("node_perturbation", {"directions": 2}),
    ("activity_perturbation", {}),
    ("forward_gradient", {"tangents": "weights"}),
    ("forward_gradient", {"tangents": "activities"}),
]


@dataclass
class Record:
    """Holds a state."""

    v: Tensor | float = 0.0


def kept_by(leaky: Leaky) -> Tensor | float:
    """The state, wherever it is."""
    record = leaky.record.v
    ways = {"dict": leaky.memories["v"], "list": leaky.history[-1], "data class": record, "namespace": record}
    return ways.get(leaky.way, leaky.v)


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
        self.record = Record() if self.way == "data class" else SimpleNamespace(v=0.0)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.way == "stateless":
            return torch.tanh(inputs)
        before = kept_by(self)
        v = 0.5 * (before.clone() if isinstance(before, Tensor) else before) + inputs
        if self.way == "dict":
            self.memories["v"] = v
        elif self.way == "list":
            self.history.append(v)
        elif self.way in ("data class", "namespace"):
            self.record.v = v
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
    torch.testing.assert_close(kept_by(model[1]), kept_by(clean[1]))
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


class Continuing(Remembering):
    """The same, of the contract: it goes on from batch to batch, and can be reset and detached."""

    def reset(self) -> None:
        self.state = None

    def detach(self) -> None:
        if self.state is not None:
            self.state = type(self.state)(*(part.detach() for part in self.state))


def sequences(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(6, 4, 5, generator=generator) < 0.5).float() * 2, torch.tensor([0, 1, 2, 1])


SPIKING = [name for name in credit.names() if name != "local_forward_gradient"]


@pytest.mark.parametrize("name", SPIKING)
def test_sequences_that_go_on_are_those_of_a_model_that_is_given_its_state(name) -> None:
    """Every batch from the state that the clean pass of the last one left, without its graph."""
    model, given = Continuing(keeps=True), Continuing(keeps=False)
    assignment, other = (credit.get(name, each, seed=2) for each in (model, given))
    assert isinstance(model, credit.Stateful) and not isinstance(Remembering(keeps=True), credit.Stateful)
    for seed in range(3):
        inputs, targets = sequences(seed)
        loss = assignment.backward(F.cross_entropy, inputs, targets)
        torch.testing.assert_close(loss, other.backward(F.cross_entropy, inputs, targets))
        with torch.no_grad():  # what it hands on, by hand
            given.state = given.neurons(given.layer(inputs), given.state)[1]
        torch.testing.assert_close(model.state.potential, given.state.potential)
    for one, exact in zip(gradients(model), gradients(given), strict=True):
        assert exact.abs().max() > 0
        torch.testing.assert_close(one, exact)
    model.reset()
    torch.testing.assert_close(
        credit.get("backprop", model).backward(F.cross_entropy, *sequences(0)),
        F.cross_entropy(Remembering(keeps=False)(sequences(0)[0]), sequences(0)[1]).detach(),
    )


SENDING_BACK = [name for name in SPIKING if credit.get(name, Remembering(keeps=True)).needs_autograd]


@pytest.mark.parametrize("name", SENDING_BACK)
def test_a_state_with_the_graph_of_the_last_batch_is_refused(name) -> None:
    model = Remembering(keeps=True)
    assignment = credit.get(name, model)
    assignment.backward(F.cross_entropy, *sequences(0))
    before = gradients(model)
    message = (
        r"'state' of the model itself \(Remembering\) still carries the graph of an earlier pass.*reset it, or det"
    )
    with pytest.raises(StateMismatch, match=message):
        assignment.backward(F.cross_entropy, *sequences(1))
    assert all(torch.equal(one, other) for one, other in zip(gradients(model), before, strict=True))
    model.state = None
    assignment.backward(F.cross_entropy, *sequences(1))


def test_what_is_kept_to_be_looked_at_is_no_state() -> None:
    """A tensor with a graph that the next pass does not read."""

    class Watched(Remembering):
        def forward(self, inputs: Tensor) -> Tensor:
            self.seen = super().forward(inputs)
            return self.seen

    model = Watched(keeps=False)
    assignment = credit.get("backprop", model)
    for seed in range(3):
        assignment.backward(F.cross_entropy, *sequences(seed))
    assert model.seen.grad_fn is not None


def test_learnt_thresholds_do_not_lead_into_the_last_batch_either() -> None:
    """Of perturbation, which cuts the graph at the layers, and not within neurons that learn."""

    class Threshold(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level, self.v = nn.Parameter(torch.ones(6)), None

        def forward(self, inputs: Tensor) -> Tensor:
            self.v = inputs - self.level + (0.0 if self.v is None else 0.5 * self.v)
            return torch.sigmoid(self.v)

    model = nn.Sequential(nn.Linear(5, 6), Threshold())
    assignment, inputs = credit.get("node_perturbation", model), torch.rand(4, 5)
    assignment.backward(F.mse_loss, inputs, torch.rand(4, 6))
    with pytest.raises(StateMismatch, match=r"'v' of '1' \(Threshold\) still carries the graph"):
        assignment.backward(F.mse_loss, inputs, torch.rand(4, 6))


def test_directions_side_by_side_go_on_from_no_state_of_one_batch() -> None:
    model = Remembering(keeps=True)
    assignment = credit.get("node_perturbation", model, directions=3, vectorised=True)
    assignment.backward(F.cross_entropy, *sequences(0))
    with pytest.raises(Unsupported, match=r"fails on a batch that repeats the samples 3 times.*reset it before every"):
        assignment.backward(F.cross_entropy, *sequences(1))
    model.state = None
    assignment.backward(F.cross_entropy, *sequences(1))


class Hidden(nn.Module):
    """Keeps its state where nobody finds it."""

    def __init__(self) -> None:
        super().__init__()
        kept = [torch.zeros(6)]

        def leaky(inputs: Tensor) -> Tensor:
            kept[0] = 0.5 * kept[0] + inputs.detach().mean(0)
            return inputs + kept[0]

        self.leaky = leaky

    def forward(self, inputs: Tensor) -> Tensor:
        return self.leaky(inputs)


@pytest.mark.parametrize("name", ["node_perturbation", "weight_perturbation", "forward_gradient", "likelihood_ratio"])
def test_a_state_that_nobody_finds_is_refused(name) -> None:
    model = nn.Sequential(nn.Linear(5, 6), Hidden(), nn.Linear(6, 3))
    with pytest.raises(StateMismatch, match=r"neither a buffer nor an attribute"):
        credit.get(name, model).backward(F.cross_entropy, torch.rand(4, 5), torch.tensor([0, 1, 2, 1]))


@pytest.mark.parametrize("name", ["backprop", "node_perturbation"])
def test_attributes_that_refer_to_each_other_in_circles(name: str) -> None:
    """A record that leads back to itself is walked once; the gradient is that of the model without it."""
    plain, circular = (nn.Sequential(nn.Linear(3, 2)).double() for _ in range(2))
    circular.load_state_dict(plain.state_dict())
    record = SimpleNamespace(held=[])
    record.held.append({"back": record})
    circular.record = record
    inputs, targets = torch.ones(4, 3).double(), torch.zeros(4, dtype=torch.int64)
    for model in (plain, circular):
        credit.get(name, model, seed=1).backward(F.cross_entropy, inputs, targets)
    for one, other in zip(plain.parameters(), circular.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("name", ["node_perturbation", "activity_perturbation", "likelihood_ratio"])
def test_noise_that_moves_no_spike_is_told_at_first(name: str) -> None:
    """Units with a hard threshold far from their input: the loss cannot change, and the gradient is zero."""

    class Threshold(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return (inputs > 5.0).to(inputs)

    model = nn.Sequential(nn.Linear(3, 4), Threshold(), nn.Linear(4, 2).requires_grad_(False))
    inputs, targets = torch.ones(6, 3), torch.zeros(6, dtype=torch.int64)
    taught = credit.get(name, model, seed=0)
    with pytest.warns(UserWarning, match=r"no perturbed pass changed the loss .* sigma=0\.001 .* set sigma="):
        taught.backward(F.cross_entropy, inputs, targets)
    taught.backward(F.cross_entropy, inputs, targets)
    assert all(float(each.grad.abs().max()) == 0 for each in model.parameters() if each.grad is not None)
