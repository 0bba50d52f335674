"""A graph against the same modules in Norse's chain, and what it refuses."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import Any

import norse.torch as nt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported


def of_images() -> tuple[nd.norse.Graph, Any]:
    """A convolutional graph, and the chain of Norse in which every layer without time is lifted."""
    torch.manual_seed(0)
    nodes: dict[str, nn.Module] = {
        "convolution": nn.Conv2d(2, 3, 3),
        "normalisation": nn.BatchNorm2d(3),
        "spikes": nd.norse.LIF(3, threshold=0.05, spatial=2),
        "pooling": nn.AvgPool2d(2),
        "flat": nn.Flatten(),
        "readout": nn.Linear(12, 4),
    }
    chain: Any = nt.SequentialState(
        *(
            deepcopy(one) if isinstance(one, nd.norse.LIF | nn.Linear) else nt.Lift(deepcopy(one))
            for one in nodes.values()
        )
    )
    return nd.norse.Graph(nodes, list(pairwise(["input", *nodes, "output"])), (2, 6, 6)), chain


def test_outputs_and_running_statistics_are_those_of_norse() -> None:
    graph, chain = of_images()
    fresh = nn.BatchNorm2d(3)
    for name, buffer in graph.get_submodule("normalisation").named_buffers():
        assert torch.equal(buffer, fresh.get_buffer(name))  # building it was no experience
    images = torch.rand(5, 4, 2, 6, 6)
    torch.testing.assert_close(graph(images)[0], chain(images)[0])
    for ours, theirs in zip(graph.buffers(), chain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)
    # In train mode a normalisation of one sample has no statistics; a graph is built all the same.
    edges = [("input", "norm"), ("norm", "output")]
    assert nd.norse.Graph({"norm": nn.BatchNorm1d(3)}, edges, (3,)).get_submodule("norm").training


@pytest.mark.parametrize(
    "credit", ["node_perturbation", "activity_perturbation", "likelihood_ratio", "forward_gradient"]
)
def test_noise_on_convolutions_is_that_of_norse(credit: str) -> None:
    targets, images = torch.tensor([0, 1, 2, 3]), (torch.rand(5, 4, 2, 6, 6) < 0.3).float()
    gradients = []
    for network in of_images():
        options = {"tangents": "activities"} if credit == "forward_gradient" else {}
        assigned = nd.credit.get(credit, network.eval(), hold="pass", **options)
        torch.manual_seed(1)
        assigned.backward(lambda output, target: F.cross_entropy(output.sum(0), target), images, targets)
        gradients.append([parameter.grad for parameter in network.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert isinstance(ours, Tensor) and bool((ours != 0).any())
        torch.testing.assert_close(ours, theirs)


def test_other_states_and_dead_ends_are_refused() -> None:
    nodes = {"layer": nn.Linear(4, 3), "lif": nd.norse.LIF(3), "back": nn.Linear(3, 3)}
    edges = [("input", "layer"), ("layer", "lif"), ("lif", "back"), ("lif", "output")]
    with pytest.raises(Unsupported, match="node 'back' does not reach the output"):
        nd.norse.Graph(nodes, edges, (4,))
    network = nd.norse.Graph(nodes, [*edges, ("back", "lif")], (4,))
    _, state = network(torch.rand(5, 6, 4))
    with pytest.raises(InvalidValue, match=r"a state of 6 samples .* an input of 2"):
        network(torch.rand(5, 2, 4), state)
    with pytest.raises(InvalidValue, match="the state must be the GraphState"):
        network(torch.rand(5, 6, 4), state.cells["lif"])


def test_a_module_in_two_places_is_written_in_both() -> None:
    torch.manual_seed(0)
    layer, neurons = nn.Linear(6, 6), nt.LIF()
    with torch.no_grad():
        layer.weight.mul_(10)
    chain: Any = nt.SequentialState(layer, neurons, layer, neurons)
    inputs = (torch.rand(30, 4, 6) < 0.5).float()
    between, _ = neurons(torch.stack([layer(step) for step in inputs]))
    expected, _ = neurons(torch.stack([layer(step) for step in between]))
    graph = nd.norse.to_nir(chain)
    assert len(graph.nodes) == 6 and expected.any()
    assert torch.equal(nd.norse.from_nir(graph)(inputs)[0], expected)
    nodes = {"a": layer, "b": nd.norse.LIF(6), "c": layer}
    twice = nd.norse.Graph(nodes, list(pairwise(["input", *nodes, "output"])), (6,))
    torch.testing.assert_close(nd.norse.from_nir(nd.norse.to_nir(twice))(inputs)[0], twice(inputs)[0])


def test_what_a_hook_computes_is_not_left_out() -> None:
    layer = nn.Linear(6, 6)
    chain = nn.Sequential(layer, nd.norse.LIF(6))
    for register in (layer.register_forward_hook, layer.register_forward_pre_hook):
        hook = register(lambda *_: None)
        with pytest.raises(Unsupported, match=r"module '0' \(Linear\) has a forward hook"):
            nd.norse.to_nir(chain)
        hook.remove()
    nd.norse.to_nir(nd.decorrelate(chain))  # which watches its own first pass
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", nn.Tanh())
    torch.testing.assert_close(nd.norse.to_nir(chain).nodes["affine_0"].weight, layer.weight.detach().numpy())
