"""Semi-implicit back propagation as a protocol, small: budgets, the systems against exact solutions, the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import neuro_decorr as nd
from analysis import semi_implicit as analysis
from models.dense import dense
from neuro_decorr import data, study
from protocols import semi_implicit as protocol
from tests.protocols.execution import whole

SMALL = {"steps": (1, 2), "hidden": (16, 16), "epochs": 1, "selection_epochs": 1, "batch_size": 200}


def test_every_condition_has_as_many_selection_runs() -> None:
    configuration = protocol.PROTOCOL.configure({})
    chosen = protocol.SELECTION.selection_runs(configuration, [0], study.Tables())
    keys = [tuple(condition.factors[name] for name in ("strength", "credit", "arm", "steps")) for condition in chosen]
    assert {keys.count(key) for key in keys} == {protocol.SETTINGS}
    assert {key[3] for key in keys if key[:2] == (1.0, "semi_implicit")} == {1, 2, 5, 20}
    assert {key[3] for key in keys if key[:2] == (0.0, "semi_implicit")} == {5}


def test_on_whitened_inputs_the_step_is_a_gradient_step() -> None:
    r"""With $X^T X = B I$ a linear layer moves by $\eta G / (1 + \lambda)$: gradient descent with one scalar rate."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.linalg.qr(torch.randn(32, 6, generator=generator, dtype=torch.float64)).Q * 32**0.5
    targets = torch.randint(3, (32,), generator=generator)
    model = torch.nn.Linear(6, 3, bias=False).double()
    nd.credit.get("backprop", model).backward(F.cross_entropy, inputs, targets)
    assert model.weight.grad is not None
    gradient = model.weight.grad.clone()
    model.zero_grad()
    nd.credit.get("semi_implicit", model, eta=0.7, damping=0.25).backward(F.cross_entropy, inputs, targets)
    torch.testing.assert_close(model.weight.grad, 0.7 * gradient / 1.25, rtol=1e-10, atol=1e-14)


def test_a_fixed_point_is_a_stationary_point() -> None:
    """Where the gradient is zero nothing is proposed, and the proposal goes downhill elsewhere."""
    model = dense([4, 6, 3], seed=0).double()
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    credit = nd.credit.get("semi_implicit", model, eta=0.3, damping=0.1, steps=50)

    def square(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).square().mean()

    credit.backward(square, inputs, model(inputs).detach())
    assert all(float(each.grad.abs().max()) == 0 for each in model.parameters() if each.grad is not None)
    targets = torch.randn(20, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    model.zero_grad()
    credit.backward(square, inputs, targets)
    proposed = [each.grad.clone() for each in model.parameters() if each.grad is not None]
    model.zero_grad()
    square(model(inputs), targets).backward()
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    assert sum(float((one * other).sum()) for one, other in zip(proposed, gradients, strict=True)) > 0


def test_systems_are_those_of_the_layer() -> None:
    """Solved by numpy, unit by unit, they give what the credit proposes with many steps, the new weights behind."""
    images = data.digits(0)
    inputs, targets = images.train.inputs[:40].double(), images.train.targets[:40]
    model = dense([64, 8, 10], seed=1).double()
    rows, slopes, _ = protocol.systems(model, inputs, targets, 40)[1]
    hidden, output = (
        torch.cat([layer.weight, layer.bias.unsqueeze(1)], dim=1).detach().numpy()
        for layer in (model.hidden_1, model.output)
    )
    values = rows @ hidden.T
    active = np.concatenate([values * slopes, np.ones((40, 1))], axis=1)
    logits = active @ output.T
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = (odds / odds.sum(axis=1, keepdims=True) - np.eye(10)[targets]) / 40
    moved = output - 2.0 * np.linalg.solve(active.T @ active / 40 + 0.1 * np.eye(9), active.T @ error).T
    aim = ((error @ moved[:, :8]) * slopes).T @ rows
    exact = [
        np.linalg.solve((rows.T * slopes[:, unit] ** 2) @ rows / 40 + 0.1 * np.eye(65), 2.0 * aim[unit])
        for unit in range(8)
    ]
    model.train().zero_grad()
    credit = nd.credit.get("semi_implicit", model, eta=2.0, damping=0.1, steps=2_000)
    credit.backward(F.cross_entropy, inputs, targets)
    proposed = torch.cat([model.hidden_1.weight.grad, model.hidden_1.bias.grad.unsqueeze(1)], dim=1)
    np.testing.assert_allclose(proposed.numpy(), exact, rtol=1e-6, atol=1e-9)


def test_condition_number_and_steps_of_a_system_that_is_known() -> None:
    """One unit, always active, orthogonal inputs of powers 4 and 1, plus damping: two steps solve it."""
    inputs = np.kron(np.array([[2.0, 0.0], [0.0, 1.0]]), np.ones((2, 1))) * 2**0.5
    number, steps = protocol.solved(inputs, np.ones((4, 1)), np.array([[1.0, 1.0]]))
    assert number == pytest.approx((4 + 0.1) / (1 + 0.1))
    assert steps == 2
    number, steps = protocol.solved(inputs / [2.0, 1.0], np.ones((4, 1)), np.array([[1.0, 1.0]]))
    assert number == pytest.approx(1.0)
    assert steps == 1


def test_the_figure_and_the_tables_show_every_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SETTINGS", 2)
    configuration, tables = whole(protocol.PROTOCOL, {**SMALL, "arms": ("center", "interneuron")})
    protocol.report(configuration, tables, tmp_path)
    made = analysis.table(tables)
    assert len(made) == 2 * 5 + 2 + 4
    tests = tables.of("measure")["tests"]
    for row in made.to_dict("records"):
        own = tests[(tests[["strength", "credit", "arm", "steps"]] == [row[k] for k in made.columns[:4]]).all(axis=1)]
        assert row["accuracy"] == pytest.approx(own["test_accuracy"].fillna(0.1).mean())
    assert (tmp_path / "figures" / "semi_implicit.png").stat().st_size > 10_000
