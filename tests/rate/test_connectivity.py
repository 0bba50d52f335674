"""Layers whose D is confined to connections: learnt, saved, copied, folded, compensated, or refused in one line."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, StateMismatch, Unsupported
from neuro_decorr.rules.connectivity import Band, Connectivity, FanIn, Groups, Mask, Neighbourhood, of_weight

INPUTS = 24
CONNECTIONS = [Groups(5), Band(2), FanIn(3), Neighbourhood((4, 3), 1)]


def rows(count: int = 60, units: int = INPUTS) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(count, units, generator=generator) @ torch.randn(units, units, generator=generator)
    return mixed / units**0.5


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(INPUTS, 12), nn.ReLU(), nn.Linear(12, 4))


def learnt(
    model: nn.Module,
    inputs: Tensor,
    steps: int = 8,
    compensate: bool = False,
    rule: str = "whitening",
    **options: object,
) -> nd.Plasticity:
    plasticity = nd.Plasticity(model, nd.rules.get(rule, **options), compensate=compensate, row_fraction=0.5)
    for _ in range(steps):
        model(inputs)
        plasticity.step()
    return plasticity


@pytest.mark.parametrize("connectivity", CONNECTIONS, ids=str)
def test_layers_go_on_from_their_state_and_fold(connectivity: Connectivity) -> None:
    inputs, model = rows(), nd.decorrelate(network())
    plasticity = learnt(model, inputs, connectivity=connectivity)
    matrix = model[0].decorrelation.matrix
    assert not bool(matrix[~connectivity.matrix(INPUTS)].any())
    assert bool((matrix != torch.eye(INPUTS)).any())
    torch.testing.assert_close(nd.fold(model.eval())(inputs), model(inputs), rtol=1e-5, atol=1e-5)

    other = nd.decorrelate(network())
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    again = nd.Plasticity(other, plasticity.rule, row_fraction=0.5)
    again.load_state_dict(copy.deepcopy(plasticity.state_dict()))
    both, twin = copy.deepcopy((model, plasticity))
    for one, moves in ((model, plasticity), (other, again), (both, twin)):
        one.train()(inputs)
        moves.step()
    for one in (other, both):
        assert torch.equal(one.eval()(inputs), model.eval()(inputs))
    model.double()
    torch.testing.assert_close(model(inputs.double()).float(), both(inputs))


@pytest.mark.parametrize("connectivity", CONNECTIONS, ids=str)
def test_gradients_are_those_of_the_folded_network(connectivity: Connectivity) -> None:
    """dL/dW = dL/d(W D) D^T, and the same at the inputs, in float64."""
    model, inputs = nd.decorrelate(network().double()), rows().double().requires_grad_()
    learnt(model, inputs.detach(), connectivity=connectivity)
    model.zero_grad()
    model.eval()(inputs).square().sum().backward()
    folded, same = nd.fold(model), inputs.detach().clone().requires_grad_()
    folded(same).square().sum().backward()
    torch.testing.assert_close(inputs.grad, same.grad)
    expected = folded[0].weight.grad @ model[0].decorrelation.matrix.T
    shift = torch.outer(folded[0].bias.grad, model[0].decorrelation.matrix @ model[0].decorrelation.mean)
    torch.testing.assert_close(model[0].weight.grad, expected - shift)


def test_groups_are_layers_of_their_own() -> None:
    """A layer with D in groups takes the course of several layers, each with some of the inputs."""
    inputs, size = rows(), 8
    whole, parts = nd.Decorrelation(INPUTS), [nd.Decorrelation(size) for _ in range(INPUTS // size)]
    learnt(whole, inputs, connectivity=Groups(size))
    for index, part in enumerate(parts):
        own = inputs[:, index * size : (index + 1) * size]
        learnt(part, own)
        found = whole.matrix[index * size : (index + 1) * size, index * size : (index + 1) * size]
        torch.testing.assert_close(found, part.matrix, rtol=1e-4, atol=1e-5)


def test_compensation_follows_groups_and_refuses_the_rest() -> None:
    inputs, model = rows(), nd.decorrelate(network())
    expected = model(inputs).detach()
    learnt(model, inputs, compensate=True, connectivity=Groups(5))
    torch.testing.assert_close(model(inputs), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(Unsupported, match="layer '0' has a D of Band\\(width=2\\), whose inverse is full"):
        nd.Plasticity(nd.decorrelate(network()), nd.rules.get("whitening", connectivity=Band(2)), compensate=True)


def test_every_parameter_group_has_its_own() -> None:
    model, inputs = nd.decorrelate(network()), rows()
    groups = [
        {"modules": model[0], "connectivity": Neighbourhood((6, 4), 1.5)},
        {"modules": model[2], "connectivity": Groups(4)},
    ]
    plasticity = nd.Plasticity(groups, nd.rules.get("whitening"))
    for _ in range(3):
        model(inputs)
        plasticity.step()
    assert [model[i].decorrelation.structure for i in (0, 2)] == ["sparse", "blocks"]
    assert "connectivity" not in plasticity.param_groups[0]  # plain values only
    assert "sparse 24" in str(nd.coverage(model))


def test_other_connections_than_those_that_have_learnt_are_refused() -> None:
    model = nd.decorrelate(network())
    learnt(model, rows(), connectivity=Band(2))
    with pytest.raises(StateMismatch, match="needs one of other connections"):
        nd.Plasticity(model, nd.rules.get("whitening", connectivity=Band(1)))


def convolutions() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 2, 2)), torch.randn(6, 4, 7, 7)


@pytest.mark.parametrize("connectivity", [Groups(4), Band(1)], ids=str)
def test_grouped_convolutions(connectivity: Connectivity) -> None:
    plain, inputs = convolutions()
    model = nd.decorrelate(plain)
    learnt(model, inputs, connectivity=connectivity)
    first = model[0].decorrelation
    assert first.matrix.shape == (2, 18, 18)
    assert not bool(first.matrix[:, ~connectivity.matrix(18)].any())
    assert bool((first.matrix[0] != first.matrix[1]).any())
    torch.testing.assert_close(nd.fold(model.eval())(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    copied = nd.decorrelate(plain)
    copied.load_state_dict(model.state_dict())
    assert torch.equal(copied.eval()(inputs), model(inputs))


def pruned(amount: float = 0.5) -> nn.Module:
    model = network()
    prune.ln_structured(model[0], "weight", amount=0.25, n=2, dim=1)
    prune.random_unstructured(model[2], "weight", amount=amount)
    return model


def check_zeros(model: nn.Module, plain: nn.Module, inputs: Tensor, layers: tuple[int, ...]) -> None:
    folded = nd.fold(model.eval(), keep_sparsity=True)
    torch.testing.assert_close(folded(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    for index in layers:
        assert not bool(folded[index].weight[plain[index].weight == 0].any())


def test_folding_keeps_the_zeros_of_pruned_layers() -> None:
    plain, inputs = pruned(), rows()
    model = nd.decorrelate(plain, keep_sparsity=True)
    learnt(model, inputs)
    assert not model[0].decorrelation.is_identity()
    check_zeros(copy.deepcopy(model), plain, inputs, (0, 2))
    other = nd.decorrelate(plain, keep_sparsity=True)
    other.load_state_dict(copy.deepcopy(model).state_dict())
    assert torch.equal(other.eval()(inputs), model.eval()(inputs))


def test_a_transposed_and_a_grouped_convolution() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(6, 2, 2))
    with torch.no_grad():
        plain[0].weight[:, 1] = 0
        plain[1].weight[2:4, 0] = 0
    model, inputs = nd.decorrelate(plain, keep_sparsity=True), torch.randn(6, 4, 7, 7)
    learnt(model, inputs)
    check_zeros(model, plain, inputs, (0, 1))


def test_compensation_keeps_them_too() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(INPUTS, 12))
    with torch.no_grad():
        plain[0].weight[:6, :8] = 0
        plain[0].weight[6:, 8:] = 0
    model, inputs = nd.decorrelate(plain, keep_sparsity=True), rows()
    expected = plain(inputs)
    learnt(model, inputs, compensate=True)
    torch.testing.assert_close(model(inputs), expected, rtol=1e-4, atol=1e-5)
    assert not bool(model[0].weight[plain[0].weight == 0].any())


def test_what_would_be_filled_in_is_counted() -> None:
    model = nd.decorrelate(pruned())
    learnt(model, rows())
    with pytest.raises(InvalidValue, match="'0' \\(Linear\\): folding would turn 216 nonzero weights into 288"):
        nd.fold(model.eval(), keep_sparsity=True)


@pytest.mark.parametrize(
    ("rule", "options", "error", "message"),
    [
        ("interneuron", {"interneurons": 2}, Unsupported, "which cannot be confined"),
        ("whitening", {"connectivity": Groups(3)}, InvalidValue, "give only one of them"),
    ],
)
def test_rules_that_cannot(rule: str, options: dict, error: type[Exception], message: str) -> None:
    model = nd.decorrelate(pruned(), keep_sparsity=True)
    with pytest.raises(error, match=message):
        nd.Plasticity(model, nd.rules.get(rule, **options))


def test_centring_alone_keeps_everything() -> None:
    plain, inputs = pruned(), rows()
    model = nd.decorrelate(plain, keep_sparsity=True)
    learnt(model, inputs, rule="center")
    check_zeros(model, plain, inputs, (0, 2))


def test_connections_of_a_layer_by_hand() -> None:
    """A Decorrelation with connections of its own holds any rule to them."""
    weight = torch.eye(INPUTS).repeat_interleave(2, dim=1)[:, :INPUTS]
    layer = nd.Decorrelation(INPUTS, connectivity=of_weight(weight, "equality"))
    learnt(layer, rows(), rule="zca")
    assert layer.structure == "blocks"
    assert not bool(layer.matrix[~Mask(weight.T @ weight).matrix(INPUTS)].any())


@pytest.mark.parametrize("credit", ["backprop", "feedback_alignment", "node_perturbation", "local_forward_gradient"])
@pytest.mark.parametrize("connectivity", [Groups(5), Band(2)], ids=str)
def test_credits_see_through_it(credit: str, connectivity: Connectivity) -> None:
    """They fill every gradient, and leave D alone."""
    model, inputs = nd.decorrelate(network()), rows()
    learnt(model, inputs, connectivity=connectivity)
    held = model[0].decorrelation.matrix.clone()
    loss: Callable[..., Tensor] = nn.functional.cross_entropy
    nd.credit.get(credit, model).backward(loss, inputs, torch.zeros(len(inputs), dtype=torch.long))
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch.equal(model[0].decorrelation.matrix, held)


def test_the_example_of_the_page_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "locality.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)  # the page's own words
    model = names["model"]
    assert isinstance(model, nn.Sequential)
    assert [model[index].decorrelation.structure for index in (0, 2)] == ["sparse", "sparse"]
