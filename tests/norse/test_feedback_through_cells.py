"""Feedback past a Decorrelation that stands between the layers is that past one that belongs to a layer."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from tests.credit.loops import gradients


class Spiking(nn.Module):
    """Linear, neurons, perhaps a cell, linear, neurons, readout of their mean."""

    def __init__(self, layers: nn.ModuleList, cell: nn.Module | None) -> None:
        super().__init__()
        self.first, self.second, self.readout = copy.deepcopy(layers)
        self.neurons = nd.norse.LIF(6, threshold=0.3, dtype=torch.float64)
        self.cell = cell

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        spikes, _ = self.neurons(self.first(inputs))
        if self.cell is not None:
            found = self.cell(spikes)
            spikes = found[0] if isinstance(found, tuple) else found
        return self.readout(self.neurons(self.second(spikes))[0].mean(0))


def recurrent(features: int) -> nn.Module:
    return nd.rate.settling.Recurrent(nd.Decorrelation(features, dtype=torch.float64))


@pytest.mark.parametrize("credit", ["feedback_alignment", "direct_feedback_alignment"])
@pytest.mark.parametrize("site", ["pre_decorrelation", "post_decorrelation"])
@pytest.mark.parametrize("kind", [nd.norse.Decorrelation, nd.Decorrelation, recurrent])
def test_a_decorrelation_of_its_own_is_passed_as_one_of_a_layer(credit, site, kind) -> None:
    torch.manual_seed(0)
    layers = nn.ModuleList(nn.Linear(5 + (i > 0), 6 - 2 * (i > 1), dtype=torch.float64) for i in range(3))
    for layer in layers:
        layer.weight.data.mul_(3)
    matrix, mean = torch.eye(6).double() + 0.3 * torch.randn(6, 6).double(), 0.2 * torch.rand(6).double()
    cell = recurrent(6) if kind is recurrent else kind(6, center=True, dtype=torch.float64)
    apart, attached = Spiking(layers, cell), nd.decorrelate(Spiking(layers, None), skip=("first", "readout"))
    for held in (getattr(cell, "decorrelation", cell), attached.second.decorrelation):
        held.matrix.copy_(matrix)
        held.mean.copy_(mean)
    inputs, targets = (torch.rand(15, 7, 5) < 0.4).double(), torch.randint(4, (7,))
    found = []
    for model in (apart, attached):
        options = {"time_first": True} if credit.startswith("direct") else {}
        nd.credit.get(credit, model, seed=0, feedback_site=site, **options).backward(F.cross_entropy, inputs, targets)
        found.append(gradients(model))
        held = model.second if model is attached else cell
        assert getattr(held, "decorrelation", held).take_record() is not None  # what drives the plasticity is kept
    # Sums over time and batch in another order, and the circuit's solve in the place of D.
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
