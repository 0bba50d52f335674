"""What neurons are made of: numbers that stay, or parameters that learn, with exact derivatives."""

from __future__ import annotations

import copy

import norse.torch
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue
from tests.norse.neuron_loops import PARAMETERS, Neuron, run

STEPS, BATCH, UNITS = 60, 2, 3


def drive(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Currents, and the weights of the spikes in a sum, both (steps, batch, units)."""
    generator = torch.Generator().manual_seed(seed)
    currents = 0.6 * torch.rand(STEPS, BATCH, UNITS, generator=generator, dtype=torch.float64) - 0.05
    return currents, torch.randn(STEPS, BATCH, UNITS, generator=generator, dtype=torch.float64)


def learnt(value: float | list[float]) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def cell_of(neuron: Neuron, parameters: dict[str, Tensor]) -> nn.Module:
    options = {"refractory_time": neuron.refractory_steps * 1e-3, "dtype": torch.float64}
    options["reset_method"] = "subtract" if neuron.subtract else "value"
    kind = nd.norse.IF if neuron.membrane_time is None else nd.norse.LIF
    return kind(UNITS, **parameters, **options)


NEURONS = {
    "LIF": Neuron(),
    "subtract": Neuron(subtract=True, reset=0.0),
    "refractory": Neuron(refractory_steps=3),
    "refractory, subtract": Neuron(refractory_steps=2, subtract=True, reset=0.0),
    "IF": Neuron(membrane_time=None, threshold=1.0),
    "IF, subtract": Neuron(membrane_time=None, threshold=1.0, subtract=True, reset=0.0, refractory_steps=1),
}


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("each", [False, True])
def test_spikes_and_derivatives_are_those_of_a_loop(name: str, each: bool) -> None:
    """Gradients and forward-mode derivatives by every parameter, shared by the neurons or one for each."""
    neuron, (currents, weights) = NEURONS[name], drive()
    absent = {"leak", "membrane_time", "synapse_time"} if neuron.membrane_time is None else set()
    absent |= {"reset"} if neuron.subtract else set()
    names = [parameter for parameter in PARAMETERS if parameter not in absent]
    given = {parameter: getattr(neuron, parameter) for parameter in names}
    cell = cell_of(neuron, {k: learnt([v] * UNITS if each else v) for k, v in given.items()})
    spikes, _ = cell(currents)
    (spikes * weights).sum().backward()
    expected, derivatives = np.zeros((STEPS, BATCH, UNITS)), np.zeros((UNITS, len(PARAMETERS)))
    for sample in range(BATCH):
        for unit in range(UNITS):
            expected[:, sample, unit], found = run(
                neuron, currents[:, sample, unit].numpy(), weights[:, sample, unit].numpy()
            )
            derivatives[unit] += found
    np.testing.assert_array_equal(spikes.detach().numpy(), expected)
    assert 0.02 < expected.mean() < 0.5
    for parameter, wanted in zip(PARAMETERS, derivatives.T, strict=True):
        if parameter in names:
            gradient = getattr(cell, parameter).grad.numpy()
            np.testing.assert_allclose(gradient, wanted if each else wanted.sum(), rtol=1e-9, err_msg=parameter)
    tensors = dict(cell.named_parameters())
    directions = {k: torch.ones_like(v) * (0.1 + 0.2 * i) for i, (k, v) in enumerate(tensors.items())}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return (torch.func.functional_call(cell, parameters, (currents,))[0] * weights).sum()

    detached = {k: v.detach() for k, v in tensors.items()}
    _, along = torch.func.jvp(loss, (detached,), (directions,))
    torch.testing.assert_close(along, sum((tensors[k].grad * directions[k]).sum() for k in tensors))


def test_the_learnt_parameter_is_the_one_that_was_given() -> None:
    threshold, time = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.full((6,), 8e-3))
    cell = nd.norse.LIF(6, threshold=threshold, synapse_time=time)
    network = norse.torch.SequentialState(nn.Linear(6, 6), cell)
    assert cell.threshold is threshold and cell.synapse_time is time
    assert [id(p) for p in network.parameters()].count(id(threshold)) == 1
    assert {"1.threshold", "1.synapse_time", "1.leak"} <= set(network.state_dict())
    inputs = (torch.rand(20, 3, 6, generator=torch.Generator().manual_seed(0)) < 0.4).float() * 2
    optimiser = torch.optim.SGD([threshold], lr=1e-3)
    for copied in (copy.deepcopy(network), nd.decorrelate(network)):
        copied[1].threshold.data.add_(100.0)
        assert not copied(inputs)[0].any() and network(inputs)[0].any()
    for _ in range(3):  # fewer spikes, by a higher threshold
        before = network(inputs)[0].sum()
        optimiser.zero_grad()
        before.backward()
        optimiser.step()
    assert threshold > 0.31 and network(inputs)[0].sum() < before
    fixed = nd.norse.LIF(6, threshold=threshold.item(), synapse_time=time.tolist())
    assert torch.equal(fixed(network[0](inputs))[0], network(inputs)[0])
    cast = copy.deepcopy(network).half()
    assert cast[1].threshold.dtype == torch.float32 and cast[1].threshold.requires_grad
    assert network.double()[1].threshold is threshold and threshold.dtype == torch.float64


def test_a_parametrization_keeps_a_time_in_its_range() -> None:
    """Torch's own way, for those who will not bound by hand."""

    class AtLeast(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return 1e-3 + nn.functional.softplus(values)

        def right_inverse(self, values: Tensor) -> Tensor:
            return (values - 1e-3).expm1().log()

    cell = nd.norse.LIF(3, threshold=0.3, membrane_time=nn.Parameter(torch.full((3,), 5e-3)))
    expected = nd.norse.LIF(3, threshold=0.3, membrane_time=5e-3)
    nn.utils.parametrize.register_parametrization(cell, "membrane_time", AtLeast())
    currents = drive()[0].float()
    spikes, _ = cell(currents)
    assert spikes.any() and torch.equal(spikes, expected(currents)[0])
    spikes.sum().backward()
    assert cell.parametrizations.membrane_time.original.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (nd.norse.LIF, "membrane_time", 5e-3),
        (nd.norse.LIF, "synapse_time", 5e-3),
        (nd.norse.AdaptiveLIF, "adaptation_time", 5e-2),
        (nd.norse.AdaptiveLIF, "adaptation_strength", 0.1),
    ],
)
def test_what_was_learnt_out_of_its_range_is_told_in_the_forward_pass(kind: type, name: str, value: float) -> None:
    parameter = nn.Parameter(torch.tensor(value))
    cell, currents = kind(3, **{name: parameter}), torch.rand(4, 5, 2, 3)
    cell(currents[0])
    for bad in (-1e-3, torch.nan):
        parameter.data.fill_(bad)
        for call in (cell, torch.vmap(lambda inputs: cell(inputs)[0])):
            with pytest.raises(InvalidValue, match=f"{name} was learnt out of its range, >= .*clamp_"):
                call(currents if call is not cell else currents[0])


def test_in_a_compiled_graph_it_is_told_too() -> None:
    torch._dynamo.reset()
    parameter = nn.Parameter(torch.tensor(5e-3))
    cell = nd.norse.LIF(3, membrane_time=parameter)
    compiled = torch.compile(cell, backend="aot_eager", fullgraph=True)
    compiled(torch.rand(5, 2, 3))
    parameter.data.fill_(1e-4)
    with pytest.raises(RuntimeError, match="membrane_time was learnt out of its range"):
        compiled(torch.rand(5, 2, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": nn.Parameter(torch.ones(2))}, "threshold must be one finite number, or 3 of them"),
        ({"threshold": nn.Parameter(torch.ones(3).double())}, r"must be of type torch.float32.*dtype=torch.float64"),
        ({"threshold": 2 * nn.Parameter(torch.ones(3))}, "requires a gradient: give a nn.Parameter"),
        ({"membrane_time": nn.Parameter(torch.tensor(1e-4))}, "membrane_time must be one finite number >= 0.001"),
        ({"threshold": nn.Parameter(torch.ones(3)), "rule": nd.norse.ThresholdHomeostasis()}, "moves the thresholds"),
        ({"refractory_time": 1.5e-3}, "refractory_time must be a multiple of dt, 0.001 s"),
        ({"refractory_time": -1e-3}, "refractory_time must be a finite number >= 0"),
        ({"reset_method": "subtract", "reset": -0.1}, "reset must be 0 with reset_method='subtract'"),
        ({"reset": "subtract"}, "reset must be one number, or 3 of them, got 'subtract'"),
        ({"reset_method": "zero"}, "'value', 'subtract'"),
        ({"spatial": -1}, "spatial must be a whole number >= 0"),
        ({"spatial": 4}, "spatial must be a whole number >= 0 and <= 3"),
    ],
)
def test_what_cannot_be_is_told(options, message) -> None:
    with pytest.raises(InvalidValue, match=message):
        nd.norse.LIF(3, **options)


def test_a_homeostasis_of_inhibited_neurons_moves_thresholds_alone_too() -> None:
    rule = nd.norse.LateralCovariance(homeostasis=nd.norse.ThresholdHomeostasis())
    with pytest.raises(InvalidValue, match="moves the thresholds"):
        nd.norse.LateralLIF(3, rule=rule, threshold=nn.Parameter(torch.ones(3)))
    cell = nd.norse.LateralLIF(3, threshold=nn.Parameter(torch.tensor(0.3)))
    cell(0.5 * torch.rand(50, 2, 3))[0].sum().backward()
    assert cell.threshold.grad.abs() > 0 and cell.mean.shape == (3,)
