"""Channel-directed gradients as a protocol, small: budgets, the two sides commute, the interaction by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from analysis import channel_directed as analysis
from neuro_decorr import study
from protocols import channel_directed as protocol
from protocols._arms import condition_gradients
from tests.protocols.execution import whole


def test_every_condition_has_as_many_selection_runs() -> None:
    configuration = protocol.PROTOCOL.configure({})
    chosen = protocol.SELECTION.selection_runs(configuration, [0], study.Tables())
    keys = [(condition.factors["arm"], condition.factors["gradient"]) for condition in chosen]
    assert len(set(keys)) == 15
    assert {keys.count(key) for key in keys} == {4 * protocol.SETTINGS}


@pytest.mark.parametrize("kind", ["h0", "h1"])
def test_the_metric_is_on_the_left_of_the_gradient_and_foof_on_the_right(kind: protocol.Gradient) -> None:
    """P G (S + l I)^-1 with both matrices written out, of a convolution and of a Linear."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    inputs = torch.randn(10, 1, 3, 3, generator=generator, dtype=torch.float64)
    targets = torch.randint(3, (10,), generator=generator)
    signals = nd.conditioning.Signals(model)
    nd.credit.get("backprop", model).backward(F.cross_entropy, inputs, targets)
    expected = []
    for layer in (model[0], model[3]):
        gradient, number = layer.weight.grad.flatten(1).numpy().copy(), len(layer.weight)
        with torch.no_grad():
            rows = F.unfold(inputs, 2).mT.flatten(0, 1) if layer is model[0] else model[:3](inputs)
        moment = (rows.mT @ rows / len(rows)).numpy()
        damping = protocol.DAMPING * np.trace(moment) / len(moment)
        right = np.linalg.inv(moment + damping * np.eye(len(moment)))
        if kind == "h0":
            left = np.full((number, number), 1 / number) * (1 - 1 / 4.0) + np.eye(number) / 4.0
        else:
            modes = np.exp(2j * np.pi * np.outer(np.arange(number), np.arange(number)) / number) / number**0.5
            stiffness = 0.03 * number**2 * (2 - 2 * np.cos(2 * np.pi * np.arange(number) / number))
            stiffness[0] = 1
            left = (modes / stiffness @ modes.conj().T).real
        given_back = np.linalg.norm(gradient) / np.linalg.norm(gradient @ right)
        expected.append((left @ gradient @ right, given_back))
    condition_gradients(signals, protocol.DAMPING)
    protocol.direct_gradients(signals, kind)
    for layer, (wanted, _) in zip((model[0], model[3]), expected, strict=True):
        got = layer.weight.grad.flatten(1).numpy()
        # FOOF may scale the whole matrix; the metric and the moments decide its direction.
        scale = np.sum(got * wanted) / np.sum(wanted * wanted)
        assert scale > 0
        np.testing.assert_allclose(got, scale * wanted, rtol=1e-8, atol=1e-10)


def test_interaction_and_differences_of_a_table_that_is_known() -> None:
    """The metric brings .1 and .2 with centring, .3 and .1 with interneurons: the interaction is .05 on average."""
    gains = {("center", "plain"): (0.5, 0.6), ("center", "h0"): (0.6, 0.8), ("interneuron", "plain"): (0.6, 0.7)}
    gains["interneuron", "h0"] = (0.9, 0.8)
    tests = [
        {"stage": "measure", "arm": arm, "gradient": kind, "seed": seed, "diverged": False, "rate": 0.1,
         "test_accuracy": value, "chance": 0.1}
        for (arm, kind), values in gains.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    runs = [
        {"stage": "select", "arm": arm, "gradient": kind, "rate": rate}
        for arm, kind in gains for rate in (0.05, 0.1, 0.2)
    ]  # fmt: skip
    tables = study.Tables({"tests": pd.DataFrame(tests), "runs": pd.DataFrame(runs)})
    (row,) = analysis.interactions(tables).to_dict("records")
    assert row["gradient"] == "h0"
    assert row["interaction"] == pytest.approx(0.05)
    made = analysis.table(tables).set_index(["arm", "gradient"])
    assert made.loc[("center", "h0"), "minus plain"] == pytest.approx(0.15)
    assert made.loc[("center", "plain"), "minus plain"] == 0
    assert set(made["edge"]) == {""}


def test_the_figure_and_the_tables_show_every_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SETTINGS", 2)
    small = {"channels": (4,), "hidden": 16, "epochs": 1, "selection_epochs": 1, "batch_size": 200}
    small |= {"arms": ("center", "foof", "interneuron"), "gradients": ("plain", "h0")}
    configuration, tables = whole(protocol.PROTOCOL, small)
    protocol.report(configuration, tables, tmp_path)
    made = analysis.table(tables)
    assert len(made) == 6
    tests = tables.of("measure")["tests"]
    for row in made.to_dict("records"):
        own = tests[(tests["arm"] == row["arm"]) & (tests["gradient"] == row["gradient"])]
        assert row["accuracy"] == pytest.approx(own["test_accuracy"].fillna(0.1).mean())
    assert (tmp_path / "figures" / "channel_directed.png").stat().st_size > 10_000
