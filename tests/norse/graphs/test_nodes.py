"""Every node of NIR's specification against Euler steps in numpy, and what a graph does with them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported
from tests.norse.graphs import euler

DT = 1e-3
RANDOM = np.random.default_rng(0)


def between(low: float, high: float, *shape: int) -> Any:
    return RANDOM.uniform(low, high, shape)


def normal(*shape: int) -> Any:
    return RANDOM.normal(size=shape)


def spiking(kind: Any, *shape: int) -> Any:
    """A population whose gain differs from neuron to neuron, with leaks and resets that are not zero."""
    r = between(0.5, 3, *shape)
    levels = {"v_threshold": between(0.2, 0.6, *shape), "v_reset": between(-0.3, 0.1, *shape)}
    if kind is nir.IF:
        return nir.IF(r=r / DT, **levels)
    levels["v_leak"] = between(-0.2, 0.1, *shape)
    if kind is nir.LIF:
        return nir.LIF(tau=between(2, 20, *shape) * DT, r=r, **levels)
    times = {"tau_mem": between(2, 20, *shape) * DT, "tau_syn": between(1.5, 10, *shape) * DT}
    return nir.CubaLIF(r=r, w_in=between(0.5, 8, *shape), **times, **levels)


NODES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "Affine": (nir.Affine(normal(4, 6), normal(4)), (6,)),
    "Linear": (nir.Linear(normal(4, 6)), (6,)),
    "Scale": (nir.Scale(normal(6)), (6,)),
    "Scale of an image": (nir.Scale(normal(2, 3, 3)), (2, 3, 3)),
    "Conv1d": (nir.Conv1d(9, normal(4, 3, 3), 2, 1, 2, 1, normal(4)), (3, 9)),
    "Conv1d, groups": (nir.Conv1d(None, normal(4, 1, 3), 1, 0, 1, 2, normal(4)), (2, 9)),
    "Conv2d": (nir.Conv2d((7, 8), normal(4, 2, 3, 3), (2, 1), (1, 0), 1, 1, normal(4)), (2, 7, 8)),
    "Conv2d, valid": (nir.Conv2d((7, 8), normal(4, 2, 3, 3), 1, "valid", 1, 1, normal(4)), (2, 7, 8)),
    "SumPool2d": (nir.SumPool2d(np.array([2, 3]), np.array([2, 2]), np.array([0, 1])), (2, 6, 7)),
    "AvgPool2d": (nir.AvgPool2d(np.array([2, 2]), np.array([2, 1]), np.array([1, 0])), (2, 6, 7)),
    "Flatten": (nir.Flatten({"input": np.array([2, 3, 4])}, 0, -1), (2, 3, 4)),
    "Flatten of the end": (nir.Flatten({"input": np.array([2, 3, 4])}, 1, 2), (2, 3, 4)),
    "I": (nir.I(between(10, 30, 6)), (6,)),
    "LI": (nir.LI(between(2, 20, 6) * DT, between(0.5, 3, 6), normal(6)), (6,)),
    "CubaLI": (
        nir.CubaLI(between(2, 9, 6) * DT, between(2, 20, 6) * DT, normal(6), normal(6), normal(6)),
        (6,),
    ),
    "LI of an image": (nir.LI(between(2, 20, 2, 3, 3) * DT, normal(2, 3, 3), normal(2, 3, 3)), (2, 3, 3)),
    "IF": (spiking(nir.IF, 6), (6,)),
    "LIF": (spiking(nir.LIF, 6), (6,)),
    "CubaLIF": (spiking(nir.CubaLIF, 6), (6,)),
    "LIF of an image": (spiking(nir.LIF, 2, 3, 3), (2, 3, 3)),
    "IF, alike in a channel": (
        nir.IF(*(np.tile(one, (1, 3, 3)) for one in (between(500, 900, 2, 1, 1), between(0.2, 0.9, 2, 1, 1)))),
        (2, 3, 3),
    ),
    "Threshold": (nir.Threshold(between(0.2, 0.8, 6)), (6,)),
    "Delay": (nir.Delay(np.array([0, 1, 3, 2, 7, 1]) * DT), (6,)),
}  # fmt: skip


def sequence(shape: tuple[int, ...], steps: int = 40, batch: int = 3, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(steps, batch, *shape, generator=generator, dtype=torch.float64) - 0.3


def graph_of(*nodes: Any, shape: tuple[int, ...]) -> nir.NIRGraph:
    named = {"in": nir.Input(np.array(shape))} | {f"node_{index}": node for index, node in enumerate(nodes)}
    named["out"] = nir.Output(output_type={"output": None})
    names = list(named)
    return nir.NIRGraph(named, list(pairwise(names)), type_check=False)


RESETS = [(name, sub) for name, (node, _) in NODES.items() for sub in (False, True)[: 1 + hasattr(node, "v_threshold")]]


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize(("name", "subtract"), RESETS)
def test_every_node_is_its_euler_steps(name: str, subtract: bool, sequences: bool) -> None:
    node, shape = NODES[name]
    inputs = sequence(shape)
    reset = "subtract" if subtract else "value"
    network = nd.norse.from_nir(
        graph_of(node, shape=shape), DT, reset_method=reset, sequences=sequences, dtype=torch.float64
    )
    if sequences:
        outputs, _ = network(inputs)
    else:
        state, series = None, []
        for step in inputs:
            output, state = network(step, state)
            series.append(output)
        outputs = torch.stack(series)
    expected = np.stack([euler.run([node], one, DT, subtract) for one in inputs.numpy().swapaxes(0, 1)], axis=1)
    assert np.ptp(expected) > 0
    torch.testing.assert_close(outputs, torch.from_numpy(expected), rtol=0, atol=1e-9)


def test_the_table_has_every_node_of_the_specification() -> None:
    primitives = {n for n in nir.ir.__all__ if isinstance(getattr(nir.ir, n), type)} - {"NIRNode", "NIRGraph"}
    assert primitives - {"Input", "Output"} == {type(node).__name__ for node, _ in NODES.values()}


def recurrent(back: Any, lag: Any = None) -> tuple[list[Any], nir.NIRGraph]:
    """Input, layer, population and readout, and a way back that may wait."""
    nodes = {
        "input": nir.Input(np.array([4])), "fc": nir.Affine(3 * normal(6, 4), normal(6)),
        "lif.lif": spiking(nir.CubaLIF, 6), "lif.w_rec": back, "out": nir.Linear(normal(2, 6)),
        "output": nir.Output(np.array([2])),
    }  # fmt: skip
    edges = [
        ("lif.lif", "out"), ("lif.w_rec", "lif.lif"), ("out", "output"), ("input", "fc"), ("fc", "lif.lif"),
    ]  # fmt: skip
    way = [("lif.lif", "lif.w_rec")]
    if lag is not None:
        nodes["wait"] = lag
        way = [("lif.lif", "wait"), ("wait", "lif.w_rec")]
    return list(nodes.values()), nir.NIRGraph(nodes, edges + way)


@pytest.mark.parametrize("steps", [None, 1, 3])
@pytest.mark.parametrize("sequences", [True, False])
def test_a_cycle_waits_one_step_or_its_delay_and_a_bias_in_it_acts_from_the_first(
    steps: int | None, sequences: bool
) -> None:
    lag = None if steps is None else nir.Delay(np.full(6, steps * DT))
    (_, before, node, back, after, *_), graph = recurrent(nir.Affine(2 * normal(6, 6), normal(6)), lag)
    network = nd.norse.from_nir(graph, DT, sequences=sequences)
    inputs = sequence((4,), steps=60)
    expected = np.stack(
        [
            euler.run_recurrent(before, node, back, [after], one, DT, steps or 1)
            for one in inputs.numpy().swapaxes(0, 1)
        ],
        axis=1,
    )
    if sequences:
        (first, state), (second, _) = network(inputs[:17]), (None, None)
        second, _ = network(inputs[17:], state)
        outputs = torch.cat([first, second])
    else:
        state, series = None, []
        for step in inputs:
            output, state = network(step, state)
            series.append(output)
        outputs = torch.stack(series)
    torch.testing.assert_close(outputs, torch.from_numpy(expected), rtol=0, atol=1e-9)
    assert [name for name, _ in network.named_children()][:2] == ["fc", "lif_lif"]


def test_of_two_populations_the_one_next_to_the_input_spikes_first() -> None:
    """Excitation arrives in its own step, inhibition one step later."""
    excitatory, inhibitory = spiking(nir.LIF, 6), spiking(nir.LIF, 3)
    layer, onto, back = nir.Linear(3 * normal(6, 4)), nir.Linear(2 * normal(3, 6)), nir.Linear(-2 * normal(6, 3))
    nodes = {
        "input": nir.Input(np.array([4])), "back": back, "i": inhibitory, "onto": onto, "e": excitatory, "fc": layer,
        "output": nir.Output(np.array([6])),
    }  # fmt: skip
    edges = [("i", "back"), ("back", "e"), ("onto", "i"), ("e", "onto"), ("fc", "e"), ("input", "fc"), ("e", "output")]
    inputs = sequence((4,), batch=1)
    outputs, _ = nd.norse.from_nir(nir.NIRGraph(nodes, edges), DT)(inputs)
    steps = {name: euler.stepper(node, DT) for name, node in nodes.items()}
    spikes, expected = np.zeros(3), []
    for x in inputs[:, 0].numpy():
        expected.append(steps["e"](steps["fc"](x) + steps["back"](spikes)))
        spikes = steps["i"](steps["onto"](expected[-1]))
    assert np.ptp(expected) > 0
    torch.testing.assert_close(outputs[:, 0], torch.from_numpy(np.array(expected)), rtol=0, atol=1e-9)


def test_graphs_inside_of_graphs_are_one(tmp_path: Any) -> None:
    _, flat = recurrent(nir.Linear(2 * normal(6, 6)))
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([6])), "lif": flat.nodes["lif.lif"], "w_rec": flat.nodes["lif.w_rec"],
            "output": nir.Output(np.array([6])),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )  # fmt: skip
    outer = {name: flat.nodes[name] for name in ("input", "fc", "out", "output")} | {"lif": inner}
    chain = ["input", "fc", "lif", "out", "output"]
    nir.write(tmp_path / "nested.nir", nir.NIRGraph(outer, list(pairwise(chain))))
    inputs = sequence((4,))
    outputs, _ = nd.norse.from_nir(tmp_path / "nested.nir", DT)(inputs)
    expected, _ = nd.norse.from_nir(flat, DT)(inputs)
    assert torch.equal(outputs, expected) and expected.std() > 0


def test_files_whose_shapes_or_names_do_not_fit_are_read(tmp_path: Any) -> None:
    layer, lif = nir.Affine(2 * normal(5, 4), normal(5)), spiking(nir.LIF, 5)
    good = graph_of(layer, lif, shape=(4,))
    inputs = sequence((4,))
    expected, _ = nd.norse.from_nir(good, DT)(inputs)
    batched = graph_of(layer, lif, shape=(1, 4))  # as Norse 1.1 writes it
    good.nodes["out"] = nir.Output(np.array([5]))
    batched.nodes["out"] = nir.Output(np.array([1, 1, 5]))  # as Rockpool does
    nir.write(tmp_path / "a.nir", batched)
    assert torch.equal(nd.norse.from_nir(tmp_path / "a.nir", DT)(inputs)[0], expected)
    single = nir.LIF(*(np.array([value]) for value in (5 * DT, 1.0, 0.0, 0.3, 0.0)))  # one number for all
    many = nir.LIF(*(np.full(5, value) for value in (5 * DT, 1.0, 0.0, 0.3, 0.0)))
    of_one, of_many = (nd.norse.from_nir(graph_of(layer, one, shape=(4,)), DT)(inputs)[0] for one in (single, many))
    assert torch.equal(of_one, of_many) and of_one.sum() > 0
    stale = nir.NIRGraph(good.nodes, good.edges, type_check=False)
    stale.edges = [tuple("gone" if name == "node_1" else name for name in edge) for edge in good.edges]
    nir.write(tmp_path / "b.nir", stale)
    with pytest.warns(UserWarning, match="'gone', which the graph does not hold"):
        read = nd.norse.from_nir(tmp_path / "b.nir", DT)
    assert torch.equal(read(inputs)[0], expected)


def test_older_files_lack_shapes_and_have_one_number_for_all(tmp_path: Any) -> None:
    lif = nir.LIF(*(np.full((2, 5, 5), value) for value in (5 * DT, 1.0, 0.0, 0.3, 0.0)))
    graph = graph_of(nir.Conv2d((7, 7), 2 * normal(2, 1, 3, 3), 1, 0, 1, 1, normal(2)), lif, shape=(1, 7, 7))
    graph.nodes["out"] = nir.Output(np.array([2, 5, 5]))
    nir.write(tmp_path / "a.nir", graph)
    inputs = sequence((1, 7, 7))
    expected, _ = nd.norse.from_nir(tmp_path / "a.nir", DT)(inputs)
    with h5py.File(tmp_path / "a.nir", "a") as file:
        nodes = file["node/nodes"]
        del nodes["node_0/input_shape"], nodes["node_1/r"], nodes["node_1/v_leak"]
        nodes["node_1/r"], nodes["node_1/v_leak"] = 1.0, 0.0
    assert torch.equal(nd.norse.from_nir(tmp_path / "a.nir", DT)(inputs)[0], expected) and expected.sum() > 0


def test_weights_that_hold_the_time_step_already() -> None:
    weight, tau = 3 * normal(5, 4), between(2, 9, 5) * DT
    levels = {"v_leak": np.zeros(5), "v_threshold": np.full(5, 0.4)}
    held = nir.LIF(tau=tau, r=np.ones(5), **levels)
    current = nir.LIF(tau=tau, r=tau / DT, **levels)
    inputs = sequence((4,))
    graphs = [graph_of(nir.Linear(weight), one, shape=(4,)) for one in (held, current)]
    outputs, _ = nd.norse.from_nir(graphs[0], DT, convention="increment")(inputs)
    expected, _ = nd.norse.from_nir(graphs[1], DT)(inputs)
    assert torch.equal(outputs, expected) and expected.sum() > 0
    assert torch.equal(nd.norse.from_nir(graphs[1], DT, convention="increment")(inputs)[0], expected)
    other = graph_of(nir.LIF(tau=tau, r=np.full(5, 3.0), **levels), shape=(5,))
    with pytest.raises(InvalidValue, match='convention="current"'):
        nd.norse.from_nir(other, DT, convention="increment")


def test_what_cannot_be_read_is_told(tmp_path: Any) -> None:
    ones = np.ones(3)

    def lif(**other: Any) -> nir.NIRGraph:
        given = {"tau": 5 * DT * ones, "r": ones, "v_leak": 0 * ones, "v_threshold": ones} | other
        return graph_of(nir.LIF(**given), shape=(3,))

    for graph, match in (
        (lif(tau=0.4 * DT * ones), "less than the time step"),
        (lif(r=-ones), "gain above zero"),
        (graph_of(nir.Delay(1.5 * DT * ones), shape=(3,)), "no multiples of the time step"),
        (graph_of(nir.Linear(np.ones((2, 3, 3))), shape=(2, 3)), "3 dimensions"),
        (nir.NIRGraph({"out": nir.Output(np.array([3]))}, [], type_check=False), "0 nodes Input"),
    ):
        with pytest.raises(Unsupported, match=match):
            nd.norse.from_nir(graph, DT)
    half_built = nir.NIRGraph({"a": nir.Linear(np.ones((3, 4))), "b": nir.Linear(np.ones((3, 3)))}, [("a", "b")])
    half_built.nodes["c"] = nir.Input(np.array([3]))
    with pytest.raises(Unsupported, match="wherever an edge is missing"):
        nd.norse.from_nir(half_built, DT)
    wrong: Any
    for wrong, dt, match in (
        (lif(), None, "give dt"),
        (lif(), "1 ms", "dt must be a finite number"),
        (nn.Linear(2, 3), DT, "takes a nir.NIRGraph or the path of its file, got a Linear"),
        (graph_of(nir.Linear(np.full((2, 3), np.nan)), shape=(3,)), DT, "a weight that is not finite"),
    ):
        with pytest.raises(InvalidValue, match=match):
            nd.norse.from_nir(wrong, dt)
    with pytest.raises(InvalidValue, match="there is no file"):
        nd.norse.from_nir(tmp_path / "none.nir", DT)
    (tmp_path / "text.nir").write_text("not a readable NIR file")
    with pytest.raises(InvalidValue, match="not a readable NIR file"):
        nd.norse.from_nir(tmp_path / "text.nir", DT)
    with pytest.raises(InvalidValue, match="does not take an input of the shape"):
        nd.norse.from_nir(graph_of(nir.Linear(np.ones((2, 3))), shape=(4,)), DT)


def test_a_graph_is_built_by_hand_and_refuses_what_it_cannot_run() -> None:
    lif = nd.norse.LIF(3)
    nodes = {"layer": nn.Linear(4, 3), "lif": lif, "back": nn.Linear(3, 3)}
    chain = [("input", "layer"), ("layer", "lif"), ("lif", "output")]
    network = nd.norse.Graph(nodes, [*chain[:2], ("lif", "back"), ("back", "lif"), ("lif", "output")], (4,))
    with pytest.raises(InvalidValue, match=r"sequences must be \(steps, batch, 4\)"):
        network(torch.ones(5, 4))
    nd.norse.set_sequences(network, False)
    with pytest.raises(InvalidValue, match=r"a time step must be \(batch, 4\)"):
        network(torch.ones(5, 2, 4))
    assert network(torch.ones(4))[0].shape == (3,)
    for wrong, match in (
        ([*chain, ("lif", "nothing")], "must join two of"),
        (chain[:2], 'no edge leads to "output"'),
    ):
        with pytest.raises(InvalidValue, match=match):
            nd.norse.Graph({"layer": nn.Linear(4, 3), "lif": nd.norse.LIF(3)}, wrong, (4,))
    with pytest.raises(Unsupported, match="does not reach node 'back'"):
        nd.norse.Graph({**nodes}, chain, (4,))
    edges = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    with pytest.raises(Unsupported, match="cycle without a state"):
        nd.norse.Graph({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)}, edges, (3,))
    with pytest.raises(InvalidValue, match="cannot be called"):
        nd.norse.Graph({"forward": lif}, [("input", "forward"), ("forward", "output")], (3,))
