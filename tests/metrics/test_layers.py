"""What layers receive, against forward passes by hand."""

from __future__ import annotations

from typing import Any

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


def of_every_kind() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2), nn.Flatten(), nn.Linear(98, 3))


def test_all_layers_that_can_be_decorrelated_are_there_by_default() -> None:
    for model in (of_every_kind(), nd.decorrelate(of_every_kind())):
        images = torch.randn(5, 2, 8, 8)
        received = nd.metrics.layer_inputs(model, images)
        assert list(received) == [row.name for row in nd.coverage(model).rows]
        kinds = (nn.Conv2d, nn.Linear)
        assert list(nd.metrics.layer_inputs(model, images, kinds)) == ["0", "4"]
        for name, kind in (("0", nn.Conv2d), ("2", nn.ConvTranspose2d), ("4", nn.Linear)):
            assert torch.equal(received[name], nd.metrics.layer_inputs(model, images, kind)[name])


def test_a_decorrelated_layer_of_another_library_is_there_too() -> None:
    @nd.rate.register_linear
    class Projection(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2, 3))
            self.bias = nn.Parameter(torch.zeros(2))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return F.linear(inputs, self.weight, self.bias)

    model = nd.decorrelate(nn.Sequential(Projection()))
    inputs = torch.randn(5, 3)
    assert torch.equal(nd.metrics.layer_inputs(model, inputs)["0"], inputs)


@pytest.mark.parametrize("decorrelated", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_one_patch_of_every_image(groups: int, decorrelated: bool) -> None:
    """Each is one of the patches of its image, any position may be drawn, and a seed draws the same again."""
    layer: nn.Module = nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=groups)
    if decorrelated:
        layer = nd.decorrelate(layer)
        held = layer.get_submodule("decorrelation")
        assert isinstance(held, nd.Decorrelation)
        held.matrix.add_(torch.randn(held.matrix.shape, generator=torch.Generator().manual_seed(0)), alpha=0.1)
        held.mean.add_(1.0)
    images = torch.randn(200, 4, 5, 7, generator=torch.Generator().manual_seed(1))
    every = nd.metrics.layer_inputs(layer, images)[""].view(200, 12, -1)
    one = nd.metrics.layer_inputs(layer, images, patches="one")[""]
    same = (every - one.unsqueeze(1)).abs().amax(dim=2) < 1e-5
    assert (same.sum(dim=1) == 1).all()
    assert (same.sum(dim=0) > 0).all()  # a position is left out by chance once in 3e6 seeds
    assert torch.equal(one, nd.metrics.layer_inputs(layer, images, patches="one", seed=0)[""])
    assert not torch.equal(one, nd.metrics.layer_inputs(layer, images, patches="one", seed=1)[""])


def test_one_position_of_every_image_of_a_transposed_convolution() -> None:
    layer, images = nn.ConvTranspose2d(4, 6, 2), torch.randn(9, 4, 3, 2)
    one = nd.metrics.layer_inputs(layer, images, patches="one")[""]
    channels = images.flatten(2).mT
    assert ((channels == one.unsqueeze(1)).all(dim=2).sum(dim=1) == 1).all()


def test_the_floor_fits_independent_images_with_one_patch_of_each() -> None:
    """Channels are independent, and every image is the same at all of its 36 positions."""
    values = torch.randn(200, 20, 1, 1, generator=torch.Generator().manual_seed(0))
    layer, images = nn.Conv2d(20, 3, 1), values.expand(200, 20, 6, 6)
    expected = nd.metrics.mean_absolute_correlation(values.flatten(1))
    rows = {
        patches: nd.metrics.summary(nd.metrics.layer_inputs(layer, images, patches=patches)[""])[
            "mean_absolute_correlation"
        ]
        for patches in ("all", "one")
    }
    assert rows["one"].estimate == pytest.approx(expected) == pytest.approx(rows["all"].estimate)
    assert rows["one"].floor == nd.metrics.sampling_floor(200).mean_absolute
    assert abs(rows["one"].estimate / rows["one"].floor - 1) < 0.1
    assert rows["all"].estimate > 5 * rows["all"].floor, "as the docstring warns"
    assert rows["all"].low < rows["one"].floor < rows["all"].high, "its interval allows for neighbours that are alike"


def test_a_change_in_place_behind_a_layer_changes_nothing() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.Linear(3, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            stream = inputs.clone()
            stream += self.inside(stream)
            return stream

    inputs = torch.randn(5, 3)
    assert torch.equal(nd.metrics.layer_inputs(Residual(), inputs)["inside"], inputs)


def test_no_such_layer() -> None:
    model = nn.Sequential(nn.ReLU(), nn.GRU(2, 2))
    with pytest.raises(InvalidValue, match="Sequential has no Linear and no convolution; it has GRU, ReLU: give"):
        nd.metrics.layer_inputs(model, torch.randn(2, 2))
    with pytest.raises(InvalidValue, match="no layer of class Linear or Conv2d; it has GRU, ReLU"):
        nd.metrics.layer_inputs(model, torch.randn(2, 2), (nn.Linear, nn.Conv2d))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "conv"}, "kind must be a class of torch modules, .* got 'conv'"),
        ({"kind": ()}, "got a tuple of 0"),
        ({"kind": (nn.Linear, int)}, "got a tuple of 2"),
        ({"patches": "two"}, "patches must be one of 'all', 'one', got 'two'"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        nd.metrics.layer_inputs(nn.Linear(2, 2), torch.randn(2, 2), **arguments)
