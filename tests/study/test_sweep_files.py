"""The file of a sweep, read back by Optuna itself; and a whole study of a sweep, killed and resumed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import neuro_decorr
from neuro_decorr import study
from neuro_decorr.study import Range, Search, Selection, tables
from neuro_decorr.study.sweep_files import selections, write_sweeps
from tests.study.conftest import Said
from tests.study.test_sweeps import HALVING, computed

SWEEP = Selection(
    conditions=lambda _: [{"arm": "x"}, {"arm": "y"}],
    grid=lambda *_: [{"rate": 0.1 + number / 100} for number in range(12)],
    search=lambda c, levels: None if c == "grid" or (c, levels["arm"]) == ("mixed", "y") else SEARCH,
    rounds=2, halving=HALVING, kind="ends", column="loss", maximise=False, equal_budgets=False,
)  # fmt: skip
SEARCH = Search(ranges={"rate": Range(1e-3, 1.0, log=True), "rule": ("a", None)}, settings=12, seed=1)


def finished(configuration: str) -> study.Tables:
    runs: list[Any] = []
    for stage in SWEEP.stages[:-1]:
        runs += computed(stage(configuration, [0], tables.tabulate(runs)))
    return tables.tabulate(runs)


def opened(directory: Path) -> dict[str, optuna.Study]:
    storage = JournalStorage(JournalFileBackend(str(directory / "sweeps.journal")))
    return {name: optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)}


def test_optuna_reads_what_was_run(tmp_path: Path) -> None:
    found = finished("all")
    write_sweeps(SWEEP.stages, "all", found, tmp_path)
    studies = opened(tmp_path)
    assert list(studies) == ["arm=x", "arm=y"]
    names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    seen = set()
    for levels, trials in SWEEP.trials("all", found):
        made = studies[f"arm={levels['arm']}"]
        assert made.direction is optuna.study.StudyDirection.MINIMIZE
        assert made.best_trial.params == SWEEP.best(trials).setting
        runs = found["runs"].merge(found["ends"], how="left")
        for theirs, trial in zip(made.trials, trials, strict=True):
            here = runs[(runs["arm"] == levels["arm"]) & (runs["rate"] == theirs.params["rate"])].sort_values("epochs")
            values = {row.epochs: row.loss for row in here.itertuples() if not math.isnan(row.loss)}
            assert theirs.params == trial.setting and theirs.number == trial.number
            assert theirs.intermediate_values == values
            assert theirs.distributions["rate"] == optuna.distributions.FloatDistribution(1e-3, 1.0, log=True)
            assert theirs.distributions["rule"] == optuna.distributions.CategoricalDistribution(("a", None))
            assert names[theirs.state] == trial.state
            assert theirs.value == (None if trial.state == "failed" else values[max(values)])
            assert (theirs.state is TrialState.COMPLETE) == (9 in values)
            assert theirs.user_attrs["round"] == (theirs.number >= 6)
            seen.add(trial.state)
    assert seen == {"complete", "pruned", "failed"}


def test_only_conditions_that_were_searched_are_in_the_file(tmp_path: Path) -> None:
    write_sweeps(SWEEP.stages, "mixed", finished("mixed"), tmp_path)
    assert list(opened(tmp_path)) == ["arm=x"]
    write_sweeps(SWEEP.stages, "grid", finished("grid"), tmp_path / "grid")
    assert not (tmp_path / "grid").exists()


def test_two_selections_of_one_protocol_are_in_one_file(tmp_path: Path) -> None:
    other = replace(SWEEP, maximise=True)
    write_sweeps([*SWEEP.stages, *other.stages], "mixed", finished("mixed"), tmp_path)
    assert [(name, one.direction.name) for name, one in opened(tmp_path).items()] == [
        ("arm=x", "MINIMIZE"), ("arm=x (2)", "MAXIMIZE"),
    ]  # fmt: skip


def test_what_was_not_run_yet_waits(tmp_path: Path) -> None:
    runs = computed(SWEEP.selection_runs("all", [0], study.Tables()))
    write_sweeps(SWEEP.stages, "all", tables.tabulate(runs[1:]), tmp_path)
    states = [[trial.state for trial in one.trials] for one in opened(tmp_path).values()]
    assert states[0] == [TrialState.RUNNING, *states[0][1:]]
    assert (
        len(states[0]) == 6 and len(states[1]) == 6 and states[1].count(TrialState.RUNNING) == 2
    )  # they wait in their second rung


def test_the_selections_of_some_stages_are_found_once() -> None:
    other = Selection(conditions=lambda _: [], grid=lambda *_: [], kind="ends", column="loss")
    assert selections([*SWEEP.stages, *other.stages, lambda *_: []]) == [SWEEP, other]


PROTOCOL = """
import os, signal
from pathlib import Path

from pydantic import Field

from neuro_decorr import study
from neuro_decorr.report import save_sweep

HERE = Path(__file__).parent


class Configuration(study.Configuration):
    grid: bool = Field(False, description="A grid.")


SEARCH = study.Search(ranges={"rate": study.Range(0.01, 1.0, log=True)}, settings=4)
SWEEP = study.Selection(
    conditions=lambda _: [{"arm": "x"}, {"arm": "y"}],
    grid=lambda *_: [{"rate": 0.1}, {"rate": 0.5}],
    search=lambda configuration, _: None if configuration.grid else SEARCH,
    rounds=2, halving=study.Halving(factor="epochs", longest=lambda _: 4, rungs=2, ratio=2),
    kind="curves", column="validation_accuracy",
)


def run(configuration, condition, recorder):
    level = condition.factors
    if (HERE / "kill").exists() and level["epochs"] == 4:
        (HERE / "kill").unlink()
        os.kill(os.getppid(), signal.SIGKILL)
    for epoch in range(level["epochs"] + 1):
        recorder.row("curves", epoch=epoch, validation_accuracy=epoch / 10 - abs(level["rate"] - 0.1))


def report(configuration, tables, directory):
    save_sweep(SWEEP, configuration, tables, directory)


PROTOCOL = study.Protocol(
    name="swept", question="Is it?", configuration=Configuration, stages=SWEEP.stages, run=run, report=report, seeds=2,
)
"""


def test_a_study_shows_its_sweep_and_chooses_by_it(root: Path, command: Callable[..., Said]) -> None:
    (root / "protocols" / "swept.py").write_text(PROTOCOL)
    assert command("run", "swept", "--out", "whole", "--workers", "1").code == 0
    runs = study.read_tables(root / "whole")["runs"]
    # 2 rounds of 2 settings and 2 arms, half of which go on; 2 arms with 2 measured seeds.
    assert len(runs) == 2 * 2 * (2 + 1) + 2 * 2
    for name, one in opened(root / "whole").items():
        assert set(runs[(runs["stage"] == "measure") & (runs["arm"] == name[-1])]["rate"]) == {one.best_params["rate"]}
    assert "the test split chooses nothing" in (root / "whole" / "index.html").read_text()


def test_rounds_that_a_grid_does_not_need_are_not_shown(root: Path, command: Callable[..., Said]) -> None:
    (root / "protocols" / "swept.py").write_text(PROTOCOL)
    arguments = ("run", "swept", "--grid", "--seeds", "1", "--out", "grid", "--workers", "1")
    code, planned, _ = command(*arguments, "--dry-run")
    assert code == 0 and "stage 1 (select): 4 runs" in planned and "stage 4" not in planned
    code, _, err = command(*arguments)
    assert code == 0 and "stage 2 of 3 (select)" in err and "stage 3 of 3 (measure)" in err
    assert "stage 4" not in err
    _, shown, _ = command("status", "grid")
    assert "stage 2 of 3 (select): 2 of 2 runs stored" in shown and "stage 3 of 3 (measure): 2 of 2 runs" in shown
    assert not (root / "grid" / "sweeps.journal").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_sweep_that_is_killed_goes_on_with_the_settings_of_one_that_is_not(
    root: Path, command: Callable[..., Said]
) -> None:
    (root / "protocols" / "swept.py").write_text(PROTOCOL)
    assert command("run", "swept", "--out", "whole", "--workers", "1").code == 0
    (root / "protocols" / "kill").touch()
    arguments = [sys.executable, "-m", "neuro_decorr", "run", "swept", "--out", "killed", "--workers", "2"]
    source = {**os.environ, "PYTHONPATH": str(Path(neuro_decorr.__file__).parents[1])}
    killed = subprocess.run(arguments, env=source, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert command("run", "swept", "--out", "killed", "--workers", "2").code == 0
    whole, again = study.read_tables(root / "whole"), study.read_tables(root / "killed")
    assert whole["runs"].equals(again["runs"]) and whole["curves"].equals(again["curves"])
    names = ("tables/sweep.csv", "tables/sweep_settings.csv", "figures/sweep.svg")
    assert all((root / "whole" / name).read_bytes() == (root / "killed" / name).read_bytes() for name in names)
    studies = [opened(root / name) for name in ("whole", "killed")]
    for arm in ("arm=x", "arm=y"):
        assert [t.params for t in studies[0][arm].trials] == [t.params for t in studies[1][arm].trials]
