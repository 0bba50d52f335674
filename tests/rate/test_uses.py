"""Weights that something else than their layer computes with: seen at the first pass, refused by fold."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils import parametrizations, prune
from torch.overrides import _len_torch_function_stack

import neuro_decorr as nd
from neuro_decorr.errors import Unsupported


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(F.linear(torch.relu(self.encoder(inputs)), self.encoder.weight.t()))


class PartedAutoencoder(TiedAutoencoder):
    """Holds the shared parameter a second time where it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder_weight = self.encoder.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(F.linear(torch.relu(self.encoder(inputs)), self.decoder_weight.t()))


class Method(nn.Module):
    """The decoder is a method of the layer itself, which is not its forward pass."""

    class Encoder(nn.Linear):
        def back(self, inputs: Tensor) -> Tensor:
            return F.linear(inputs, self.weight.T)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = self.Encoder(6, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.encoder.back(self.encoder(inputs))


class Biases(nn.Module):
    """Fold moves the bias too."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.encoder(inputs - self.encoder.bias)


class FeedForward(nn.Module):
    """T5's: reads the type of a weight, and copies its device and shape."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 8, bias=False)
        self.wo = nn.Linear(8, 6, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.encoder(inputs))
        if self.wo.weight.dtype not in (hidden.dtype, torch.int8):
            hidden = hidden.to(self.wo.weight.dtype)
        hidden = hidden.to(self.wo.weight).type_as(self.wo.weight)
        noise = torch.zeros_like(self.wo.weight).sum() + self.wo.weight.new_zeros(3).sum()
        assert self.wo.weight.requires_grad and self.wo.weight.grad is None and self.wo.weight.size(0) == 6
        return self.wo(hidden) + noise


class Tokens(nn.Module):
    """A language model whose output weights are its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.encoder = nn.Linear(6, 6)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.encoder(self.embedding(tokens))))


def randomise(model: nn.Module) -> None:
    torch.manual_seed(1)
    for _, found, _ in nd.rate.decorrelated_layers(model):
        found.matrix.add_(torch.randn(found.features, found.features), alpha=0.3)
        found.mean.copy_(torch.randn(found.features))


def parametrized() -> nn.Module:
    model = TiedAutoencoder()
    parametrizations.weight_norm(model.encoder)
    return model


def pruned() -> nn.Module:
    model = TiedAutoencoder()
    prune.l1_unstructured(model.encoder, "weight", 0.5)
    return model


@pytest.mark.parametrize("make", [TiedAutoencoder, Method, Biases, parametrized, pruned])
@pytest.mark.parametrize("train", [True, False])
def test_a_weight_used_outside_of_its_layer_is_refused_by_name(make: type[nn.Module], train: bool) -> None:
    torch.manual_seed(0)
    model = nd.decorrelate(make()).train(train)
    with torch.set_grad_enabled(train):
        model(torch.randn(5, 6))
    with pytest.raises(Unsupported, match=r"'encoder' \((Linear|Encoder)\): .* outside of the layer"):
        nd.fold(model)


def test_compensation_refuses_before_anything_moves() -> None:
    torch.manual_seed(0)
    model = nd.decorrelate(TiedAutoencoder())
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"), compensate=True)
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(5, 6))
    with pytest.raises(Unsupported, match=r"compensate: .*'encoder'.* outside of the layer"):
        plasticity.step()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    plasticity = nd.Plasticity(model, nd.rules.get("whitening"))
    for _ in range(2):
        model(torch.randn(5, 6))
        plasticity.step()
    assert not model.encoder.decorrelation.is_identity()


def test_copies_know_it_too_and_without_the_layer_all_is_well() -> None:
    model = nd.decorrelate(TiedAutoencoder())
    inputs = torch.randn(5, 6)
    model(inputs)
    for seen in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with pytest.raises(Unsupported, match="'encoder'"):
            nd.fold(seen)
    assert model.state_dict().keys() == nd.decorrelate(TiedAutoencoder()).state_dict().keys()
    without = nd.decorrelate(TiedAutoencoder(), skip="encoder")
    randomise(without)
    torch.testing.assert_close(nd.fold(without)(inputs), without(inputs), rtol=1e-4, atol=1e-5)
    nd.fold(without)


@pytest.mark.parametrize("make", [PartedAutoencoder, FeedForward, Tokens])
def test_what_only_looks_like_it_folds(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    plain = make()
    inputs = torch.arange(7) if make is Tokens else torch.randn(5, 6)
    model = nd.decorrelate(plain)
    randomise(model)
    expected = model(inputs)
    assert not torch.allclose(expected, plain(inputs), atol=1e-2)
    torch.testing.assert_close(nd.fold(model)(inputs), expected, rtol=1e-4, atol=1e-5)


def test_the_watch_is_gone_after_the_first_pass_and_from_what_was_folded() -> None:
    model = nd.decorrelate(FeedForward())
    assert len(model._forward_pre_hooks) == 1
    for found in (nd.fold(model), nd.fold(copy.deepcopy(model))):
        assert not found._forward_pre_hooks
    inputs = torch.randn(3, 6)
    model(inputs)
    assert not model._forward_pre_hooks and not model._forward_hooks and _len_torch_function_stack() == 0


def test_the_watch_goes_when_the_first_pass_fails() -> None:
    model = nd.decorrelate(TiedAutoencoder())
    with pytest.raises(nd.rate.decorrelation.InvalidValue, match="an input of shape"):
        model(torch.randn(5, 7))
    assert not model._forward_pre_hooks and not model._forward_hooks and _len_torch_function_stack() == 0


def test_a_layer_called_past_its_call_is_inside_of_itself() -> None:
    class Direct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(6, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.encoder.forward(inputs)

    model = nd.decorrelate(Direct())
    randomise(model)
    inputs = torch.randn(3, 6)
    torch.testing.assert_close(nd.fold(model)(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    nd.fold(model)


def test_under_the_transforms_of_torch() -> None:
    inputs = torch.randn(4, 6)
    model = nd.decorrelate(TiedAutoencoder())
    parameters = dict(model.named_parameters())
    mapped = vmap(lambda row: functional_call(model, parameters, (row,)))(inputs)
    torch.testing.assert_close(mapped, model(inputs), rtol=1e-5, atol=1e-6)
    with pytest.raises(Unsupported, match="'encoder'"):
        nd.fold(model)


def test_compiled_and_exported_passes_show_nothing_and_the_next_eager_one_does() -> None:
    torch._dynamo.reset()
    inputs = torch.randn(4, 6)
    model = nd.decorrelate(TiedAutoencoder()).eval()
    expected = copy.deepcopy(model)(inputs)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(inputs), expected)
    torch.testing.assert_close(torch.export.export(model, (inputs,)).module()(inputs), expected)
    assert len(model._forward_pre_hooks) == 1
    model(inputs)
    with pytest.raises(Unsupported, match="'encoder'"):
        nd.fold(model)


def test_a_compiled_function_within_the_first_pass() -> None:
    torch._dynamo.reset()

    class Model(TiedAutoencoder):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.compile(lambda inputs: inputs.sin() * 2, backend="eager", fullgraph=True)

        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(self.scale(inputs))

    model = nd.decorrelate(Model())
    inputs = torch.randn(4, 6)
    torch.testing.assert_close(model(inputs), model(inputs))
    with pytest.raises(Unsupported, match="'encoder'"):
        nd.fold(model)
