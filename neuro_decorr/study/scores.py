"""Scores of runs, and mean scores of the settings of selection runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias, final

from neuro_decorr.errors import InvalidValue, did_you_mean
from neuro_decorr.study.conditions import Scalar
from neuro_decorr.study.recorder import TIMINGS
from neuro_decorr.study.store import StoredRun
from neuro_decorr.study.tables import RUNS, Tables

SELECT = "select"
"""Name of the stage of the selection runs."""

_Setting: TypeAlias = tuple[Scalar, ...]
_Runs: TypeAlias = list[tuple[float, bool]]
"""Score of every run of a setting, and True for each one that diverged."""


class Missing(InvalidValue):
    """A selection run is not stored, or has no score."""


def check(run: StoredRun, kind: str, column: str) -> None:
    """Refuse a selection run without the column of the score, which a name that is misspelt leaves out.

    Args:
        run: The run; one that diverged needs no score.
        kind: Kind of the rows with the score.
        column: Column of these rows with the score.

    Raises:
        InvalidValue: The run did not diverge and has no such kind of rows, or no such column.
    """
    if run.diverged:
        return
    rows = run.unread(kind)
    what, got, known = ("kind", kind, list(run.rows)) if rows is None else ("column", column, list(rows.types()))
    known = [name for name in known if name != TIMINGS]
    if got not in known:
        hint = did_you_mean(got, known) or "."
        raise InvalidValue(
            f"Selection: the run '{run.condition.label}' recorded no {what} '{got}', so that it has no score{hint} "
            f"Recorded{f' in {kind!r}' if what == 'column' else ''}: {', '.join(known) or 'nothing'}."
        )


@final
class Scores:
    """Mean scores over seeds, and numbers of diverged runs, by the levels of all factors.

    Args:
        tables: Tables of the study.
        kind: Kind of the rows with the score.
        column: Column of these rows; its last value is the score of a run.
        seeds: Number of runs of every setting.
        diverged: Score of a diverged run.
    """

    def __init__(self, tables: Tables, kind: str, column: str, seeds: int, diverged: float) -> None:
        self._tables, self._kind, self._column, self._seeds, self._diverged = tables, kind, column, seeds, diverged
        self._known: dict[tuple[str, ...], dict[_Setting, _Runs]] = {}

    def of(self, factors: Mapping[str, Any]) -> tuple[float, int]:
        """Return the mean score of a setting, and the number of its diverged runs.

        Args:
            factors: Levels of all factors.

        Returns:
            Mean score, and number of diverged runs.

        Raises:
            Missing: A run is not stored, or did not diverge and has no score.
        """
        names = tuple(factors)
        if names not in self._known:
            self._known[names] = self._read(list(names))
        runs = self._known[names].get(tuple(factors.values()), [])
        told = " ".join(f"{name}={level}" for name, level in factors.items())
        if len(runs) < self._seeds:
            raise Missing(f"{self._seeds - len(runs)} of {self._seeds} selection runs {told} are not stored.")
        if any(math.isnan(score) for score, _ in runs):
            raise Missing(f"the selection run {told} has no '{self._column}' in its last row of '{self._kind}'.")
        return math.fsum(score for score, _ in runs) / len(runs), sum(diverged for _, diverged in runs)

    def _read(self, names: list[str]) -> dict[_Setting, _Runs]:
        found = last(self._tables, SELECT, self._kind, self._column, names)
        return {
            setting: [(self._diverged if diverged else score, diverged) for score, diverged in runs]
            for setting, runs in found.items()
        }


def last(tables: Tables, stage: str, kind: str, column: str, names: list[str]) -> dict[_Setting, _Runs]:
    """Return the last value of a column in every run of a stage, by the levels of its factors.

    Args:
        tables: Tables of the study.
        stage: Name of the stage.
        kind: Kind of the rows with the column.
        column: The column.
        names: Factors that distinguish the settings.

    Returns:
        Value of each run, nan where it recorded none, and True where it diverged. Empty where no run has these factors.
    """
    tables, keys = tables.of(stage), [*names, "seed"]
    if not set(names) <= set(tables[RUNS]):
        return {}
    scores: dict[_Setting, Any] = {}
    if kind in tables and column in tables[kind]:
        rows = tables[kind].groupby(keys, dropna=False).tail(1)
        scores = {_levels(row, keys): row[column] for row in rows[[*keys, column]].to_dict("records")}
    found: dict[_Setting, _Runs] = {}
    for run in tables[RUNS][[*keys, "diverged"]].to_dict("records"):
        score = scores.get(_levels(run, keys), math.nan)  # not merged: a factor may have another type in each table
        runs = found.setdefault(_levels(run, names), [])
        runs.append((math.nan if _missing(score) else float(score), bool(run["diverged"])))
    return found


def _levels(row: Mapping[Any, Any], names: list[str]) -> _Setting:
    return tuple(None if _missing(row[name]) else row[name] for name in names)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
