"""Kinds of neurons against Norse's own, spike for spike, and what torch does to them."""

from __future__ import annotations

import copy

import norse.torch
import pytest
import torch
from norse.torch.functional.lif_refrac import LIFRefracParameters
from norse.torch.functional.reset import reset_subtract
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.norse.neuron_loops import Neuron, run
from tests.norse.spike_trains import step_by_step


def currents(steps: int = 200) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.6 * torch.randn(steps, 3, 7, generator=generator, dtype=torch.float64) + 0.3


def double(*values: float) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


BOX = {"synapse_time": None, "membrane_time": 9e-3, "leak": 0.1, "threshold": 0.2}
REFRACTORY = {"synapse_time": 4e-3, "membrane_time": 9e-3, "leak": 0.1, "threshold": 0.4, "reset": -0.2}
LIF_PARAMETERS = norse.torch.LIFParameters(*double(1 / 4e-3, 1 / 9e-3, 0.1, 0.4, -0.2))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda: nd.norse.LIF(7, reset_method="subtract", dtype=torch.float64, **BOX),
            lambda: norse.torch.LIFBoxCell(
                norse.torch.LIFBoxParameters(*double(1 / 9e-3, 0.1, 0.2, 0.0), reset_method=reset_subtract)
            ),
        ),
        (
            lambda: nd.norse.LIF(7, refractory_time=5e-3, dtype=torch.float64, **REFRACTORY),
            lambda: norse.torch.LIFRefracCell(LIFRefracParameters(LIF_PARAMETERS, torch.tensor(5.0))),
        ),
        (
            lambda: nd.norse.IF(7, threshold=1.5, reset=-0.2, dtype=torch.float64),
            lambda: norse.torch.IAFCell(norse.torch.IAFParameters(*double(1.5, -0.2))),
        ),
    ],
    ids=["subtract", "refractory", "IF"],
)
def test_spikes_as_norse_does(ours, theirs) -> None:
    inputs, cell = currents(), ours()
    expected, _ = step_by_step(theirs(), inputs)
    spikes, _ = cell(inputs)
    assert 0.02 < expected.mean() < 0.5 and torch.equal(spikes, expected)
    assert torch.equal(step_by_step(cell, inputs)[0], spikes)


@pytest.mark.parametrize("subtract", [False, True])
def test_adaptive_and_inhibited_neurons_are_refractory_and_subtract_too(subtract: bool) -> None:
    """Adaptive ones are a loop; without weights, inhibited ones are LIF."""
    options = {"refractory_time": 3e-3, "reset_method": "subtract" if subtract else "value", "dtype": torch.float64}
    options |= {"threshold": 0.4, "leak": 0.05, "membrane_time": 9e-3, "synapse_time": 4e-3}
    options |= {} if subtract else {"reset": -0.1}
    neuron = Neuron(refractory_steps=3, subtract=subtract, adaptation_strength=0.2)
    inputs = currents(80)
    spikes, state = nd.norse.AdaptiveLIF(7, adaptation_time=30e-3, adaptation_strength=0.2, **options)(inputs)
    for unit in range(7):
        expected, _ = run(neuron, inputs[:, 1, unit].numpy(), inputs[:, 1, unit].numpy())
        assert torch.equal(spikes[:, 1, unit], torch.from_numpy(expected))
    assert spikes.sum() > 50 and state.refractory.max() > 0
    rule = nd.norse.LateralCovariance(homeostasis=None)
    assert torch.equal(nd.norse.LateralLIF(7, rule=rule, **options)(inputs)[0], nd.norse.LIF(7, **options)(inputs)[0])


KINDS = {
    "IF": lambda: nd.norse.IF(7, threshold=1.0, reset_method="subtract", refractory_time=1e-3),
    "AdaptiveLIF": lambda: nd.norse.AdaptiveLIF(7, threshold=0.3, refractory_time=2e-3),
    "LIF": lambda: nd.norse.LIF(7, threshold=0.3, refractory_time=2e-3, reset_method="subtract"),
}


@pytest.mark.parametrize("name", KINDS)
def test_compile_vmap_and_forward_derivatives(name: str) -> None:
    torch._dynamo.reset()
    cell, inputs = KINDS[name]().double(), currents(12)
    compiled = torch.compile(copy.deepcopy(cell), backend="aot_eager", fullgraph=True)
    found = []
    for run_cell in (cell, compiled):
        given = inputs.clone().requires_grad_()
        spikes, _ = run_cell(given)
        (gradient,) = torch.autograd.grad((spikes * inputs).sum(), given)
        found.append((spikes, gradient))
    assert found[0][0].any() and torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])
    mapped, state = torch.vmap(lambda one: cell(one.unsqueeze(1)), in_dims=1)(inputs)
    assert torch.equal(mapped.squeeze(2).movedim(0, 1), found[0][0]) and state.refractory.shape == (3, 1, 7)
    direction = torch.randn(inputs.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, along = torch.func.jvp(lambda given: (cell(given)[0] * inputs).sum(), (inputs,), (direction,))
    torch.testing.assert_close(along, (found[0][1] * direction).sum())


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
@pytest.mark.parametrize("parameters", [torch.float32, torch.float64])
def test_spikes_as_event_loaders_give_them(dtype: torch.dtype, parameters: torch.dtype) -> None:
    spikes = torch.rand(20, 2, 7, generator=torch.Generator().manual_seed(0)) < 0.4
    for make in (
        lambda: nd.norse.LIF(7, threshold=0.2, dtype=parameters),
        lambda: nd.norse.LateralLIF(7, threshold=0.2, dtype=parameters),
        lambda: nd.norse.IF(7, dtype=parameters),
        lambda: nd.norse.Decorrelation(7, dtype=parameters),
        lambda: nd.norse.Decorrelation(7, dtype=parameters, signal="trace"),
    ):
        outputs, _ = make()(spikes.to(dtype))
        expected, _ = make()(spikes.to(parameters))
        assert outputs.dtype == parameters and torch.equal(outputs, expected)
    for cell in (nd.norse.LIF(7), nd.norse.Decorrelation(7)):
        with pytest.raises(InvalidValue, match=r"complex|floating"):
            cell(torch.zeros(5, 2, 7, dtype=torch.complex64))


@pytest.mark.parametrize("dt", [1e-6, 1e-9])
def test_no_time_step_is_too_small(dt: float) -> None:
    """Only ratios of times count."""
    inputs = currents(60).float()
    for kind in (nd.norse.LIF, nd.norse.LateralLIF):
        options = {"threshold": 0.3}
        if kind is nd.norse.LateralLIF:
            options["rule"] = nd.norse.LateralCovariance(homeostasis=None)
        expected, _ = kind(7, refractory_time=2e-3, **options)(inputs)
        times = {"membrane_time": 10 * dt, "synapse_time": 5 * dt, "refractory_time": 2 * dt}
        spikes, _ = kind(7, dt=dt, **times, **options)(inputs)
        assert torch.equal(spikes, expected) and spikes.any()
    traces = [nd.norse.Trace(5 * step, step).filtered(inputs, None)[0] for step in (dt, 1e-3)]
    torch.testing.assert_close(*traces)


def test_states_without_a_graph() -> None:
    cells = nd.norse.LateralLIF(7), nd.norse.Decorrelation(7, signal="trace"), norse.torch.LIFCell()
    network = norse.torch.SequentialState(nn.Linear(7, 7), *cells).double()
    nd.norse.set_sequences(network, False)
    _, state = network(currents()[0])
    nested = {"network": state, "more": (None, [state[1].potential], 3)}
    found = nd.norse.detach(nested)
    assert state[1].potential.requires_grad and not found["network"][1].potential.requires_grad
    assert found["more"][0] is None and found["more"][2] == 3 and not found["more"][1][0].requires_grad
    assert [type(each) for each in found["network"]] == [type(each) for each in state]
    assert not found["network"][3].v.requires_grad and torch.equal(found["network"][3].v, state[3].v)
    outputs, _ = network(currents()[1], found["network"])
    outputs.sum().backward()  # what was before is not differentiated again
    with pytest.raises(InvalidValue, match="got a Linear, in which tensors would keep their graph"):
        nd.norse.detach([None, nn.Linear(2, 2)])
    with pytest.raises(TypeError, match="IF has no leak, synapse_time"):
        nd.norse.IF(3, synapse_time=5e-3, leak=0.0)
