"""Layers that own weights and hand on a state: recurrent cells of Norse and torch, step by step and over sequences."""

from __future__ import annotations

import re

import norse.torch
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from neuro_decorr import credit
from neuro_decorr.errors import Unsupported
from tests.credit.spiking_loops import exact_neurons, make_spiking_case
from tests.credit.test_in_time import norse_neurons

STEPS, BATCH, SIGMA = 6, 3, 0.5
OF_NORSE = ["LSNNRecurrentCell", "LIFRecurrentCell", "LIFRefracRecurrentCell", "LIFAdExRecurrentCell", "LIFRecurrent"]


class Pair(nn.Module):
    """A cell of one's own whose state is a tensor."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(narrow, wide))
        self.left = nn.Parameter(torch.full((narrow,), 0.7))

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        level = inputs @ self.weight.T + (0.0 if state is None else self.left * state)
        return level.tanh(), level


class Memory(nn.Module):
    """A recurrent cell and a readout of all its steps."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        makers = {"LSTM": nn.LSTM, "Pair": Pair}
        self.kind = kind
        self.cell = (makers.get(kind) or getattr(norse.torch, kind))(5, 6).double()
        self.readout = nn.Linear(6, 3, dtype=torch.float64)

    def run(self, inputs: Tensor) -> Tensor:
        if self.kind in ("LSTM", "LIFRecurrent"):
            return self.cell(inputs)[0]
        outputs, state = [], None
        for step in inputs:
            output, state = self.cell(step, state)
            outputs.append(output)
        return torch.stack(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.run(inputs).mean(0))


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return 4 * torch.rand(STEPS, BATCH, 5, generator=generator, dtype=torch.float64), torch.tensor([0, 2, 1])


@pytest.mark.parametrize("kind", ["LSTM", "Pair", *OF_NORSE])
@pytest.mark.parametrize("options", [{}, {"presynaptic": "noisy"}, {"vectorised": True, "directions": 1}])
def test_noise_on_what_a_cell_returns_meets_its_own_derivative(kind, options) -> None:
    """The noise is read from outside, and the cell is differentiated through its own steps."""
    model, (inputs, targets) = Memory(kind), batch()
    returned: list[Tensor] = []
    model.cell.register_forward_hook(lambda _, __, output: returned.append(output[0].detach().clone()))
    name = "likelihood_ratio" if "presynaptic" in options else "node_perturbation"
    if "vectorised" in options and kind not in ("LSTM", "LIFRecurrent"):  # whose inputs nobody tells of
        options = options | {"time_first": True}
    credit.get(name, model, sigma=SIGMA, **options).backward(F.cross_entropy, inputs, targets)
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if name.startswith("cell")}
    calls = len(returned) // 3  # perturbed, tried out, clean
    noisy, _, clean = (torch.cat(returned[calls * k : calls * (k + 1)]).view(STEPS, BATCH, 6) for k in range(3))
    outputs = model.run(inputs)
    torch.testing.assert_close(outputs.detach(), clean)
    noise = (noisy - clean) / SIGMA
    # The readout has noise of its own, which the same seed gives again, behind that of the cell.
    drawn = credit.get(name, model, **options).noise
    for call in noise if calls > 1 else noise[None]:
        torch.testing.assert_close(drawn.draw(torch.empty_like(call)), call)
    at_readout = SIGMA * drawn.draw(torch.empty(BATCH, 3, dtype=torch.float64))
    after = F.cross_entropy(model.readout(noisy.mean(0)) + at_readout, targets, reduction="none")
    change = (after - F.cross_entropy(model.readout(clean.mean(0)), targets, reduction="none")) / SIGMA / BATCH
    assert change.abs().max() > 1e-3
    parameters = [parameter for name, parameter in model.named_parameters() if name.startswith("cell")]
    wanted = torch.autograd.grad(outputs, parameters, (change[:, None] * noise).detach())
    for one, other in zip(found.values(), wanted, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


class Peeking(Memory):
    """Reads the state of its cell, which no noise has reached."""

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.cell(inputs[0])[1])


def test_a_state_that_goes_elsewhere_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"input of layer 'readout' \(Linear\) depends on trainable parameters"):
        credit.get("node_perturbation", Peeking("Pair")).backward(F.cross_entropy, *batch())


ANY_LAYER = ["backprop", "weight_perturbation", "node_perturbation", "activity_perturbation"]


@pytest.mark.parametrize("kind", OF_NORSE)
@pytest.mark.parametrize("name", credit.names())
def test_a_credit_works_or_names_others_that_do(name, kind) -> None:
    inputs, targets = batch()
    try:
        model = Memory(kind)
        credit.get(name, model).backward(F.cross_entropy, inputs, targets)
    except Unsupported as refusal:
        message = str(refusal)
    else:
        assert all(parameter.grad is not None for parameter in model.parameters())
        return
    assert name not in ANY_LAYER
    advised = [other for other in ANY_LAYER if re.search(rf"\b{other}\b", message)]
    assert advised, message
    for other in advised:
        model = Memory(kind)
        credit.get(other, model).backward(F.cross_entropy, inputs, targets)
        assert all(parameter.grad is not None for parameter in model.parameters())


class Recurrent(nn.Module):
    """What e-prop's refusal advises: neurons of nd.norse, and the weights of the recurrent cell in Linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.arriving, self.recurrent = nn.Linear(5, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.neurons = nd.norse.AdaptiveLIF(6, threshold=0.3, sequences=False)
        self.readout = nn.Linear(6, 3)
        self.double()

    def forward(self, inputs: Tensor) -> Tensor:
        spikes, state, total = torch.zeros(BATCH, 6).double(), None, 0.0
        for step in inputs:
            spikes, state = self.neurons(self.arriving(step) + self.recurrent(spikes), state)
            total = total + spikes
        return self.readout(total / len(inputs))


@pytest.mark.parametrize("name", ["eprop", "feedback_alignment", "forward_gradient", "direct_feedback_alignment"])
def test_with_neurons_of_ours_the_advice_leads_somewhere(name) -> None:
    model = Recurrent()
    credit.get(name, model).backward(F.cross_entropy, *batch())
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.parameters())


KINDS = {
    "of nd.norse, steps": ((exact_neurons, True), {"local_forward_gradient", "semi_implicit"}),
    "of nd.norse, sequences": ((exact_neurons, False), {"local_forward_gradient"}),
    "LIFCell": ((norse_neurons, True), {"local_forward_gradient", "semi_implicit", "eprop", "forward_gradient"}),
}


@pytest.mark.parametrize("kind", [*KINDS, *OF_NORSE])
def test_the_table_of_the_page(kind) -> None:
    recurrent = {"backprop", "sketched_backprop", "likelihood_ratio"} | set(ANY_LAYER)
    expected = set(credit.names()) - KINDS[kind][1] if kind in KINDS else recurrent
    works = set()
    for name in credit.names():
        if kind in KINDS:
            (neuron, stepwise), _ = KINDS[kind]
            case = make_spiking_case(neuron=neuron, stepwise=stepwise)
            run = (case.model, F.mse_loss, case.inputs, case.targets)
        else:
            run = (Memory(kind), F.cross_entropy, *batch())
        try:
            credit.get(name, run[0]).backward(*run[1:])
            works.add(name)
        except Unsupported:
            pass
    assert works == expected
