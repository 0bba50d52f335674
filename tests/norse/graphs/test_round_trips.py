"""What is written computes the same when it is read again, in either convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import norse.torch
import numpy as np
import pytest
import torch
from norse.torch import SequentialState
from torch import nn

import neuro_decorr as nd
from models.spiking import spiking
from tests.norse.spike_trains import spike_trains, step_by_step


def lateral(features: int, dt: float = 1e-3) -> nd.norse.LateralLIF:
    rule = nd.norse.LateralCovariance(rate=0.2, homeostasis=nd.norse.Homeostasis(target_rate=100.0, average_time=0.05))
    return nd.norse.LateralLIF(features, rule=rule, threshold=0.3, dt=dt, membrane_time=10 * dt, synapse_time=5 * dt)


def trained(
    network: SequentialState, rule: nd.rules.Rule | None = None, dtype: torch.dtype = torch.float64
) -> nn.Module:
    """A network whose lateral weights have all learnt from the same spikes, in eval mode."""
    network = network.to(dtype)
    plasticities: list[torch.optim.Optimizer] = []
    if rule is not None:
        plasticities.append(nd.Plasticity(network, rule))
    if any(isinstance(module, nd.norse.LateralLIF) for module in network):
        plasticities.append(nd.norse.NeuronPlasticity(network))
    for seed in range(6):
        network(spike_trains(30, 4, 6, seed, dtype))
        for plasticity in plasticities:
            plasticity.step()
    return network.eval()


def layers(*sizes: int, seed: int = 0) -> list[nn.Linear]:
    return [module for module in spiking(sizes, gain=3.0, seed=seed).network if isinstance(module, nn.Linear)]


def with_cells() -> nn.Module:
    one, two = layers(6, 10, 3)
    cells = [nd.norse.Decorrelation(6, signal="trace"), nd.norse.Decorrelation(10)]
    neurons = [nd.norse.LIF(10, threshold=torch.linspace(0.2, 0.6, 10)), nd.norse.LIF(3, threshold=0.5)]
    return trained(
        SequentialState(cells[0], one, neurons[0], cells[1], two, neurons[1]), nd.rules.get("norm_preserving", rate=0.3)
    )


def with_places() -> nn.Module:
    one, two = layers(6, 10, 3)
    neurons = [nd.norse.LIF(10, threshold=0.3, synapse_time=None), nd.norse.LIF(3, threshold=0.3)]
    rule = nd.rules.get("interneuron", interneurons=2)
    return trained(nd.decorrelate(SequentialState(one, neurons[0], two, neurons[1])), rule)


def with_inhibition() -> nn.Module:
    one, two = layers(6, 10, 3)
    return trained(SequentialState(one, lateral(10), two, nd.norse.LIF(3, threshold=0.5)))


def with_cells_of_norse() -> nn.Module:
    one, two, three, four = layers(6, 10, 8, 5, 3)
    p = [torch.tensor(value, dtype=torch.float64) for value in (200.0, 100.0, 0.05, 0.4, -0.1)]
    neurons = [
        norse.torch.LIFCell(norse.torch.LIFParameters(*p)),
        norse.torch.LIFBoxCell(norse.torch.LIFBoxParameters(*p[1:4])),
        norse.torch.LICell(norse.torch.LIParameters(*p[:3])),
        norse.torch.LIBoxCell(norse.torch.LIBoxParameters(*p[1:3])),
    ]
    between = nd.norse.Decorrelation(10)
    stepwise = [one, neurons[0], between, two, neurons[1], three, neurons[2], four, neurons[3]]
    network = SequentialState(*stepwise).double()
    between.matrix.copy_(torch.randn(10, 10, generator=torch.Generator().manual_seed(0)))
    return network.eval()


def with_a_decorrelation_at_the_end() -> nn.Module:
    (one,) = layers(6, 4)
    network = SequentialState(nd.norse.Decorrelation(6), lateral(6), one, nd.norse.LIF(4), nd.norse.Decorrelation(4))
    return trained(network, nd.rules.get("norm_preserving", rate=0.3))


NETWORKS = [with_cells, with_places, with_inhibition, with_cells_of_norse, with_a_decorrelation_at_the_end]


@pytest.mark.parametrize("convention", ["current", "increment", "exponential"])
@pytest.mark.parametrize("make", NETWORKS)
def test_what_is_read_back_spikes_the_same(make: Any, convention: Any, tmp_path: Path) -> None:
    network, inputs = make(), spike_trains(60, 5, 6, 99)
    path = tmp_path / "network.nir"
    nd.norse.to_nir(network, path, convention=convention)
    reads = [nd.norse.from_nir(path), nd.norse.from_nir(nd.norse.to_nir(nd.norse.from_nir(path)))]
    if convention == "increment":  # the same by the equations, and where r and w_in are ignored
        reads.append(nd.norse.from_nir(path, convention="increment"))
    with torch.no_grad():
        expected, _ = step_by_step(network, inputs)
        assert expected.abs().sum() > 0 and expected.std() > 0
        for read in reads:
            for outputs in (read(inputs)[0], step_by_step(read, inputs)[0]):
                torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-9)  # spikes, or what is linear in them


def test_decorrelation_is_folded_and_parameters_are_one_a_neuron() -> None:
    network = with_cells()
    graph = nd.norse.to_nir(network)
    assert [type(node).__name__ for node in graph.nodes.values()] == [
        "Input", "Affine", "CubaLIF", "Affine", "CubaLIF", "Output",
    ]  # fmt: skip
    matrix, mean, layer = network[0].matrix, network[0].mean, network[1]
    assert (matrix - torch.eye(6)).abs().max() > 0.01
    node = graph.nodes["affine_1"]
    np.testing.assert_allclose(node.weight, (layer.weight @ matrix).detach(), atol=1e-12)
    np.testing.assert_allclose(node.bias, (layer.bias - layer.weight @ matrix @ mean).detach(), atol=1e-12)
    neurons = graph.nodes["neurons_2"]
    np.testing.assert_allclose(neurons.v_threshold, np.linspace(0.2, 0.6, 10), rtol=1e-6)
    assert neurons.tau_mem.shape == neurons.tau_syn.shape == neurons.v_leak.shape == (10,)


def test_inhibition_is_a_cycle_and_the_bias_is_in_the_layer() -> None:
    network = with_inhibition()
    graph, cell = nd.norse.to_nir(network), network[1]
    assert cell.weight.abs().max() > 1e-3 and cell.bias_average.abs().max() > 1e-3
    edges = {("neurons_1", "inhibition_1"), ("inhibition_1", "neurons_1")}
    assert edges <= set(graph.edges) and isinstance(graph.nodes["inhibition_1"], nir.Linear)
    np.testing.assert_allclose(graph.nodes["inhibition_1"].weight, -cell.weight)
    expected = network[0].bias.detach() + 1e-3 * cell.bias_average
    np.testing.assert_allclose(graph.nodes["affine_0"].bias, expected)


def test_the_file_says_what_made_it(tmp_path: Path) -> None:
    nd.norse.to_nir(with_cells(), tmp_path / "network.nir")
    graph = nir.read(tmp_path / "network.nir")
    assert graph.metadata["dt"] == 1e-3 and graph.metadata["made_by"] == f"neuro_decorr {nd.__version__}"
    described = graph.nodes["affine_1"].metadata
    assert described["rule"] == "norm_preserving" and "rate=0.3" in described["rule_parameters"]
    assert described["trace_time"] == 5e-3 and described["structure"] == "dense"
    again = nd.norse.to_nir(nd.norse.from_nir(tmp_path / "network.nir"))
    assert again.nodes["affine_1"].metadata == described
    nd.norse.to_nir(with_inhibition(), tmp_path / "network.nir")
    neurons = nir.read(tmp_path / "network.nir").nodes["neurons_1"]
    assert neurons.metadata["rule"] == "lateral_covariance" and "rate=0.2" in neurons.metadata["rule_parameters"]
