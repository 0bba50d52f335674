"""Local losses: gradients after learning against autograd of a cut network and their law, budgets, table, figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neuro_decorr as nd
from analysis import local_losses as analysis
from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from protocols import _controls as controls
from protocols.local_losses import PROTOCOL, SELECTION, credit_of, estimates
from tests.protocols.execution import whole

SIZES = [64, 20, 12, 10]
ARMS: tuple[controls.ArmName, ...] = ("none", "batch_normalisation", "interneuron")


def learned(arm: controls.ArmName, groups: str, noise: estimates.Distribution = "rademacher") -> tuple:
    """A small network of an arm after some steps, its credit, and a batch."""
    made = controls.equip_dense(arm, SIZES, damping=1.0, interneurons=8, row_fraction=0.5, rows=16, seed=0)
    credit = credit_of(groups, made.model, noise, seed=1)
    batch = controls.settle(made, controls.images("digits", 0), 32, seed=0)
    optimiser = torch.optim.SGD([*made.model.parameters(), *credit.parameters()], lr=0.1)
    for _ in range(20):
        optimiser.zero_grad()
        credit.backward(F.cross_entropy, *batch)
        optimiser.step()
    if made.plasticity is not None:
        made.plasticity.step()
    return made.model, credit, batch


def cut_gradients(model: nn.Sequential, readouts: nn.ModuleList, batch: controls.Batch) -> list[Tensor]:
    """Gradients of the hidden weights by autograd, in a network that is cut in front of every layer but the first."""
    activity, number, losses = batch.inputs, 0, []
    for name, module in model.named_children():
        if isinstance(module, nn.Linear) and name.startswith("hidden") and number:
            seen = module.decorrelated_input(activity) if hasattr(module, "decorrelated_input") else activity
            losses.append(F.cross_entropy(readouts[number - 1](seen), batch.targets))
            activity = activity.detach()
        number += isinstance(module, nn.Linear)
        activity = module(activity)
    losses.append(F.cross_entropy(activity, batch.targets))
    weights = [module.weight for name, module in model.named_children() if name.startswith("hidden")]
    return list(torch.autograd.grad(torch.stack(losses).sum(), weights))


@pytest.mark.parametrize("arm", ARMS)
def test_a_group_for_every_unit_gives_the_exact_local_gradient(arm: controls.ArmName) -> None:
    model, credit, batch = learned(arm, "units")
    model.eval()
    exact = cut_gradients(model, credit.readouts, batch)
    found = controls.gradients(model, credit, batch)
    with nd.conditioning.Signals(model) as signals:
        model(batch.inputs)
        received = [layer.inputs for layer in signals]
    for number, gradient in enumerate(exact):
        torch.testing.assert_close(found[f"hidden_{number + 1}"], gradient, rtol=1e-4, atol=1e-6)
        errors = estimates.local_errors(model, credit, batch, number, received[number])
        torch.testing.assert_close(errors.T @ received[number] / 32, gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
@pytest.mark.parametrize("arm", ["none", "interneuron"])
def test_the_variance_is_the_law_of_the_nodes_of_a_group(arm: controls.ArmName, noise: estimates.Distribution) -> None:
    """300 estimates, each a sum over 32 images; a tenth is more than four standard errors."""
    model, credit, batch = learned(arm, "4", noise)
    for layer, nodes in zip(estimates.compare(model, credit, batch, noise, 300), (5, 3), strict=True):
        exact = cut_gradients(model.eval(), credit.readouts, batch)[int(layer.layer[-1]) - 1]
        assert layer.variance == pytest.approx(layer.predicted, rel=0.1)
        least = (nodes + (1 if noise == "gaussian" else -1)) / 32  # as if all images agreed: Jensen
        assert layer.predicted > least
        model.zero_grad()
        F.cross_entropy(model(batch.inputs), batch.targets).backward()
        backprop = model.get_submodule(layer.layer).weight.grad
        expected = float((exact * backprop).sum() / exact.norm() / backprop.norm())
        assert layer.cosine == pytest.approx(expected, abs=1e-3)


def test_the_last_block_has_the_gradient_of_backpropagation() -> None:
    """Its loss is that of the network."""
    model, credit, batch = learned("center", "units")
    first, last = estimates.compare(model, credit, batch, "rademacher", 2)
    assert last.cosine == pytest.approx(1, abs=1e-4)
    assert first.cosine < 0.99
    assert first.predicted == last.predicted == 0
    assert max(first.variance, last.variance) < 1e-8


def test_conditions_have_equal_budgets_and_groups_are_checked() -> None:
    chosen = SELECTION.selection_runs(PROTOCOL.configure({}), [0], {})
    keys = [(condition.factors["learning"], condition.factors["arm"]) for condition in chosen]
    assert {keys.count(key) for key in keys} == {5}
    assert {key[0] for key in keys} == {"1", "10", "units", "backprop"}
    with pytest.raises(InvalidValue, match="--groups"):
        PROTOCOL.configure({"groups": (3,)})


def test_differences_are_to_backpropagation_centred_and_in_the_same_arm() -> None:
    right = {("backprop", "center"): 0.8, ("backprop", "foof"): 0.9, ("10", "center"): 0.7, ("10", "foof"): 0.85}
    rows = [
        {
            "learning": way,
            "arm": arm,
            "seed": seed,
            "test_accuracy": value + 0.01 * seed,
            "diverged": False,
            "chance": 0.1,
        }
        for (way, arm), value in right.items()
        for seed in (0, 1)
    ]
    made = analysis.against(study.Tables({"tests": pd.DataFrame(rows)})).set_index(["learning", "arm"])
    assert made.loc[("10", "foof"), "minus centred"] == pytest.approx(0.05)
    assert made.loc[("10", "foof"), "minus same arm"] == pytest.approx(-0.05)
    assert pd.isna(made.loc[("backprop", "center"), "minus centred"])


@pytest.mark.usefixtures("few_images")
def test_the_same_seed_gives_the_same_rows_and_all_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"arms": ("center", "foof"), "hidden": (20, 10), "epochs": 1, "selection_runs": 2, "batch_size": 30}
    configuration, tables = whole(PROTOCOL, {**values, "draws": 3})
    _, again = whole(PROTOCOL, {**values, "draws": 3})
    for kind in ("tests", "gradients"):
        assert tables[kind].equals(again[kind])
    PROTOCOL.report(configuration, tables, tmp_path)
    assert "units    foof" in capsys.readouterr().out
    assert (tmp_path / "figures" / "local_losses.png").stat().st_size > 10_000
