"""Models of many kinds: shared, tied and parametrized layers, layers of a user's own, attention, great width."""

from __future__ import annotations

import warnings
from typing import Any

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
    model = nd.decorrelate(Shared(), row_fraction=1.0)
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
    with pytest.raises(Unsupported, match="computes its weight anew"):
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
    with pytest.raises(Unsupported, match=r"'0' \(Masked\).*forward of its own"):
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
    plasticity = nd.Plasticity(model, nd.rules.get("whitening", rate=5e-2), row_fraction=1.0)
    inputs = torch.randn(60, 4, 5, 6) + torch.randn(60, 4, 5, 1)
    for batch in inputs:
        model(batch)
        plasticity.step()
    assert torch.equal(model.query.decorrelation.matrix, model.value.decorrelation.matrix), "they see the same inputs"
    assert not torch.equal(model.query.decorrelation.matrix, torch.eye(6))
    torch.testing.assert_close(nd.fold(model)(inputs[0]), model(inputs[0]), rtol=1e-5, atol=1e-5)


@nd.rate.register_linear
class Kernel(nn.Module):
    """Nothing of it is a Linear but the map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight.T + self.bias


class Conv1D(nn.Module):
    """The linear map of GPT-2, with its weight the other way round."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        flat = torch.addmm(self.bias, inputs.view(-1, inputs.shape[-1]), self.weight)
        return flat.view(*inputs.shape[:-1], -1)


nd.rate.register_linear(Conv1D, weight="inputs_first")


class GPT2(nn.Module):
    """A block of GPT-2 between its embedding and its output, which has the weights of the embedding."""

    matrices, covered = 6, 5

    def __init__(self, width: int = 8, tokens: int = 11) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tokens, width), nn.Embedding(6, width)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = Conv1D(3 * width, width), Conv1D(width, width)
        self.c_fc, self.c_out = Conv1D(4 * width, width), Conv1D(width, 4 * width)
        self.lm_head = nn.Linear(width, tokens, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        heads = [part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.c_attn(self.ln_1(hidden)).chunk(3, -1)]
        mixed = nn.functional.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
        hidden = hidden + self.c_proj(mixed)
        hidden = hidden + self.c_out(nn.functional.gelu(self.c_fc(self.ln_2(hidden))))
        return self.lm_head(hidden)

    @staticmethod
    def inputs() -> Tensor:
        return torch.randint(11, (5, 6))


class T5FeedForward(nn.Module):
    """T5's gated feed-forward, which reads the type of a weight."""

    matrices, covered = 3, 3

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.wi_0, self.wi_1 = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.wo = nn.Linear(2 * width, width, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.wi_0(inputs)) * self.wi_1(inputs)
        if self.wo.weight.dtype not in (hidden.dtype, torch.int8):
            hidden = hidden.to(self.wo.weight.dtype)
        return inputs + self.wo(hidden)

    @staticmethod
    def inputs() -> Tensor:
        return torch.randn(5, 4, 6) + torch.randn(6)


class ResNet(nn.Module):
    """A residual block of convolutions without bias, which normalisation follows, and a strided shortcut."""

    matrices, covered = 5, 5

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.conv1 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.downsample = nn.Conv2d(width, 2 * width, 1, stride=2, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(2 * width), nn.BatchNorm2d(2 * width)
        self.fc = nn.Linear(2 * width, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.stem(inputs))
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(hidden)))))
        return self.fc(torch.relu(inner + self.downsample(hidden)).mean(dim=(2, 3)))

    @staticmethod
    def inputs() -> Tensor:
        return torch.randn(4, 3, 7, 9) + 1


class UNet(nn.Module):
    """Down by a strided convolution, up by a transposed one, and a connection past both."""

    matrices, covered = 4, 4

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.leave = nn.Conv2d(2 * width, 1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        outer = torch.relu(self.enter(inputs))
        inner = torch.relu(self.down(outer))
        return self.leave(torch.cat((outer, self.up(inner)), dim=1))

    @staticmethod
    def inputs() -> Tensor:
        return torch.randn(3, 1, 8, 6) + 1


class Experts(nn.Module):
    """Each token goes to the expert that its gate prefers; some expert gets none."""

    matrices, covered = 7, 7

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 6)
        self.experts = nn.ModuleList(nn.Linear(6, 6) for _ in range(6))

    def forward(self, inputs: Tensor) -> Tensor:
        choice, outputs = self.gate(inputs).argmax(dim=1), torch.zeros_like(inputs)
        for index, expert in enumerate(self.experts):
            outputs[choice == index] = expert(inputs[choice == index])
        return outputs

    @staticmethod
    def inputs() -> Tensor:
        return torch.randn(4, 6)


class Sequences(nn.Module):
    """A classifier behind an LSTM, which is left as it is."""

    matrices, covered = 4, 2

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.lstm, self.leave = nn.Linear(3, 4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.leave(self.lstm(self.enter(inputs))[0][:, -1])

    @staticmethod
    def inputs() -> Tensor:
        return torch.randn(6, 7, 3)


class Mixed(nn.Module):
    """A registered layer of a user's own behind a Linear."""

    matrices, covered = 2, 2

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.kernel = nn.Linear(5, 6), Kernel(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.kernel(torch.tanh(self.enter(inputs)))

    @staticmethod
    def inputs() -> Tensor:
        return torch.randn(6, 5)


@pytest.mark.parametrize("make", [GPT2, T5FeedForward, ResNet, UNet, Experts, Sequences, Mixed])
def test_models_that_users_bring(make: Any) -> None:
    """Decorrelated they compute the same, coverage counts right, they learn, and fold gives back what they compute."""
    torch.manual_seed(0)
    plain = make()
    model = nd.decorrelate(plain, row_fraction=1.0)
    inputs = make.inputs()
    torch.testing.assert_close(model.eval()(inputs), plain.eval()(inputs), rtol=1e-5, atol=1e-6)
    fraction = nd.coverage(model).fraction
    assert fraction.matrices == make.covered / make.matrices
    plasticity = nd.Plasticity(model.train(), nd.rules.get("whitening"), row_fraction=1.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experts without a token learn nothing, and that is said
        for _ in range(10):
            optimiser.zero_grad()
            model(make.inputs()).square().mean().backward()
            optimiser.step()
            plasticity.step()
    moved = [not found.is_identity() for _, found, _ in nd.rate.decorrelated_layers(model)]
    assert len(moved) == make.covered and sum(moved) >= make.covered - 1
    expected = model.eval()(inputs)
    assert not torch.allclose(expected, plain(inputs), atol=1e-3)
    folded = nd.fold(model)
    torch.testing.assert_close(folded(inputs), expected, rtol=1e-4, atol=1e-5)
    assert [type(module) for module in folded.modules()] == [type(module) for module in plain.modules()]


def test_an_expert_without_tokens_returns_nothing_and_remembers_nothing() -> None:
    layer = nd.decorrelate(nn.Linear(6, 4))
    assert layer(torch.zeros(0, 6)).shape == (0, 4)
    assert layer.decorrelation.take_record() is None
    torch.manual_seed(0)
    inputs = torch.randn(9, 6)
    layer(inputs)
    layer(inputs[:0]).sum().backward()
    twin = nd.decorrelate(nn.Linear(6, 4))
    twin(inputs)
    found, expected = layer.decorrelation.take_record(), twin.decorrelation.take_record()
    assert float(found.seen) == float(expected.seen) == 9
    torch.testing.assert_close(found.inputs, expected.inputs, rtol=0, atol=0)


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
        model = nd.decorrelate(nn.Linear(features, 10))
        rule = nd.rules.get("interneuron", interneurons=16, every=1)
        plasticity = nd.Plasticity(model, rule, compensate=True, row_fraction=1.0)
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
