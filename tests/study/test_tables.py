from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.study import Condition, Recorder, tables
from neuro_decorr.study.files import Damaged
from neuro_decorr.study.store import Store, StoredRun


def stored(condition: Condition, *rows: dict[str, object], kind: str = "curves", step: int | None = None) -> StoredRun:
    kinds = {**({kind: list(rows)} if rows else {}), "timings": [{"seconds": 0.5}]}
    return StoredRun(condition, kinds, step is not None, step, None if step is None else "nan", 1.0, 1.0)  # type: ignore[arg-type]


RUNS = [
    stored(Condition("select", 1000, {"rate": 0.1}), {"step": 0, "value": 0.1 + 0.2}, {"step": 1, "value": 1.0}),
    stored(Condition("measure", 0, {"rate": 0.1, "rank": None}), {"step": 0, "value": float("nan")}),
    stored(Condition("measure", 0, {"rate": 0.1, "rank": 10}), {"step": 0, "note": "a,b"}),
    stored(Condition("measure", 1, {"rate": 0.1, "rank": 10}), step=12),
    stored(Condition("measure", 0, {"rate": 0.1, "rank": 2}), {"step": 0, "value": 3.0}, step=1),
    stored(Condition("measure", 0, {"rate": 0.1, "rank": "all"}), {"step": 0, "value": 2.0}),
    stored(Condition("measure", 0, {"cell": 3}), {"share": 0.5}, kind="spectra"),
]


def written(directory: Path, runs: list[StoredRun] = RUNS) -> Path:
    tables.write_tables(tables.tabulate(runs), directory, "tiny", "Is it so?", csv=True)
    return directory / "rows"


def test_each_kind_is_a_tidy_table_with_every_digit(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert (folder / "curves.csv").read_text() == (
        "stage,seed,rate,rank,diverged,step,value,note\n"
        "select,1000,0.1,,False,0,0.30000000000000004,\n"
        "select,1000,0.1,,False,1,1.0,\n"
        "measure,0,0.1,,False,0,,\n"
        "measure,0,0.1,2,True,0,3.0,\n"
        'measure,0,0.1,10,False,0,,"a,b"\n'
        "measure,0,0.1,all,False,0,2.0,\n"
    )
    assert (folder / "spectra.csv").read_text() == "stage,seed,cell,diverged,share\nmeasure,0,3,False,0.5\n", (
        "no column of another kind"
    )


def test_runs_have_one_row_each_and_a_diverged_run_without_rows_is_there(tmp_path: Path) -> None:
    lines = (written(tmp_path) / "runs.csv").read_text().splitlines()
    assert lines[0] == "stage,seed,rate,rank,cell,diverged,diverged_step,reason"
    assert len(lines) == 1 + len(RUNS)
    assert "measure,1,0.1,10,,True,12,nan" in lines


def test_what_each_run_cost_is_a_table(tmp_path: Path) -> None:
    written(tmp_path)
    costs = tables.read_tables(str(tmp_path))["costs"]
    assert len(costs) == len(RUNS)
    assert costs["wall_seconds"].sum() == pytest.approx(sum(run.wall_seconds for run in RUNS))
    assert costs["cpu_seconds"].sum() == pytest.approx(sum(run.cpu_seconds for run in RUNS))


def test_the_files_hold_what_the_frames_hold(tmp_path: Path) -> None:
    """Levels of two types are texts in a file; all else is the same, and whole numbers with gaps stay whole."""
    written(tmp_path)
    found, again = tables.tabulate(RUNS), tables.read_tables(tmp_path)
    assert set(found) == set(again) == {"curves", "spectra", "runs", "costs", "timings"}
    for kind, table in found.items():
        expected = table.assign(rank=table["rank"].map(str, na_action="ignore")) if "rank" in table else table
        pd.testing.assert_frame_equal(again[kind], expected, check_dtype=False)
    assert again["runs"]["diverged_step"].dropna().tolist() == [1, 12]
    assert again["runs"]["diverged"].dtype == bool


def test_a_stage_has_its_own_rows_and_an_unknown_kind_is_told() -> None:
    selected = tables.tabulate(RUNS).of("select")
    assert {kind: len(table) for kind, table in selected.items()} == {"curves": 2, "timings": 1, "runs": 1, "costs": 1}
    with pytest.raises(UnknownName, match="there is no kind of rows 'curve'; did you mean 'curves'"):
        selected["curve"]
    assert selected.get("curve") is None


@given(st.permutations(RUNS[1:]))
def test_the_order_in_which_runs_ended_does_not_matter(runs: list[StoredRun]) -> None:
    found, expected = tables.tabulate([RUNS[0], *runs]), tables.tabulate(RUNS)
    for kind in expected:
        pd.testing.assert_frame_equal(found[kind][expected[kind].columns], expected[kind])


def test_no_runs_give_empty_tables() -> None:
    assert {kind: list(table) for kind, table in tables.tabulate([]).items()} == {
        "timings": ["stage", "seed", "diverged"], "runs": ["stage", "seed", "diverged", "diverged_step", "reason"],
        "costs": ["stage", "seed", "diverged", "wall_seconds", "cpu_seconds"],
    }  # fmt: skip


def test_a_directory_without_tables_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"holds no rows/runs\.parquet"):
        tables.read_tables(tmp_path)


def test_only_the_table_that_is_asked_for_is_read(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "curves.parquet").write_bytes(b"half")
    found = tables.read_tables(tmp_path)
    assert found["spectra"]["share"].tolist() == [0.5]
    with pytest.raises(Damaged, match=r"curves\.parquet is missing or damaged; to make it again: neuro-decorr report"):
        found["curves"]


def test_rows_of_a_run_are_read_when_their_table_is_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path, "study")
    for seed in (1, 0):
        recorder = Recorder()
        for step in range(500):
            recorder.row("curves", step=step, value=step / 7)
        recorder.row("ends", value=seed)
        store.save(Condition("measure", seed, {"arm": "a"}), recorder, 1.0, 1.0)
    found = tables.tabulate(store.survey().values())
    assert found["curves"]["value"].tolist() == [step / 7 for step in range(500)] * 2
    assert found["curves"]["seed"].tolist() == [0] * 500 + [1] * 500
    later = tables.tabulate(store.survey().values())
    for path in (tmp_path / "runs" / "measure").glob("*.curves.parquet"):
        path.unlink()
    assert later["ends"]["value"].tolist() == [0, 1]
    assert later.source("curves").count() == 1000
    with pytest.raises(Damaged, match=r"curves\.parquet is missing"):
        later["curves"]
