"""The main protocol, small: conditions, budgets, and the way from the runs to the finding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neuro_decorr import rules, study
from neuro_decorr.errors import InvalidValue
from protocols import _arms
from protocols import credit_assignment as protocol
from protocols.credit_assignment import configuration as configuration_of
from tests.protocols.execution import whole

SMALL = {
    "credits": ("backprop", "node_perturbation"),
    "arms": ("none", "center", "interneuron_compensated"),
    "strengths": (0.0, 1.0),
    "dose": (0.5,),
    "dose_arms": ("center", "interneuron_compensated"),
    "epochs": 1,
    "selection_runs": 2,
    "hidden": (20,),
}


@pytest.fixture(scope="module")
def small() -> tuple[study.Configuration, study.Tables]:
    return whole(protocol.PROTOCOL, SMALL)


def test_all_credits_meet_all_arms_and_the_full_size_has_every_arm() -> None:
    full = protocol.PROTOCOL.configure(full=True)
    for configuration, arms in ((protocol.Configuration(), configuration_of.SMALL), (full, protocol.ARMS)):
        found = {(c["credit"], c["arm"]) for c in _arms.conditions(configuration) if c["strength"] == 1.0}
        assert found == {(credit, arm) for credit in configuration.credits for arm in arms}
    controls = {"none", "center", "batch_normalisation"}
    assert controls | {name for name, _ in protocol.RULES.values()} <= set(configuration_of.SMALL)


def test_settings_are_the_rules_own_parameters() -> None:
    for name, settings in protocol.RULES.values():
        assert len(settings) == _arms.SETTINGS
        assert all(rules.get(name, **setting) for setting in settings)


def test_selection_never_sees_the_test_split_or_a_measured_seed(
    small: tuple[study.Configuration, study.Tables],
) -> None:
    tables = small[1]
    assert set(tables.of("select")["runs"]["seed"]).isdisjoint({0, 1})
    assert set(tables["tests"]["stage"]) == {"measure"}


def test_the_best_trial_is_measured(small: tuple[study.Configuration, study.Tables]) -> None:
    curves = small[1].of("select")["curves"]
    ends = curves[curves["epoch"] == 1].groupby(["credit", "arm", "strength"])["validation_accuracy"]
    measured = small[1].of("measure")["runs"].drop_duplicates(["credit", "arm", "strength"])
    assert len(measured) == 2 * (3 + 3 + 2)
    chosen = curves[curves["epoch"] == 1].merge(measured[["credit", "arm", "strength", "learning_rate", "setting"]])
    for key, best in ends.max().items():
        mine = chosen.set_index(["credit", "arm", "strength"]).loc[[key], "validation_accuracy"]
        assert mine.item() == best


def test_paired_arms_share_data_and_weights() -> None:
    """Before the first update, arms of one seed and credit classify alike."""
    configuration = protocol.PROTOCOL.configure({**SMALL, "arms": protocol.ARMS})
    start = {}
    for arm in ("none", "center", "whitening", "decorrelating_compensated"):
        recorder = study.Recorder()
        factors = {"credit": "backprop", "arm": arm, "strength": 1.0, "learning_rate": 0.1, "setting": 0}
        protocol.run(configuration, study.Condition("measure", 3, factors), recorder)
        start[arm] = recorder.rows["curves"][0]["validation_accuracy"]
        assert recorder.tensors is not None and any("weight" in name for name in recorder.tensors)
    assert len(set(start.values())) == 1


def test_report_writes_tables_and_figures(
    small: tuple[study.Configuration, study.Tables], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol.report(*small, tmp_path)
    figures = ("learning_curves_updates", "learning_curves_wall_clock", "achieved_decorrelation", "dose_response")
    for name in figures:
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000
        assert (tmp_path / "figures" / f"{name}.svg").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "tables" / "comparison.csv")
    assert len(table) == 2 * (3 + 3 + 2)
    assert "Common modes of strength 1" in capsys.readouterr().out


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x, y: (np.where(np.eye(*x.shape) > 0, np.nan, x), y), "NaN"),
            (lambda x, y: (x[:-1], y), "one label a sample"),
            (lambda x, y: (x, 0 * y), "single class"),
            (lambda x, y: (x, y - 1), "allowed are the integers from 0 on"),
            (lambda x, y: (x * (np.arange(x.shape[1]) > 0), y), "never var"),
            (lambda x, y: (x[:, :5], y), "at least 16"),
            (lambda x, y: (x[:, 0], y), "shape"),
        ],
        ids=["nan", "lengths", "one class", "labels", "constant", "features", "shape"],
    )
    def test_own_data(self, change: Callable[..., tuple[np.ndarray, ...]], message: str, tmp_path: Path) -> None:
        generator = np.random.default_rng(0)
        inputs, targets = change(generator.normal(size=(200, 20)).astype(np.float32), np.arange(200) % 2)
        file = tmp_path / "own.npz"
        np.savez(file, inputs=inputs, targets=targets)
        with pytest.raises(InvalidValue, match=message):
            protocol.PROTOCOL.configure({"file": str(file), "strengths": (0.0,), "dose": ()})

    def test_own_data_without_images_has_no_modes(self, tmp_path: Path) -> None:
        file = tmp_path / "own.npz"
        generator = np.random.default_rng(0)
        np.savez(file, inputs=generator.normal(size=(200, 20)), targets=np.arange(200) % 2)
        with pytest.raises(InvalidValue, match="holds no images"):
            protocol.PROTOCOL.configure({"file": str(file)})
        assert protocol.PROTOCOL.configure({"file": str(file), "strengths": (0.0,), "dose": ()})


def test_the_geometry_of_the_updates_is_recorded_on_request() -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "geometry": "backprop"})
    factors = {"credit": "backprop", "arm": "interneuron", "strength": 1.0, "learning_rate": 0.1, "setting": 0}
    recorder = study.Recorder()
    protocol.run(configuration, study.Condition("measure", 3, factors), recorder)
    assert {row["epoch"] for row in recorder.rows["geometry"]} == {0, 1}
    assert "natural" not in recorder.rows
