"""Neurons that a model has in two places are two populations, as two copies of them are."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import norse.torch
import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import Unsupported


def layers() -> list[Any]:
    torch.manual_seed(0)
    found = [nn.Linear(6, 5), nd.norse.LIF(5, threshold=0.2), nn.Linear(5, 5)]
    for layer in (found[0], found[2]):
        layer.weight.data.mul_(4)
    return found


def stepped(model: nn.Module, inputs: Tensor, detached: bool = False) -> Tensor:
    outputs, state = [], None
    for step in inputs:
        output, state = model(step, nd.norse.detach(state) if detached else state)
        outputs.append(output)
    return torch.stack(outputs)


class Steps(nn.Module):
    def __init__(self, network: nn.Module, detached: bool) -> None:
        super().__init__()
        self.network, self.detached = network, detached

    def forward(self, inputs: Tensor) -> Tensor:
        return stepped(self.network, inputs, self.detached)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.sum(0) - targets).square().sum()


@pytest.mark.parametrize("sequences", [True, False])
def test_eprop_of_shared_neurons_is_that_of_copies(sequences: bool) -> None:
    first, neurons, second = layers()
    inputs, gradients = (torch.rand(15, 3, 6) < 0.5).float(), []
    for above in (neurons, deepcopy(neurons)):
        network: Any = norse.torch.SequentialState(deepcopy(first), neurons, deepcopy(second), above).double()
        nd.norse.set_sequences(network, sequences)
        model = network if sequences else Steps(network, detached=False)
        nd.credit.get("eprop", model).backward(squared, inputs.double(), torch.ones(3, 5))
        gradients.append([parameter.grad for parameter in model.parameters()])
    for shared, separate in zip(*gradients, strict=True):
        assert bool((separate != 0).any())
        torch.testing.assert_close(shared, separate)


def test_eprop_refuses_states_that_do_not_tell_the_place() -> None:
    first, neurons, second = layers()
    network = norse.torch.SequentialState(first, neurons, second, neurons)
    nd.norse.set_sequences(network, False)
    credit = nd.credit.get("eprop", Steps(network, detached=True))
    with pytest.raises(Unsupported, match="are in several places"):
        credit.backward(squared, torch.ones(15, 3, 6), torch.ones(3, 5))
