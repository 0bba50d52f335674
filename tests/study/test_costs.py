"""Expected times of runs, against counts by hand and against a search through all known runs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from neuro_decorr.study.costs import Costs

Known = list[tuple[str, dict[str, Any], float]]


def costs(known: Known) -> Costs:
    made = Costs()
    for stage, factors, seconds in known:
        made.add(stage, factors, seconds)
    return made


def test_a_run_takes_as_long_as_runs_of_its_condition_with_other_seeds() -> None:
    made = costs([("m", {"arm": "a"}, 1), ("m", {"arm": "a"}, 3), ("m", {"arm": "b"}, 50)])
    assert made.expected([("m", {"arm": "a"}), ("m", {"arm": "b"}), ("m", {"arm": "a"})]) == [50, 2, 2]
    assert made.expected([]) == []


def test_names_and_whole_numbers_decide_before_other_numbers() -> None:
    made = costs([
        ("m", {"arm": "a", "rate": 0.1}, 1),
        ("m", {"arm": "a", "rate": 0.2}, 2),
        ("m", {"arm": "b", "rate": 0.3}, 50),
    ])  # fmt: skip
    assert made.expected([("m", {"arm": "a", "rate": 0.3})]) == [1.5]
    assert made.expected([("m", {"arm": "a", "rate": 0.2})]) == [2]


@pytest.mark.parametrize("level", ["b", 2, True, None])
def test_a_level_that_was_in_no_run_leaves_the_time_unknown(level: Any) -> None:
    known: Known = [("m", {"arm": 1.5}, 1.0)] * 3
    missing = ("m", {"arm": level})
    assert costs(known).expected([missing] * 4) is None
    assert costs(known).expected([missing] * 3) == [1.0] * 3  # at least as many are known
    assert costs([*known, ("m", {"arm": level}, 7.0)]).expected([missing] * 5) == [7.0] * 5
    assert costs(known).expected([("m", {"arm": 2.5})] * 9) == [1.0] * 9  # no whole number
    assert costs(known).expected([("n", {"arm": 1.5})]) is None  # another stage
    assert Costs().expected([missing]) is None


def test_the_first_run_of_a_process_counts_only_where_no_other_is_as_much_alike() -> None:
    made = Costs()
    made.add("m", {"arm": "a"}, 20, first=True)
    assert made.expected([("m", {"arm": "a"})]) is None
    made.add("m", {"arm": "b"}, 5)
    assert made.expected([("m", {"arm": "a"}), ("m", {"arm": "b"})]) == [20, 5]
    made.add("m", {"arm": "a"}, 3)
    assert made.expected([("m", {"arm": "a"}), ("m", {"arm": "b"})]) == [5, 3]


def test_against_a_search_through_all_known_runs() -> None:
    random = np.random.default_rng(0)
    levels = list(itertools.product("abc", (10, 20), (0.1, 0.2), (True, False)))
    runs = [dict(zip(("arm", "units", "rate", "on"), one, strict=True)) for one in levels]
    known: Known = [("m", runs[int(at)], float(random.exponential())) for at in random.integers(0, len(runs), 15)]
    for run in runs:
        scores = [
            (sum(run[name] == factors[name] for name in ("arm", "units", "on")), run["rate"] == factors["rate"])
            for _, factors, _ in known
        ]
        times = [seconds for (_, _, seconds), score in zip(known, scores, strict=True) if score == max(scores)]
        assert costs(known).expected([("m", run)]) == pytest.approx([np.mean(times)])
