"""Homeostasis of lateral neurons: each begins at its own rate, by the same promise as in Brian2, within its bounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue

NEURONS = 5


def cell_of(homeostasis: nd.norse.Homeostasis) -> nd.norse.LateralLIF:
    rule = nd.norse.LateralCovariance(rate=1e-2, homeostasis=homeostasis)
    return nd.norse.LateralLIF(NEURONS, rule=rule, threshold=0.4, dtype=torch.float64)


def sequences(count: int, steps: int = 400) -> Tensor:
    """Currents (count, steps, batch of 2, neurons), more of them for the last neurons."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, steps, 2, NEURONS)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * (0.2 + 0.05 * torch.arange(NEURONS))


def test_the_promise_is_that_of_brian() -> None:
    """Own rates, counted as long, and a bias of the same bounds and the same average."""
    theirs, ours = nd.brian.Homeostasis(), nd.norse.Homeostasis()
    assert theirs.target_rate is ours.target_rate is None
    assert ours.calibration == float(theirs.calibration) and ours.average_time == float(theirs.average_time)
    assert ours.largest_bias == theirs.largest_bias


def test_own_rates_are_those_of_all_that_was_counted() -> None:
    """Three sequences of 0.4 s cover a calibration of 1 s: rates are those of 1.2 s, and nothing else moves."""
    homeostasis = nd.norse.Homeostasis(calibration=1.0, rate=3.0)
    cell, plain = cell_of(homeostasis), nd.norse.LIF(NEURONS, threshold=0.4, dtype=torch.float64)
    plasticity, counted = nd.norse.NeuronPlasticity(cell), torch.zeros(NEURONS, dtype=torch.float64)
    for number, currents in enumerate(sequences(4)):
        spikes, _ = cell(currents)
        assert torch.equal(spikes, plain(currents)[0])  # the neurons are as they were, up to the first step of learning
        plasticity.step()
        if number < 3:
            counted += spikes.sum(dim=0).mean(dim=0)
            assert not cell.weight.any() and not cell.bias.any()
    assert counted.min() > 5
    expected = 3.0 * (counted / 1.2 * 0.4 - spikes.sum(dim=0).mean(dim=0))
    torch.testing.assert_close(cell.bias, expected)
    assert cell.weight.any()


@pytest.mark.parametrize(("current", "sign"), [(0.0, 1), (50.0, -1)])
def test_the_bias_is_bounded(current: float, sign: int) -> None:
    """Without spikes, and of neurons that spike in every other step, it stays at five times the target rate."""
    cell = cell_of(nd.norse.Homeostasis(target_rate=4.0, largest_bias=5.0, rate=100.0))
    plasticity = nd.norse.NeuronPlasticity(cell)
    for _ in range(30):
        cell(torch.full((100, 1, NEURONS), current, dtype=torch.float64))
        plasticity.step()
    assert torch.equal(cell.bias, torch.full_like(cell.bias, sign * 20.0))


def test_the_bound_is_that_of_each_neurons_own_rate() -> None:
    cell = cell_of(nd.norse.Homeostasis(calibration=1.2, largest_bias=2.0, rate=1000.0))
    plasticity = nd.norse.NeuronPlasticity(cell)
    for currents in [*sequences(3), *torch.zeros(1, 400, 2, NEURONS, dtype=torch.float64)]:
        cell(currents)
        plasticity.step()
    torch.testing.assert_close(cell.bias, 2.0 * cell.calibrated_spikes / 1.2)


def test_refusals() -> None:
    with pytest.raises(InvalidValue, match="largest_bias must be a finite number > 0"):
        nd.norse.Homeostasis(largest_bias=0.0)
