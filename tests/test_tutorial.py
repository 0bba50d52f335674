"""The tutorial on a protocol of one's own keeps its word: the file that it writes, by itself and as a study."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pandas as pd
import pytest

import neuro_decorr as nd
from neuro_decorr import study
from neuro_decorr.errors import Diverged, InvalidValue
from neuro_decorr.report.palette import looks

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "examples" / "tutorials" / "5_protocol.py"
PARTS = ("CHOICES", "CONDITIONS", "RUN", "REPORT", "DECLARATION")
GAINS = {"none": -0.1, "center": 0.0, "input": 0.1, "every": 0.2}


@pytest.fixture
def where(tmp_path: Path) -> ModuleType:
    """The module that the reader writes."""
    texts = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in PARTS
    }
    file = tmp_path / "where.py"
    file.write_text("".join(texts[part] for part in PARTS), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("where_of_the_tutorial", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_up() -> study.Tables:
    """Accuracies of an arm that is better by as much with every seed; the selection chooses the rate 1 for all."""
    levels = [("select", 1000, rate) for rate in (0.3, 1.0, 3.0)] + [("measure", seed, 1.0) for seed in (0, 1)]
    rows: list[dict[str, Any]] = [
        {
            "stage": stage, "seed": seed, "arm": arm, "learning_rate": rate, "diverged": False, "epoch": epoch,
            "validation_accuracy": 0.5 - abs(rate - 1.0) / 10, "test_accuracy": 0.2 * epoch + seed % 8 / 8 + gain,
        }
        for stage, seed, rate in levels for arm, gain in GAINS.items() for epoch in (1, 2)
    ]  # fmt: skip
    curves = pd.DataFrame(rows)
    runs = curves[curves["epoch"] == 2].drop(columns=["epoch", "validation_accuracy", "test_accuracy"])
    return study.Tables(curves=curves, runs=runs)


def test_its_table_compares_pair_by_pair(where: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where.PROTOCOL.report(where.PROTOCOL.configure(), made_up(), tmp_path)
    table = pd.read_csv(tmp_path / "tables" / "where.csv").set_index("arm")
    for arm, gain in GAINS.items():
        expected = {"test accuracy": 0.4 + 1 / 16 + gain, "over center": gain, "from": gain, "to": gain}
        assert table.loc[arm].to_dict() == pytest.approx(expected, abs=1e-12)
    assert (tmp_path / "figures" / "where.svg").is_file() and (tmp_path / "figures" / "sweep.svg").is_file()
    assert "every    0.66, +0.20 [+0.20, +0.20] over center" in capsys.readouterr().out


def test_its_figure_is_legible(where: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The legend lies beside the axes, every tick of few epochs is an epoch, and the arms have the page's colours."""
    figures: list[Any] = []
    monkeypatch.setattr(where, "save_figure", lambda figure, *_: figures.append(figure))
    monkeypatch.setattr(where, "save_sweep", lambda *_: None)
    where.PROTOCOL.report(where.PROTOCOL.configure(), made_up(), tmp_path)
    (figure,) = figures
    figure.canvas.draw()
    courses, gains = figure.axes
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert all(float(tick).is_integer() for tick in courses.get_xticks())
    assert list(dict.fromkeys(line.get_color() for line in courses.lines)) == [
        look.colour for look in looks(where.ARMS)
    ]
    assert [label.get_text() for label in gains.get_xticklabels()] == list(where.ARMS)


def test_every_arm_gets_the_same_search_on_seeds_that_are_not_measured(where: ModuleType) -> None:
    first, second = where.PROTOCOL.stages
    configuration = where.PROTOCOL.configure()
    selected = first(configuration, [0, 1], study.Tables())
    assert {(run.seed, run.factors["arm"], run.factors["learning_rate"]) for run in selected} == {
        (1000, arm, rate) for arm in where.ARMS for rate in (0.3, 1.0, 3.0)
    }
    measured = second(configuration, [0, 1], made_up())
    assert {(run.seed, run.factors["arm"], run.factors["learning_rate"]) for run in measured} == {
        (seed, arm, 1.0) for arm in where.ARMS for seed in (0, 1)
    }


def test_what_may_be_chosen_is_checked_and_a_divergence_is_told(where: ModuleType) -> None:
    with pytest.raises(InvalidValue, match=r"--rule.*whitening"):
        where.PROTOCOL.configure({"rule": "no_such_rule"})
    assert set(get_args(where.Configuration.model_fields["rule"].annotation)) <= set(nd.rules.names())
    recorder = study.Recorder()
    condition = study.Condition("measure", 0, {"arm": "none", "learning_rate": 1e30})
    with pytest.raises(Diverged, match="loss is nan in epoch 1"):
        where.PROTOCOL.run(where.PROTOCOL.configure(), condition, recorder)
    assert len(recorder.rows["curves"]) == 1


def test_a_run_records_one_row_an_epoch_and_learns(where: ModuleType) -> None:
    recorder = study.Recorder()
    condition = study.Condition("measure", 0, {"arm": "every", "learning_rate": 0.3})
    where.PROTOCOL.run(where.PROTOCOL.configure({"epochs": 4}), condition, recorder)
    curve = recorder.rows["curves"]
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4]
    reached = curve[-1]["test_accuracy"]
    assert isinstance(reached, float) and reached > 0.6  # chance is 0.1, and the control is below 0.3


@pytest.mark.slow
def test_followed_word_by_word_it_ends_with_what_it_says(tmp_path: Path) -> None:
    """The script, in an empty place with an unusual name; then what it only names: another study, a test of its own."""
    place = tmp_path / "a réader"
    place.mkdir()
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"TMPDIR": str(place), "PYTHONIOENCODING": "utf-8"}

    def python(*words: str, cwd: Path = place) -> str:
        command = [sys.executable, "-W", "ignore", *words]
        said = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False)
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout

    said = python(str(SCRIPT))
    assert re.search(r"[4-9] of 12 runs stored, \d missing", said), said
    for line in ("20 runs, 12 stored before", "(exit code 2)", "[from, to]: 95 % interval over 5 paired seeds."):
        assert line in said, said
    (home,) = place.glob("*/study")
    table = pd.read_csv(home / "results" / "where" / "tables" / "where.csv").set_index("arm")
    assert table["from"].to_dict()["every"] > 0  # what the tutorial shows
    options = ["--rule", "interneuron", "--learning-rates", "0.3", "--seeds", "2", "--out", "results/interneuron"]
    python("-m", "neuro_decorr", "run", "where", *options, cwd=home)
    python("-m", "neuro_decorr", "report", "results/where", "results/interneuron", "--out", "both.html", cwd=home)
    (home / "tests").mkdir()
    lines = ["from protocols.where import PROTOCOL", "def test_it():", "    assert PROTOCOL.name == 'where'"]
    (home / "tests" / "test_where.py").write_text("\n".join(lines), encoding="utf-8")
    assert "1 passed" in python("-m", "pytest", "-q", "tests", cwd=home)
