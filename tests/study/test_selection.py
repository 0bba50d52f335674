"""The stage that selects, on scores whose best is known by hand."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd
import pytest

from neuro_decorr import study
from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Condition, Selection, Tables, tables
from neuro_decorr.study.store import StoredRun

RATES = (0.1, 1.0)
EARLIER = Tables()


def selection(**options: Any) -> Selection:
    return Selection(**{
        "conditions": lambda _: [{"arm": "a"}, {"arm": "b"}], "grid": lambda *_: [{"rate": r} for r in RATES],
        "kind": "curves", "column": "accuracy", **options,
    })  # fmt: skip


def results(
    scores: Mapping[tuple[str, float, int], list[float]], diverged: Collection[tuple[str, float, int]] = ()
) -> Tables:
    """By arm, rate and selection seed the course of a run; those of `diverged` ended early."""
    runs = []
    for (arm, rate, seed), course in scores.items():
        bad = (arm, rate, seed) in diverged
        rows: dict[str, list[dict[str, Any]]] = {"curves": [{"accuracy": value} for value in course]} if course else {}
        condition = Condition("select", 1000 + seed, {"arm": arm, "rate": rate})
        runs.append(StoredRun(condition, rows, bad, 1 if bad else None, "nan" if bad else None, 1.0, 1.0))
    return tables.tabulate(runs)


def chosen(made: Selection, found: Tables) -> dict[str, float]:
    return {condition.factors["arm"]: condition.factors["rate"] for condition in made.measured_runs(None, [0], found)}


def test_every_condition_meets_every_setting_on_seeds_that_are_not_measured() -> None:
    made = selection(seeds=lambda c: c)
    found = made.selection_runs(3, [0, 1], EARLIER)
    assert {(c.stage, c.factors["arm"], c.factors["rate"], c.seed) for c in found} == {
        ("select", arm, rate, seed) for arm in "ab" for rate in RATES for seed in (1000, 1001, 1002)
    }
    assert len(found) == 2 * 2 * 3
    with pytest.raises(InvalidValue, match="reserved for selection runs"):
        made.measured_runs(3, list(range(1001)), EARLIER)


def test_the_last_value_decides_for_each_condition_by_itself() -> None:
    scores = {("a", 0.1, 0): [0.9, 0.5], ("a", 1.0, 0): [0.1, 0.6], ("b", 0.1, 0): [0.8], ("b", 1.0, 0): [0.7]}
    found = selection().measured_runs(None, [0, 1], results(scores))
    assert [(c.stage, c.seed, dict(c.factors)) for c in found] == [
        ("measure", seed, {"arm": arm, "rate": rate}) for arm, rate in (("a", 1.0), ("b", 0.1)) for seed in (0, 1)
    ]
    assert chosen(selection(maximise=False), results(scores)) == {"a": 0.1, "b": 1.0}


def test_selection_seeds_are_averaged() -> None:
    scores = {
        ("a", 0.1, 0): [0.9], ("a", 0.1, 1): [0.1], ("a", 1.0, 0): [0.6], ("a", 1.0, 1): [0.6],
        ("b", 0.1, 0): [0.7], ("b", 0.1, 1): [0.7], ("b", 1.0, 0): [0.6], ("b", 1.0, 1): [0.6],
    }  # fmt: skip
    assert chosen(selection(seeds=lambda _: 2), results(scores)) == {"a": 1.0, "b": 0.1}


@pytest.mark.parametrize("maximise", [True, False])
def test_of_equal_scores_the_first_of_the_grid_is_taken(maximise: bool) -> None:
    scores = {(arm, rate, 0): [0.5] for arm in "ab" for rate in RATES}
    assert chosen(selection(maximise=maximise), results(scores)) == {"a": 0.1, "b": 0.1}
    falling = selection(maximise=maximise, grid=lambda *_: [{"rate": rate} for rate in RATES[::-1]])
    assert chosen(falling, results(scores)) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("maximise", [True, False])
@pytest.mark.parametrize("course", [[], [0.99], [-0.99]])
def test_a_diverged_run_is_chosen_only_where_there_is_no_other(maximise: bool, course: list[float]) -> None:
    scores = {("a", 0.1, 0): course, ("a", 1.0, 0): [0.2], ("b", 0.1, 0): course, ("b", 1.0, 0): course}
    diverged = {("a", 0.1, 0), ("b", 0.1, 0), ("b", 1.0, 0)}
    assert chosen(selection(maximise=maximise), results(scores, diverged)) == {"a": 1.0, "b": 0.1}


def test_a_diverged_run_counts_as_told() -> None:
    """One of two seeds at zero leaves 0.45 of 0.9, which is above 0.4; as worse than all it would lose."""
    scores = {("a", 0.1, 0): [0.9], ("a", 0.1, 1): [0.9], ("a", 1.0, 0): [0.4], ("a", 1.0, 1): [0.4]}
    found, one = results(scores, {("a", 0.1, 1)}), {"conditions": lambda _: [{"arm": "a"}], "seeds": lambda _: 2}
    assert chosen(selection(diverged=0.0, **one), found) == {"a": 0.1}
    assert chosen(selection(**one), found) == {"a": 1.0}


@pytest.mark.parametrize("course", [[], [0.5, math.nan]])
def test_a_run_without_a_score_is_an_error(course: list[float]) -> None:
    scores = {("a", 0.1, 0): course, ("a", 1.0, 0): [0.2], ("b", 0.1, 0): [0.1], ("b", 1.0, 0): [0.1]}
    with pytest.raises(InvalidValue, match=r"arm=a rate=0\.1 has no 'accuracy'"):
        chosen(selection(), results(scores))


def test_budgets_are_equal_unless_they_need_not_be() -> None:
    uneven: Any = lambda _, levels: [{"rate": rate} for rate in RATES[: 1 + (levels["arm"] == "b")]]  # noqa: E731
    with pytest.raises(InvalidValue, match=r"conditions of \[1, 2\] settings"):
        selection(grid=uneven).selection_runs(None, [0], EARLIER)
    assert len(selection(grid=uneven, equal_budgets=False).selection_runs(None, [0], EARLIER)) == 3
    with pytest.raises(InvalidValue, match="at least one"):
        selection(grid=lambda *_: [], equal_budgets=False).selection_runs(None, [0], EARLIER)


def test_levels_that_are_none_are_levels() -> None:
    made = selection(
        conditions=lambda _: [{"arm": "a"}],
        grid=lambda *_: [{"rank": None, "rate": 0.1}, {"rank": 2, "rate": 0.1}],
    )
    runs = [
        StoredRun(Condition("select", 1000, {"arm": "a", "rank": rank, "rate": 0.1}), {"curves": [{"accuracy": value}]},
                  False, None, None, 1.0, 1.0)
        for rank, value in ((None, 0.9), (2, 0.5))
    ]  # fmt: skip
    (condition,) = made.measured_runs(None, [0], tables.tabulate(runs))
    assert condition.factors["rank"] is None


def test_a_factor_may_be_none_in_all_rows_of_one_kind() -> None:
    """The column of the factor then has one type among the runs, and another among these rows."""
    made = selection(
        conditions=lambda _: [{"arm": "a", "damping": None}], grid=lambda *_: [{"rate": 0.1}, {"rate": 1.0}]
    )
    runs = [
        StoredRun(Condition("select", 1000, {"arm": "a", "damping": None, "rate": rate}),
                  {"curves": [{"accuracy": value}]}, False, None, None, 1.0, 1.0)
        for rate, value in ((0.1, 0.5), (1.0, 0.9))
    ] + [
        StoredRun(Condition("select", 1000, {"arm": "b", "damping": 0.3, "rate": 0.1}),
                  {"other": [{"error": 1.0}]}, False, None, None, 1.0, 1.0)
    ]  # fmt: skip
    found = tables.tabulate(runs)
    assert found["runs"]["damping"].dtype != found["curves"]["damping"].dtype
    (condition,) = made.measured_runs(None, [0], found)
    assert condition.factors["rate"] == 1.0


def test_the_best_setting_of_rows_of_one_table() -> None:
    rows = pd.DataFrame({
        "arm": list("aaaabb"), "rate": [1.0, 1.0, 0.1, 0.1, 1.0, 0.1], "value": [0.5, 0.7, 0.9, 0.1, 0.3, 0.3],
    })  # fmt: skip
    found = study.best(rows, ["arm"], ["rate"], "value")
    assert found.to_dict("records") == [{"arm": "a", "rate": 1.0}, {"arm": "b", "rate": 0.1}]


def test_a_logarithmic_grid_has_even_ratios() -> None:
    assert study.logarithmic_grid(0.08, 8.0, 3) == [0.08, 0.8, 8.0]
    assert study.logarithmic_grid(0.08, 8.0, 1) == [0.08]
