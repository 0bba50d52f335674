"""Perturbed passes side by side in one batch: against the loop over samples and directions, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from neuro_decorr import credit
from neuro_decorr.errors import Unsupported
from tests.credit.loops import NoiseRecorder, assert_gradients, gradients, make_case, perturbation_loop
from tests.credit.spiking_loops import make_spiking_case
from tests.credit.spiking_loops import perturbation_loop as spiking_loop
from tests.credit.test_in_time import Recorder

SIGMA, DIRECTIONS = 0.5, 3


def mean_over(loops: list[tuple[list, list]]) -> tuple[list, list]:
    """The mean of what several loops returned."""
    weights, biases = zip(*loops, strict=True)
    return [np.mean(w, 0) for w in zip(*weights, strict=True)], [np.mean(b, 0) for b in zip(*biases, strict=True)]


def test_rates() -> None:
    case = make_case(batch=5)
    recorder, calls = NoiseRecorder(case, SIGMA), []
    case.model.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    credit.get("node_perturbation", case.model, sigma=SIGMA, directions=DIRECTIONS, vectorised=True).backward(
        F.mse_loss, case.inputs, case.targets
    )
    assert calls == [15, 5, 5]  # the clean pass twice in the first step, to see that it repeats
    noise = recorder.perturbed()
    blocks = [[xi[5 * k : 5 * k + 5] for xi in noise] for k in range(DIRECTIONS)]
    assert not np.allclose(blocks[0][0], blocks[1][0])
    assert_gradients(case, mean_over([perturbation_loop(case, block, SIGMA) for block in blocks]), rtol=1e-8)


@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize("hold", ["step", "pass"])
def test_spikes(stepwise, hold) -> None:
    case = make_spiking_case(stepwise=stepwise)
    recorder = Recorder(case, SIGMA)
    options = {"hold": hold, "sigma": SIGMA, "directions": DIRECTIONS, "vectorised": True, "time_first": True}
    credit.get("node_perturbation", case.model, **options).backward(F.mse_loss, case.inputs, case.targets)
    noise = recorder.noise()
    assert noise[0].shape == (15, 12, 7)
    blocks = [[xi[:, 4 * k : 4 * k + 4] for xi in noise] for k in range(DIRECTIONS)]
    assert_gradients(case, mean_over([spiking_loop(case, block, SIGMA) for block in blocks]), rtol=1e-8)


def test_one_direction_is_the_perturbed_pass_of_its_own() -> None:
    found = []
    for vectorised in (False, True):
        case = make_spiking_case(constant=True)
        credit.get(
            "node_perturbation", case.model, sigma=SIGMA, hold="pass", time_first=True, vectorised=vectorised, seed=7
        ).backward(F.mse_loss, case.inputs, case.targets)
        found.append(gradients(case.model))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


class Folded(nn.Module):
    """Sees its input in two layers, one of them after something was done to it, and once more at the end."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.how = how
        self.first, self.second, self.last = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(10, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        given = inputs.flatten(1)
        if self.how == "in place":
            given.mul_(1.0)  # the inputs were written, if not changed
        hidden = self.first(given)
        hidden = hidden + self.second(given + 1 if self.how == "shifted" else given)
        return self.last(torch.cat([hidden.tanh(), given], 1))


@pytest.mark.parametrize("how", ["plain", "shifted", "in place"])
def test_what_gets_the_inputs_is_computed_once_and_is_the_same(how) -> None:
    """Against the passes one after the other with the same noise, for any use that a model makes of its input."""
    model, inputs, targets = Folded(how).double(), torch.randn(4, 2, 3).double(), torch.randn(4, 3).double()
    taken: list[Tensor] = []
    for layer in (model.first, model.second, model.last):
        layer.register_forward_hook(lambda *given: taken.append(given[2].detach().clone()))
    credit.get("node_perturbation", model, sigma=SIGMA, directions=2, vectorised=True, seed=1).backward(
        F.mse_loss, inputs.clone(), targets
    )
    ours = gradients(model)
    together, taken[:] = taken[:3], []
    expected = [torch.zeros_like(parameter) for parameter in model.parameters()]
    with torch.no_grad():
        weights = [(layer.weight, layer.bias) for layer in (model.first, model.second, model.last)]
        given = inputs.flatten(1)
        later = given + 1 if how == "shifted" else given
        clean = F.linear(
            torch.cat([(F.linear(given, *weights[0]) + F.linear(later, *weights[1])).tanh(), given], 1), *weights[2]
        )
        clean_hidden = torch.cat([(F.linear(given, *weights[0]) + F.linear(later, *weights[1])).tanh(), given], 1)
        for direction in range(2):
            rows = slice(4 * direction, 4 * direction + 4)
            first, second, last = (part[rows] for part in together)
            noisy_hidden = torch.cat([(first + second).tanh(), given], 1)
            noise = [
                (first - F.linear(given, *weights[0])) / SIGMA,
                (second - F.linear(later, *weights[1])) / SIGMA,
                (last - F.linear(noisy_hidden, *weights[2])) / SIGMA,
            ]
            change = ((last - targets) ** 2).mean(1, True) - ((clean - targets) ** 2).mean(1, True)
            for number, (xi, x) in enumerate(zip(noise, (given, later, clean_hidden), strict=True)):
                delta = change / SIGMA * xi / 4 / 2
                expected[2 * number] += delta.T @ x
                expected[2 * number + 1] += delta.sum(0)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-12)


def test_the_first_layer_is_computed_once_for_all_directions() -> None:
    model = nn.Sequential(nn.Linear(30, 5), nn.Tanh(), nn.Linear(5, 2))
    with FlopCounterMode(display=False) as counter:
        assignment = credit.get("node_perturbation", model, directions=8, vectorised=True)
        batch = F.mse_loss, torch.randn(4, 30), torch.randn(4, 2)
        assignment.backward(*batch)
        before = counter.get_total_flops()
        assignment.backward(*batch)
        first, second = 2 * 4 * 30 * 5, 2 * 4 * 5 * 2
        # The perturbed passes, the clean one, and the products with the inputs.
        assert counter.get_total_flops() - before == (first + 8 * second) + 2 * (first + second)


def learn(model: nn.Module, inputs: object, **options: object) -> None:
    credit.get("node_perturbation", model, directions=2, vectorised=True, **options).backward(
        F.mse_loss, inputs, torch.zeros(4, 3)
    )


def test_what_couples_samples_or_draws_random_numbers_is_refused() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    with pytest.raises(Unsupported, match=r"'1' \(BatchNorm1d\) normalises over the batch.*vectorised=False"):
        learn(model, torch.rand(4, 5))
    learn(model.eval(), torch.rand(4, 5))
    assert model[0].weight.grad is not None
    state = torch.get_rng_state()
    with pytest.raises(Unsupported, match=r"draws random numbers.*vectorised=False"):
        learn(nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5)), torch.ones(4, 5))
    assert not torch.equal(torch.get_rng_state(), state)  # the layer's own weights
    state = torch.get_rng_state()
    dropping = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5)).eval()
    after = torch.get_rng_state()
    learn(dropping, torch.ones(4, 5))
    assert torch.equal(torch.get_rng_state(), after)


class Summing(nn.Module):
    """Sums over time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, inputs: Tensor | list[Tensor]) -> Tensor:
        return self.layer(inputs if isinstance(inputs, Tensor) else inputs[0]).sum(0)


def test_inputs_that_cannot_be_repeated_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"called with one tensor, got list"):
        learn(Summing(), [torch.rand(6, 4, 5)])
    with pytest.raises(Unsupported, match=r"2 times 6 samples gave \(4, 3\).*time_first=True"):
        learn(Summing(), torch.rand(6, 4, 5))
    model = Summing()
    learn(model, torch.rand(6, 4, 5), time_first=True)
    assert model.layer.weight.grad is not None
