import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import convolutional
from neuro_decorr.errors import InvalidValue


def test_the_network_of_the_paper() -> None:
    network = convolutional(seed=0)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = x
    for index in range(1, 5):
        layer = getattr(network, f"convolution_{index}")
        expected = F.leaky_relu(F.conv2d(expected, layer.weight, layer.bias, padding=1), 0.01)
        if index % 2 == 0:
            expected = F.max_pool2d(expected, 2)
    expected = F.leaky_relu(network.hidden(expected.flatten(1)), 0.01) @ network.output.weight.T
    torch.testing.assert_close(network(x), expected)
    # 3 * 32, 32 * 32, 32 * 64, 64 * 64 kernels of 9, then 64 channels of 8 x 8 to 1000 to 10, and the biases.
    kernels = 9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    assert sum(p.numel() for p in network.parameters()) == kernels + 192 + 4096 * 1000 + 1000 + 10_000 + 10


def test_activity_keeps_its_power_and_the_seed_decides() -> None:
    network, again = convolutional((3, 16, 16), (64, 64), seed=0), convolutional((3, 16, 16), (64, 64), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    inputs = torch.randn(50, 64, 16, 16, generator=torch.Generator().manual_seed(0))
    inside = network.convolution_2(inputs).detach()[:, :, 1:-1, 1:-1]
    assert float(inside.square().mean()) == pytest.approx(2, rel=0.1)  # the gain; a rectifier then halves it


def test_an_image_that_is_not_square() -> None:
    assert convolutional((1, 8, 20), (4, 4), hidden=6, classes=3, seed=0)(torch.zeros(2, 1, 8, 20)).shape == (2, 3)


@pytest.mark.parametrize("given", [{"image": (3, 32)}, {"channels": ()}, {"hidden": 0}, {"classes": 2.0}])
def test_impossible_sizes(given: dict[str, object]) -> None:
    with pytest.raises(InvalidValue, match="positive integers"):
        convolutional(**given)


def test_an_image_too_small_to_pool() -> None:
    with pytest.raises(InvalidValue, match="2 poolings by 2 need at least 4 x 4"):
        convolutional((3, 3, 32))


def test_a_linear_layer_and_a_convolution_are_all_it_has() -> None:
    kinds = {type(module) for module in convolutional(seed=0) if list(module.parameters())}
    assert kinds == {nn.Conv2d, nn.Linear}


def test_batch_normalisation_stands_between_every_hidden_layer_and_its_activation() -> None:
    network = convolutional((1, 8, 8), (4, 4), hidden=6, classes=3, normalisation="batch", seed=0)
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = x
    for index in (1, 2):
        layer = getattr(network, f"convolution_{index}")
        hidden = F.conv2d(expected, layer.weight, layer.bias, padding=1)
        centred = hidden - hidden.mean(dim=(0, 2, 3), keepdim=True)
        normal = centred / (centred.square().mean(dim=(0, 2, 3), keepdim=True) + 1e-5).sqrt()
        expected = F.leaky_relu(normal, 0.01)
    hidden = F.max_pool2d(expected, 2).flatten(1) @ network.hidden.weight.T
    normal = (hidden - hidden.mean(dim=0)) / (hidden.var(dim=0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(network(x), F.leaky_relu(normal, 0.01) @ network.output.weight.T)
    with pytest.raises(InvalidValue, match="normalisation: got 'layer'"):
        convolutional(normalisation="layer")  # type: ignore[arg-type]
