import math

import pytest
import torch
from torch import nn

from models import dense
from neuro_decorr.errors import InvalidValue


def test_an_activation_follows_every_hidden_layer_and_the_output_is_linear() -> None:
    network = dense([5, 7, 6, 3], seed=0)
    assert [type(layer) for layer in network] == [nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]
    assert [name for name, _ in network.named_children()] == [
        "hidden_1",
        "activation_1",
        "hidden_2",
        "activation_2",
        "output",
    ]
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    expected = x
    for index, layer in enumerate(layer for layer in network if isinstance(layer, nn.Linear)):
        expected = expected @ layer.weight.T + layer.bias
        if index < 2:
            expected = torch.where(expected > 0, expected, 0.01 * expected)
    torch.testing.assert_close(network(x), expected)


def test_batch_normalisation_stands_between_layer_and_activation() -> None:
    network = dense([5, 7, 3], activation=nn.Tanh, normalisation="batch", seed=0)
    assert [type(layer) for layer in network] == [nn.Linear, nn.BatchNorm1d, nn.Tanh, nn.Linear]
    assert torch.isfinite(network(torch.ones(2, 5))).all()


def test_input_and_output_alone_make_a_linear_network() -> None:
    assert [type(layer) for layer in dense([5, 3], seed=0)] == [nn.Linear]


def test_weights_have_the_scale_of_he_and_biases_are_zero() -> None:
    network = dense([400, 500, 300, 200], activation=lambda: nn.LeakyReLU(0.5), seed=0)
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer, gain in zip(layers, [math.sqrt(2 / 1.25)] * 2 + [1.0], strict=True):
        count, fan_in = layer.weight.numel(), layer.weight.shape[1]
        deviation = gain / math.sqrt(fan_in)
        weights = layer.weight.detach()
        assert float(weights.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * count))
        assert abs(float(weights.mean())) < 5 * deviation / math.sqrt(count)
        assert layer.bias.abs().max() == 0
        assert layer.weight.requires_grad
    relu = dense([400, 500, 2], activation=nn.ReLU, seed=0)
    assert float(relu[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / 400), rel=0.02)


def test_activity_keeps_its_power_through_the_layers() -> None:
    x = torch.randn(500, 256, generator=torch.Generator().manual_seed(0))
    hidden = dense([256] * 8 + [10], seed=0)[:-1](x).detach()
    assert float(hidden.square().mean()) == pytest.approx(1, rel=0.3)  # without the gain it would be 2 ** -7


def test_the_seed_decides_the_weights_and_the_global_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = dense([5, 7, 3], seed=0), dense([5, 7, 3], seed=0), dense([5, 7, 3], seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[0].weight, again[0].weight)
    assert torch.equal(first[2].weight, again[2].weight)
    assert not torch.equal(first[0].weight, other[0].weight)


def test_without_a_seed_the_global_state_decides() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = dense([5, 3]), dense([5, 3])
        torch.manual_seed(0)
        again = dense([5, 3])
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, second[0].weight)


def test_without_biases() -> None:
    assert all(layer.bias is None for layer in dense([5, 7, 3], bias=False, seed=0) if isinstance(layer, nn.Linear))


@pytest.mark.parametrize("sizes", [[], [5], [5, 0], [5, -1, 2], [5, 2.0], [True, 2]])
def test_impossible_sizes(sizes) -> None:
    with pytest.raises(InvalidValue, match="two or more positive integers"):
        dense(sizes)


def test_an_unknown_normalisation_and_seed() -> None:
    with pytest.raises(InvalidValue, match="got 'layer'; allowed are 'none' and 'batch'"):
        dense([5, 3], normalisation="layer")
    with pytest.raises(InvalidValue, match="integers from 0 on"):
        dense([5, 3], seed=-1)
