"""Blocks of layers for local losses: how they are named, and what is no chain of blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neuro_decorr import credit
from neuro_decorr.errors import InvalidValue, StateMismatch, UnknownName, Unsupported
from tests.credit.loops import make_case
from tests.credit.spiking_loops import make_spiking_case
from tests.credit.test_local_forward_gradient import NAME, flat, made


def test_blocks_are_named_by_the_modules_that_hold_them() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 8), nn.Tanh()), nn.Linear(8, 6), nn.Tanh()
    ).append(nn.Linear(6, 2))
    assert [readout.in_features for readout in credit.get(NAME, model, blocks=["0", "1"]).readouts] == [8]
    assert [readout.in_features for readout in credit.get(NAME, model).readouts] == [6, 8]
    assert len(credit.get(NAME, model, blocks=[["0", "1"]]).readouts) == 0


class Custom(nn.Module):
    """Four layers, called as a function says."""

    def __init__(self, call: Callable[..., Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(flat(4, 4, 4, 4))
        self.call = call

    def forward(self, inputs: Tensor) -> Tensor:
        return self.call(self, *self.layers, inputs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _, a, b, c, x: c(a(b(x))), r"'layers.1' .*, which belongs to block 2, is called first"),
        (lambda _, a, b, c, x: b(c(a(x))), r"'layers.2' .* belongs to block 3, is called after a layer of block 1"),
        (lambda _, a, b, c, x: c(b(a(a(x)))), r"'layers.0' .* is called twice"),
        (lambda _, a, b, _c, x: b(a(x)), r"readout of the model, 'layers.2' .* was not called"),
        (lambda _, a, b, c, x: c(b(F.linear(x, a.weight))), r"input of 'layers.1' .* parameters that are used outside"),
        (lambda _, a, b, c, x: c(b(a(x))).sum(1), r"predicts \(5, 4\), and the model returns \(5,\)"),
    ],
)
def test_what_is_no_chain_of_blocks_is_refused(call, message) -> None:
    with pytest.raises(Unsupported, match=message):
        made(Custom(call)).backward(lambda outputs, _: outputs.square().mean(), torch.randn(5, 4), None)


@pytest.mark.parametrize("front", [nn.Embedding(4, 6), nn.Sequential(nn.Embedding(4, 6), nn.LayerNorm(6))])
def test_parameters_in_front_of_the_only_weight_layer_are_refused_but_when_frozen(front) -> None:
    model, inputs, targets = nn.Sequential(front, nn.Linear(6, 3)), torch.arange(4), torch.arange(4) % 3
    assignment = made(model)
    with pytest.raises(Unsupported, match=r"'1' .*, the readout, is the only weight layer, and no local loss"):
        assignment.backward(F.cross_entropy, inputs, targets)
    front.requires_grad_(False)
    assignment.backward(F.cross_entropy, inputs, targets)
    expected = torch.autograd.grad(F.cross_entropy(model(inputs), targets), list(model[1].parameters()))
    torch.testing.assert_close([each.grad for each in model[1].parameters()], list(expected))


def test_layers_may_be_frozen_and_freed_between_steps() -> None:
    torch.manual_seed(0)
    case = make_case((5, 8, 6, 3))
    assignment = made(case.model, groups=2)
    for frozen in (False, True, False):
        case.layers[1].requires_grad_(not frozen)
        case.model.zero_grad()
        assignment.backward(F.mse_loss, case.inputs, case.targets)
        assert (case.layers[1].weight.grad is None) == frozen
        assert case.layers[0].weight.grad.abs().sum() > 0


def test_shapes_that_change_unseen_are_told() -> None:
    class Dictionary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv1d(1, 4, 1), nn.Tanh(), nn.Conv1d(4, 4, 1), nn.AdaptiveAvgPool1d(1))
            self.body.append(nn.Flatten()).append(nn.Linear(4, 2))

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            return self.body(inputs["signal"])

    assignment = made(Dictionary(), groups=2)
    assignment.backward(F.mse_loss, {"signal": torch.randn(3, 1, 4)}, torch.zeros(3, 2))
    with pytest.raises(StateMismatch, match="shapes of the layers changed"):
        assignment.backward(F.mse_loss, {"signal": torch.randn(3, 1, 8)}, torch.zeros(3, 2))


def test_layers_that_run_in_another_order_are_named_in_it() -> None:
    torch.manual_seed(0)
    model = Custom(lambda _, a, b, c, x: c(a(torch.tanh(b(x)))))
    loss = made(model, blocks=["layers.1", "layers.0"]).backward(F.mse_loss, torch.randn(5, 4), torch.randn(5, 4))
    assert loss > 0
    assert all(layer.weight.grad.abs().sum() > 0 for layer in model.layers)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"groups": 0}, InvalidValue, r"groups must be a whole number >= 1, got 0 \(or 'units'\)"),
        ({"groups": 4}, InvalidValue, "groups must divide the channels of every block, got 4 groups and 6 of '2'"),
        ({"groups": "all", "directions": 0}, InvalidValue, "groups must .*; directions must"),
        ({"blocks": ["9"]}, UnknownName, "no weight layer, or module that holds one, '9'.* Known: 0, 2, 4"),
        ({"blocks": ["0"]}, InvalidValue, "except one, the readout of the model, got 2, 4 left: choose from 0, 2, 4"),
        ({"blocks": ["0", "2", "4"]}, InvalidValue, "got no layer left"),
        ({"blocks": ["0", ["0", "2"]]}, InvalidValue, "got 0 in two of them"),
    ],
)
def test_parameters_are_checked(parameters, error, message) -> None:
    with pytest.raises(error, match=message):
        credit.get(NAME, make_case((5, 8, 6, 3)).model, **parameters)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.ReLU(), "need a model with Linear or convolutional layers; this one has none"),
        (nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2)), "layer '0' has no weights yet"),
    ],
)
def test_models_without_weights_are_refused(model, message) -> None:
    with pytest.raises(Unsupported, match=message):
        credit.get(NAME, model)


class Doubled(torch.autograd.Function):
    """Without a forward derivative."""

    @staticmethod
    def forward(_ctx, inputs: Tensor) -> Tensor:
        return 2 * inputs

    @staticmethod
    def backward(_ctx, gradient: Tensor) -> Tensor:
        return 2 * gradient


def test_what_has_no_forward_derivative_is_refused() -> None:
    model = Custom(lambda _, a, b, c, x: c(Doubled.apply(b(a(x)))))
    with pytest.raises(Unsupported, match="needs forward-mode derivatives"):
        made(model).backward(F.mse_loss, torch.ones(2, 4), torch.ones(2, 4))


def test_spiking_networks_are_refused() -> None:
    with pytest.raises(Unsupported, match=r"network without time.* use node_perturbation, or.*eprop"):
        credit.get(NAME, make_spiking_case().model)
