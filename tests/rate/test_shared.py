"""Passes that have their input in common share the product with D, and nothing else changes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import neuro_decorr as nd
from neuro_decorr.credit._passes import Passes

RULES = {
    "norm_preserving": {"rate": 1e-2},
    "interneuron": {"interneurons": 3, "every": 1},
    "center": {},
}


class Skips(nn.Module):
    """Gives its input to two layers, once as a view and once through something that writes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 5), nn.Linear(8, 5), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs.view(-1, 8)) + self.second(inputs))
        return self.last(hidden + self.first(inputs.clone().mul_(0.5)))


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "dense": nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.LeakyReLU(), nn.Linear(6, 3)),
        "in place": nn.Sequential(nd.Decorrelation(8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
        "random": nn.Sequential(nn.Dropout(0.3), nn.Linear(8, 3)),
        "skips": Skips(),
    }


def course(network: str, name: str, rule: str, center: bool, directions: int, shared: bool) -> list[Tensor]:
    """All gradients, D and means of some steps."""
    model = nd.decorrelate(networks()[network], center=center, row_fraction=0.5)
    with pytest.MonkeyPatch.context() as patch:
        if not shared:
            patch.setattr(Passes, "_shared", lambda *_: nullcontext())
        parameters: dict[str, Any] = {} if name == "activity_perturbation" else {"directions": directions}
        credit = nd.credit.get(name, model, seed=1, **parameters)
        plasticity = nd.Plasticity(model, nd.rules.get(rule, **RULES[rule]))
        generator = torch.Generator().manual_seed(2)
        torch.manual_seed(3)  # for dropout
        results = []
        for _ in range(4):
            inputs = torch.randn(10, 8, generator=generator) + 1
            model.zero_grad()
            credit.backward(F.cross_entropy, inputs, torch.randint(3, (10,), generator=generator))
            plasticity.step()
            results += [parameter.grad.clone() for parameter in model.parameters()]
            results += [buffer.clone() for buffer in model.buffers()]
    return results


@pytest.mark.parametrize("network", ["dense", "in place", "random", "skips"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("name", "directions", "center"),
    [("node_perturbation", 1, True), ("node_perturbation", 3, False), ("activity_perturbation", 1, True)],
)
def test_gradients_and_plasticity_are_those_of_passes_on_their_own(
    network: str, rule: str, name: str, directions: int, center: bool
) -> None:
    together, alone = (course(network, name, rule, center, directions, shared) for shared in (True, False))
    assert len(together) == len(alone) > 8
    assert all(torch.equal(one, other) for one, other in zip(together, alone, strict=True))


def test_the_product_with_the_input_is_computed_once() -> None:
    """Counted by torch: (directions + 1) passes of W, one of D, and the gradient of W."""
    inputs, outputs, rows, directions = 40, 2, 10, 4
    model = nd.decorrelate(nn.Linear(inputs, outputs))
    _, found, _ = next(iter(nd.rate.decorrelated_layers(model)))
    assert found.matrix.shape == (inputs, inputs)  # dense, once it is asked for
    credit = nd.credit.get("node_perturbation", model, directions=directions)
    batch = F.cross_entropy, torch.randn(rows, inputs), torch.zeros(rows, dtype=torch.long)
    credit.backward(*batch)  # which looks for side effects, on copies of the buffers
    with FlopCounterMode(display=False) as counter:
        credit.backward(*batch)
    weights = 2 * rows * inputs * outputs
    assert counter.get_total_flops() == (directions + 2) * weights + 2 * rows * inputs**2


def test_an_input_or_a_transform_that_changed_is_computed_anew() -> None:
    module = nd.Decorrelation(4)
    module.matrix.copy_(torch.randn(4, 4))
    inputs = torch.randn(6, 4)
    module.share_passes(inputs)
    first = module(inputs)
    assert module(inputs) is first and module(inputs.view(6, 4)) is first
    assert torch.equal(module(inputs[:3]), module(inputs[:3].clone())), "another part of the input"
    again = module(inputs)
    changes = [
        lambda: inputs.mul_(2),
        lambda: module.matrix.mul_(3),
        lambda: module.mean.add_(1),
        lambda: again.zero_(),  # noqa: PLW0108  # another one every time
    ]
    for change in changes:
        change()
        first, again = again, module(inputs)
        assert again is not first
        torch.testing.assert_close(again, (inputs - module.mean) @ module.matrix.T)
    module.share_passes(None)
    assert module(inputs) is not module(inputs)


def test_nothing_is_shared_after_an_error() -> None:
    model = nd.decorrelate(nn.Linear(4, 2))
    credit = nd.credit.get("node_perturbation", model)
    with pytest.raises(ValueError, match="broken"):
        credit.backward(lambda *_: (_ for _ in ()).throw(ValueError("broken")), torch.randn(3, 4), torch.zeros(3))
    inputs = torch.randn(3, 4)
    assert model.decorrelation(inputs) is not model.decorrelation(inputs)
