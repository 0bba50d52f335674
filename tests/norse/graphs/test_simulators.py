"""Other simulators that read NIR with code of their own run our files: the same spikes, or the reason why not."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import norse.torch as nt
import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from tests.norse.graphs.test_round_trips import lateral, trained
from tests.norse.spike_trains import spike_trains

DT = 1e-4  # snnTorch 1.0 assumes it
INPUTS = spike_trains(60, 5, 6, 99, torch.float32)

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs


def imported(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason="see tests/norse/graphs/simulators.txt")


def stepped(network: Any, inputs: Tensor) -> Tensor:
    state, series = None, []
    with torch.no_grad():
        for step in inputs:
            output, state = network(step, state)
            series.append(output)
    return torch.stack(series)


def snntorch(graph: nir.NIRGraph, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    reader = imported("snntorch.import_nir")
    # Its 1.0 puts a cycle into a graph of its own, in which the input arrives at the recurrent weights.
    monkeypatch.setattr(reader, "_replace_rnn_subgraph_with_nirgraph", lambda graph: graph)
    with contextlib.redirect_stdout(io.StringIO()):
        return stepped(reader.import_from_nir(graph), INPUTS)


def spikingjelly(graph: nir.NIRGraph, _: pytest.MonkeyPatch) -> Tensor:
    imported("loguru").logger.remove()
    reader = imported("spikingjelly.activation_based.nir_exchange")
    return stepped(reader.import_from_nir(graph, dt=DT), INPUTS)


def norse(graph: nir.NIRGraph, _: pytest.MonkeyPatch) -> Tensor:
    return stepped(nt.from_nir(graph, dt=DT), INPUTS)


def layers() -> list[nn.Linear]:
    torch.manual_seed(0)
    made = [nn.Linear(6, 10), nn.Linear(10, 3)]
    for layer in made:
        layer.weight.data.mul_(3)
    return made


def neurons(features: int, **options: Any) -> nn.Module:
    given = {"threshold": 0.3, "membrane_time": 10 * DT, "synapse_time": 5 * DT} | options
    return nd.norse.LIF(features, dt=DT, **given)


def current_based() -> nn.Module:
    one, two = layers()
    places = [nd.norse.Decorrelation(6), nd.norse.Decorrelation(10)]
    network = nt.SequentialState(places[0], one, neurons(10), places[1], two, neurons(3))
    return trained(network, nd.rules.get("norm_preserving", rate=0.3), torch.float32)


def without_synapses() -> nn.Module:
    one, two = layers()
    return nt.SequentialState(one, neurons(10, synapse_time=None), two, neurons(3, synapse_time=None))


def without_leak() -> nn.Module:
    one, two = layers()
    return nt.SequentialState(one, nd.norse.IF(10, dt=DT), two, nd.norse.IF(3, dt=DT))


def inhibited() -> nn.Module:
    one, two = layers()
    return trained(nt.SequentialState(one, lateral(10, DT), two, neurons(3)), None, torch.float32)


def recurrent() -> nn.Module:
    one, two = layers()
    p = nt.LIFParameters(tau_syn_inv=torch.tensor(0.2 / DT), tau_mem_inv=torch.tensor(0.1 / DT), v_th=torch.tensor(0.3))
    return nt.SequentialState(one, nt.LIFRecurrent(10, 10, p=p, dt=DT), two, neurons(3))


@pytest.mark.parametrize(
    ("simulator", "make", "convention"),
    [
        *[(norse, make, "current") for make in (current_based, without_synapses, without_leak, inhibited, recurrent)],
        # Its reader ignores the r of LIF.
        *[(norse, make, "increment") for make in (current_based, without_leak)],
        *[(snntorch, make, "current") for make in (current_based, without_synapses, inhibited, recurrent)],
        *[(snntorch, make, "increment") for make in (current_based, without_synapses, recurrent)],
        *[(spikingjelly, make, "increment") for make in (current_based, without_synapses, without_leak, inhibited)],
        (spikingjelly, recurrent, "increment"),
        *[(spikingjelly, make, "current") for make in (without_synapses, without_leak)],
    ],
)
def test_simulators_that_take_euler_steps_spike_the_same(
    simulator: Callable[..., Tensor], make: Any, convention: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make().eval()
    nd.norse.to_nir(network, tmp_path / "a.nir", convention=convention)
    with torch.no_grad():
        expected, _ = network(INPUTS)
    outputs = simulator(nir.read(tmp_path / "a.nir"), monkeypatch)
    assert expected.sum() > 10
    assert torch.equal(outputs, expected)


def test_what_norse_writes_is_read_with_the_square_of_its_time_step() -> None:
    """Its 1.1 writes dt tau for tau."""
    torch.manual_seed(0)
    p = nt.LIFBoxParameters(torch.full((5,), 100.0), torch.zeros(5), torch.full((5,), 0.2))
    network = nt.SequentialState(nn.Linear(6, 5), nt.LIFBoxCell(p))
    graph = nt.to_nir(network, sample_data=INPUTS[0, :1])
    for node in graph.nodes.values():  # tensors, until they are in a file
        for name, value in vars(node).items():
            setattr(node, name, value.numpy() if isinstance(value, Tensor) else value)
    expected = stepped(network, 3 * INPUTS)
    outputs, _ = nd.norse.from_nir(graph, dt=1e-6, dtype=torch.float32)(3 * INPUTS)
    assert expected.sum() > 10
    assert torch.equal(outputs, expected)


def test_what_spikingjelly_writes_is_read(tmp_path: Path) -> None:
    imported("loguru").logger.remove()
    package = "spikingjelly.activation_based"
    exchange, functional, layer, neuron = (
        imported(f"{package}.{name}") for name in ("nir_exchange", "functional", "layer", "neuron")
    )
    torch.manual_seed(0)
    theirs = nn.Sequential(
        layer.Conv2d(2, 3, 3, padding=1), neuron.LIFNode(tau=4.0, v_threshold=0.3), layer.AvgPool2d(2), layer.Flatten(),
        layer.Linear(12, 4), neuron.LIFNode(tau=3.0, decay_input=False, v_threshold=0.5),
    )  # fmt: skip
    with torch.no_grad():
        for index in (0, 4):
            theirs[index].weight.abs_()
    inputs = 3 * torch.rand(30, 5, 2, 4, 4)
    exchange.export_to_nir(theirs, inputs[0], save_path=tmp_path / "a.nir", dt=DT)
    functional.reset_net(theirs)
    with torch.no_grad():
        expected = torch.stack([theirs(step) for step in inputs])
    read = nd.norse.from_nir(tmp_path / "a.nir", DT, dtype=torch.float32)
    assert expected.sum() > 10
    assert torch.equal(read(inputs)[0], expected)


def test_sinabs_spikes_the_same_where_it_has_one_spike_a_step_and_no_potential_below_minus_theta() -> None:
    """It subtracts the threshold, lets neurons spike several times in a step, and clips potentials at -theta."""
    reader = imported("sinabs.nir")
    torch.manual_seed(0)
    convolution, readout = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.Linear(16, 3, bias=False)
    convolution.weight.data.abs_().mul_(0.3)
    readout.weight.data.abs_().mul_(0.25)
    first, second = (nd.norse.IF(n, spatial=space, reset_method="subtract") for n, space in ((4, 2), (3, 0)))
    pool = nt.Lift(nn.AvgPool2d(2, divisor_override=1))
    network = nt.SequentialState(nt.Lift(convolution), first, pool, nn.Flatten(2), readout, second)
    inputs = (torch.rand(40, 5, 2, 4, 4) < 0.2).float()
    graph = nd.norse.to_nir(network, reset_method="subtract", input_shape=(2, 4, 4))
    theirs = reader.from_nir(graph, batch_size=5)
    with torch.no_grad():
        expected, _ = network(inputs)
        outputs = theirs(inputs.transpose(0, 1).flatten(0, 1))[0].reshape(5, 40, 3).transpose(0, 1)
    assert expected.sum() > 20
    assert torch.equal(outputs, expected)


def test_rockpool_spikes_the_same_where_it_has_one_spike_a_step(tmp_path: Path) -> None:
    """It subtracts the threshold, and lets neurons spike several times in a step."""
    reader = imported("rockpool.nn.modules.torch.nir")
    one, two = (layer.requires_grad_(False) for layer in layers())
    one.weight.mul_(0.12).abs_(), two.weight.mul_(0.1).abs_()
    network = nt.SequentialState(one, *[neurons(10, reset_method="subtract"), two, neurons(3, reset_method="subtract")])
    path = tmp_path / "a.nir"
    nd.norse.to_nir(network, path, convention="exponential", reset_method="subtract")
    expected, _ = network(INPUTS)
    with torch.no_grad():
        outputs = reader.from_nir(nir.read(path))(INPUTS.transpose(0, 1).contiguous())[0].transpose(0, 1)
    assert expected.sum() > 20
    assert torch.equal(outputs, expected)


def test_what_rockpool_writes_is_read() -> None:
    modules = imported("rockpool.nn.modules")
    sequential, reader = imported("rockpool.nn.combinators").Sequential, imported("rockpool.nn.modules.torch.nir")
    torch.manual_seed(0)
    theirs = sequential(
        modules.LinearTorch((6, 8), has_bias=False),
        modules.LIFTorch(8, tau_mem=1e-3, tau_syn=5e-4, threshold=1.0, dt=DT, bias=0.0),
        modules.LinearTorch((8, 3), has_bias=False),
        modules.LIFTorch(3, tau_mem=2e-3, tau_syn=4e-4, threshold=1.0, dt=DT, bias=0.0),
    )
    with torch.no_grad():
        for layer, factor in zip(
            [one for one in theirs.modules().values() if hasattr(one, "weight")], (0.1, 0.1), strict=True
        ):
            layer.weight.abs_().mul_(factor)
        expected = theirs(INPUTS.transpose(0, 1).contiguous())[0].transpose(0, 1)
    graph = reader.to_nir(theirs, torch.zeros(1, 6))
    read = nd.norse.from_nir(graph, DT, convention="exponential", reset_method="subtract", dtype=torch.float32)
    outputs = read(INPUTS)[0]
    assert expected.sum() > 10 and expected.max() == 1
    assert torch.equal(outputs, expected)
