import io

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.study import Condition, tables
from neuro_decorr.study.store import StoredRun


def stored(condition: Condition, *rows: dict[str, object], step: int | None = None) -> StoredRun:
    return StoredRun(
        condition,
        list(rows),
        [{"seconds": 0.5}],
        step is not None,
        step,
        None if step is None else "nan",
        1.0,
        1.0,  # type: ignore[arg-type]
    )


RUNS = [
    stored(Condition("select", 1000, {"rate": 0.1}), {"step": 0, "value": 0.1 + 0.2}, {"step": 1, "value": 1.0}),
    stored(Condition("measure", 0, {"rate": 0.1, "rank": None}), {"step": 0, "value": float("nan")}),
    stored(Condition("measure", 0, {"rate": 0.1, "rank": 10}), {"step": 0, "note": "a,b"}),
    stored(Condition("measure", 1, {"rate": 0.1, "rank": 10}), step=12),
    stored(Condition("measure", 0, {"rate": 0.1, "rank": 2}), {"step": 0, "value": 3.0}, step=1),
    stored(Condition("measure", 0, {"rate": 0.1, "rank": "all"}), {"step": 0, "value": 2.0}),
]


def test_results_are_tidy_and_a_diverged_run_without_rows_is_there() -> None:
    assert tables.texts(RUNS)["results.csv"] == (
        "stage,seed,rate,rank,diverged,diverged_step,step,value,note\n"
        "select,1000,0.1,,False,,0,0.30000000000000004,\n"
        "select,1000,0.1,,False,,1,1.0,\n"
        "measure,0,0.1,,False,,0,nan,\n"
        "measure,0,0.1,2,True,1,0,3.0,\n"
        'measure,0,0.1,10,False,,0,,"a,b"\n'
        "measure,1,0.1,10,True,12,,,\n"
        "measure,0,0.1,all,False,,0,2.0,\n"
    )


def test_runs_have_one_row_each() -> None:
    lines = tables.texts(RUNS)["runs.csv"].splitlines()
    assert lines[0] == "stage,seed,rate,rank,diverged,diverged_step,reason"
    assert len(lines) == 1 + len(RUNS)
    assert "measure,1,0.1,10,True,12,nan" in lines


def test_the_frame_and_the_file_hold_the_same() -> None:
    frame = tables.results(RUNS)
    again = pd.read_csv(io.StringIO(tables.texts(RUNS)["results.csv"]))
    assert list(frame.columns) == list(again.columns)
    assert frame["value"].equals(again["value"])
    assert frame["diverged_step"].dropna().tolist() == [1, 12]
    assert frame["diverged"].dtype == bool
    assert list(tables.timings(RUNS).columns) == ["stage", "seed", "rate", "rank", "seconds"]


@given(st.permutations(RUNS[1:]))
def test_the_order_in_which_runs_ended_does_not_matter(runs: list[StoredRun]) -> None:
    assert tables.texts([RUNS[0], *runs])["runs.csv"] == tables.texts(RUNS)["runs.csv"]


def test_no_runs_give_empty_tables() -> None:
    assert list(tables.results([]).columns) == ["stage", "seed", "diverged", "diverged_step"]
