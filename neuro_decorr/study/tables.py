"""The tables of a study, the same whatever the order in which its runs ended."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from neuro_decorr.errors import require
from neuro_decorr.study.conditions import Scalar
from neuro_decorr.study.store import StoredRun

if TYPE_CHECKING:
    import pandas as pd


def results(runs: Iterable[StoredRun]) -> pd.DataFrame:
    """One row a measurement; a diverged run that measured nothing has one row without values.

    Args:
        runs: The runs of all stages, stage after stage.

    Returns:
        Columns stage, seed, the factors, diverged, diverged_step, the measured values.
    """
    return _frame(*_results(runs))


def timings(runs: Iterable[StoredRun]) -> pd.DataFrame:
    """One row a timing. Kept apart, since no second run gives the same.

    Args:
        runs: The runs of all stages, stage after stage.

    Returns:
        Columns stage, seed, the factors, the measured times.
    """
    return _frame(*_timings(runs))


def texts(runs: Iterable[StoredRun]) -> dict[str, str]:
    """The tables of a study as CSV texts, by the names of their files.

    Floats have the digits that give the same float again, whole numbers stay whole, what is missing is empty.

    Args:
        runs: The runs of all stages, stage after stage.

    Returns:
        `results.csv`, `timings.csv`, and `runs.csv`: one row a run with diverged, diverged_step and reason.
    """
    known = list(runs)
    return {
        "results.csv": _csv(*_results(known)),
        "timings.csv": _csv(*_timings(known)),
        "runs.csv": _csv(*_overview(known)),
    }


def _results(runs: Iterable[StoredRun]) -> tuple[list[str], list[dict[str, Scalar]]]:
    def rows(run: StoredRun) -> Iterator[dict[str, Scalar]]:
        for row in run.rows or ([{}] if run.diverged else []):
            yield {"diverged": run.diverged, "diverged_step": run.step, **row}

    return _records(runs, rows, ["diverged", "diverged_step"])


def _timings(runs: Iterable[StoredRun]) -> tuple[list[str], list[dict[str, Scalar]]]:
    return _records(runs, lambda run: iter(run.timings), [])


def _overview(runs: Iterable[StoredRun]) -> tuple[list[str], list[dict[str, Scalar]]]:
    def row(run: StoredRun) -> Iterator[dict[str, Scalar]]:
        yield {"diverged": run.diverged, "diverged_step": run.step, "reason": run.reason}

    return _records(runs, row, ["diverged", "diverged_step", "reason"])


def _records(
    runs: Iterable[StoredRun], rows: Callable[[StoredRun], Iterator[dict[str, Scalar]]], fixed: list[str]
) -> tuple[list[str], list[dict[str, Scalar]]]:
    known = list(runs)
    factors = list(dict.fromkeys(name for run in known for name in run.condition.factors))
    records: list[dict[str, Scalar]] = [
        {"stage": run.condition.stage, "seed": run.condition.seed, **run.condition.factors, **row}
        for run in _sorted(known, factors)
        for row in rows(run)
    ]
    head = ["stage", "seed", *factors, *fixed]
    return list(dict.fromkeys([*head, *(name for record in records for name in record)])), records


def _frame(columns: list[str], records: list[dict[str, Scalar]]) -> pd.DataFrame:
    pandas = require("pandas", "study")
    table: pd.DataFrame = pandas.DataFrame.from_records(records, columns=columns)
    if "diverged_step" in columns:
        # Whole numbers with gaps: as floats, step 12 would be read as 12.0.
        table["diverged_step"] = table["diverged_step"].astype("Int64")
    return table


def _csv(columns: list[str], records: list[dict[str, Scalar]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _sorted(runs: list[StoredRun], factors: list[str]) -> list[StoredRun]:
    stages = list(dict.fromkeys(run.condition.stage for run in runs))

    def order(run: StoredRun) -> tuple[Any, ...]:
        levels = run.condition.factors
        ranks = [_rank(levels[name]) if name in levels else (0, 0) for name in factors]
        return stages.index(run.condition.stage), ranks, run.condition.seed

    return sorted(runs, key=order)


def _rank(value: Scalar) -> tuple[int, Any]:
    # Levels of different types are not comparable: types first, values within a type.
    if value is None:
        return 1, 0
    if isinstance(value, bool):
        return 2, value
    return (4, value) if isinstance(value, str) else (3, value)
