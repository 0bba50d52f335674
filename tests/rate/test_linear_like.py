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
@pytest.mark.parametrize("compensate", [False, True])
def test_they_learn_as_linear_layers_do(rule: str, compensate: bool, bias: bool) -> None:
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
    with pytest.raises(InvalidValue, match=r"'outputs_first' or 'inputs_first', got 'transposed'"):
        nd.rate.register_linear(Dense, weight="transposed")
    for kind in (Dense(2, 2), int, "Conv1D"):
        with pytest.raises(InvalidValue, match="takes a class of torch modules"):
            nd.rate.register_linear(kind)
    for kind in (nn.Linear, nn.Conv2d, nn.ConvTranspose1d):
        with pytest.raises(InvalidValue, match=f"{kind.__name__} can be decorrelated without registration"):
            nd.rate.register_linear(kind)
    for kind in (nn.Module, nn.LSTM, nn.Embedding, nn.Sequential):
        with pytest.raises(InvalidValue, match=f"{kind.__name__} belongs to torch"):
            nd.rate.register_linear(kind)
    assert nd.rate.register_linear(Conv1D, weight="inputs_first") is Conv1D
    with pytest.raises(InvalidValue, match='Conv1D is registered with weight="inputs_first"'):
        nd.rate.register_linear(Conv1D)
    nd.rate.register_linear(Wrong)
    with pytest.raises(Unsupported, match=r"Wrong.*needs a weight of two dimensions.*\(2, 3, 4\) and no bias"):
        nd.decorrelate(Wrong())


class Empty(nn.Module):
    """Registered, though it has no weight."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_registered_class_without_a_weight_is_one_clear_line() -> None:
    nd.rate.register_linear(Empty)
    model = nn.Sequential(nn.Linear(2, 2), Empty())
    with pytest.raises(Unsupported, match=r"'1' \(Empty\) does not fit: .* no tensor 'weight' and no bias"):
        nd.decorrelate(model)
    assert [row.status for row in nd.coverage(model).rows] == ["would be decorrelated", "refused"]
    assert nd.decorrelate(model, skip=Empty)[0].decorrelation.features == 2


@pytest.mark.parametrize("inputs", [4, 6])
@pytest.mark.parametrize("start", ["random", "zero", "identity"])
def test_the_wrong_order_is_found_at_decorrelate(inputs: int, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where shapes, and values at the start, do not tell; nothing of the layer or of the random state moves."""
    monkeypatch.setitem(known._LAYOUTS, Conv1D, "outputs_first")
    model = nn.Sequential(nn.Linear(inputs, inputs), Conv1D(4, inputs)).train()
    if start != "random":
        with torch.no_grad():
            model[1].weight.zero_() if start == "zero" else model[1].weight.copy_(torch.eye(inputs, 4))
            model[1].bias.zero_()
    weight, values, state = model[1].weight, model[1].weight.clone(), torch.get_rng_state()
    with pytest.raises(
        Unsupported, match=r"'1' \(Conv1D\) is registered .*register_linear\(Conv1D, weight=\"inputs_first\"\)"
    ):
        nd.decorrelate(model)
    assert model[1].weight is weight and torch.equal(weight, values) and model[1].training
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setitem(known._LAYOUTS, Conv1D, "inputs_first")
    assert nd.decorrelate(model)[1].decorrelation.features == inputs


class Squared(Dense):
    """No linear map, though it is registered as one."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).square()


class Adapted(Dense):
    """Needs a further argument, which nobody knows at decorrelate."""

    def forward(self, x: Tensor, adapter: Tensor) -> Tensor:
        return super().forward(x) + adapter


def test_only_what_can_be_asked_is_asked() -> None:
    assert nd.decorrelate(Squared(3, 3)).decorrelation.features == 3  # a subclass, which fold refuses
    with pytest.raises(Unsupported):
        nd.fold(nd.decorrelate(Squared(3, 3)))
    for kind in (Squared, Adapted):
        nd.rate.register_linear(kind)
    with pytest.raises(Unsupported, match="neither in this order nor with"):
        nd.decorrelate(Squared(3, 3))
    assert nd.decorrelate(Adapted(3, 3)).decorrelation.features == 3
    assert nd.decorrelate(Dense(3, 3).to("meta")).decorrelation.features == 3
    assert nd.decorrelate(Dense(64, 64).bfloat16()).decorrelation.features == 64
