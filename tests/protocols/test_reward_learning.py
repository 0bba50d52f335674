"""The protocol of learning from reward, small: its trials, its measures, one run, and the way to the finding."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from neuro_decorr import data, study
from neuro_decorr.errors import InvalidValue
from protocols import reward_learning as protocol
from protocols.reward_learning import configuration as parts
from tests.protocols.execution import whole

SMALL = {
    "target": "numpy", "trial": 0.02, "adaptation": 10, "pairs": 6, "checks": 2, "validation": 4, "test": 4,
    "hidden": 2, "learning_rates": (1e-3, 1e-2), "arms": ("none", "lateral", "shuffled"),
}  # fmt: skip


class TestTrials:
    configuration = protocol.PROTOCOL.configure({"strength": 0.0, "pairs": 40, "adaptation": 100})
    shown = parts.trials(configuration, 3)

    def test_every_trial_is_of_one_kind_and_learning_comes_in_pairs(self) -> None:
        c, shown = self.configuration, self.shown
        counts = {kind: int((shown.kinds == kind).sum()) for kind in dict.fromkeys(shown.kinds.tolist())}
        assert counts == {"adaptation": 100, "validation": 5 * c.validation, "learning": 80, "test": c.test}
        first = np.flatnonzero(shown.kinds == "learning")[::2]
        assert (first % 2 == 0).all() and (shown.kinds[first + 1] == "learning").all()
        for values in (shown.afferents, shown.labels, shown.noise):
            np.testing.assert_array_equal(values[first], values[first + 1])
        np.testing.assert_array_equal(shown.settings()["parity"][first], 1)
        assert shown.checks == [("validation", 0), *(("validation", 20 * k) for k in range(1, 5)), ("test", 80)]

    def test_images_of_a_split_are_shown_in_its_trials_only(self) -> None:
        digits = data.digits(3)
        for split, kinds in ((digits.train, ("adaptation", "learning")), (digits.validation, ("validation",)),
                             (digits.test, ("test",))):  # fmt: skip
            known = {tuple(image) for image in (300 + 700 * split.inputs[split.targets < 3]).round(decimals=2).tolist()}
            chosen = np.isin(self.shown.kinds, kinds)
            assert {tuple(image) for image in self.shown.afferents[chosen].round(2).tolist()} <= known

    def test_nothing_learns_outside_of_its_trials(self) -> None:
        kinds = [*self.shown.kinds.tolist(), "end"]
        settings = self.shown.settings()
        names = ("learns", "adapts")
        on = {name: {kinds[trial] for trial in np.flatnonzero(settings[name])} for name in names}
        assert on["learns"] == {"learning"}
        assert on["adapts"] == {"adaptation", "learning"}

    def test_common_modes_differ_between_trials_and_rates_are_never_negative(self) -> None:
        shown = parts.trials(self.configuration.model_copy(update={"strength": 0.5}), 3)
        assert shown.afferents.min() == 0
        assert len(np.unique(shown.afferents[shown.kinds != "learning"], axis=0)) == (shown.kinds != "learning").sum()


def test_accuracy_shares_ties() -> None:
    counts = np.array([[[2, 1, 0], [1, 1, 1]], [[3, 3, 0], [0, 0, 4]]], dtype=float)
    # Readout 0: right, then half of a tie of two; readout 1: a third, then wrong.
    np.testing.assert_allclose(parts.accuracy(counts, np.array([0, 1])), [(1 + 1 / 2) / 2, (1 / 3 + 0) / 2])


def test_shuffled_weights_are_the_same_in_other_places() -> None:
    matrix = np.random.default_rng(0).normal(size=(6, 6))
    np.fill_diagonal(matrix, np.nan)
    found = parts.shuffled(matrix, 0)
    assert np.isnan(np.diag(found)).all() and (found != matrix).sum() > 30
    np.testing.assert_array_equal(np.sort(found[~np.isnan(found)]), np.sort(matrix[~np.isnan(matrix)]))


def test_controls_take_the_weights_and_the_rates_of_the_run_that_learnt() -> None:
    matrix = np.random.default_rng(0).uniform(size=(4, 4))
    np.fill_diagonal(matrix, np.nan)
    learnt = {"lateral_matrix": matrix, "own_spikes": np.arange(4.0), "calibration": np.array(3.0)}
    found = {arm: parts.inhibition(arm, learnt, 0) for arm in get_args(parts.Arm)}
    switches = {arm: (float(values["lateral_learning"]), float(values["homeostasis"])) for arm, values in found.items()}
    assert switches == {"none": (0, 0), "homeostasis": (0, 1), "lateral": (1, 1), "shuffled": (0, 1), "uniform": (0, 1)}
    for arm in ("shuffled", "uniform"):
        assert found[arm]["lateral_weights"].mean() == pytest.approx(np.nanmean(matrix))
        np.testing.assert_array_equal(found[arm]["own_spikes"], learnt["own_spikes"])
    assert np.ptp(found["uniform"]["lateral_weights"]) == 0
    assert not any("lateral_weights" in found[arm] for arm in ("none", "homeostasis", "lateral"))


def test_initial_weights_are_the_same_for_all_that_are_compared() -> None:
    c = protocol.PROTOCOL.configure(SMALL)
    values, populations = parts.start(c, 0), parts.readouts(c)
    readouts, networks = len(populations["outputs"]), len(populations["decisions"])
    # In the order of synapses: presynaptic neuron, then postsynaptic one.
    by_copy = [
        values["weights"].reshape(64, readouts, 3).swapaxes(0, 1),
        values["hidden_weights"].reshape(64, networks, 2).swapaxes(0, 1),
        values["output_weights"].reshape(networks, 2, 3),
    ]
    for weights in by_copy:
        assert np.ptp(weights[0]) > 0
        np.testing.assert_array_equal(weights, np.broadcast_to(weights[0], weights.shape))
    fixed = [level["credit"] == "hidden_fixed" for level in populations["decisions"]]
    feedback = values["feedback"].reshape(networks, 3, 2)
    assert not feedback[fixed].any() and feedback[np.invert(fixed)].all() and sum(fixed) == 2


@pytest.fixture(scope="module")
def tables() -> study.Tables:
    return whole(protocol.PROTOCOL, SMALL, seeds=1)[1]


def test_a_run_measures_every_condition(tables: study.Tables) -> None:
    tests = tables["tests"]
    assert set(tests["stage"]) == {"measure"}, "the selection never sees the test images"
    # Per arm: 2 learning rates x (2 + 2 + 1) and two that do not learn.
    assert len(tests) == 3 * (2 * 5 + 2)
    validations = tables.of("measure")["validations"]
    assert sorted(validations["learnt"].unique()) == [0, 6, 12]
    # Before they learn, all conditions of a credit decide alike, and one that does not learn always does.
    start = validations[validations["learnt"] == 0].groupby(["arm", "credit"])["accuracy"]
    assert (start.nunique() == 1).all()
    assert tests["accuracy"].between(0, 1).all()


def test_report_writes_tables_figure_and_finding(
    tables: study.Tables, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tables.of("measure")
    both = {kind: pd.concat([rows, second[kind].assign(seed=1)]) for kind, rows in tables.items()}
    protocol.report(protocol.PROTOCOL.configure(SMALL), study.Tables(both), tmp_path)
    assert (tmp_path / "figures" / "reward_learning.png").stat().st_size > 10_000
    table = pd.read_csv(tmp_path / "tables" / "reward_learning.csv")
    assert len(table) == 3 * (3 + 3 + 1)
    assert "lateral - shuffled" in capsys.readouterr().out


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    bad = {"arms": ("shuffled", "none", "none"), "learning_rates": (0.0,), "checks": 7, "trial": 0.0105}
    with pytest.raises(InvalidValue) as caught:
        protocol.PROTOCOL.configure(bad)
    for option in ("--arms: got", "'lateral', which is missing", "--learning-rates", "--checks", "--trial"):
        assert option in str(caught.value)
