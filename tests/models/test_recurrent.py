"""Recurrent networks against those of torch, with a D inside the recurrence, and under the credits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from models.recurrent import Recurrent, recurrent
from neuro_decorr.errors import InvalidValue


def inputs(seed: int = 0, steps: int = 6) -> torch.Tensor:
    return torch.randn(5, steps, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def torchs(model: Recurrent) -> nn.Module:
    """Torch's own with the same weights."""
    kind = nn.RNN if model.cell == "tanh" else nn.GRU
    made = kind(4, model.units, batch_first=True).double()
    with torch.no_grad():
        made.weight_ih_l0.copy_(model.inputs.weight)
        made.weight_hh_l0.copy_(model.recurrent.weight)
        made.bias_ih_l0.copy_(model.inputs.bias)
        made.bias_hh_l0.zero_()
    return made


@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_it_is_torchs_network(cell: str) -> None:
    model = recurrent(4, 7, 3, cell, seed=1).double()
    model.inputs.bias.data.normal_(generator=torch.Generator().manual_seed(2))
    states, _ = torchs(model)(inputs())
    torch.testing.assert_close(model.hidden(inputs()).transpose(0, 1), states)
    torch.testing.assert_close(model(inputs()), model.output(states[:, -1]))


@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_a_decorrelation_inside_the_recurrence_is_another_recurrent_matrix(cell: str) -> None:
    """W_r D in torch's network, and the gradient of W_r is that of W_r D, times D transposed."""
    plain = recurrent(4, 6, 3, cell, seed=1).double()
    model = nd.decorrelate(plain, center=False)
    held = model.recurrent.decorrelation
    held.matrix.copy_(torch.eye(6) + 0.2 * torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))
    reference = torchs(plain)
    with torch.no_grad():
        reference.weight_hh_l0.copy_(plain.recurrent.weight @ held.matrix)
    states, _ = reference(inputs())
    torch.testing.assert_close(model(inputs()), plain.output(states[:, -1]))
    targets = torch.arange(5) % 3
    F.cross_entropy(plain.output(states[:, -1]), targets).backward()
    nd.credit.get("backprop", model).backward(F.cross_entropy, inputs(), targets)
    torch.testing.assert_close(model.recurrent.weight.grad, reference.weight_hh_l0.grad @ held.matrix.T)


def test_plasticity_learns_from_all_steps_of_the_trajectory() -> None:
    """The exact rule on all rows: the second moment of h_0 ... h_{T-1} whitened, by an eigendecomposition."""
    model = nd.decorrelate(recurrent(4, 5, 3, seed=1).double(), center=False)
    rule = nd.rules.get("zca", rate=1.0, damping=1.0, preserve_power=False)
    plasticity = nd.Plasticity(model, rule, row_fraction=1.0)
    data = inputs(seed=4, steps=40)
    with torch.no_grad():
        states = model.hidden(data)
    model(data)
    plasticity.step()
    before = torch.cat([torch.zeros(1, 5, 5, dtype=torch.float64), states[:-1]]).flatten(0, 1)
    moment = before.T @ before / len(before)
    whitened = model.recurrent.decorrelation.matrix
    powers, directions = torch.linalg.eigh(moment)
    expected = (directions * (1 + powers / powers.mean()).rsqrt()) @ directions.T
    # The running covariance begins with one pseudo-sample: 200 rows leave little of it.
    assert (whitened - expected).norm() / expected.norm() < 0.05


@pytest.mark.parametrize("cell", ["tanh", "gru"])
@pytest.mark.parametrize("name", ["node_perturbation", "feedback_alignment", "weight_perturbation", "forward_gradient"])
def test_credits_descend_on_average(name: str, cell: str) -> None:
    model = nd.decorrelate(recurrent(4, 6, 3, cell, seed=1).double())
    targets = torch.arange(5) % 3
    nd.credit.get("backprop", model).backward(F.cross_entropy, inputs(), targets)
    exact = torch.cat([each.grad.flatten() for each in model.parameters()])
    credit = nd.credit.get(name, model, seed=0)
    model.zero_grad()
    for _ in range(60):
        credit.backward(F.cross_entropy, inputs(), targets)
    found = torch.cat([each.grad.flatten() for each in model.parameters()])
    assert F.cosine_similarity(found, exact, dim=0) > (0.1 if name == "feedback_alignment" else 0.3)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(InvalidValue, match="positive integers"):
        recurrent(0)
    with pytest.raises(InvalidValue, match="tanh and gru"):
        recurrent(4, cell="lstm")
    with pytest.raises(InvalidValue, match=r"\(batch, steps, features\)"):
        recurrent(4)(torch.zeros(5, 4))


def test_the_example_of_the_page_runs_and_torchs_own_are_left() -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "experiments" / "recurrent.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    assert not names["model"].recurrent.decorrelation.is_identity()
    report = nd.coverage(nd.decorrelate(nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 3))))
    assert any("GRU" in line and "left" in line for line in str(report).splitlines())
