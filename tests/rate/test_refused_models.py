"""What is no model, or not one for the call, is refused by one line that names the call and what it got."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr.errors import InvalidValue, Unsupported


def entered(context: object) -> None:
    with context:
        pass


CALLS: dict[str, Callable[[object], object]] = {
    "decorrelate": nd.decorrelate,
    "fold": nd.fold,
    "coverage": nd.coverage,
    "Plasticity": lambda model: nd.Plasticity(model, nd.rules.get("whitening")),
    "row_weights": lambda model: entered(nd.rate.row_weights(model, torch.ones(4))),
    "unremembered": lambda model: entered(nd.rate.unremembered(model)),
}
NO_MODELS = {
    "None": None,
    "3": 3,
    "a list of 1": [nn.Linear(2, 2)],
    "a OrderedDict of 2": nn.Linear(2, 2).state_dict(),
    "the class Linear": nn.Linear,
    "a Tensor of shape (2, 3)": torch.ones(2, 3),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shown", NO_MODELS)
def test_what_is_no_model_is_refused_in_one_line(call: str, shown: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        CALLS[call](NO_MODELS[shown])
    message = str(caught.value)
    assert shown in message and call in message and "torch.nn.Module" in message
    assert "\n" not in message and len(message) < 200


@pytest.mark.parametrize("call", CALLS)
def test_scripted_models_are_refused(call: str) -> None:
    with pytest.warns(DeprecationWarning, match="jit"):
        scripted = torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3))
    with pytest.raises(Unsupported, match=f"{call}: .* made by torch.jit"):
        CALLS[call](scripted)


class ByTheNorm(nn.Linear):
    """What W D is to it depends on the norm of W."""

    def forward(self, inputs: Tensor) -> Tensor:
        return nn.functional.linear(inputs, self.weight / self.weight.norm(), self.bias)


def test_a_forward_of_its_own_is_neither_folded_nor_compensated() -> None:
    """Both need that the layer computes W x + b: halving the W of this one changes nothing."""
    model = nd.decorrelate(nn.Sequential(nn.Linear(3, 4), ByTheNorm(4, 2)))
    for refused in (lambda: nd.fold(model), lambda: nd.Plasticity(model, nd.rules.get("whitening"), compensate=True)):
        with pytest.raises(Unsupported, match=r"'1'.* forward of its own"):
            refused()
    alone = nd.decorrelate(model := nn.Sequential(nn.Linear(3, 4), ByTheNorm(4, 2)), skip=ByTheNorm)
    nd.Plasticity(alone, nd.rules.get("whitening"), compensate=True)


def test_row_weights_of_convolutions_alone_are_refused() -> None:
    convolutions = nd.decorrelate(nn.Sequential(nn.Conv1d(2, 3, 3), nn.Conv1d(3, 2, 1)))
    with pytest.raises(InvalidValue, match="row_weights: Sequential decorrelates convolutions only"):
        entered(nd.rate.row_weights(convolutions, torch.ones(4)))
    mixed = nd.decorrelate(nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(6, 2)))
    with nd.rate.row_weights(mixed, torch.tensor([1.0, 0.0, 1.0, 1.0])):
        mixed(torch.randn(4, 2, 4))
    assert mixed[2].decorrelation.take_record().seen == 3


def test_what_is_known_to_use_a_weight_elsewhere_is_refused_at_construction() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(6, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return nn.functional.linear(self.encoder(inputs), self.encoder.weight.t())

    model = nd.decorrelate(Tied())
    nd.Plasticity(model, nd.rules.get("whitening"), compensate=True)  # nothing is known before the first pass
    model(torch.randn(3, 6))
    with pytest.raises(Unsupported, match=r"compensate: layer 'encoder': .* outside of the layer"):
        nd.Plasticity(model, nd.rules.get("whitening"), compensate=True)
