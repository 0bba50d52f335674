"""What layers receive, against forward passes by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
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


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_receives_decorrelated_patches(groups: int) -> None:
    plain = nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=groups)
    inputs = torch.randn(5, 4, 7, 7)
    patches = F.unfold(inputs, 3, padding=1, stride=2).mT.flatten(0, 1)
    torch.testing.assert_close(nd.metrics.layer_inputs(plain, inputs, nn.Conv2d)[""], patches)
    model = nd.decorrelate(plain)
    held = model.get_submodule("decorrelation")
    assert isinstance(held, nd.Decorrelation)
    generator = torch.Generator().manual_seed(0)
    held.matrix.add_(torch.randn(held.matrix.shape, generator=generator), alpha=0.1)
    held.mean.add_(1.0)
    received = nd.metrics.layer_inputs(model, inputs, nn.Conv2d)[""].view(len(patches), groups, -1)
    weight = plain.weight.flatten(1).view(groups, -1, received.shape[-1])
    outputs = torch.einsum("ngf,gof->ngo", received, weight).flatten(1) + plain.bias
    expected = model(inputs).flatten(2).mT.flatten(0, 1)
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("center", [True, False])
def test_a_transposed_convolution_receives_decorrelated_channels(groups: int, center: bool) -> None:
    """With a kernel of one position and no bias its output is the weights times these rows."""
    plain = nn.ConvTranspose2d(4, 6, 1, groups=groups, bias=False)
    inputs = torch.randn(5, 4, 3, 2)
    channels = inputs.permute(0, 2, 3, 1).flatten(0, 2)
    assert torch.equal(nd.metrics.layer_inputs(plain, inputs, nn.ConvTranspose2d)[""], channels)
    model = nd.decorrelate(plain, center=center)
    held = model.get_submodule("decorrelation")
    assert isinstance(held, nd.Decorrelation)
    held.matrix.add_(torch.randn(held.matrix.shape), alpha=0.1)
    held.mean.add_(1.0)
    received = nd.metrics.layer_inputs(model, inputs, nn.ConvTranspose2d)[""].view(len(channels), groups, -1)
    outputs = torch.einsum("ngf,gfo->ngo", received, plain.weight.view(groups, -1, 6 // groups)).flatten(1)
    torch.testing.assert_close(outputs, model(inputs).permute(0, 2, 3, 1).flatten(0, 2), rtol=1e-4, atol=1e-5)


def test_one_sample_without_a_batch_is_a_row() -> None:
    layer, one = nn.Linear(3, 3), torch.randn(3)
    received = nd.metrics.layer_inputs(nn.Sequential(layer, layer), one)["0"]
    torch.testing.assert_close(received, torch.stack([one, layer(one).detach()]))


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
