import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import residual
from neuro_decorr.errors import InvalidValue


def normalised(x: Tensor, layer: nn.Conv2d, stride: int) -> Tensor:
    x = F.conv2d(x, layer.weight, stride=stride, padding=layer.weight.shape[-1] // 2)
    mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt()


def test_resnet_18_has_its_layers_and_parameters() -> None:
    network = residual(seed=0)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 17 + 3  # the eighteenth weight layer is the output; three shortcuts change the size
    # Published for the stem of small images and ten classes (11.17 million).
    assert sum(p.numel() for p in network.parameters()) == 11_173_962
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_a_small_one_by_hand() -> None:
    network = residual((4, 6), blocks=1, classes=3, seed=0).double()
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stem, _, _, first, second, _, _, output = network
    hidden = normalised(x, stem, 1).relu()
    inner = normalised(normalised(hidden, first.convolution_1, 1).relu(), first.convolution_2, 1)
    hidden = (inner + hidden).relu()
    inner = normalised(normalised(hidden, second.convolution_1, 2).relu(), second.convolution_2, 1)
    hidden = (inner + normalised(hidden, second.shortcut[0], 2)).relu()
    expected = hidden.mean(dim=(2, 3)) @ output.weight.T
    torch.testing.assert_close(network(x), expected, rtol=1e-9, atol=1e-9)


def test_without_normalisation_a_block_begins_as_its_skip() -> None:
    network = residual((4, 6), blocks=1, classes=3, normalisation="none", seed=0).double()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stem, _, _, first, second, _, _, output = network
    hidden = F.conv2d(x, stem.weight, stem.bias, padding=1).relu()
    shortcut = second.shortcut[0]
    begun = F.conv2d(hidden, shortcut.weight, shortcut.bias, stride=2).relu()
    torch.testing.assert_close(network(x), begun.mean(dim=(2, 3)) @ output.weight.T, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        for block in (first, second):
            block.convolution_2.weight.normal_(generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(network(x), begun.mean(dim=(2, 3)) @ output.weight.T)
    with pytest.raises(InvalidValue, match="normalisation: got 'layer'"):
        residual(normalisation="layer")


def test_the_seed_decides_and_the_global_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, again = residual((4,), blocks=1, seed=0), residual((4,), blocks=1, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("given", [{"channels": ()}, {"channels": (4, 0)}, {"blocks": 0}, {"classes": "ten"}])
def test_impossible_sizes(given: dict[str, object]) -> None:
    with pytest.raises(InvalidValue, match="positive integers"):
        residual(**given)
