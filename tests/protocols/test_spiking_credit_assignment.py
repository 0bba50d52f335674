"""The protocol of spiking networks, small: conditions, budgets, and the way from the runs to the finding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from neuro_decorr import credit, rules, study
from neuro_decorr.errors import InvalidValue
from neuro_decorr.norse import LateralLIF
from neuro_decorr.rate import Decorrelation
from protocols import _arms
from protocols import spiking_credit_assignment as protocol
from protocols.spiking_credit_assignment import configuration as configuration_of
from tests.protocols.execution import whole

ARMS = ("none", "center", "lateral_inhibition_centered")
SMALL = {
    "credits": ("backprop", "node_perturbation"), "arms": ARMS, "strengths": (0.5,), "dose": (1.0,),
    "dose_arms": ("center",), "epochs": 1, "selection_runs": 2, "hidden": (20,), "steps": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def small() -> tuple[study.Configuration, study.Tables]:
    return whole(protocol.PROTOCOL, SMALL)


def test_the_full_size_has_every_credit_and_every_arm_at_every_strength() -> None:
    full = protocol.PROTOCOL.configure(full=True)
    found = [(c["credit"], c["arm"], c["strength"]) for c in _arms.conditions(full)]
    strengths = {*full.strengths, *full.dose}
    assert len(found) == len(set(found)) == len(protocol.CREDITS) * len(protocol.ARMS) * len(strengths)
    assert set(protocol.CREDITS) <= set(credit.names())


def test_settings_are_the_rules_own_parameters_and_every_rule_has_as_many() -> None:
    for arm in protocol.ARMS.values():
        assert len(arm.settings) in (1, _arms.SETTINGS)
        if arm.rule and not arm.lateral:
            assert all(rules.get(arm.rule, **setting) for setting in arm.settings)


@pytest.mark.parametrize("arm", protocol.ARMS)
@pytest.mark.parametrize("name", protocol.CREDITS)
def test_every_credit_trains_every_arm(name: str, arm: str) -> None:
    """Weights move, the loss is finite, and nothing but them and the buffers of the arm is learnt."""
    values = {"hidden": (16,), "steps": 6, "batch_size": 256, "epochs": 1}
    configuration = protocol.PROTOCOL.configure(values)
    recorder = study.Recorder()
    factors = {"credit": name, "arm": arm, "strength": 0.5, "learning_rate": 0.01, "setting": 0}
    protocol.run(configuration, study.Condition("measure", 0, factors), recorder)
    assert recorder.reason is None and recorder.tensors is not None
    start, _ = configuration_of.network(configuration, protocol.ARMS[arm], 0, [64, 16, 10], 0)
    for layer, weight in start.named_parameters():
        assert not torch.equal(torch.as_tensor(recorder.tensors[layer]), weight)


def test_arms_are_what_their_names_say() -> None:
    configuration = protocol.Configuration()
    kinds = {}
    for name, arm in protocol.ARMS.items():
        model, plasticity = configuration_of.network(configuration, arm, 0, [64, 16, 10], 0)
        transforms = [module for module in model.modules() if isinstance(module, Decorrelation)]
        lateral = [module for module in model.modules() if isinstance(module, LateralLIF)]
        kinds[name] = len(transforms), len(lateral), len(plasticity)
    assert kinds["none"] == (0, 0, 0) and kinds["lateral_inhibition"] == (0, 1, 1)
    assert kinds["lateral_inhibition_centered"] == kinds["homeostasis_centered"] == (2, 1, 2)
    assert {kinds[name] for name, arm in protocol.ARMS.items() if arm.rule and not arm.lateral} == {(2, 0, 1)}


def test_the_control_of_the_inhibition_has_the_homeostasis_and_no_inhibition() -> None:
    configuration = protocol.Configuration()
    recorders = {}
    for arm in ("homeostasis_centered", "lateral_inhibition_centered"):
        recorders[arm] = study.Recorder()
        factors = {"credit": "backprop", "arm": arm, "strength": 0.0, "learning_rate": 0.01, "setting": 0}
        protocol.run(configuration, study.Condition("measure", 0, factors), recorders[arm])
    learnt = {arm: {name: np.asarray(values) for name, values in one.tensors.items()} for arm, one in recorders.items()}
    # The neurons' own buffers: lateral weights of at most rate x coincidences, biases of the same size in both.
    control, inhibited = learnt["homeostasis_centered"], learnt["lateral_inhibition_centered"]
    assert control["network.1.weight"].max() < 1e-5
    assert inhibited["network.1.weight"].max() > 1e-2
    assert np.abs(control["network.1.bias"]).max() > 1


def test_paired_arms_share_data_and_weights(small: tuple[study.Configuration, study.Tables]) -> None:
    """Before the first update all arms of a seed classify alike; those of another seed do not."""
    curves = small[1].of("measure")["curves"]
    start = curves[curves["epoch"] == 0]
    assert (start.groupby(["strength", "seed"])["validation_accuracy"].nunique() == 1).all()


def test_selection_never_sees_the_test_split_or_a_measured_seed(
    small: tuple[study.Configuration, study.Tables],
) -> None:
    tables = small[1]
    assert set(tables.of("select")["runs"]["seed"]).isdisjoint({0, 1})
    assert set(tables["tests"]["stage"]) == {"measure"}


def test_poisson_inputs_are_an_option() -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "encoding": "poisson"})
    factors = {"credit": "node_perturbation", "arm": "center", "strength": 0.5, "learning_rate": 0.01, "setting": 0}
    rows = []
    for _ in range(2):
        recorder = study.Recorder()
        protocol.run(configuration, study.Condition("measure", 0, factors), recorder)
        rows.append({kind: table for kind, table in recorder.rows.items() if kind != "timings"})
    assert rows[0] == rows[1]  # the spikes come from the seed


def test_report_writes_tables_and_figures(
    small: tuple[study.Configuration, study.Tables], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol.report(*small, tmp_path)
    figures = ("learning_curves_updates", "achieved_decorrelation", "dose_response", "spikes_per_inference")
    for name in figures:
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "tables" / "comparison.csv")
    assert len(table) == 2 * (3 + 1)
    energy = pd.read_csv(tmp_path / "tables" / "spikes_per_inference.csv")
    assert energy["all"].to_numpy() == pytest.approx((energy["layer 1"] + energy["layer 2"]).to_numpy())
    assert "strength 0.5" in capsys.readouterr().out


def test_files_of_mnist_are_an_option(tmp_path: Path) -> None:
    for name in ("train", "t10k"):
        images = np.random.default_rng(0).integers(0, 256, (300, 8, 8), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", (np.arange(300) % 10).astype(np.uint8))):
            header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
            (tmp_path / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    configuration = protocol.PROTOCOL.configure({**SMALL, "mnist": str(tmp_path), "training": 200})
    assert len(configuration_of.dataset(configuration, 0.5, 0).train.targets) == 200
    with pytest.raises(InvalidValue, match="--batch-size: got 250, allowed is up to 200"):
        protocol.PROTOCOL.configure({**SMALL, "mnist": str(tmp_path), "training": 200, "batch_size": 250})
    with pytest.raises(InvalidValue, match=r"--mnist: .*missing"):
        protocol.PROTOCOL.configure({"mnist": str(tmp_path / "nowhere")})
