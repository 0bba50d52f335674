"""E-prop against traces that are carried forward, synapse by synapse, and against backpropagation where they agree."""

from __future__ import annotations

import norse.torch
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported
from tests.credit.loops import assert_gradients, gradients
from tests.credit.spiking_loops import (
    MEMBRANE,
    SYNAPSE,
    THETA,
    SpikingCase,
    exact_neurons,
    forward,
    make_spiking_case,
    samples_of,
    surrogate,
    zeros,
)

STEPWISE = pytest.mark.parametrize("stepwise", [False, True])


def run(case: SpikingCase, name: str = "eprop", **parameters: object) -> credit.Credit:
    case.model.zero_grad()
    assignment = credit.get(name, case.model, **parameters)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    return assignment


def eligibility(potentials: np.ndarray, spikes: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """The sum over time of the eligibility of every synapse, (units, inputs), one synapse after the other."""
    steps, units = potentials.shape
    total = np.zeros((units, inputs.shape[1]))
    for j in range(units):
        for i in range(inputs.shape[1]):
            filtered = trace = 0.0
            for step in range(steps):
                filtered = SYNAPSE * filtered + inputs[step, i]
                forgotten = step > 0 and spikes[step - 1, j] > 0
                trace = (1 - MEMBRANE) * (0.0 if forgotten else trace) + MEMBRANE * filtered
                total[j, i] += surrogate(potentials[step, j]) * trace
    return total


def eprop_loop(case: SpikingCase, feedback: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """E-prop with given B_l (outputs, units) for all layers but the last."""
    weights, biases = zeros(case)
    targets = case.targets.numpy()
    for sequence, target in zip(samples_of(case), targets, strict=True):
        courses, rates = forward(case, sequence)
        last = 2 * (rates - target) / targets.size / len(sequence)
        for number, course in enumerate(courses):
            signal = last if number == len(courses) - 1 else last @ feedback[number]
            weights[number] += signal[:, None] * eligibility(course.potentials, course.spikes, course.inputs)
            ones = np.ones((len(sequence), 1))
            biases[number] += signal * eligibility(course.potentials, course.spikes, ones)[:, 0]
    return weights, biases


@STEPWISE
@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_the_loop(stepwise, feedback) -> None:
    case = make_spiking_case(stepwise=stepwise)
    assignment = run(case, feedback=feedback)
    sent = [layer.weight.detach().numpy() for layer in case.layers]
    if feedback == "random":
        sent = [matrix.numpy() for matrix in assignment.feedback_weights().values()]
        assert [matrix.shape for matrix in sent] == [(7, 5), (6, 7), (3, 6)]
    assert_gradients(case, eprop_loop(case, [sent[2] @ sent[1], sent[2]]))


@STEPWISE
@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_one_layer_without_recurrence_is_backprop_through_time(stepwise, feedback) -> None:
    case = make_spiking_case((6, 5), steps=40, batch=3, stepwise=stepwise)
    run(case, feedback=feedback)
    ours = gradients(case.model)
    run(case, "backprop")
    for one, exact in zip(ours, gradients(case.model), strict=True):
        assert exact.abs().max() > 1e-4
        torch.testing.assert_close(one, exact, rtol=1e-10, atol=1e-14)


class Readout(nn.Module):
    """One spiking layer, and a linear readout of its rates, or of its spikes at every step."""

    def __init__(self, rates: bool, neurons: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rates = rates
        self.hidden = nn.Linear(5, 8, dtype=torch.float64)
        self.hidden.weight.data.mul_(4)
        self.neurons = neurons or exact_neurons(8)
        self.readout = nn.Linear(8, 3, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        spikes, _ = self.neurons(self.hidden(inputs))
        return self.readout(spikes.mean(0)) if self.rates else self.readout(spikes).mean(0)


def batch(steps: int = 30) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (
        torch.rand(steps, 4, 5, generator=generator, dtype=torch.float64),
        torch.rand(4, 3, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("rates", [True, False])
@pytest.mark.parametrize(("feedback", "same_as"), [("symmetric", "backprop"), ("random", "feedback_alignment")])
def test_a_linear_readout_makes_it_a_surrogate_gradient(rates, feedback, same_as) -> None:
    model, (inputs, targets) = Readout(rates), batch()
    assignment = credit.get("eprop", model, feedback=feedback)
    assignment.backward(F.mse_loss, inputs, targets)
    ours = gradients(model)
    model.zero_grad()
    exact = credit.get(same_as, model)
    if feedback == "random":
        exact.feedback_weights()["readout"].copy_(assignment.state_dict()["feedback/readout"])
    exact.backward(F.mse_loss, inputs, targets)
    for one, other in zip(ours, gradients(model), strict=True):
        assert other.abs().max() > 1e-4
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_lateral_inhibition_takes_part_in_the_dynamics_and_not_in_the_eligibility() -> None:
    """The same spikes without inhibition are those of neurons that get its current from outside."""
    cell = nd.norse.LateralLIF(8, threshold=THETA, dtype=torch.float64)
    cell.weight.copy_(0.4 * torch.rand(8, 8, generator=torch.Generator().manual_seed(3)).fill_diagonal_(0))
    model, (inputs, targets) = Readout(rates=True, neurons=cell), batch()
    credit.get("eprop", model).backward(F.mse_loss, inputs, targets)
    currents = model.hidden(inputs).detach()
    spikes = cell(currents)[0]
    before = torch.cat([torch.zeros_like(spikes[:1]), spikes[:-1]])
    assert (before @ cell.weight.T).abs().max() > 0.1
    outside = Readout(rates=True)
    given = outside.neurons.forward
    outside.neurons.forward = lambda arriving: given(arriving - before @ cell.weight.T)
    assert torch.equal(outside.neurons(currents)[0], spikes)
    F.mse_loss(outside(inputs), targets).backward()
    for one, other in zip(gradients(model), gradients(outside), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


def test_time_constants_and_surrogates_of_every_neuron() -> None:
    times = torch.linspace(2e-3, 9e-3, 8, dtype=torch.float64)
    neurons = nd.norse.LIF(
        8,
        threshold=THETA,
        leak=0.1,
        reset=-0.1,
        membrane_time=times + 5e-3,
        synapse_time=times,
        dtype=torch.float64,
        surrogate="triangle",
        slope=1.5,
    )
    model, (inputs, targets) = Readout(rates=True, neurons=neurons), batch()
    credit.get("eprop", model).backward(F.mse_loss, inputs, targets)
    ours = gradients(model)
    model.zero_grad()
    F.mse_loss(model(inputs), targets).backward()
    for one, other in zip(ours, gradients(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "parameters",
    [
        {"refractory_time": 3e-3},
        {"reset_method": "subtract"},
        {"threshold": nn.Parameter(torch.tensor(0.4, dtype=torch.float64))},
        {"membrane_time": nn.Parameter(torch.full((8,), 8e-3, dtype=torch.float64))},
        {"kind": nd.norse.IF, "threshold": 3.0},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_every_kind_of_neuron_with_what_it_learns_itself(parameters) -> None:
    """One layer: the eligibilities are those of backpropagation through time."""
    given = {"threshold": THETA, **parameters}
    neurons = given.pop("kind", nd.norse.LIF)(8, dtype=torch.float64, **given)
    model, (inputs, targets) = Readout(rates=True, neurons=neurons), batch()
    credit.get("eprop", model).backward(F.mse_loss, inputs, targets)
    ours = gradients(model)
    model.zero_grad()
    F.mse_loss(model(inputs), targets).backward()
    exact = gradients(model)
    assert len(exact) == 4 + sum(isinstance(value, nn.Parameter) for value in given.values())
    for one, other in zip(ours, exact, strict=True):
        assert other.abs().max() > 1e-5
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-14)


def test_a_decorrelation_before_the_layer_gives_its_input() -> None:
    model, (inputs, targets) = nd.decorrelate(Readout(rates=True)), batch()
    for _, found, _ in nd.rate.decorrelated_layers(model):
        found.matrix.add_(0.2 * torch.randn(found.matrix.shape, generator=torch.Generator().manual_seed(4)).double())
    credit.get("eprop", model).backward(F.mse_loss, inputs, targets)
    ours = gradients(model)
    model.zero_grad()
    credit.get("backprop", model).backward(F.mse_loss, inputs, targets)
    for one, other in zip(ours, gradients(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


def test_frozen_parameters_get_nothing_and_the_rest_the_same() -> None:
    case = make_spiking_case()
    run(case)
    everything = {name: parameter.grad.clone() for name, parameter in case.model.named_parameters()}
    case.layers[0].requires_grad_(False)
    case.layers[1].bias.requires_grad_(False)
    case.model.zero_grad()
    credit.get("eprop", case.model).backward(F.mse_loss, case.inputs, case.targets)
    learned = {name for name, parameter in case.model.named_parameters() if parameter.grad is not None}
    assert len(learned) == 3
    for name, parameter in case.model.named_parameters():
        if name in learned:
            torch.testing.assert_close(parameter.grad, everything[name])


@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_what_every_credit_promises(feedback) -> None:
    case = make_spiking_case()
    before = [(module, set(module.__dict__)) for module in case.model.modules()]
    assignment = credit.get("eprop", case.model, feedback=feedback, seed=3)
    loss = assignment.backward(F.mse_loss, case.inputs, case.targets)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, F.mse_loss(case.model(case.inputs), case.targets).detach())
    once = gradients(case.model)
    assignment.backward(F.mse_loss, case.inputs, case.targets)
    for twice, one in zip(gradients(case.model), once, strict=True):
        torch.testing.assert_close(twice, 2 * one)
    with pytest.raises(ZeroDivisionError):
        assignment.backward(lambda *_: 1 / 0, case.inputs, case.targets)
    assert [(module, set(module.__dict__)) for module in case.model.modules()] == before
    other = credit.get("eprop", case.model, feedback=feedback, seed=4)
    other.load_state_dict(assignment.state_dict())
    case.model.zero_grad()
    other.backward(F.mse_loss, case.inputs, case.targets)
    assert all(torch.equal(a, b) for a, b in zip(gradients(case.model), once, strict=True))
    case.model.network[1] = exact_neurons(7)
    with pytest.raises(StateMismatch, match="modules of the model have changed"):
        assignment.backward(F.mse_loss, case.inputs, case.targets)


def test_random_feedback_has_the_size_of_the_weights_and_a_seed() -> None:
    case = make_spiking_case((4, 200, 100))
    first, again, other = (credit.get("eprop", case.model, feedback="random", seed=s).state_dict() for s in (1, 1, 2))
    name = "feedback/network/2"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])
    # 4 standard errors of a root mean square of 20,000 Gaussian numbers
    size = case.layers[1].weight.square().mean().sqrt().item()
    assert first[name].square().mean().sqrt().item() == pytest.approx(size, rel=0.02)
    double = credit.get("eprop", case.model, feedback="random", seed=1, scale=2.0).state_dict()
    torch.testing.assert_close(double[name], 2 * first[name])


class General(nn.Module):
    """One spiking layer behind layers of other kinds, and a readout of its last step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.encoder = exact_neurons(4)
        self.before = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 8), nn.LayerNorm(8)).double()
        self.neurons = exact_neurons(8)
        self.after = nn.GRU(8, 3).double()

    def forward(self, inputs: Tensor) -> Tensor:
        spikes, _ = self.neurons(2 * self.before(self.encoder(inputs)[0]))
        return self.after(spikes)[0][-1]


def test_all_without_spikes_is_differentiated_exactly() -> None:
    model = General()
    inputs, targets = 3 * torch.rand(20, 2, 4).double(), torch.rand(2, 3).double()
    credit.get("eprop", model).backward(F.mse_loss, inputs, targets)
    ours = gradients(model)
    model.zero_grad()
    F.mse_loss(model(inputs), targets).backward()
    for one, exact in zip(ours, gradients(model), strict=True):
        torch.testing.assert_close(one, exact, rtol=1e-9, atol=1e-14)
    assert model.before[0].weight.grad.abs().max() > 1e-5


def lif(features: int) -> nn.Module:
    return nd.norse.LIF(features)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nn.Linear(3, 3), nn.Tanh()], r"needs spiking neurons, nd\.norse\.LIF, AdaptiveLIF or LateralLIF"),
        ([nn.Linear(3, 3), norse.torch.LIFCell()], r"'1' \(LIFCell\) comes from norse.*nd\.norse\.LIF has"),
        ([nn.Linear(3, 3), norse.torch.LSNNCell()], r"'1' \(LSNNCell\) comes from norse"),
    ],
)
def test_neurons_whose_spikes_cannot_be_told_are_refused_by_name(modules, message) -> None:
    with pytest.raises(Unsupported, match=message):
        credit.get("eprop", norse.torch.SequentialState(*modules))


def test_random_feedback_through_other_weights_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"eprop covers .* layer 'after' \(GRU\) has weights of another kind"):
        credit.get("eprop", General(), feedback="random")


class Odd(nn.Module):
    """Neurons that no loss depends on, or that do not fire step by step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.layer, self.neurons = kind, nn.Linear(3, 3), lif(3)
        if kind == "twice":
            given = self.neurons._run
            self.neurons._run = lambda steps, state: (given(steps, state), given(steps, state))[1]

    def forward(self, inputs: Tensor) -> Tensor:
        currents = self.layer(inputs)
        spikes, _ = self.neurons(currents)
        return currents.mean(0) if self.kind == "currents" else spikes.mean(0)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("currents", "depends on no spike"),
        ("twice", r"'neurons' \(LIF\) returned \(9, 2, 3\) and fired \(18, 2, 3\)"),
    ],
)
def test_what_would_go_wrong_silently_is_refused(kind, message) -> None:
    with pytest.raises(Unsupported, match=message):
        credit.get("eprop", Odd(kind)).backward(F.mse_loss, torch.rand(9, 2, 3), torch.rand(2, 3))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"feedback": "adaptive"}, "one of 'symmetric', 'random'"), ({"seed": -1, "scale": 0}, "seed .*; scale ")],
)
def test_values_are_checked_at_once(parameters, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        credit.get("eprop", make_spiking_case().model, **parameters)
