"""decorrelate and fold on any model: what changes, what stays, what is refused."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neuro_decorr as nd
from neuro_decorr.errors import StateMismatch, UnknownName, Unsupported


class Residual(nn.Module):
    """A model of a user's own: a skip connection, a keyword argument, a layer used twice, a layer without bias."""

    def __init__(self, width: int = 7) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, width)
        self.block = nn.ModuleDict({"inner": nn.Linear(width, width, bias=False), "outer": nn.Linear(width, width)})
        self.head = nn.Linear(width, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.encoder(input=inputs))
        for _ in range(2):
            hidden = hidden + self.block["outer"](torch.relu(self.block["inner"](hidden)))
        return self.head(hidden)


def randomise(model: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nd.Decorrelation):
            noise = torch.randn(module.features, module.features, generator=generator)
            module.matrix.add_(noise, alpha=0.3 / module.features**0.5)
            module.mean.copy_(torch.randn(module.features, generator=generator))


def test_the_model_keeps_its_function_names_and_classes() -> None:
    model = Residual()
    decorrelated = nd.decorrelate(model)
    inputs = torch.randn(4, 5)
    torch.testing.assert_close(decorrelated(inputs), model(inputs))
    assert [n for n, _ in decorrelated.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert type(decorrelated.encoder) is nn.Linear
    assert not any(isinstance(module, nd.Decorrelation) for module in model.modules()), "the original was changed"
    assert sum(isinstance(module, nd.Decorrelation) for module in decorrelated.modules()) == 4


def test_every_layer_receives_transformed_inputs() -> None:
    model = nd.decorrelate(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    randomise(model)
    inputs = torch.randn(6, 4).double()
    first, second = model[0], model[2]
    hidden = inputs
    for layer in (first, second):
        decorrelated = (hidden - layer.decorrelation.mean) @ layer.decorrelation.matrix.double().T
        hidden = decorrelated @ layer.weight.double().T + layer.bias.double()
        hidden = hidden.relu() if layer is first else hidden
    torch.testing.assert_close(model(inputs.float()).double(), hidden, rtol=1e-5, atol=1e-5)


def test_a_single_layer_and_a_copy_of_a_copy() -> None:
    layer = nd.decorrelate(nn.Linear(3, 2))
    randomise(layer)
    twin = copy.deepcopy(layer)
    inputs = torch.randn(5, 3)
    torch.testing.assert_close(twin(inputs), layer(inputs))
    twin.decorrelation.matrix.zero_()
    assert not torch.allclose(twin(inputs), layer(inputs))


def test_skip() -> None:
    model = nd.decorrelate(Residual(), skip=("head", "block.*"))
    names = [name for name, module in model.named_modules() if isinstance(module, nd.Decorrelation)]
    assert names == ["encoder.decorrelation"]
    with pytest.raises(UnknownName, match="did you mean 'head'"):
        nd.decorrelate(Residual(), skip=("heat",))
    with pytest.raises(Unsupported, match="no Linear or convolution left"):
        nd.decorrelate(Residual(), skip="*")


def test_weights_of_the_plain_model_load() -> None:
    plain, decorrelated = Residual(), nd.decorrelate(Residual())
    missing, unexpected = decorrelated.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and all(".decorrelation." in key for key in missing)


@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    bias=st.booleans(),
    center=st.booleans(),
    seed=st.integers(0, 100),
)
def test_fold_computes_the_same(widths: list[int], bias: bool, center: bool, seed: int) -> None:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, bias=bias), nn.LeakyReLU()]
    model = nd.decorrelate(nn.Sequential(*layers), center=center)
    randomise(model, seed)
    folded = nd.fold(model)
    inputs = torch.randn(5, widths[0])
    expected = model.eval()(inputs)
    tolerance = 1e-5 * max(1.0, float(expected.detach().abs().max()))
    torch.testing.assert_close(folded.eval()(inputs), expected, rtol=1e-5, atol=tolerance)
    assert {type(module).__module__.split(".")[0] for module in folded.modules()} == {"torch"}
    assert not any(module._forward_pre_hooks for module in folded.modules())


def test_fold_of_a_users_model_trains_on() -> None:
    model = nd.decorrelate(Residual())
    randomise(model)
    folded = nd.fold(model)
    inputs = torch.randn(4, 5)
    torch.testing.assert_close(folded(inputs), model(inputs), rtol=1e-4, atol=1e-4)
    assert folded.block["inner"].bias is not None, "a layer without bias needs one to carry the mean"
    folded(inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in folded.parameters())
    assert nd.decorrelate(folded) is not folded


def test_fold_of_a_decorrelation_that_stands_alone() -> None:
    model = nn.Sequential(nd.Decorrelation(4), nn.Tanh(), nn.Linear(4, 2))
    randomise(model)
    inputs = torch.randn(3, 4)
    folded = nd.fold(model)
    assert type(folded[0]) is nn.Linear
    torch.testing.assert_close(folded(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    assert type(nd.fold(nd.Decorrelation(2))) is nn.Linear


def test_refusals() -> None:
    with pytest.raises(Unsupported, match="reads the weight without calling"):
        nd.decorrelate(nn.TransformerEncoderLayer(4, 1, 4))
    with pytest.raises(Unsupported, match="run one batch"):
        nd.decorrelate(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(StateMismatch, match="decorrelated already"):
        nd.decorrelate(nd.decorrelate(Residual()))


def test_attention_with_its_inside_skipped() -> None:
    model = nn.TransformerEncoderLayer(4, 1, 8, dropout=0.0, batch_first=True)
    decorrelated = nd.decorrelate(model, skip="self_attn.*")
    randomise(decorrelated)
    inputs = torch.randn(2, 3, 4)
    with torch.no_grad():  # the fast path of eval mode would read the weights behind our back
        fast, plain = decorrelated.eval()(inputs), decorrelated.train()(inputs)
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(nd.fold(decorrelated)(inputs), plain, rtol=1e-4, atol=1e-5)


def test_a_layer_trains_through_its_hook() -> None:
    model = nd.decorrelate(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)))
    randomise(model)
    model(torch.randn(5, 3)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
