"""The spiking network of the protocols."""

from __future__ import annotations

import norse.torch
import pytest
import torch
from torch import nn

import neuro_decorr as nd
from models.spiking import spiking
from neuro_decorr.errors import InvalidValue


def test_runs_constant_currents_and_sequences() -> None:
    model = spiking([5, 8, 3], gain=3.0, steps=12, seed=0)
    inputs = torch.rand(4, 5)
    rates = model(inputs)
    assert rates.shape == (4, 3) and 0 < rates.mean() < 1
    assert torch.equal(model(inputs.expand(12, 4, 5)), rates)
    assert torch.equal(rates * 12, (rates * 12).round())


def test_steps_and_sequences_are_the_same_and_cells_of_norse_fit_in() -> None:
    inputs = torch.rand(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at_once = spiking([5, 8, 3], gain=3.0, seed=0).double()
    stepwise = spiking([5, 8, 3], gain=3.0, seed=0, stepwise=True).double()
    assert torch.equal(at_once.spikes(inputs), stepwise.spikes(inputs))
    parameters = norse.torch.LIFParameters(*(torch.tensor(value).double() for value in (200, 100, 0, 0.5, 0)))
    theirs = spiking(
        [5, 8, 3], gain=3.0, seed=0, neuron=lambda _: norse.torch.LIFCell(parameters), stepwise=True
    ).double()
    assert at_once.spikes(inputs).sum() > 0 and torch.equal(theirs.spikes(inputs), at_once.spikes(inputs))


def test_weights_come_from_the_seed_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = spiking([5, 4], seed=1), spiking([5, 4], seed=1), spiking([5, 4], seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.network[0].weight, again.network[0].weight)
    assert not torch.equal(first.network[0].weight, other.network[0].weight)


def test_decorrelation_is_placed_before_every_layer() -> None:
    model = spiking([5, 4, 3], decorrelation=nd.norse.Decorrelation, bias=False)
    kinds = [type(module) for module in model.network]
    assert kinds == 2 * [nd.norse.Decorrelation, nn.Linear, nd.norse.LIF] and model.network[1].bias is None


def test_bad_sizes_are_told() -> None:
    for sizes in ([5], [5, 0], [5.0, 3]):
        with pytest.raises(InvalidValue, match="sizes"):
            spiking(sizes)
    with pytest.raises(InvalidValue, match="steps"):
        spiking([5, 3], steps=0)
