"""What can be drawn of a table is found whatever the protocol, and its numbers are those of a computation by hand."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pandas as pd
import pytest
import scipy.stats

from neuro_decorr.report.averages import AXIS, SEED, averages, placed
from neuro_decorr.report.courses import Course, courses, identifying, labels
from neuro_decorr.report.palette import COLOURS, looks
from neuro_decorr.study.tables import tabulate
from tests.report.studies import curves, run

TABLES = tabulate(curves({"credit": ["b", "a"], "arm": ["none", "center"], "strength": [0.5, 2.0]}, seeds=4))


def points(course: Course, cell: list[int], quantity: str) -> list[tuple[Any, ...]]:
    """(x, mean, half, n) of one curve."""
    series, k = course.series, course.quantities.index(quantity)
    number = series["cells"].index(cell)
    between = slice(series["starts"][number], series["starts"][number + 1])
    return list(zip(series["x"][between], *(series[name][k][between] for name in ("mean", "half", "n")), strict=True))


def test_axis_arms_and_choices_are_found() -> None:
    first, second = courses({"": TABLES}, [["none", "center"], ["b", "a"]])
    assert (first.kind, first.axis, first.arm, first.arms) == ("curves", "epoch", "arm", ["none", "center"])
    assert first.choices == [("credit", ["b", "a"]), ("strength", ["0.5", "2"])]
    assert first.quantities == ["loss", "accuracy"] and first.quantities[first.first] == "accuracy"
    assert (second.kind, second.axis, second.achieved) == ("layers", "epoch", [0])
    assert [name for name, _ in second.choices] == ["credit", "strength", "layer"]
    assert len(first.series["cells"]) == 8 and len(second.series["cells"]) == 16 and first.seeds == 4


def test_means_and_intervals_are_those_of_a_computation_by_hand() -> None:
    (course, _) = courses({"": TABLES}, [["none", "center"], ["b", "a"]])
    table = TABLES["curves"]
    for credit, strength, arm in (("b", 0.5, "center"), ("a", 2.0, "none")):
        cell = [0, ["none", "center"].index(arm), ["b", "a"].index(credit), [0.5, 2.0].index(strength)]
        own = table[(table["credit"] == credit) & (table["strength"] == strength) & (table["arm"] == arm)]
        for x, mean, half, n in points(course, cell, "accuracy"):
            values = own[own["epoch"] == x]["accuracy"].tolist()
            low, high = scipy.stats.t.interval(0.95, 3, statistics.mean(values), statistics.stdev(values) / 2)
            assert n == 4
            # The page rounds to five digits.
            assert mean == pytest.approx(statistics.mean(values), rel=1e-4)
            assert half == pytest.approx((high - low) / 2, rel=1e-4)


def test_a_measured_number_is_no_axis_though_no_two_are_equal() -> None:
    rows = [
        {"learnt": learnt, "accuracy": 0.1 * k + learnt / 7, "rule": rule, "learning_rate": rate}
        for k, (rule, rate) in enumerate((rule, rate) for rule in ("a", "b") for rate in (0.1, 0.2))
        for learnt in (0, 10, 20)
    ]
    (course,) = courses({"": tabulate([run("m", 0, {}, {"checks": rows})])})
    assert (course.axis, course.arm, course.quantities) == ("learnt", "rule", ["accuracy"])
    assert course.choices == [("learning_rate", ["0.1", "0.2"])]


def test_one_seed_has_no_interval_and_what_is_no_number_counts_in_no_mean() -> None:
    rows = [[(0, 1.0), (1, math.inf)], [(0, 3.0), (1, None)], [(0, 5.0), (1, 7.0)]]
    runs = [run("m", k, {}, {"curves": [{"epoch": e, "loss": v} for e, v in each]}) for k, each in enumerate(rows)]
    (course,) = courses({"": tabulate(runs)})
    assert points(course, [0, 0], "loss")[1] == (1.0, 7.0, None, 1)
    assert points(course, [0, 0], "loss")[0][1::2] == (3.0, 3)
    assert (course.arm, course.arms, course.choices) == ("", [""], [])


def test_what_was_chosen_for_each_run_is_no_choice() -> None:
    runs = pd.DataFrame({"seed": [0, 1, 0, 1], "arm": ["a", "a", "b", "b"], "rate": [0.1, 0.1, 0.2, 0.2], "k": 3})
    assert identifying(runs, ["arm", "rate", "k"]) == ["arm"]
    more = pd.concat([runs, runs.assign(rate=0.3)])
    assert identifying(more, ["arm", "rate", "k"]) == ["arm", "rate"]


def test_without_an_axis_each_arm_has_one_value() -> None:
    rows = [{"method": name, "distance": k + 0.5} for k, name in enumerate(("x", "y", "z"))]
    (course,) = courses({"": tabulate([run("m", seed, {}, {"ends": rows}) for seed in (0, 1)])})
    assert (course.axis, course.arm, course.arms) == ("", "method", ["x", "y", "z"])
    assert points(course, [0, 2], "distance") == [(0.0, 2.5, 0.0, 2)]


def test_runs_with_other_places_are_read_off_between_two_of_them() -> None:
    # Two straight lines: any place between has a mean that is known.
    rows = [(seed, x, (1 + 2 * seed) * x) for seed in (0, 1) for x in (0.0 + 0.1 * seed, 1.0 + seed, 4.0, 9.5 - seed)]
    table = pd.DataFrame(rows, columns=[SEED, AXIS, "y"]).assign(cell=0)
    shown, note = placed(table, ["cell"], ["y"])
    assert shown is not None and "interpolated" in note
    found = averages(shown, ["cell"], ["y"])
    inside = [(x, m) for x, m, n in zip(found["x"], found["mean"][0], found["n"][0], strict=True) if n == 2]
    assert len(inside) >= 3
    for x, mean in inside:
        assert mean == pytest.approx(2 * x, rel=1e-3)  # five digits


def test_points_without_an_order_are_no_course() -> None:
    table = pd.DataFrame({"cell": 0, SEED: [0, 0, 0, 1, 1, 1], AXIS: [3, 1, 2, 9, 8, 8.5], "y": 1.0})
    assert placed(table, ["cell"], ["y"])[0] is None


def test_a_long_axis_is_thinned_and_says_so() -> None:
    runs = [
        run("m", seed, {}, {"courses": [{"step": k, "error": 1 / (k + 1)} for k in range(2000)]}) for seed in (0, 1)
    ]
    (course,) = courses({"": tabulate(runs)})
    assert len(course.series["x"]) == 200 and course.note.startswith("200 of 2000 points")
    assert (course.series["x"][0], course.series["x"][-1]) == (0, 1999)


def test_diverged_runs_are_counted_by_arm() -> None:
    runs = [
        run("m", seed, {"arm": arm}, {"curves": [{"epoch": 0, "loss": 1.0}]}, step=3 if seed < limit else None)
        for arm, limit in (("a", 0), ("b", 2)) for seed in range(3)
    ]  # fmt: skip
    (course,) = courses({"": tabulate(runs)})
    assert course.diverged == [[0, 2]]


def test_studies_are_told_apart() -> None:
    other = tabulate(curves({"arm": ["none", "center"]}, seeds=2))
    course = courses({"x": tabulate(curves({"arm": ["none", "center"]}, seeds=3)), "y": other})[0]
    assert course.studies == ["x", "y"]
    assert sorted({cell[0] for cell in course.series["cells"]}) == [0, 1]
    assert (points(course, [0, 0], "loss")[0][3], points(course, [1, 0], "loss")[0][3]) == (3, 2)


def test_labels_are_short_and_each_another() -> None:
    found = labels(["x" * 10_000, "x" * 9_999, None, 0.1, True, "a\nb\x1b"])
    assert len(set(found)) == 6 and max(map(len, found)) < 70
    assert found[2:] == ["none", "0.1", "True", "a\\nb\\x1b"]


def test_an_unknown_arm_leaves_a_known_one_its_colour() -> None:
    arms = ["mine", "another", *COLOURS]
    found = {arm: look.colour for arm, look in zip(arms, looks(arms), strict=True) if look.dash == "solid"}
    first = {colour: arm for arm, colour in reversed(COLOURS.items())}  # of names with one colour, the first has it
    assert all(found[arm] == colour for colour, arm in first.items())


def test_looks_differ_and_a_compensated_arm_is_dashed() -> None:
    arms = ["none", "center", "center_compensated", "whitening", *(f"arm_{k}" for k in range(24))]
    found = looks(arms)
    assert len({(look.colour, look.dash) for look in found}) == len(arms)
    assert (found[1].colour, found[1].dash, found[2].colour, found[2].dash) == ("#000000", "solid", "#000000", "dash")
