"""The spiking network of the protocols."""

from __future__ import annotations

from contextlib import nullcontext

import norse.torch
import pytest
import torch
from torch import nn

import neuro_decorr as nd
from models.spiking import Poisson, spiking
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


def test_counts_are_rates_times_steps() -> None:
    inputs = torch.rand(4, 5)
    counts = spiking([5, 8, 3], gain=3.0, steps=12, readout="count", seed=0)(inputs)
    assert torch.equal(counts, (12 * spiking([5, 8, 3], gain=3.0, steps=12, seed=0)(inputs)).round())
    with pytest.raises(InvalidValue, match="readout"):
        spiking([5, 3], readout="counts")


def test_spikes_per_inference_are_those_of_every_layer() -> None:
    model = spiking([5, 8, 6, 3], gain=3.0, steps=12, seed=0)
    inputs = torch.rand(4, 5)
    counted = model.spikes_per_inference(inputs)
    hidden = model.network[1](model.network[0](inputs.expand(12, 4, 5)))[0].detach()
    assert list(counted) == ["1", "3", "5"]
    assert counted["1"] == pytest.approx(float(hidden.sum()) / 4) and counted["1"] > 0
    assert counted["5"] == pytest.approx(float(model(inputs).detach().sum()) * 12 / 4)
    stepwise = spiking([5, 8, 6, 3], gain=3.0, steps=12, seed=0, stepwise=True)
    assert stepwise.spikes_per_inference(inputs) == pytest.approx(counted) and stepwise.training


def test_poisson_spikes_have_their_rates_and_perturbed_passes_see_the_same() -> None:
    encoder = Poisson(steps=4_000, baseline=0.1, gain=0.5, seed=0)
    inputs = torch.tensor([[0.4, 0.0, -1.0, 4.0]])
    spikes = encoder(inputs)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    expected = torch.tensor([[0.3, 0.1, 0.0, 1.0]])  # no rate below zero or above one spike a step
    assert torch.allclose(spikes.mean(dim=0), expected, atol=4 * (0.25 / 4_000) ** 0.5)
    assert not torch.equal(encoder(inputs), spikes)  # the next pass has others
    assert torch.equal(encoder.eval()(inputs), encoder(inputs))

    # With noise too small to move a spike, node perturbation finds no change of the loss: all passes see one input.
    model = spiking([4, 6, 2], gain=3.0, steps=12, encoder=Poisson(12, 0.2, 0.5), seed=0)
    credit = nd.credit.get("node_perturbation", model, sigma=1e-7, time_first=True)
    for update in range(5):
        expectation = pytest.warns(UserWarning, match="no perturbed pass changed") if update == 0 else nullcontext()
        with expectation:
            credit.backward(nn.functional.cross_entropy, torch.rand(16, 4), torch.zeros(16, dtype=torch.int64))
    assert all(not parameter.grad.any() for parameter in model.parameters()) and int(model.encoder.counter) == 5
