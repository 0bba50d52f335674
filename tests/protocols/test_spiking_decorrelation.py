"""The spiking protocol, small: its conditions, one of them with its controls on numpy, and its measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import spiking_signs
from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import SpikeTrains
from neuro_decorr.study.store import Store
from neuro_decorr.study.tables import tabulate
from protocols import spiking_decorrelation as protocol
from protocols.spiking_decorrelation import measures
from protocols.spiking_decorrelation.configuration import fixed, settings, shuffled

ROOT = Path(__file__).parent.parent.parent
PHASES = {"test": 0.8, "calibration": 0.2, "learning": 0.2, "annealing": 0.2, "consolidation": 0.2, "window": 0.2}
SMALL = {"target": "numpy", "neurons": 10, "step": 2.0, "bins": (0.02, 0.04), "drive": 28.0, "rate": 0.1, **PHASES}


def test_every_mixing_meets_every_sign_and_seed_once() -> None:
    configuration = protocol.PROTOCOL.configure()
    conditions = protocol.measured_runs(configuration, [0, 1], study.Tables())
    assert len(set(conditions)) == len(conditions) == 4 * 2 * 2
    assert {condition.factors["mixing"] for condition in conditions[:4]} == {"positive"}, "those with controls first"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bins": (0.05, 20.0)}, "--bins"),
        ({"mixings": ("mixed",)}, "--controls"),
        ({"window": 1000.0}, "--window"),
        ({"neurons": 9}, "neurons"),
    ],
)
def test_what_does_not_fit_is_told(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        protocol.PROTOCOL.configure(values)


def test_pairs_share_their_input_and_controls_their_weights() -> None:
    configuration = protocol.PROTOCOL.configure(SMALL)
    first, second = (settings(configuration, "positive", sign, 3) for sign in ("non-negative", "signed"))
    assert {name for name in first if not np.array_equal(first[name], second[name])} == {"smallest_weight"}
    assert not np.array_equal(first["sources"], settings(configuration, "positive", "signed", 4)["sources"])
    weights = np.random.default_rng(0).random((10, 10)) * ~np.eye(10, dtype=bool)
    moved = shuffled(weights, 0)
    pairs = {tuple(sorted((weights[i, j], weights[j, i]))) for i in range(10) for j in range(i)}
    assert {tuple(sorted((moved[i, j], moved[j, i]))) for i in range(10) for j in range(i)} == pairs
    assert np.all(moved.diagonal() == 0) and not np.allclose(moved, weights)
    assert fixed(weights)["learning"] == 0 and len(fixed(weights)["weights"]) == 90


def test_a_condition_with_controls_and_its_report(tmp_path: Path) -> None:
    configuration = protocol.PROTOCOL.configure({**SMALL, "mixings": ("positive",)})
    condition = study.Condition("measure", 0, {"mixing": "positive", "sign": "non-negative"})
    recorder = study.Recorder(condition.factors)
    protocol.run(configuration, condition, recorder)
    Store(tmp_path, "").save(condition, recorder, 0.0, 0.0)
    stored = Store(tmp_path, "").load(condition)
    assert stored is not None
    tables = tabulate([stored])

    rates = tables["rates"].set_index("arm")
    assert list(rates.index) == ["before", "learnt", "replayed", "other_input", "uniform", "shuffled", "homeostasis"]
    assert rates.loc["before", "ratio"] == 1 and (rates["silent"] == 0).all()
    found = tables["correlations"]
    assert sorted(set(found["bin"])) == [0.02, 0.04] and np.isfinite(found["mean_absolute"]).all()
    weights = tables["weights"].iloc[0]
    assert weights["smallest"] >= 0 and weights["largest"] > 0

    protocol.report(configuration, tables, tmp_path)
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert names == {"spiking_course", "spiking_population", "spiking_controls", "spiking_signs"}
    table = pd.read_csv(tmp_path / "tables" / "spiking_decorrelation.csv")
    assert list(table["arm"]) == list(rates.index)


@pytest.mark.slow
@pytest.mark.standalone
def test_a_hundred_neurons_decorrelate_and_keep_their_rates(tmp_path: Path) -> None:
    """On a test input that was never learnt from, with weights and bias held."""
    options = ["--mixings", "positive", "--signs", "non-negative", "--controls", "", "--seeds", "1", "--workers", "1"]
    command = [sys.executable, "-W", "ignore", "-m", "neuro_decorr", "run", "spiking_decorrelation", *options]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=ROOT, check=False, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    tables = study.read_tables(tmp_path)
    at = tables["correlations"][tables["correlations"]["bin"] == 0.05].set_index("arm")
    assert 0.2 < at.loc["before", "mean_absolute"] < 0.5
    assert at.loc["learnt", "mean_absolute"] <= 0.03 and at.loc["learnt", "floor"] < 0.0127
    rates = tables["rates"].set_index("arm")
    assert abs(rates.loc["learnt", "ratio"] - 1) <= 0.03 and rates.loc["learnt", "within"] >= 0.8
    # Cut the feedback, and give the input of another time: the same inhibition decorrelates less, or not at all.
    assert at.loc["learnt", "rms"] < at.loc["replayed", "rms"] < at.loc["other_input", "rms"]


def test_pairs_are_told_apart_by_their_inputs() -> None:
    overlap = np.array([[1, 0.9, -0.8], [0.9, 1, 0.0], [-0.8, 0.0, 1]])
    matrix = np.array([[1, 0.5, -0.2], [0.5, 1, 0.1], [-0.2, 0.1, 1]])
    told = {row["inputs"]: (row["pairs"], row["correlation"]) for row in measures.signs(matrix, overlap)}
    assert told == {"alike": (1, 0.5), "opposed": (1, -0.2)}


def test_the_gain_is_the_slope_of_the_rate_on_the_input() -> None:
    """Spikes at exactly 20 + 10 x input (Hz), input in mV constant in each bin of 50 ms."""
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 5, 400) * 2.0
    counts = (inputs + 1).astype(int)  # 20 (1 + input) Hz in bins of 50 ms
    times = np.concatenate([0.05 * k + np.arange(n) * 0.004 + 0.001 for k, n in enumerate(counts)])
    trains = SpikeTrains([times, times], 0, 20)
    found = measures.gains(trains, np.repeat(inputs, 25)[:, None] * np.ones(2), 0.002)
    np.testing.assert_allclose(found, 20.0, rtol=1e-9)


def test_weights_in_numbers() -> None:
    matrix = np.array([[0, 1, 2], [1, 0, 0], [2, 0, 0]], dtype=float)
    found = measures.weights(matrix, matrix, np.array([0.1, 0.2, np.nan]))
    assert found["mean"] == 1 and found["zero"] == pytest.approx(1 / 3) and found["largest"] == 2
    assert found["symmetry"] == pytest.approx(1) and found["follows_inputs"] == pytest.approx(1)
    # Onto neuron 0: 1 * .1 from neuron 1 and 2 * .1 from 2; onto neuron 1: 1 * .2 and 0; onto 2 it is not known.
    assert found["spikes_taken"] == pytest.approx(2 * (0.1 + 0.2 + 0.2 + 0.0) / 4)


def test_the_figure_of_signs_needs_no_opposed_pairs(tmp_path: Path) -> None:
    rows = [
        {"arm": arm, "inputs": "alike", "pairs": 3, "correlation": value}
        for arm, value in (("before", 0.3), ("learnt", 0.01))
    ]
    signs = pd.DataFrame([{"mixing": "positive", "sign": "signed", "seed": 0, **row} for row in rows])
    assert spiking_signs.draw(study.Tables(signs=signs), tmp_path) == ""
