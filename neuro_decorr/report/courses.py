"""Curves on a page: every quantity along an axis, for every arm and every choice.

The tables show which column is the axis, which one holds the arms and which ones are choices, for any protocol: the
first columns distinguish the rows of a run, and the factors distinguish the runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from neuro_decorr.errors import require
from neuro_decorr.report.averages import AXIS, SEED, averages, placed
from neuro_decorr.report.labels import printable

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

STUDY = " study"
"""Column that distinguishes the studies of a comparison; no factor has this name."""
_MARK = "diverged"
"""Column between the factors of a run and the measurements."""
OWN = ("runs", "timings", "costs")
"""Kinds of rows that the study records itself; a protocol records the others."""
_AXES = ("epoch", "step", "update", "updates", "batch", "iteration", "iterations", "evaluations")
ARMS = ("arm", "rule", "method")
"""Names of the factor whose levels are compared first."""
_FIRST = ("curves", "courses")
_LEVELS, _ARMS, _LONGEST = 60, 40, 60
_PREFERRED = ("test_accuracy", "validation_accuracy", "accuracy", "validation_r2", "distance", "error", "loss")
_ACHIEVED = re.compile("correlation|white|effective_rank|participation|decorrelat|achieved|covariance|_after$")


@final
@dataclass(frozen=True)
class Course:
    """Curves from the rows of one kind and one stage, averaged over seeds.

    Attributes:
        kind: Kind of the rows.
        stage: Stage of the runs.
        axis: Column of the horizontal axis; empty where each arm has one value.
        arm: Column of the arms; empty where there is one curve.
        arms: Names of the arms.
        choices: Columns of which the reader chooses a level, each with its levels.
        studies: Names of the compared studies; one on the page of a study.
        quantities: Columns that can be drawn.
        first: Index of the quantity that is shown first.
        achieved: Indices of the quantities that measure how far units are decorrelated.
        seeds: Number of seeds.
        diverged: Runs that diverged, by study and arm.
        series: Result of `averages`; a cell holds the indices of the study, the arm and the level of every choice.
        note: Remark for the reader.
    """

    kind: str
    stage: str
    axis: str
    arm: str
    arms: list[str]
    choices: list[tuple[str, list[str]]]
    studies: list[str]
    quantities: list[str]
    first: int
    achieved: list[int]
    seeds: int
    diverged: list[list[int]]
    series: dict[str, Any] = field(repr=False)
    note: str


def courses(studies: Mapping[str, Mapping[str, pd.DataFrame]], orders: Sequence[Sequence[Any]] = ()) -> list[Course]:
    """Find the curves that the tables contain, the most important kinds and stages first.

    Args:
        studies: Tables of every study by its name.
        orders: See `levels`.

    Returns:
        The courses; kinds whose rows cannot be put in an order are left out.
    """
    kinds = list(dict.fromkeys(kind for tables in studies.values() for kind in tables if kind not in OWN))
    found: list[Course] = []
    for kind in sorted(kinds, key=lambda kind: _FIRST.index(kind) if kind in _FIRST else len(_FIRST)):
        parts = [tables[kind].assign(**{STUDY: name}) for name, tables in studies.items() if kind in tables]
        table = parts[0] if len(parts) == 1 else require("pandas", "study").concat(parts, ignore_index=True)
        if _MARK in table and len(table):
            names = [name for name in studies if name in set(table[STUDY].unique())]
            made = [
                _course(kind, str(stage), part, names, orders) for stage, part in table.groupby("stage", sort=False)
            ]
            found += [one for one in made if one is not None]
    return sorted(found, key=lambda one: (not one.axis, -one.seeds))  # a selection stage has fewer seeds


def parted(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Separate the columns of a table into factors of the runs and measurements.

    Args:
        table: Table of one kind of rows.
    """
    names = [name for name in table.columns if name not in ("stage", "seed", STUDY)]
    split = names.index(_MARK)
    return names[:split], names[split + 1 :]


def level(value: Any) -> str:
    """Write a level of a factor in one short line."""
    if _absent(value):
        return "none"
    text = f"{value:.4g}" if isinstance(value, float) else printable(str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def labels(values: Sequence[Any]) -> list[str]:
    """Write levels in words, each different from the others."""
    texts = [level(value) for value in values]
    return [text if texts.count(text) == 1 else f"{text} ({number})" for number, text in enumerate(texts, start=1)]


def levels(values: pd.Series, orders: Sequence[Sequence[Any]] = ()) -> list[Any]:
    """Sort the levels of a factor: by the first order that has all of them, else numbers by size, else as in the rows.

    Args:
        values: Column of the factor; a missing level is None, and comes last.
        orders: Known orders, such as the lists of a configuration.
    """
    found = list(dict.fromkeys(None if _absent(value) else value for value in values.unique().tolist()))
    numeric = all(isinstance(value, int | float) for value in found if value is not None)
    if numeric:
        return sorted(found, key=lambda value: (value is None, value))
    fitting = [order for order in orders if set(order) >= {value for value in found if value is not None}]
    if not fitting:
        return found
    return sorted(found, key=lambda value: (value is None, fitting[0].index(value) if value in fitting[0] else 0))


def identifying(runs: pd.DataFrame, factors: Sequence[str]) -> list[str]:
    """Find the factors that distinguish runs of one seed, without settings chosen for each, such as a learning rate.

    Args:
        runs: One row per run.
        factors: Names of the factors.
    """
    kept = [name for name in factors if runs[name].nunique(dropna=False) > 1]
    heads = [name for name in (STUDY, "stage", "seed") if name in runs]
    numeric = [name for name in kept if runs[name].dtype.kind in "if"]
    for name in sorted(numeric, key=lambda name: -runs[name].nunique()):
        rest = [other for other in kept if other != name]
        if _distinct(_numbered(runs, [*heads, *rest])) == len(runs):
            kept = rest
    return kept


def _course(
    kind: str, stage: str, part: pd.DataFrame, studies: list[str], orders: Sequence[Sequence[Any]]
) -> Course | None:
    factors, rest = parted(part)
    code = _numbered(part, [STUDY, "seed", *factors])
    runs = part.iloc[np.unique(code, return_index=True)[1]]
    keys = _keys(part, code, rest)
    if keys is None:
        return None
    axis = _axis(part, keys)
    aside = [name for name in keys if name != axis and part[name].nunique(dropna=False) > 1]
    dimensions = [*identifying(runs, factors), *aside]
    taken = {*keys, *(_AXES if axis else ())}
    quantities = [
        name for name in rest if name not in taken and part[name].dtype.kind in "iufb" and part[name].notna().any()
    ]
    known = {name: levels(part[name], orders) for name in dimensions}
    if not quantities or max([0, *map(len, known.values())]) > _LEVELS:
        return None
    arm = _arm(part, dimensions)
    choices = [name for name in dimensions if name != arm]
    table = part[quantities].astype("float64").replace([math.inf, -math.inf], math.nan)
    cells = {STUDY: _coded(part[STUDY], studies), " arm": _coded(part[arm], known[arm]) if arm else 0}
    cells |= {f" choice {name}": _coded(part[name], known[name]) for name in choices}
    place = part[axis].astype("float64") if axis else 0.0
    table = table.assign(**cells, **{SEED: part["seed"], AXIS: place})
    shown, note = placed(table, list(cells), quantities) if axis else (table, "")
    if shown is None:
        return None
    arms = labels(known[arm]) if arm else [""]
    marked = runs[runs[_MARK].astype(bool)]
    where = zip(
        _coded(marked[STUDY], studies), _coded(marked[arm], known[arm]) if arm else [0] * len(marked), strict=True
    )
    diverged = [[0] * len(arms) for _ in studies]
    for study, number in where if arm in (*factors, "") else ():
        diverged[study][number] += 1
    preferred = [quantities.index(name) for name in _PREFERRED if name in quantities]
    return Course(
        kind, stage, axis, arm, arms, [(name, labels(known[name])) for name in choices], studies, quantities,
        first=preferred[0] if preferred else 0,
        achieved=[number for number, name in enumerate(quantities) if _ACHIEVED.search(name)],
        seeds=int(part["seed"].nunique()), diverged=diverged, series=averages(shown, list(cells), quantities),
        note=note,
    )  # fmt: skip


def _keys(part: pd.DataFrame, run: NDArray[np.int64], names: Sequence[str]) -> list[str] | None:
    """Find the first columns that distinguish the rows of a run; None where no columns do.

    A measured number may distinguish rows by chance. So numbers with decimals are tried last, and among them those with
    the most values.
    """
    decimal = sorted((name for name in names if part[name].dtype.kind == "f"), key=lambda name: part[name].nunique())
    code = run
    keys: list[str] = []
    for name in [*(name for name in names if name not in decimal), *decimal]:
        if _distinct(code) == len(part):
            break
        code, keys = _numbered(part, [name], code), [*keys, name]
    if _distinct(code) < len(part):
        return None
    for name in reversed([name for name in decimal if name in keys]):
        rest = [other for other in keys if other != name]
        if _distinct(_numbered(part, rest, run)) == len(part):
            keys = rest
    return [name for name in names if name in keys]


def _axis(part: pd.DataFrame, keys: Sequence[str]) -> str:
    numeric = [name for name in keys if part[name].dtype.kind in "iuf"]
    fitting = [name for name in numeric if part[name].nunique() > (1 if name in _AXES else 2)]
    return max(fitting, key=lambda name: part[name].nunique(), default="")


def _arm(part: pd.DataFrame, dimensions: Sequence[str]) -> str:
    fitting = [name for name in dimensions if part[name].nunique(dropna=False) <= _ARMS]
    texts = [name for name in fitting if part[name].dtype.kind not in "iufb"]
    return next(iter([*(name for name in ARMS if name in fitting), *texts, *fitting]), "")


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _numbered(table: pd.DataFrame, names: Sequence[str], start: Any = 0) -> NDArray[np.int64]:
    """Number the rows: rows with the same values in the columns, and the same start, have the same number."""
    factorise = require("pandas", "study").factorize
    code: NDArray[np.int64] = np.zeros(len(table), dtype=np.int64) + start
    for name in names:
        found, known = factorise(table[name], use_na_sentinel=False)
        code = factorise(code * len(known) + found)[0]
    return code


def _distinct(code: NDArray[np.int64]) -> int:
    return int(code.max()) + 1 if len(code) else 0


def _coded(values: pd.Series, known: Sequence[Any]) -> NDArray[np.int64]:
    numbers = {value: number for number, value in enumerate(known)}
    found, uniques = require("pandas", "study").factorize(values, use_na_sentinel=False)
    codes: NDArray[np.int64] = np.array([numbers[None if _absent(value) else value] for value in uniques.tolist()])
    return codes[found] if len(codes) else np.zeros(0, dtype=np.int64)
