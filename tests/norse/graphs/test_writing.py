"""What every layer becomes in a graph of NIR, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import norse.torch as nt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from norse.torch.functional.reset import reset_subtract
from torch import nn

import neuro_decorr as nd
from models.spiking import spiking
from neuro_decorr.errors import InvalidValue, Unsupported

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Linear without a bias": (lambda: nn.Linear(4, 3, bias=False), (4,)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1, dilation=2), (2, 9)),
    "Conv2d, groups": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (4, 7, 7)),
    "Conv2d, same": (lambda: nn.Conv2d(2, 3, 3, padding="same", bias=False), (2, 5, 5)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2, 1, 1), (2, 5, 5)),
    "sums over windows": (lambda: nn.AvgPool2d(2, divisor_override=1), (2, 6, 6)),
    "LPPool2d": (lambda: nn.LPPool2d(1, 2), (2, 6, 6)),
    "Flatten": (lambda: nn.Flatten(1, 2), (2, 3, 4)),
    "BatchNorm2d": (lambda: normalisation(nn.BatchNorm2d(2)), (2, 4, 4)),
    "BatchNorm1d": (lambda: normalisation(nn.BatchNorm1d(4, affine=False)), (4,)),
    "decorrelated Conv2d": (lambda: decorrelated(nn.Conv2d(2, 3, 3, padding=1), (8, 2, 5, 5)), (2, 5, 5)),
    "decorrelated Linear": (lambda: decorrelated(nn.Linear(4, 3), (8, 4)), (4,)),
    "pruned Linear": (lambda: pruned(nn.Linear(4, 3)), (4,)),
}


def normalisation(layer: Any) -> nn.Module:
    space = (4, 4) if isinstance(layer, nn.BatchNorm2d) else ()
    layer = layer.double()
    with torch.no_grad():
        for _ in range(3):
            layer(torch.randn(8, layer.num_features, *space, dtype=torch.float64) * 2 + 1)
        if layer.affine:
            layer.weight.uniform_(0.5, 2)
            layer.bias.normal_()
    return layer  # type: ignore[no-any-return]  # of Any


def decorrelated(layer: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    layer = nd.decorrelate(layer.double())
    plasticity = nd.Plasticity(layer, nd.rules.get("norm_preserving", rate=0.5))
    for _ in range(3):
        layer(torch.rand(shape, dtype=torch.float64))
        plasticity.step()
    return layer


def pruned(layer: nn.Linear) -> nn.Module:
    torch.nn.utils.prune.random_unstructured(layer, "weight", amount=0.5)
    with torch.no_grad():
        layer.weight_orig.add_(1.0)  # what is computed from it is old now
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer = make().double().eval()
    inputs = torch.randn(5, *shape, dtype=torch.float64)
    nd.norse.to_nir(nn.Sequential(layer), tmp_path / "a.nir", input_shape=shape)
    read = nd.norse.from_nir(tmp_path / "a.nir", dt=1e-3, sequences=False)
    torch.testing.assert_close(read(inputs)[0], layer(inputs), rtol=0, atol=1e-12)


def test_batch_normalisation_goes_into_the_layer_before_it_or_behind_and_dropout_vanishes() -> None:
    torch.manual_seed(0)
    norms = [normalisation(nn.BatchNorm1d(size)) for size in (4, 5, 3)]
    chain = [
        norms[0],
        nn.Linear(4, 5),
        norms[1],
        nn.Dropout(),
        nd.norse.LIF(5, threshold=0.1),
        nn.Linear(5, 3),
        norms[2],
    ]
    network = nt.SequentialState(*chain, nd.norse.LIF(3)).double().eval()
    graph = nd.norse.to_nir(network, input_shape=(4,))
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert kinds == ["Input", "Affine", "CubaLIF", "Affine", "CubaLIF", "Output"]
    inputs = torch.rand(6, 4, dtype=torch.float64)
    expected = norms[1](chain[1](norms[0](inputs)))
    node = graph.nodes["affine_1"]
    torch.testing.assert_close(inputs @ torch.from_numpy(node.weight).T + torch.from_numpy(node.bias), expected)


def test_linear_layers_in_a_row_stay_apart() -> None:
    graph = nd.norse.to_nir(nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 6)))
    assert [node.weight.shape for node in graph.nodes.values() if isinstance(node, nir.Affine)] == [(2, 6), (6, 2)]


@pytest.mark.parametrize("dt", [1e-3, 1e-6, 1e-9])
def test_time_steps_may_be_nanoseconds(dt: float) -> None:
    neurons = nd.norse.LIF(6, threshold=0.3, dt=dt, membrane_time=10 * dt, synapse_time=5 * dt)
    box = nd.norse.LIF(6, dt=dt, membrane_time=10 * dt, synapse_time=None)
    torch.manual_seed(0)
    network = nt.SequentialState(nn.Linear(4, 6), neurons, nn.Linear(6, 6), box)
    graph = nd.norse.to_nir(network)
    assert [type(node).__name__ for node in graph.nodes.values()][2:5:2] == ["CubaLIF", "LIF"]
    inputs = 3 * torch.rand(40, 2, 4)
    assert torch.equal(nd.norse.from_nir(graph)(inputs)[0], network(inputs)[0])


def test_a_trace_of_another_time_step_is_refused() -> None:
    cells = [nd.norse.Decorrelation(4, signal="trace"), nn.Linear(4, 6), nd.norse.LIF(6, dt=1e-4)]
    with pytest.raises(Unsupported, match=r"steps of 0.0001 s and the Trace of module '0'"):
        nd.norse.to_nir(nt.SequentialState(*cells))


def test_increments_go_into_the_weights_and_into_a_scale_elsewhere() -> None:
    membranes = torch.linspace(5e-3, 20e-3, 6)
    chain = [nn.Linear(4, 6), nd.norse.LIF(6, membrane_time=membranes), nd.norse.LIF(6, synapse_time=None)]
    network = nt.SequentialState(*chain).double()
    graph = nd.norse.to_nir(network, convention="increment")
    shares = 1e-3 / membranes.double().numpy()
    first = graph.nodes["affine_0"]
    np.testing.assert_allclose(first.weight, chain[0].weight.detach().numpy() * shares[:, None], rtol=1e-6)
    np.testing.assert_allclose(first.bias, chain[0].bias.detach().numpy() * shares, rtol=1e-6)
    (between,) = (node for node in graph.nodes.values() if isinstance(node, nir.Scale))
    np.testing.assert_allclose(between.scale, 0.1, rtol=1e-6)
    neurons = graph.nodes["neurons_1"]
    np.testing.assert_allclose(neurons.r * 1e-3, neurons.tau_mem, rtol=1e-6)
    np.testing.assert_allclose(neurons.w_in * 1e-3, neurons.tau_syn, rtol=1e-6)


def test_a_time_constant_of_one_step_decays_by_no_exponential() -> None:
    network = nt.SequentialState(nn.Linear(4, 3), nd.norse.LIF(3, membrane_time=1e-3))
    with pytest.raises(Unsupported, match="no exponential decay does"):
        nd.norse.to_nir(network, convention="exponential")


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    lif, linear = nd.norse.LIF(3), nn.Linear(3, 3)
    subtracting = nt.LIFBoxCell(nt.LIFBoxParameters(reset_method=reset_subtract))
    norm = nn.BatchNorm1d(3, track_running_stats=False)
    for modules, match in (
        ([linear, nn.ReLU()], r"module '1' \(ReLU\) has no form in NIR. Modules with a form in NIR: Linear"),
        ([linear, nt.LSNNCell()], r"module '1' \(LSNNCell\) has no form"),
        ([nt.LIFCell()], r"give input_shape.*such as input_shape=\(2, 34, 34\)"),
        ([lif, nd.norse.LIF(3, dt=2e-3)], r"runs in steps of 0.002 s and module .* in steps of 0.001"),
        ([lif, nn.Linear(4, 3)], "takes 4 inputs, got an input of 3 units"),
        ([linear, subtracting], r'to_nir\(..., reset_method="subtract"\)'),
        ([spiking([3, 3])], r"module \(Spiking\) has no form in NIR. Give to_nir .* its submodule 'network'"),
        ([linear, norm], "keeps no running statistics"),
        ([linear, nd.norse.LIF(3, refractory_time=2e-3)], "is refractory"),
        ([linear, nd.norse.AdaptiveLIF(3)], "thresholds that change"),
    ):
        with pytest.raises(Unsupported, match=match):
            nd.norse.to_nir(nt.SequentialState(*modules))
    image: dict[str, Any] = {"input_shape": (2, 6, 6)}
    for module, match in (
        (nn.Conv2d(2, 3, (3, 1)), "square kernels only"),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), "has padding_mode="),
        (nn.Conv2d(3, 3, 3), r"takes 3 channels, got an input of the shape \(2, 6, 6\)"),
        (nn.MaxPool2d(2), "MaxPool2d"),
        (nn.AvgPool2d(2, ceil_mode=True), "options that have no form"),
        (nn.Flatten(0), r"Use Flatten\(1\)"),
        (nn.Conv2d(2, 3, 7), r"a kernel that is larger than its input of the shape \(2, 6, 6\)"),
    ):
        with pytest.raises(Unsupported, match=match):
            nd.norse.to_nir(nn.Sequential(module), **image)
    with pytest.raises(InvalidValue, match="there is no folder"):
        nd.norse.to_nir(linear, tmp_path / "none" / "a.nir")
    with pytest.raises(InvalidValue, match="is a folder"):
        nd.norse.to_nir(linear, tmp_path)
    wrong: Any
    for wrong, options, match in (
        (linear, {"convention": "other"}, "convention"),
        (linear, {"path": 5}, "path must be a str, a Path or None"),
        (linear, {"input_shape": 3}, r"such as \(64,\)"),
        ("linear", {}, "torch.nn.Module"),
    ):
        with pytest.raises(InvalidValue, match=match):
            nd.norse.to_nir(wrong, **options)
    with pytest.raises(Unsupported, match="no module for which NIR has a node"):
        nd.norse.to_nir(nn.Sequential(nn.Dropout()))


def test_numbers_that_no_simulator_could_run_are_not_written() -> None:
    times = nn.Parameter(torch.full((3,), 5e-3))
    network = nt.SequentialState(nn.Linear(4, 3), nd.norse.LIF(3, membrane_time=times))
    with torch.no_grad():
        times[1] = 0.5e-3  # learnt below dt
    with pytest.raises(
        InvalidValue,
        match=r"tau_mem of node 'neurons_1' must be finite and at least the time step of 0.001 s, got 0.0005",
    ):
        nd.norse.to_nir(network)
    with torch.no_grad():
        times[1] = 5e-3
        network[0].bias[2] = torch.nan
    with pytest.raises(InvalidValue, match="bias of node 'affine_0' must be finite, got nan"):
        nd.norse.to_nir(network)


def test_a_subtractive_reset_is_said_by_whoever_writes_and_kept_in_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nt.SequentialState(nn.Linear(4, 5), nd.norse.LIF(5, threshold=0.2, reset_method="subtract")).double()
    nd.norse.to_nir(network, tmp_path / "a.nir", reset_method="subtract")
    inputs = 2 * torch.rand(60, 2, 4, dtype=torch.float64)
    expected, _ = network(inputs)
    assert torch.equal(nd.norse.from_nir(tmp_path / "a.nir")(inputs)[0], expected)
    assert not torch.equal(nd.norse.from_nir(tmp_path / "a.nir", reset_method="value")(inputs)[0], expected)


@pytest.mark.parametrize("last", ["neurons", "layer"])
def test_what_feeds_its_output_back_is_a_cycle(last: str) -> None:
    torch.manual_seed(0)
    layer, cell = nn.Linear(5, 5, bias=last == "neurons").double(), nt.LIFCell(nt.LIFParameters(v_th=torch.tensor(0.2)))
    layer.weight.data.mul_(2)
    chain = [layer, cell] if last == "neurons" else [cell, layer]
    network = nt.RecurrentSequential(*chain)
    inputs, state, expected = torch.rand(60, 3, 5, dtype=torch.float64), None, []
    with torch.no_grad():
        for step in inputs:
            output, state = network(step, state)
            expected.append(output)
    outputs, _ = nd.norse.from_nir(nd.norse.to_nir(network, input_shape=(5,)))(inputs)
    assert torch.stack(expected).std() > 0
    torch.testing.assert_close(outputs, torch.stack(expected), rtol=0, atol=1e-9)
    with pytest.raises(Unsupported, match="feeds back the output of a layer with a bias"):
        nd.norse.to_nir(nt.RecurrentSequential(cell, nn.Linear(5, 5)), input_shape=(5,))


levels = st.floats(0.1, 3.0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(levels, levels, levels, levels), min_size=1, max_size=4),
    st.sampled_from(["current", "increment", "exponential"]),
)
def test_any_population_spikes_the_same_after_a_round_trip(units: list[tuple[float, ...]], convention: Any) -> None:
    """With any gain: what is written again has gain one, and other thresholds."""
    r, w_in, threshold, scale = (np.array(values) for values in zip(*units, strict=True))
    times = {"tau_mem": 1e-3 * (1 + 5 * scale), "tau_syn": 1e-3 * (1 + scale)}
    node = nir.CubaLIF(
        r=r * 3, w_in=w_in * 3, v_threshold=threshold, v_leak=0.1 * scale - 0.2, v_reset=-0.1 * r, **times
    )
    size = len(r)
    layer = nir.Affine(np.eye(size), np.zeros(size))
    first = nd.norse.from_nir(nir.NIRGraph.from_list(layer, node), 1e-3)
    second = nd.norse.from_nir(nd.norse.to_nir(first, convention=convention))
    inputs = torch.rand(50, 3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first(inputs)[0], second(inputs)[0])
