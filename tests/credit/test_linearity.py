"""The response to noise of several sizes, where it is known."""

from __future__ import annotations

import copy
import math

import norse.torch
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from models.spiking import spiking
from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue
from tests.credit.loops import gradients, make_case


def first(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs.sum(-1).mean()


class Through(nn.Module):
    """A layer whose only node is the bias, and a function behind it."""

    def __init__(self, function, units: int = 1) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(units, units, dtype=torch.float64), function
        nn.init.eye_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self.layer(inputs))


SIGMAS = [0.01, 0.02, 0.05, 0.1]


def test_a_linear_loss_is_linear() -> None:
    inputs = torch.randn(50_000, 3, dtype=torch.float64)
    for response in credit.linearity(Through(lambda a: 2 * a, 3), first, inputs, inputs, SIGMAS, directions=1):
        assert response.exponent == pytest.approx(1)
        assert response.asymmetry < 1e-9
        assert response.unchanged == 0
        assert response.slope == pytest.approx(2 * 3**0.5, rel=0.02)  # |g| of three nodes
        assert response.linear


def test_a_quadratic_loss_has_its_even_part() -> None:
    inputs = torch.full((100_000, 1), 0.5, dtype=torch.float64)
    for response in credit.linearity(Through(torch.square), first, inputs, inputs, SIGMAS, directions=1):
        # (a + s xi)^2: odd part 2 a s xi, even part s^2 xi^2, and E xi^4 = 3
        assert response.slope == pytest.approx(1, rel=0.02)
        assert response.asymmetry == pytest.approx(response.sigma * 3**0.5, rel=0.03)


def test_jumps_grow_as_the_root_of_sigma() -> None:
    generator = torch.Generator().manual_seed(1)  # not the seed of the noise, whose numbers would go with these
    inputs = torch.rand(200_000, 1, generator=generator, dtype=torch.float64) * 2 - 1
    responses = credit.linearity(Through(lambda a: (a > 0).double()), first, inputs, inputs, SIGMAS, directions=1)
    # A jump of 1 in s E|xi| / 2 of the samples for each sign of the noise: never for both.
    shares = [sigma * (2 / math.pi) ** 0.5 / 2 for sigma in SIGMAS]
    for index, (response, share) in enumerate(zip(responses, shares, strict=True)):
        assert response.unchanged == pytest.approx(1 - share, abs=5 * (share / 4e5) ** 0.5)
        below, above = max(index - 1, 0), min(index + 1, len(SIGMAS) - 1)
        # The odd part is the root of a count, so that its logarithm has the error 1 / (2 root of the count).
        error = 0.5 * sum(1 / (shares[at] * 2e5) for at in (below, above)) ** 0.5
        assert response.exponent == pytest.approx(0.5, abs=5 * error / math.log(SIGMAS[above] / SIGMAS[below]))
        assert response.asymmetry == pytest.approx(1, abs=0.01)
        assert response.slope == pytest.approx((share / 2) ** 0.5 / response.sigma, rel=5 * 0.5 / (share * 2e5) ** 0.5)
        assert not response.linear


def test_nothing_moves_and_nothing_is_remembered() -> None:
    model = nd.decorrelate(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)))
    before = copy.deepcopy(model.state_dict())
    inputs, targets = torch.randn(8, 3), torch.randint(2, (8,))
    responses = credit.linearity(model, F.cross_entropy, inputs, targets, (0.1, 0.01))
    assert [response.sigma for response in responses] == [0.01, 0.1]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(found.take_record() is None for _, found, _ in nd.rate.decorrelated_layers(model))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("hold", "sigma"), [("pass", 0.1), ("step", 0.5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_default_sigma_lies_in_the_linear_range_of_a_spiking_network(hold, sigma, seed) -> None:
    model = spiking([64, 128, 10], gain=2.0, seed=seed)
    assert credit.default_sigma(model, hold) == sigma
    inputs, targets = nd.data.digits(seed).train
    responses = credit.linearity(
        model,
        F.cross_entropy,
        inputs[:64],
        targets[:64],
        (1e-3, sigma / 2, sigma, 2 * sigma),
        hold=hold,
        time_first=True,
    )
    assert responses[2].linear and not responses[0].linear


def test_the_default_sigma_without_spikes_is_small() -> None:
    assert credit.default_sigma(nn.Linear(2, 2), "step") == credit.default_sigma(nn.Linear(2, 2), "pass") == 1e-3
    case = make_case()
    found = []
    for options in ({}, {"sigma": 1e-3}):
        case.model.zero_grad()
        credit.get("node_perturbation", case.model, **options).backward(F.mse_loss, case.inputs, case.targets)
        found.append(gradients(case.model))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert credit.default_sigma(nn.Sequential(nn.Linear(2, 2), norse.torch.LIFBoxCell()), "pass") == 0.1


def test_a_silent_network_has_no_exponent() -> None:
    inputs = torch.zeros(4, 1, dtype=torch.float64)
    for response in credit.linearity(Through(lambda a: 0 * a), first, inputs, inputs, (0.1, 0.2)):
        assert response.unchanged == 1 and response.slope == 0
        assert math.isnan(response.exponent) and math.isnan(response.asymmetry) and not response.linear


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigmas": [0.1]}, r"two or more different numbers, got \[0\.1\]"),
        ({"sigmas": [0.1, 0.1]}, "two or more different"),
        ({"sigmas": [0.1, -1.0]}, "every sigma must be a finite number > 0, got -1.0"),
        ({"sigmas": SIGMAS, "directions": 0, "hold": "trial"}, "directions .*; hold "),
    ],
)
def test_values_are_checked_at_once(options, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        credit.linearity(nn.Linear(2, 2), first, torch.zeros(2, 2), torch.zeros(2, 2), **options)
