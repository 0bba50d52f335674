"""Models of many kinds: shared, tied and parametrized layers, layers of a user's own, attention, great width."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

import neuro_decorr as nd
from neuro_decorr.errors import Unsupported


class Shared(nn.Module):
    """One layer at two depths, and an output layer that is the transposed embedding's twin."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.block = nn.Linear(6, 6)
        self.same = self.block
        self.head = nn.Linear(6, 7)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        return self.head(self.same(torch.tanh(self.block(hidden))))


def test_every_call_of_a_shared_layer_counts_and_tied_weights_come_apart_when_folded() -> None:
    torch.manual_seed(0)
    model = nd.decorrelate(Shared(), sample=1.0)
    assert model.same is model.block and model.head.weight is model.embedding.weight
    tokens = torch.arange(7).repeat(2)
    embedded = model.embedding(tokens).detach()
    second = torch.tanh(model.block(embedded)).detach()
    model.block.decorrelation.take_record()
    model(tokens)
    record = model.block.decorrelation.take_record()
    assert record.seen == 28
    torch.testing.assert_close(record.inputs, torch.cat((embedded, second)))
    torch.testing.assert_close(record.deviation, torch.cat((embedded, second)).sum(dim=0))

    for _, found, _ in nd.rate.decorrelated_layers(model):
        found.matrix.add_(0.3 * torch.randn(6, 6))
        found.mean.copy_(torch.randn(6))
    folded = nd.fold(model)
    torch.testing.assert_close(folded(tokens), model(tokens), rtol=1e-5, atol=1e-5)
    assert folded.same is folded.block and folded.head.weight is not folded.embedding.weight
    torch.testing.assert_close(folded.embedding.weight, model.embedding.weight, rtol=0, atol=0)
    with pytest.raises(Unsupported, match="'head' and 'embedding' share one weight"):
        nd.Plasticity(model, nd.rules.get("whitening"), compensate=True)


def test_a_decorrelation_under_two_names_is_folded_once() -> None:
    shared = nd.Decorrelation(3)
    shared.matrix.add_(1)
    folded = nd.fold(nn.ModuleDict({"one": shared, "two": shared, "three": nn.Sequential(shared)}))
    assert folded["one"] is folded["two"] is folded["three"][0] and type(folded["one"]) is nn.Linear


def test_parametrized_weights_are_folded_and_not_compensated() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 5)), parametrizations.spectral_norm(nn.Linear(5, 3))
    )
    model = nd.decorrelate(model)
    for _, found, _ in nd.rate.decorrelated_layers(model):
        found.matrix.add_(0.3 * torch.randn(found.features, found.features))
        found.mean.add_(1)
    inputs = torch.randn(6, 4)
    expected = model.eval()(inputs)
    folded = nd.fold(model.train())
    torch.testing.assert_close(folded.eval()(inputs), expected, rtol=1e-5, atol=1e-5)
    assert [type(layer) for layer in folded] == [nn.Linear, nn.Linear]
    with pytest.raises(Unsupported, match="makes its weight anew"):
        nd.Plasticity(model, nd.rules.get("whitening"), compensate=True)


class Masked(nn.Linear):
    """Half of the weights are cut."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight.tril(), self.bias)


def test_a_linear_layer_with_a_forward_of_its_own_is_decorrelated_and_not_folded() -> None:
    model = nd.decorrelate(nn.Sequential(Masked(3, 3)))
    found = model[0].decorrelation
    found.matrix.add_(torch.randn(3, 3))
    inputs = torch.randn(2, 3)
    torch.testing.assert_close(model(inputs), found(inputs) @ model[0].weight.tril().T + model[0].bias)
    with pytest.raises(Unsupported, match=r"layer '0' \(Masked\).*forward of its own"):
        nd.fold(model)


class Attention(nn.Module):
    """Attention written with linear layers, as most models write it."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(6, 6) for _ in range(4))

    def forward(self, inputs: Tensor) -> Tensor:
        heads = [layer(inputs).unflatten(-1, (2, 3)).transpose(1, 2) for layer in (self.query, self.key, self.value)]
        return self.out(nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


def test_attention_of_linear_layers_is_decorrelated() -> None:
    torch.manual_seed(0)
    model = nd.decorrelate(Attention())
    plasticity = nd.Plasticity(model, nd.rules.get("whitening", rate=5e-2), sample=1.0)
    inputs = torch.randn(60, 4, 5, 6) + torch.randn(60, 4, 5, 1)
    for batch in inputs:
        model(batch)
        plasticity.step()
    assert torch.equal(model.query.decorrelation.matrix, model.value.decorrelation.matrix), "they see the same inputs"
    assert not torch.equal(model.query.decorrelation.matrix, torch.eye(6))
    torch.testing.assert_close(nd.fold(model)(inputs[0]), model(inputs[0]), rtol=1e-5, atol=1e-5)


class Largest(TorchDispatchMode):
    """The size of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, function: object, types: object, arguments: tuple = (), keywords: dict | None = None
    ) -> object:
        result = function(*arguments, **(keywords or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


def test_ten_thousand_features_with_interneurons_never_hold_their_square() -> None:
    torch.manual_seed(0)
    features, rows = 10_000, 32
    inputs = torch.randn(4, rows, features) + 3 * torch.randn(4, rows, 1)
    with Largest() as largest:
        model = nd.decorrelate(nn.Linear(features, 10), structure="centering")
        rule = nd.rules.get("interneuron", interneurons=16, every=1)
        plasticity = nd.Plasticity(model, rule, compensate=True, sample=1.0)
        for batch in inputs:
            model(batch).sum().backward()
            plasticity.step()
        outputs = model.eval()(inputs[0])
    assert largest.numbers <= inputs.numel(), "a tensor larger than the data"
    assert model.decorrelation.transform_state()["suppression"].max() > 0.1
    assert outputs.isfinite().all()


@pytest.mark.slow
def test_ten_thousand_features_with_a_dense_matrix() -> None:
    """400 MB a matrix, and one of them."""
    torch.manual_seed(0)
    model = nd.decorrelate(nn.Linear(10_000, 10))
    plasticity = nd.Plasticity(model, nd.rules.get("norm_preserving"))
    with Largest() as largest:
        for _ in range(2):
            model(torch.randn(64, 10_000) + torch.randn(64, 1))
            plasticity.step()
    assert largest.numbers == 10_000**2
    assert model.decorrelation.matrix.isfinite().all() and model.decorrelation.matrix[0, 1] != 0
