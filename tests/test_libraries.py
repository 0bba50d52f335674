"""Rate and credit ask what a library's modules do, and work with any that is described."""

from __future__ import annotations

import types

import norse.torch
import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import libraries
from neuro_decorr.libraries import Library


class Neuron(nn.Module):
    """Of another library: spikes where the input is above one half."""

    __module__ = "another.neurons"

    def forward(self, inputs: Tensor, state: None = None) -> tuple[Tensor, None]:
        return (inputs > 0.5).to(inputs.dtype), None


class Chain(nn.Module):
    """Of another library: runs its children in turn, with a list of those that have a state."""

    __module__ = "another.containers"

    def __init__(self, *children: nn.Module) -> None:
        super().__init__()
        for index, child in enumerate(children):
            self.add_module(str(index), child)
        self.with_state = {str(index) for index, child in enumerate(children) if not isinstance(child, nn.Linear)}

    def forward(self, inputs: Tensor) -> Tensor:
        for name, child in self.named_children():
            inputs = child(inputs)[0] if name in self.with_state else child(inputs)
        return inputs


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_libraries", dict(libraries._libraries))
    libraries.register(
        Library(
            "another",
            spikes=lambda module: isinstance(module, Neuron),
            chains=lambda module: isinstance(module, Chain),
            became_stateless=lambda chain, name: chain.with_state.discard(name),
        )
    )


@pytest.mark.usefixtures("another")
def test_a_library_that_is_described_is_compensated_and_folded_and_spikes() -> None:
    torch.manual_seed(0)
    model = Chain(nd.norse.Decorrelation(4, True, row_fraction=1.0), nn.Linear(4, 3))
    inputs = 1 + torch.randn(5, 32, 4) + 2 * torch.randn(5, 32, 1)
    with torch.no_grad():
        before = model(inputs)
        plasticity = nd.Plasticity(model, nd.rules.get("norm_preserving"), compensate=True)  # it found the Linear
        for _ in range(3):
            model(inputs)
            plasticity.step()
        assert not model.get_submodule("0").decorrelation.is_identity()
        torch.testing.assert_close(model(inputs), before, rtol=1e-4, atol=1e-5)
        folded = nd.fold(model)
        assert all(type(child) is nn.Linear for child in folded.children())
        torch.testing.assert_close(folded(inputs), before, rtol=1e-4, atol=1e-5)
    spiking = nn.Sequential(nn.Linear(4, 3), Neuron())
    assert nd.credit.default_sigma(spiking, "pass") == nd.credit.default_sigma(nn.Sequential(nd.norse.LIF(3)), "pass")


def test_what_is_not_described_is_a_module_like_any_other() -> None:
    assert libraries.spiking_library(Neuron()) is None and not libraries.is_chain(Chain(nn.Linear(2, 2)))
    assert nd.credit.default_sigma(nn.Sequential(nn.Linear(4, 3), Neuron()), "pass") == 1e-3


def test_norse() -> None:
    """Its neurons, those of a class derived from them, and its sequence."""
    derived = types.new_class("Derived", (norse.torch.LIFCell,), exec_body=lambda body: body.update(__module__="mine"))
    assert libraries.spiking_library(norse.torch.LIFCell()) == libraries.spiking_library(derived()) == "norse"
    sequence = norse.torch.SequentialState(nn.Linear(2, 2), norse.torch.LIFCell())
    assert libraries.is_chain(sequence) and libraries.spiking_library(sequence) is None
    libraries.replaced_by_stateless(sequence, "1")
    assert not any(sequence.stateful_layers)
    assert libraries.is_chain(nn.Sequential()) and not libraries.is_chain(nn.ModuleList())


def test_snntorch_resets_the_neurons_of_copies() -> None:
    """It lists neurons as they are made; two equal runs after a reset of a copy are equal, as those of the original."""
    snntorch = pytest.importorskip("snntorch")
    utils = pytest.importorskip("snntorch.utils")
    torch.manual_seed(0)
    neurons = (snntorch.Leaky(beta=0.9, init_hidden=True), snntorch.Leaky(beta=0.9, init_hidden=True))
    model = nn.Sequential(nn.Linear(6, 8), neurons[0], nn.Linear(8, 3), neurons[1])
    inputs = 3 * torch.randn(10, 16, 6)

    def run(network: nn.Module) -> Tensor:
        utils.reset(network)
        return torch.stack([network(step) for step in inputs])

    decorrelated = nd.decorrelate(model).eval()
    for network in (model, decorrelated, nd.fold(decorrelated)):
        with torch.no_grad():
            assert run(network).sum() > 0
            torch.testing.assert_close(run(network), run(network), rtol=0, atol=0)
    torch.testing.assert_close(run(nd.fold(decorrelated)), run(model))  # D is the identity so far
