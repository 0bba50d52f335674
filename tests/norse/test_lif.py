"""Neurons: the dynamics of Norse, one cell for steps and sequences, exact surrogate gradients."""

from __future__ import annotations

import pytest
import torch
from norse.torch import LIFBoxCell, LIFBoxParameters, LIFCell, LIFParameters
from norse.torch.functional.lif import LIFState, lif_step
from torch import Tensor

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.norse.spike_trains import step_by_step


def currents(steps: int, batch: int, units: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.6 * torch.randn(steps, batch, units, generator=generator, dtype=torch.float64) + 0.3


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_spikes_as_norse_does() -> None:
    inputs = currents(200, 3, 7)
    synapse = LIFCell(
        LIFParameters(double(1 / 4e-3), double(1 / 9e-3), double(0.1), double(0.8), double(-0.2)), dt=1e-3
    )
    options = {"leak": 0.1, "threshold": 0.8, "reset": -0.2, "membrane_time": 9e-3, "dtype": torch.float64}
    box = LIFBoxCell(LIFBoxParameters(double(1 / 9e-3), double(0.1), double(0.8), double(-0.2)), dt=1e-3)
    for theirs, synapse_time, scale in ((synapse, 4e-3, 1.0), (box, None, 4.0)):
        expected, their_state = step_by_step(theirs, scale * inputs)
        spikes, state = nd.norse.LIF(7, synapse_time=synapse_time, **options)(scale * inputs)
        assert 0.02 < expected.mean() < 0.5 and torch.equal(spikes, expected)
        torch.testing.assert_close(state.potential, their_state.v.expand(3, 7), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_and_sequences_are_the_same(dtype: torch.dtype) -> None:
    cell, inputs = nd.norse.LIF(5, threshold=0.5), currents(40, 2, 5).to(dtype)
    spikes, state = cell(inputs)
    stepped, stepped_state = step_by_step(cell, inputs)
    started, _ = cell(inputs, cell.initial_state(2, dtype=dtype))
    assert spikes.sum() > 0 and torch.equal(spikes, stepped) and torch.equal(spikes, started)
    assert all(torch.equal(*pair) for pair in zip(state, stepped_state, strict=True))
    alone, _ = step_by_step(cell, inputs[:, 0])
    assert torch.equal(alone, spikes[:, 0])


def test_parameters_are_one_a_neuron() -> None:
    inputs = currents(60, 2, 1).expand(60, 2, 3)
    thresholds, times = [0.2, 0.5, 1.0], [5e-3, 10e-3, 20e-3]
    spikes, _ = nd.norse.LIF(3, threshold=thresholds, membrane_time=times)(inputs)
    for neuron, (threshold, time) in enumerate(zip(thresholds, times, strict=True)):
        expected, _ = nd.norse.LIF(1, threshold=threshold, membrane_time=time)(inputs[..., :1])
        assert torch.equal(spikes[..., neuron : neuron + 1], expected)


def test_gradient_is_that_of_norse_without_a_gradient_through_the_reset() -> None:
    """Norse's recurrent step, with no recurrent weights, and its surrogate, which is of slope 1 whatever alpha says."""
    inputs = currents(30, 2, 4).requires_grad_()
    weights = torch.randn(30, 2, 4, dtype=torch.float64)
    nd_spikes, _ = nd.norse.LIF(4, threshold=0.5, slope=1.0, dtype=torch.float64)(inputs)
    (gradient,) = torch.autograd.grad((nd_spikes * weights).sum(), inputs)
    p = LIFParameters(*(double(value) for value in (1 / 5e-3, 1 / 10e-3, 0.0, 0.5, 0.0)))
    state = LIFState(*(torch.zeros(2, 4, dtype=torch.float64) for _ in range(3)))
    eye, nothing, trains = torch.eye(4, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64), []
    for step in inputs:
        spikes, state = lif_step(step, state, eye, nothing, p)
        trains.append(spikes)
    (expected,) = torch.autograd.grad((torch.stack(trains) * weights).sum(), inputs)
    assert nd_spikes.sum() > 0 and torch.equal(nd_spikes, torch.stack(trains))
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("surrogate", ["superspike", "triangle"])
def test_gradient_of_one_step_is_the_surrogate(surrogate: str) -> None:
    options = {"surrogate": surrogate, "slope": 3.0, "synapse_time": None, "dtype": torch.float64}
    cell = nd.norse.LIF(5, sequences=False, **options)
    inputs = torch.tensor([-20.0, 8.0, 10.0, 11.0, 30.0], dtype=torch.float64, requires_grad=True)
    spikes, _ = cell(inputs)
    spikes.sum().backward()
    distance = 0.1 * inputs.detach() - 1  # dt / tau_m = 0.1
    shape = (1 + 3 * distance.abs()) ** -2 if surrogate == "superspike" else (1 - 3 * distance.abs()).clamp(min=0)
    torch.testing.assert_close(inputs.grad, 0.1 * shape)
    assert torch.equal(spikes, torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64))


def test_bounded_in_silence_and_under_constant_drive() -> None:
    cell = nd.norse.LIF(3, threshold=0.5)
    for inputs in (torch.zeros(500, 2, 3), torch.full((500, 2, 3), 100.0), torch.full((500, 2, 3), -100.0)):
        spikes, state = cell(inputs)
        assert all(torch.isfinite(tensor).all() and tensor.abs().max() < 1e3 for tensor in state)
        assert spikes.mean() in (0.0, 1.0)


def test_what_is_not_a_number_is_not_silence() -> None:
    spikes, _ = nd.norse.LIF(2)(torch.tensor([[[1.0, torch.nan]]]))
    assert spikes[0, 0, 0] == 0 and spikes[0, 0, 1].isnan()


def test_bad_parameters_and_inputs_are_told() -> None:
    for options, match in (
        ({"threshold": [1.0, 2.0]}, "threshold must be one finite number, or 3 of them"),
        ({"membrane_time": 1e-4}, "membrane_time must be one finite number >= 0.001"),
        ({"reset": 2.0}, "reset must lie below the threshold"),
        ({"surrogate": "sigmoid"}, "'superspike', 'triangle', got 'sigmoid'"),
        ({"dt": 0}, "dt must be a finite number > 0"),
    ):
        with pytest.raises(InvalidValue, match=match):
            nd.norse.LIF(3, **options)
    with pytest.raises(InvalidValue, match="empty"):
        nd.norse.LIF(3)(torch.zeros(0, 2, 3))
