"""The protocol on the geometry of gradients: its controls against closed forms and a theorem, and a small study."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import neuro_decorr as nd
from models.dense import dense
from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from protocols import gradient_geometry as protocol
from protocols.gradient_geometry.controls import Part, PartName, freeze
from tests.protocols.execution import whole

SMALL = {
    "credits": ("backprop", "node_perturbation"),
    "hidden": (8,),
    "epochs": 3,
    "samples": 8,
    "selection_runs": 1,
    "selection_seeds": 1,
}
FEW_UPDATES = {**SMALL, "batch_size": 500}


@pytest.mark.parametrize("part", ["scalar", "diagonal", "rotated"])
@pytest.mark.parametrize("check", [nd.rules.suite.check_fixed_point, nd.rules.suite.check_pure_update])
def test_parts_are_rules(part: PartName, check) -> None:
    check(Part(damping=0.3, part=part))


def test_axes_cannot_matter_where_updates_are_errors_times_inputs() -> None:
    """R D with weights W R^T takes the course of D with W, whatever sends the errors."""
    for credit in ("backprop", "feedback_alignment"):
        courses = []
        for arm in ("zca", "rotated_zca"):
            model = nd.decorrelate(dense([6, 5, 3], seed=0).double())
            plasticity = nd.Plasticity(model, protocol.rule_of(arm, 0.3, seed=0), row_fraction=1.0)
            teacher = nd.credit.get(credit, model, seed=2)
            if arm == "rotated_zca":
                for layer in (model.hidden_1, model.output):
                    rotation = plasticity.state[layer.decorrelation.mean]["rotation"]
                    torch.testing.assert_close(rotation @ rotation.T, torch.eye(len(rotation)).double())
                    layer.decorrelation.matrix.copy_(rotation)
                    with torch.no_grad():
                        layer.weight.copy_(layer.weight @ rotation.T)
            optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
            generator = torch.Generator().manual_seed(4)
            for _ in range(10):
                inputs = torch.randn(12, 6, generator=generator, dtype=torch.float64)
                optimiser.zero_grad()
                teacher.backward(F.cross_entropy, inputs, inputs[:, :3].argmax(1))
                optimiser.step()
                plasticity.step()
            courses.append(model.eval()(torch.eye(6).double()))
        torch.testing.assert_close(*courses)


def test_frozen_transforms_are_damped_zca_of_what_arrives() -> None:
    model = nd.decorrelate(dense([6, 5, 3], seed=0).double())
    nd.Plasticity(model, nd.rules.get("zca"))
    inputs = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)).double() @ torch.randn(6, 6).double() + 1
    freeze(model, inputs, damping=0.5)
    before = nd.metrics.layer_inputs(model, inputs, nd.Decorrelation)
    after = nd.metrics.layer_inputs(model, inputs)
    for layer, received in after.items():
        covariance = torch.cov(before[f"{layer}.decorrelation"].T, correction=0)
        expected = nd.rules.get("zca", damping=0.5).fixed_point(covariance)
        torch.testing.assert_close(received.T @ received / 200, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("arm", ["center", "scalar_gain", "diagonal", "foof", "frozen_zca", "rotated_zca", "zca"])
def test_every_arm_is_measured_on_both_data_sets(arm: str) -> None:
    configuration = protocol.PROTOCOL.configure({**FEW_UPDATES, "credits": ("feedback_alignment",)})
    for images in ("digits", "clothes"):
        levels = {"images": images, "credit": "feedback_alignment", "arm": arm, "learning_rate": 0.1}
        recorder = study.Recorder(levels)
        protocol.run(configuration, study.Condition("measure", 0, levels), recorder)
        assert recorder.reason is None
        assert recorder.rows["tests"][0]["test_accuracy"] is not None
        assert {row["epoch"] for row in recorder.rows["geometry"]} == {0, 3}
        first = {row["layer"]: row for row in recorder.rows["geometry"] if row["epoch"] == 3}
        assert 0 < first["output"]["feedback_angle"] < 180


def test_a_small_study_gives_a_verdict_on_every_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration, tables = whole(protocol.PROTOCOL, FEW_UPDATES)
    protocol.report(configuration, tables, tmp_path)
    told = capsys.readouterr().out
    for number in range(1, 12):
        assert f"digits, {number}. " in told
    assert len(list(tmp_path.rglob("verdicts.csv"))) == 1


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    with pytest.raises(InvalidValue) as caught:
        protocol.PROTOCOL.configure({"arms": ("foof",), "natural_dampings": (0.0,), "batch_size": 5_000})
    for option in ("--arms", "--natural-dampings", "--batch-size"):
        assert option in str(caught.value)
