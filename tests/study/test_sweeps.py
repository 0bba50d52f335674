"""Sweeps, against plain loops of Optuna, brute force and counting."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest

from neuro_decorr import study
from neuro_decorr.errors import InvalidValue, MissingExtra, UnknownName
from neuro_decorr.study import Condition, Halving, Range, Search, Selection, Tables, proposals, selection, tables
from neuro_decorr.study.store import StoredRun

optuna.logging.set_verbosity(optuna.logging.ERROR)
RANGES: dict[str, Any] = {"rate": Range(1e-3, 1.0, log=True), "width": Range(1, 64, whole=True), "rule": ("a", "b")}
ARMS = [{"arm": "x"}, {"arm": "y"}]
HALVING = Halving(factor="epochs", longest=lambda _: 9)


def score(factors: Any, seed: int) -> float:
    """A bowl in the logarithm of the rate, with another optimum for each arm; infinite above a rate of 0.5."""
    best = -2.0 if factors["arm"] == "x" else -1.0
    if factors["rate"] > 0.5:
        return math.inf
    return (
        (math.log10(factors["rate"]) - best) ** 2
        + (factors.get("width", 8) / 64 - 0.5) ** 2
        + 0.1 * (factors.get("rule", "a") == "b")
        + 0.01 * (seed % 2)
        + 1 / factors.get("epochs", 9)
    )


def sweep(**options: Any) -> Selection:
    search = options.pop("search", {})
    given = {"ranges": RANGES, "settings": 12, "sampler": "tpe", **(search if isinstance(search, dict) else {})}
    if not isinstance(search, dict):
        options["search"] = search
    return Selection(**{
        "conditions": lambda _: ARMS, "search": lambda *_: Search(**given), "rounds": 3, "kind": "ends",
        "column": "loss", "maximise": False, **options,
    })  # fmt: skip


def computed(conditions: list[Condition], scored: Callable[[Any, int], float] = score) -> list[StoredRun]:
    runs = []
    for condition in conditions:
        value = scored(condition.factors, condition.seed)
        bad = math.isinf(value)
        rows: dict[str, Any] = {} if bad else {"ends": [{"loss": value}]}
        runs.append(StoredRun(condition, rows, bad, 1 if bad else None, "nan" if bad else None, 1.0, 1.0))
    return runs


def stage_by_stage(made: Selection, order: random.Random | None = None) -> tuple[list[list[Condition]], Tables]:
    """The conditions of every stage, with the runs of the stages before stored in any order; and all tables."""
    stages, runs = [], []
    for stage in made.stages:
        stages.append(stage(None, [0], tables.tabulate(runs)))
        new = computed(stages[-1])
        if order:
            order.shuffle(new)
        runs += new
    return stages, tables.tabulate(runs)


# Proposals


@pytest.mark.parametrize("sampler", [
    "random", "tpe", pytest.param("gp", marks=pytest.mark.slow),
    lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
])  # fmt: skip
def test_settings_are_those_of_a_plain_loop_that_asks_for_a_whole_round(sampler: Any) -> None:
    count = 4 if sampler == "gp" else 8  # settings a round; the first ten of `gp` are random
    stages, _ = stage_by_stage(sweep(search={"sampler": sampler, "settings": 3 * count, "seed": 3}))
    known = optuna.samplers
    plain = {"random": known.RandomSampler, "tpe": known.TPESampler, "gp": known.GPSampler}
    for arm in ARMS:
        theirs = optuna.create_study(sampler=plain[sampler](seed=3) if isinstance(sampler, str) else sampler(3))
        for stage in stages[:3]:
            asked = [
                theirs.ask({
                    "rate": optuna.distributions.FloatDistribution(1e-3, 1.0, log=True),
                    "width": optuna.distributions.IntDistribution(1, 64),
                    "rule": optuna.distributions.CategoricalDistribution(["a", "b"]),
                })
                for _ in range(count)
            ]  # fmt: skip
            settings = [{**trial.params, "rate": float(f"{trial.params['rate']:.6g}")} for trial in asked]
            found = [dict(c.factors) for c in stage if c.factors["arm"] == arm["arm"]]
            assert found == [{**arm, **setting} for setting in settings]
            for trial, setting in zip(asked, settings, strict=True):
                value = score({**arm, **setting}, 1000)
                if math.isinf(value):
                    theirs.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    theirs.tell(trial, value)


def test_neither_the_order_of_runs_nor_a_resumed_process_changes_the_settings() -> None:
    first, found = stage_by_stage(sweep(halving=HALVING))
    proposals._conversation.cache_clear()  # as in another process
    again, _ = stage_by_stage(sweep(halving=HALVING), random.Random(1))
    assert first == again
    made = sweep(halving=HALVING)
    proposals._conversation.cache_clear()
    assert made.stages[-1](None, [0], found) == first[-1]  # all is known at once, as for a report
    assert [stage(None, [0], found) for stage in made.stages[:-1]] == first[:-1]  # stages look at earlier rounds only


def test_other_scores_of_the_same_search_give_other_settings_later() -> None:
    made = sweep(search={"settings": 40})
    runs = computed(made.stages[0](None, [0], Tables()))
    here = made.stages[1](None, [0], tables.tabulate(runs))
    turned = computed([run.condition for run in runs], lambda factors, _: math.log(factors["rate"]))
    assert made.stages[1](None, [0], tables.tabulate(turned)) != here
    assert made.stages[1](None, [0], tables.tabulate(runs)) == here


def test_a_setting_that_is_proposed_again_is_run_once_and_counts_as_a_setting() -> None:
    made = sweep(search={"ranges": {"rate": (0.01, 0.1)}, "sampler": "random", "settings": 9})
    stages, found = stage_by_stage(made)
    assert sum(map(len, stages[:-1])) == 2 * 2
    for _, trials in made.trials(None, found):
        assert len(trials) == 9 and {trial.state for trial in trials} == {"complete"}


def test_conditions_of_equal_ranges_meet_the_same_settings_in_the_first_round() -> None:
    first = stage_by_stage(sweep())[0][0]
    settings = [[{**c.factors, "arm": ""} for c in first if c.factors["arm"] == arm] for arm in "xy"]
    assert settings[0] == settings[1] and len(settings[0]) == 4


def test_numbers_are_rounded_on_the_axis_that_a_sampler_sees_and_stay_in_their_range() -> None:
    assert Range(0.0, 1.0).rounded(1 / 3) == 0.33333
    assert Range(1e-9, 1.0, log=True).rounded(1e-8 / 3) == 3.33333e-9
    assert Range(1000.0, 1000.001).rounded(1000.000123456) == 1000.000123456
    assert Range(0.0, 2 / 3).rounded(2 / 3) == 2 / 3 and Range(2 / 7, 1.0).rounded(2 / 7) == 2 / 7
    assert Range(1e-3, 1.0, log=True).position(10**-1.5) == pytest.approx(0.5)


# Budgets and halving


def test_every_condition_gets_the_budget_of_the_declaration() -> None:
    halving = Halving(factor="epochs", longest=lambda _: 18, rungs=3, ratio=3)
    stages, found = stage_by_stage(sweep(halving=halving, seeds=lambda _: 2, search={"settings": 27}))
    for arm in "xy":
        counts = [sum(c.factors["arm"] == arm for c in stage) for stage in stages]
        assert counts == [18, 6, 2] * 3 + [1]  # 9 settings a round, a third and a ninth of them later, of two seeds
    lengths = [{c.factors["epochs"] for c in stage} for stage in stages]
    assert lengths == [{2}, {6}, {18}] * 3 + [{18}]
    assert {c.seed for stage in stages[:-1] for c in stage} == {1000, 1001}
    for _, trials in sweep(halving=halving, seeds=lambda _: 2, search={"settings": 27}).trials(None, found):
        assert [len(trial.scores) for trial in trials].count(3) == 3
        assert sum(trial.state == "pruned" for trial in trials) + sum(trial.state == "failed" for trial in trials) == 24


def test_the_best_of_a_rung_go_on() -> None:
    made = sweep(halving=Halving(factor="epochs", longest=lambda _: 4, rungs=2, ratio=2), rounds=1)
    stages, _ = stage_by_stage(made)
    for arm in "xy":
        first, second = ([c for c in stage if c.factors["arm"] == arm] for stage in stages[:2])
        ranked = sorted(first, key=lambda c: score(c.factors, c.seed))[:6]
        assert {c.factors["rate"] for c in second} == {c.factors["rate"] for c in ranked}
        assert len(second) == 6


def test_a_grid_ends_early_too_and_the_best_is_found_by_brute_force() -> None:
    grid = [{"rate": rate, "width": width} for rate in (0.003, 0.01, 0.03, 0.1, 0.3) for width in (8, 32, 40)]
    halving = Halving(factor="epochs", longest=lambda _: 4, rungs=2, ratio=2)
    made = Selection(
        conditions=lambda _: ARMS, grid=lambda *_: grid, halving=halving, kind="ends", column="loss", maximise=False
    )
    stages, _ = stage_by_stage(made)
    assert [len(stage) for stage in stages] == [30, 14, 2]
    for arm, (condition,) in zip(
        ARMS, ([c for c in stages[-1] if c.factors["arm"] == arm] for arm in "xy"), strict=True
    ):
        best = min(grid, key=lambda setting: score({**arm, **setting}, 1000))
        assert {**arm, **best, "epochs": 4} == condition.factors


def test_the_choice_is_among_settings_that_ran_to_the_end() -> None:
    """A setting that scores best in the first rung alone would win by its short run, were it not dropped later."""
    made = sweep(halving=Halving(factor="epochs", longest=lambda _: 9, rungs=3), rounds=1, search={"settings": 9})
    runs: list[StoredRun] = []
    scored = lambda factors, _: factors["rate"] + 10 * (factors["epochs"] > 1)  # noqa: E731
    for stage in made.stages[:-1]:
        runs += computed(stage(None, [0], tables.tabulate(runs)), scored)
    for _, trials in made.trials(None, tables.tabulate(runs)):
        assert made.best(trials).scores[-1] > 10 > min(trial.scores[-1] for trial in trials)


def test_conditions_may_have_ranges_of_their_own() -> None:
    ranges = {"x": {"rate": (0.01, 0.1)}, "y": {"rate": Range(0.01, 0.4), "width": (np.int64(8), 32)}}
    made = sweep(search=lambda _, levels: Search(ranges=ranges[levels["arm"]], settings=12))  # type: ignore[arg-type]
    stages, found = stage_by_stage(made)
    for (levels, trials), condition in zip(made.trials(None, found), stages[-1], strict=True):
        best = min(trials, key=lambda trial: score({**levels, **trial.setting}, 1000))
        assert condition.factors == {**levels, **best.setting}
        assert set(best.setting) == set(ranges[levels["arm"]])


@pytest.mark.parametrize(("settings", "rounds"), [(20, 5), (7, 3), (2, 5)])
def test_rounds_share_the_settings(settings: int, rounds: int) -> None:
    sizes = Search(ranges=RANGES, settings=settings).sizes(rounds)
    assert sum(sizes) == settings and len(sizes) == rounds and max(sizes) - min(sizes) <= 1


def test_the_number_of_runs_is_known_before_the_first() -> None:
    made = sweep(halving=HALVING, seeds=lambda _: 2, search={"settings": 27})
    stages, _ = stage_by_stage(made)
    assert [selection.at_most(stage, None, [0]) for stage in made.stages] == [len(stage) for stage in stages]
    assert selection.at_most(lambda *_: [], None, [0]) is None
    few = sweep(search={"ranges": {"rate": (0.01, 0.1)}, "settings": 9})
    assert [selection.at_most(stage, None, [0, 1]) for stage in few.stages] == [6, 6, 6, 4]


def test_unequal_budgets_are_refused() -> None:
    def search(_: Any, levels: study.Levels) -> Search:
        return Search(ranges=RANGES, settings=3 + (levels["arm"] == "y"))

    made = sweep()
    with pytest.raises(InvalidValue, match=r"conditions of \[3, 4\] settings"):
        sweep(search=search).selection_runs(None, [0], Tables())
    assert len(sweep(search=search, equal_budgets=False, rounds=1).selection_runs(None, [0], Tables())) == 7
    # As many settings, but a grid runs them in one round of halving, and more of them to the end.
    mixed = Selection(
        conditions=lambda _: ARMS, grid=lambda *_: [{"rate": 0.1 + k} for k in range(12)],
        search=lambda c, levels: made.searching(c, levels) if levels["arm"] == "x" else None, rounds=3,
        halving=HALVING, kind="ends", column="loss",
    )  # fmt: skip
    with pytest.raises(InvalidValue, match="steps; give every"):
        mixed.selection_runs(None, [0], Tables())


# Scores


@pytest.mark.slow
def test_a_search_does_better_than_chance_on_a_bowl() -> None:
    """TPE against random search, 5 seeds with 30 settings each: means of the logarithm, paired by the seed."""
    gaps = []
    for seed in range(5):
        reached = []
        for sampler in ("random", "tpe"):
            ranges = {"rate": Range(1e-3, 0.5, log=True), "width": Range(1, 64, whole=True)}
            made = sweep(rounds=10, search={"sampler": sampler, "seed": seed, "settings": 30, "ranges": ranges})
            _, found = stage_by_stage(made)
            # 1 / 9 is what nothing chosen changes; the best that there is adds nothing to it.
            reached += [sum(made.best(trials).scores[-1] - 1 / 9 for _, trials in made.trials(None, found))]
        gaps.append(math.log(reached[0] + 1e-9) - math.log(reached[1] + 1e-9))
    assert sum(gaps) / len(gaps) > 0.5


def test_diverged_settings_fail_unless_they_have_a_score() -> None:
    made = sweep(search={"sampler": "random", "settings": 30})
    _, found = stage_by_stage(made)
    for _, trials in made.trials(None, found):
        for trial in trials:
            assert trial.state == ("failed" if trial.setting["rate"] > 0.5 else "complete")
            assert trial.diverged == (trial.setting["rate"] > 0.5)
    counted = sweep(search={"sampler": "random", "settings": 30}, diverged=9.0)
    for (_, trials), (_, before) in zip(counted.trials(None, found), made.trials(None, found), strict=True):
        assert {trial.state for trial in trials} == {"complete"}
        assert [t.scores[0] == 9.0 for t in trials] == [t.state == "failed" for t in before]


def test_a_study_that_is_not_complete_is_told_as_far_as_it_is_known() -> None:
    made = sweep()
    first = computed(made.stages[0](None, [0], Tables()))
    missing = first.pop()
    ((_, of_x), (_, of_y)) = made.trials(None, tables.tabulate(first))
    assert len(of_x) == 8 and {trial.state for trial in of_x[4:]} == {"waiting"}
    assert [trial.state for trial in of_y].count("waiting") == 1 and len(of_y) == 4
    with pytest.raises(InvalidValue, match=f"1 of 1 selection runs arm=y rate={missing.condition.factors['rate']}"):
        made.stages[1](None, [0], tables.tabulate(first))


# Refusals


@pytest.mark.parametrize("options", [{"column": "test_accuracy"}, {"kind": "tests", "column": "accuracy"}])
def test_the_test_split_chooses_nothing(options: dict[str, str]) -> None:
    with pytest.raises(InvalidValue, match="of the test split"):
        sweep(**options)
    assert sweep(column="latest_contest_loss").column == "latest_contest_loss"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranges": {}}, "got 0 ranges"),
        ({"settings": 0}, "settings=0"),
        ({"ranges": {"seed": (1, 2)}}, "got the factor 'seed'"),
        ({"ranges": {"rate": "abc"}}, "a Range"),
        ({"ranges": {"rate": {"if": "a"}}}, "each branch a separate condition"),
        ({"ranges": {"rate": (1, 2, 1)}}, "a choice twice"),
        ({"ranges": {"rate": (1, [2])}}, "'rate' is"),
        ({"ranges": {"arm": (1, 2)}}, "two factors are named arm"),
        ({"sampler": lambda _: None}, "returned None; it must return a sampler"),
        ({"sampler": optuna.samplers.TPESampler(seed=1)}, "allowed is a name or a function of the seed"),
        ({"sampler": lambda _: optuna.samplers.RandomSampler()}, "pass the seed on"),
        ({"sampler": lambda seed: optuna.samplers.GridSampler({"z": [1]}, seed=seed)}, "sampler fails: ValueError"),
    ],
)
def test_searches_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        sweep(search=options).selection_runs(None, [0], Tables())


def test_a_sampler_whose_grid_has_an_end_is_told() -> None:
    options = {
        "ranges": {"rule": ("a", "b", "c")},
        "sampler": lambda seed: optuna.samplers.BruteForceSampler(seed=seed),
    }
    with pytest.raises(InvalidValue, match="as many settings as the search asks for"):
        stage_by_stage(sweep(search=options))


@pytest.mark.parametrize(
    "ends", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0), (0.0, 1.0, True), (0.5, 2, False, True)]
)
def test_ranges_that_make_no_sense(ends: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidValue, match="Range"):
        Range(*ends)


def test_a_search_names_the_extra_that_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    proposals._conversation.cache_clear()
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match="sweeps"):
        sweep().selection_runs(None, [0], Tables())


def test_other_refusals() -> None:
    with pytest.raises(UnknownName, match="did you mean 'tpe'"):
        Search(ranges=RANGES, settings=2, sampler="tpee")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="too short for 3 rungs"):
        sweep(halving=Halving(factor="epochs", longest=lambda _: 4)).selection_runs(None, [0], Tables())
    with pytest.raises(InvalidValue, match="at least 2"):
        Halving(factor="epochs", longest=lambda _: 4, rungs=1)
    with pytest.raises(InvalidValue, match="two factors are named rate"):
        sweep(halving=Halving(factor="rate", longest=lambda _: 9)).selection_runs(None, [0], Tables())
    with pytest.raises(InvalidValue, match="nothing to choose from"):
        sweep(search=None)
    with pytest.raises(InvalidValue, match="rounds=0"):
        sweep(rounds=0)
    with pytest.raises(InvalidValue, match="there is no grid"):
        sweep(search=lambda *_: None).selection_runs(None, [0], Tables())
