"""Credits on a SequentialState as it is: the loss gets the output of all time steps, and the state is left out."""

from __future__ import annotations

import norse.torch
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, Unsupported
from tests.credit.loops import assert_gradients, gradients
from tests.credit.spiking_loops import exact_neurons, feedback_loop, make_spiking_case, perturbation_loop
from tests.credit.test_eprop import eprop_loop
from tests.credit.test_in_time import SIGMA, Recorder

STEPS, BATCH = 9, 4


class Reading(nn.Module):
    """The same network in a module that reads its output as the loss does below, and returns one tensor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)[0].sum(0)


def of_counts(outputs: Tensor, targets: Tensor) -> Tensor:
    """What a user of Norse writes."""
    return F.cross_entropy(outputs.sum(0), targets)


def network(readout: nn.Module | None = None, neurons: bool = True) -> nn.Module:
    torch.manual_seed(0)
    first, last = nn.Linear(5, 7, dtype=torch.float64), nn.Linear(7, 3, dtype=torch.float64)
    first.weight.data.mul_(4)
    last.weight.data.mul_(4)
    return norse.torch.SequentialState(
        first, exact_neurons(7) if neurons else nn.Tanh(), last, exact_neurons(3) if readout is None else readout
    )


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(STEPS, BATCH, 5, generator=generator, dtype=torch.float64)
    return inputs, torch.tensor([0, 2, 1, 2])


# Of local losses and of what is a function of the outputs themselves, below.
@pytest.mark.parametrize("name", [n for n in credit.names() if n not in ("local_forward_gradient", "semi_implicit")])
@pytest.mark.parametrize("readout", [None, norse.torch.LI()])
def test_every_credit_does_as_in_a_module_that_returns_one_tensor(name, readout) -> None:
    inputs, targets = batch()
    alone, inside = network(readout), Reading(network(readout))
    options = {"time_first": True} if "time_first" in credit.get(name, inside).__init__.__code__.co_varnames else {}
    loss = credit.get(name, alone, seed=3).backward(of_counts, inputs, targets)
    wanted = credit.get(name, inside, seed=3, **options).backward(F.cross_entropy, inputs, targets)
    torch.testing.assert_close(loss, wanted)
    for one, other in zip(gradients(alone), gradients(inside), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def test_semi_implicit_knows_the_samples_of_sequences() -> None:
    """It aims at the outputs of every step; a batch that holds every sample twice gives the same weights."""
    inputs, targets = batch()
    once, twice = network(norse.torch.LI()), network(norse.torch.LI())
    credit.get("semi_implicit", once).backward(of_counts, inputs, targets)
    credit.get("semi_implicit", twice).backward(of_counts, inputs.repeat(1, 2, 1), targets.repeat(2))
    for one, other in zip(gradients(once), gradients(twice), strict=True):
        assert one.abs().max() > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def test_the_credit_of_local_losses_takes_a_chain_whose_state_is_that_of_no_spikes() -> None:
    """With spikes it names others, which work on the same network."""
    inputs, targets = batch()
    with pytest.raises(Unsupported, match=r"use node_perturbation, or.*eprop or forward_gradient"):
        credit.get("local_forward_gradient", network())
    for name in ("node_perturbation", "eprop", "forward_gradient"):
        credit.get(name, network()).backward(of_counts, inputs, targets)
    model = norse.torch.SequentialState(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    credit.get("local_forward_gradient", model).backward(F.cross_entropy, inputs[0], targets)
    assert len(gradients(model)) == 4


@pytest.mark.parametrize("steps", [15, 4])  # also as many steps as samples
def test_against_the_loops(steps) -> None:
    """Every sample has its own loss, though the output begins with the steps."""

    def of_rates(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs.mean(0), targets)

    case = make_spiking_case(steps=steps)
    recorder, model = Recorder(case, SIGMA), case.model.network
    credit.get("node_perturbation", model, sigma=SIGMA, hold="pass").backward(of_rates, case.inputs, case.targets)
    expected = perturbation_loop(case, recorder.noise(), SIGMA)
    assert min(np.abs(weight).max() for weight in expected[0]) > 0
    assert_gradients(case, expected, rtol=1e-8)
    model.zero_grad()
    aligned = credit.get("feedback_alignment", model)
    aligned.backward(of_rates, case.inputs, case.targets)
    sent = [matrix.numpy() for matrix in aligned.feedback_weights().values()]
    assert_gradients(case, feedback_loop(case, lambda number, deltas, _: deltas @ sent[number]))
    model.zero_grad()
    credit.get("eprop", model).backward(of_rates, case.inputs, case.targets)
    weights = [layer.weight.detach().numpy() for layer in case.layers]
    assert_gradients(case, eprop_loop(case, [weights[2] @ weights[1], weights[2]]))


def per_step(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs, targets)


def last_step(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs[-1], targets)


def largest(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.amax(0), targets)


def coupled(outputs: Tensor, targets: Tensor) -> Tensor:
    """No mean over samples: their losses are squared together."""
    return F.cross_entropy(outputs.sum(0), targets).square()


@pytest.mark.parametrize("loss", [F.mse_loss, per_step, last_step, largest, of_counts, coupled])
@pytest.mark.parametrize("steps", [6, BATCH])
def test_losses_of_samples_of_sequences(loss, steps) -> None:
    """Forward gradients along activities are exact derivatives: the estimate is known from the gradient."""
    torch.manual_seed(2)
    layer = nn.Linear(5, 3, dtype=torch.float64)
    model = norse.torch.SequentialState(layer, norse.torch.LI())
    inputs = torch.randn(steps, BATCH, 5, dtype=torch.float64)
    targets = torch.randn(steps, BATCH, 3).double() if loss in (F.mse_loss, per_step) else torch.tensor([0, 2, 1, 2])
    drawn = nd.credit.get("forward_gradient", model, tangents="activities", seed=5).noise
    direction = drawn.draw(torch.empty(steps, BATCH, 3, dtype=torch.float64))
    credit.get("forward_gradient", model, tangents="activities", seed=5).backward(loss, inputs, targets)
    currents = layer(inputs).detach().requires_grad_()
    (exact,) = torch.autograd.grad(loss(model[1](currents)[0], targets), currents)
    slopes = (exact * direction).sum((0, 2), keepdim=True)
    expected = torch.einsum("tno,tni->oi", slopes * direction, inputs)
    torch.testing.assert_close(layer.weight.grad, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["backprop", "feedback_alignment", "eprop", "node_perturbation", "weight_perturbation"]
)
def test_a_loss_that_fails_on_steps_is_told_what_to_do(name) -> None:
    inputs, targets = batch()
    message = r"failed on outputs of shape \(9, 4, 3\).*outputs\.sum\(0\), targets\)"
    with pytest.raises(InvalidValue, match=message):
        credit.get(name, network()).backward(F.cross_entropy, inputs, targets)


def test_a_pair_of_tensors_goes_to_the_loss_as_it_is() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return self.layer(inputs), inputs

    model, inputs = Two(), torch.randn(4, 3)
    credit.get("backprop", model).backward(lambda outputs, _: outputs[0].sum() + outputs[1].sum(), inputs, None)
    torch.testing.assert_close(model.layer.weight.grad, inputs.sum(0).expand(2, 3))
