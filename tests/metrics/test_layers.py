"""What layers receive, against forward passes by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue


def test_inputs_of_every_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    inputs = torch.randn(5, 3)
    received = nd.metrics.layer_inputs(model, inputs)
    assert list(received) == ["0", "2"]
    assert torch.equal(received["0"], inputs)
    torch.testing.assert_close(received["2"], model[0](inputs).relu().detach())


def test_behind_the_transform_and_before_it() -> None:
    model = nd.decorrelate(nn.Linear(3, 2))
    model.decorrelation.matrix.mul_(2)
    inputs = torch.randn(5, 3)
    assert torch.equal(nd.metrics.layer_inputs(model, inputs)[""], 2 * inputs)
    assert torch.equal(nd.metrics.layer_inputs(model, inputs, nd.Decorrelation)["decorrelation"], inputs)


def test_repeated_calls_and_extra_dimensions_are_flattened() -> None:
    layer = nn.Linear(3, 3)
    model = nn.Sequential(layer, layer)
    inputs = torch.randn(2, 4, 3)
    received = nd.metrics.layer_inputs(model, inputs)["0"]
    assert received.shape == (16, 3)
    torch.testing.assert_close(received[8:], layer(inputs).detach().flatten(0, 1))


def test_nothing_stays_behind() -> None:
    model = nn.Sequential(nd.decorrelate(nn.Linear(3, 3)), nn.Dropout())
    model[1].eval()
    nd.metrics.layer_inputs(model, torch.randn(2, 3))
    assert model.training and not model[1].training and model[0].decorrelation.training
    assert not model[0]._forward_hooks
    assert model[0].decorrelation.take_record() is None, "looking is not learning"


def test_no_such_layer() -> None:
    with pytest.raises(InvalidValue, match="no layer of class Linear"):
        nd.metrics.layer_inputs(nn.ReLU(), torch.randn(2, 3))
