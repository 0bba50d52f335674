"""What a report says of a sweep, against counts in the tables of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from neuro_decorr.report import save_sweep
from neuro_decorr.study import Range, Search, Selection, Tables, Trial, tables
from neuro_decorr.study.edges import edges
from neuro_decorr.study.store import StoredRun
from tests.study.test_sweeps import ARMS, HALVING, computed, stage_by_stage, sweep


def saved(made: Selection, found: Tables, directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    save_sweep(made, None, found, directory)
    assert plt.get_fignums() == []
    assert (directory / "figures" / "sweep.png").is_file()
    read = {name: pd.read_csv(directory / "tables" / f"{name}.csv") for name in ("sweep", "sweep_settings")}
    return read["sweep"], read["sweep_settings"]


def test_costs_are_those_of_the_runs(tmp_path: Path) -> None:
    ranges = {"rate": (0.003, 0.01, 0.03, 0.1, 0.9), "width": (8, 40)}  # so few that settings come twice
    made = sweep(halving=HALVING, seeds=lambda _: 2, search={"settings": 18, "ranges": ranges})
    _, found = stage_by_stage(made)
    conditions, settings = saved(made, found, tmp_path)
    for _, row in conditions.iterrows():
        arm = row["arm"]
        runs = found.of("select")["runs"].query(f"arm == '{arm}'")
        own = settings[settings["arm"] == arm]
        distinct = runs[["rate", "width"]].drop_duplicates()
        assert (row["settings"], row["rounds"], row["seeds"], row["search"]) == (18, 3, 2, "tpe")
        assert row["repeated"] == 18 - len(distinct) > 0
        assert row["runs"] == len(runs) and row["epochs"] == runs["epochs"].sum()
        assert [row["pruned"], row["failed"]] == [(own["state"] == state).sum() for state in ("pruned", "failed")]
        ends = found.of("select")["ends"].query(f"arm == '{arm}' and epochs == 9")
        best = ends.groupby(["rate", "width"])["loss"].mean()
        assert (row["score"], own["score at 9"].min()) == (pytest.approx(best.min()), pytest.approx(best.min()))
        measured = found.of("measure")["runs"].query(f"arm == '{arm}'")
        chosen = set(zip(measured["rate"], measured["width"], strict=True))
        assert chosen == {(row["best rate"], row["best width"])}
        assert own["number"].tolist() == list(range(18)) and own["round"].tolist() == [1] * 6 + [2] * 6 + [3] * 6
    caption = (tmp_path / "tables" / "sweep.md").read_text()
    assert "last loss, mean over 2 selection seeds; the test split chooses nothing" in caption


def test_a_grid_and_a_study_that_is_not_complete(tmp_path: Path) -> None:
    made = Selection(
        conditions=lambda _: ARMS, grid=lambda *_: [{"rate": rate} for rate in (0.01, 0.1, 0.9)], kind="ends",
        column="loss", maximise=False,
    )  # fmt: skip
    runs: list[StoredRun] = computed(made.selection_runs(None, [0], Tables()))
    conditions, _ = saved(made, tables.tabulate(runs), tmp_path / "whole")
    assert conditions["search"].tolist() == ["grid", "grid"] and conditions["best rate"].tolist() == [0.01, 0.1]
    assert conditions["edge"].fillna("").tolist() == ["rate lowest", ""] and "waiting" not in conditions
    conditions, _ = saved(made, tables.tabulate(runs[:-1]), tmp_path / "part")
    assert conditions["waiting"].tolist() == [0, 1] and conditions["best rate"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("level", "among", "told"),
    [
        (0.0011, Range(1e-3, 1.0, log=True), "lowest"),
        (0.0015, Range(1e-3, 1.0, log=True), ""),  # a log of 0.18 of three decades
        (0.9, Range(1e-3, 1.0, log=True), "highest"),
        (0.9, Range(0.0, 1.0), ""),
        (64, Range(1, 64, whole=True), "highest"),
        (1, (1, 2, 4), "lowest"),
        (2, (1, 2, 4), ""),
        (2, (1, 2), ""),  # of two, each is an end
        (4, (None, 1, 4), ""),
        (4, (None, 1, 2, 4), "highest"),
        (None, (None, 1, 4), ""),
        (True, (True, False), ""),
        ("b", ("a", "b"), ""),
    ],
)
def test_edges(level: Any, among: Any, told: str) -> None:
    best = Trial(number=0, round=0, setting={"x": level}, lengths=[0])
    side = {"x": told} if told else {}
    assert edges(best, Search(ranges={"x": among}, settings=1), [best]) == side
    if isinstance(among, tuple):
        trials = [Trial(number=number, round=0, setting={"x": one}, lengths=[0]) for number, one in enumerate(among)]
        assert edges(best, None, trials) == side
