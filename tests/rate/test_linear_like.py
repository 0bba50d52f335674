"""Layers of other libraries that compute what a Linear does, with a weight of either order."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported
from neuro_decorr.rate import weights as known


class Conv1D(nn.Module):
    """As in transformers (GPT-2): weight (inputs, outputs)."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], self.weight.shape[1])
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(shape)


class Dense(nn.Module):
    """With torch's order, and without bias if so wished; not a subclass of Linear."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.randn(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


class Wrong(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_LAYOUTS", dict(known._LAYOUTS))
    nd.rate.register_linear(Conv1D, weight="inputs_first")
    nd.rate.register_linear(Dense)


def network(bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Conv1D(6, 4), nn.Tanh(), Dense(6, 5, bias), nn.Tanh(), nn.Linear(5, 3))


def as_linears(model: nn.Module) -> nn.Module:
    """The same with torch's own layers."""
    layers = []
    for layer in model:
        if isinstance(layer, nn.Tanh):
            layers.append(layer)
            continue
        weight = layer.weight.T if isinstance(layer, Conv1D) else layer.weight
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None)
        linear.weight.data.copy_(weight.data)
        if layer.bias is not None:
            linear.bias.data.copy_(layer.bias.data)
        layers.append(linear)
    return nn.Sequential(*layers)


def batches(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(4, 4, generator=generator)
    return torch.randn(count, 16, 4, generator=generator) @ mixing + 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rule", ["whitening", "interneuron"])
@pytest.mark.parametrize("compensate", [False, "exact", "first_order"])
def test_they_learn_as_linear_layers_do(rule: str, compensate: object, bias: bool) -> None:
    """Weights by an optimiser, D by its rule, with and without compensation: as the same network of torch's layers."""
    plain = network(bias)
    models = [nd.decorrelate(plain), nd.decorrelate(as_linears(plain))]
    options = {"interneurons": 2, "every": 1} if rule == "interneuron" else {"rate": 1e-2}
    plasticities = [nd.Plasticity(m, nd.rules.get(rule, **options), compensate=compensate) for m in models]
    optimisers = [torch.optim.SGD(model.parameters(), lr=0.05) for model in models]
    for batch in batches(30):
        for model, plasticity, optimiser in zip(models, plasticities, optimisers, strict=True):
            optimiser.zero_grad()
            model(batch).square().mean().backward()
            optimiser.step()
            plasticity.step()
    ours, theirs = models
    assert [name for name, _, _ in nd.rate.decorrelated_layers(ours)] == ["0", "2", "4"]
    probe = batches(31)[30]
    torch.testing.assert_close(ours.eval()(probe), theirs.eval()(probe), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours[0].weight.T, theirs[0].weight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours[0].decorrelation.matrix, theirs[0].decorrelation.matrix, rtol=1e-4, atol=1e-4)
    assert not ours[0].decorrelation.is_identity()
    folded = nd.fold(ours)
    assert [type(layer) for layer in folded] == [type(layer) for layer in plain]
    torch.testing.assert_close(folded(probe), ours(probe), rtol=1e-5, atol=1e-5)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        torch.testing.assert_close(twin(probe), ours(probe), rtol=0, atol=0)


def test_subclasses_count_and_traces_reach_them() -> None:
    class Small(Conv1D):
        pass

    layer = nd.decorrelate(Small(2, 3), signal="rate")
    assert isinstance(layer, Small) and layer.decorrelation.features == 3


def test_what_is_not_registered_is_left_alone() -> None:
    class Other(nn.Module):
        weight = nn.Parameter(torch.randn(2, 2))

    with pytest.raises(Unsupported, match="no Linear or convolution left"):
        nd.decorrelate(Other())


def test_refusals() -> None:
    with pytest.raises(InvalidValue, match=r"'outputs_first' or 'inputs_first'; got 'transposed'"):
        nd.rate.register_linear(Dense, weight="transposed")
    for kind in (Dense(2, 2), int, "Conv1D"):
        with pytest.raises(InvalidValue, match="takes a class of torch modules"):
            nd.rate.register_linear(kind)
    for kind in (nn.Linear, nn.Conv2d, nn.ConvTranspose1d):
        with pytest.raises(InvalidValue, match=f"{kind.__name__} is known already"):
            nd.rate.register_linear(kind)
    nd.rate.register_linear(Wrong)
    with pytest.raises(Unsupported, match=r"Wrong.*needs a weight of two dimensions.*\(2, 3, 4\) and no bias"):
        nd.decorrelate(Wrong())
