"""The table of credits tells the truth about the layers that each treats, and about what keeps no activations."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported

ROWS = {row["name"]: row for row in nd.credit.table()}
SPIKING = "with spiking neurons only"


def dense() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 9), nn.Tanh(), nn.Linear(9, 3))


def convolutional() -> nn.Sequential:
    layers = nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 3, 3, stride=2, padding=1), nn.Tanh()
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(12, 3))


class Spiking(nn.Module):
    """The first layers of another model, in front of spiking neurons."""

    def __init__(self, model: nn.Sequential) -> None:
        super().__init__()
        self.layers = nn.Sequential(*model[:2])
        self.neurons = nd.norse.LIF(9 if isinstance(model[1], nn.Linear) else 64, threshold=0.1)
        self.readout = nn.Linear(self.neurons.features, 3)

    def forward(self, images: Tensor) -> Tensor:
        currents = self.layers(images).flatten(1)
        spikes, _ = self.neurons(currents.expand(20, *currents.shape))
        return self.readout(spikes.mean(0))


def second_gradients(name: str, model: nn.Module) -> list[Tensor | None]:
    """After one step: readouts that start at zero teach nothing at the first."""
    credit = nd.credit.get(name, model)
    optimiser = torch.optim.SGD([*model.parameters(), *credit.parameters()], lr=0.1)
    inputs, targets = torch.rand(16, 2, 6, 6), torch.randint(3, (16,))
    for _ in range(2):
        optimiser.step()
        optimiser.zero_grad()
        credit.backward(F.cross_entropy, inputs, targets)
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("decorrelated", [False, True], ids=["plain", "decorrelated"])
@pytest.mark.parametrize("column", ["dense", "convolutional"])
@pytest.mark.parametrize("name", ROWS)
def test_which_layers_a_credit_treats(name: str, column: str, decorrelated: bool) -> None:
    torch.manual_seed(0)
    plain = dense() if column == "dense" else convolutional()
    model = nd.decorrelate(plain) if decorrelated else plain
    cell = ROWS[name][column]
    if cell != "yes":
        with pytest.raises((Unsupported, InvalidValue), match="needs spiking neurons"):
            second_gradients(name, model)
        assert cell == SPIKING
        model = nd.decorrelate(Spiking(plain)) if decorrelated else Spiking(plain)
    gradients = second_gradients(name, model)
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if "no activations" in row["memory"]])
def test_what_keeps_no_activations_saves_nothing_for_a_backward_pass(name: str) -> None:
    saved: list[Tensor] = []

    def count(values: Tensor) -> Tensor:
        saved.append(values)
        return values

    def saves(name: str) -> int:
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda values: values):
            second_gradients(name, convolutional())
        return len(saved)

    assert saves("backprop") > 0
    assert saves(name) == 0
