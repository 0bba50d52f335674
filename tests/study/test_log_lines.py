"""Lines on a study that runs, with a clock that the tests set."""

import re
from datetime import datetime
from itertools import pairwise

import pytest

from neuro_decorr.study import Condition
from neuro_decorr.study.costs import Costs
from neuro_decorr.study.log_lines import LogLines

TITLE = "stage 1 of 2 (measure)"


class Log:
    """A log whose seconds are given."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.lines: list[str] = []
        self.told = LogLines(self.lines.append, lambda: self.seconds, lambda: datetime(2026, 11, 29, 21, 30, 5))

    def new(self) -> list[str]:
        found = [line.removeprefix("2026-11-29T21:30:05 ") for line in self.lines]
        self.lines.clear()
        return found


def seconds(told: str) -> float:
    """Seconds of a duration such as `about 1 min 40 s left`."""
    worth = {"h": 3600, "min": 60, "s": 1}
    return sum(float(number) * worth[unit] for number, unit in re.findall(r"([\d.]+) (h|min|s)\b", told))


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_line_says_when_how_many_and_how_long(log: Log) -> None:
    log.told.stage(TITLE, 120, 20, 1)
    assert log.lines == [f"2026-11-29T21:30:05 {TITLE}: 20 of 120 runs, 1 diverged"]
    log.new()
    log.seconds += 750
    log.told.advance(0, diverged=False, failed=False)
    assert log.new() == [
        f"{TITLE}: 21 of 120 runs, 1 diverged, 12 min 30 s elapsed, about 20 h 38 min left"
    ]  # 99 x 750 s
    for number in range(17):
        log.seconds += 30
        log.told.advance(0, diverged=number == 3, failed=number == 4)
    # The first has the start of its process in it, which counts no more: 82 x 30 s.
    told = "38 of 120 runs, 2 diverged, 1 failed, 21 min elapsed, about 41 min left"
    assert log.new()[-1] == f"{TITLE}: {told}"
    log.told.summary("120 runs, 3 failed, 12.0 s")
    assert log.new() == [f"{TITLE}: 120 runs, 3 failed, 12.0 s"]


def test_between_the_first_and_the_last_a_line_at_tenths_and_else_every_30_seconds_at_most(log: Log) -> None:
    log.told.stage(TITLE, 1000, 0, 0)
    log.new()
    times = []
    for _ in range(1000):
        log.seconds += 1.5
        log.told.advance(0, diverged=False, failed=False)
        if log.new():
            times.append(log.seconds)
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) <= 30 + 1.5
    assert len(times) <= 1500 / 30 + 10
    log.told.stage(TITLE, 1000, 0, 0)
    log.new()
    for _ in range(1000):  # all within a tenth of a second
        log.seconds += 0.0001
        log.told.advance(0, diverged=False, failed=False)
    assert log.new() == []


def test_a_run_of_over_a_minute_names_itself(log: Log) -> None:
    log.told.stage(TITLE, 2, 0, 0)
    log.new()
    said = {}
    for second in range(0, 1000):
        log.told.inside(3, "measure arm=center seed=1", second, 1000)
        if lines := log.new():
            said[second] = lines
        log.seconds += 1
    first, *others = said
    assert 60 <= first <= 90
    assert said[first][0].startswith(f"{TITLE}: 0 of 2 runs")
    label, told = said[first][1].split(": ")
    assert label == "measure arm=center seed=1"
    steps, elapsed, left = told.split(", ")
    assert steps == f"{first} of 1000 steps"
    assert seconds(elapsed) == first and seconds(left) == 1000 - first
    # Then at every tenth of its steps, not before 30 seconds have passed.
    assert [second // 100 for second in others] == list(range(1, 10))
    assert all(after - before >= 30 for before, after in pairwise(said))


def test_a_run_that_goes_on_from_a_checkpoint_is_not_taken_for_a_quick_one(log: Log) -> None:
    log.told.stage(TITLE, 2, 0, 0)
    log.told.inside(0, "a", 500, 1000)
    log.seconds += 100
    log.told.inside(0, "a", 600, 1000)
    assert log.new()[-1] == "a: 600 of 1000 steps, 1 min 40 s elapsed, about 6 min 40 s left"


def test_without_anything_new_a_sign_of_life_every_five_minutes(log: Log) -> None:
    log.told.stage(TITLE, 2, 0, 0)
    log.new()
    times = []
    for second in range(1000):
        log.told.inside(0, "a", 1, 1000)
        if log.new():
            times.append(second)
        log.seconds += 1
    assert len(times) == 4 and all(299 <= later - one <= 301 for one, later in pairwise(times))


def test_the_time_left_is_that_of_the_runs_that_ended_without_the_start_of_the_processes(log: Log) -> None:
    """Two workers that start in 20 s and 21.5 s, then four runs of 10 s each: the end is known from the first."""
    log.told.stage(TITLE, 12, 4, 0, workers=2)
    log.new()
    began, left = log.seconds, {}
    for start in (0, 10, 20, 30):
        for slot, offset in enumerate((20.0, 21.5)):
            log.seconds = began + start + offset
            log.told.inside(slot, f"{slot} {start}", 0, 10)
        for slot, offset in enumerate((20.0, 21.5)):
            log.seconds = began + start + offset + 10
            log.told.advance(slot, diverged=False, failed=False)
            for line in log.new():
                if line.startswith(TITLE) and (found := re.search(r"about .* left", line)):
                    left[log.seconds - began] = seconds(found[0])
    assert min(left) == 31.5  # two have ended, as many as there are workers
    assert set(left) >= {31.5, 41.5, 50.0}
    # The two workers end 1.5 s apart; the estimate takes them for one, and is told in whole seconds.
    assert all(abs(told - (61.5 - when)) <= 2 for when, told in left.items())


def test_the_time_left_is_that_of_runs_of_the_same_arm(log: Log) -> None:
    """Runs of `fast` take 1 s, those of `slow` 100 s; the arms come first, as in a study, then all others."""
    runs = [Condition("measure", seed, {"arm": arm}) for arm in ("fast", "slow") for seed in range(10)]
    order = [runs[0], runs[10], *runs[1:10], *runs[11:]]
    log.told.stage(TITLE, 20, 0, 0, 1, order, Costs())
    log.new()
    left = []
    for done, run in enumerate(order, start=1):
        took = 1.0 if run.factors["arm"] == "fast" else 100.0
        log.seconds += took
        log.told.advance(0, diverged=False, failed=False, condition=run, seconds=took)
        for line in log.new():
            found = re.search(r"about .* left", line)
            truth = sum(1 if later.factors["arm"] == "fast" else 100 for later in order[done:])
            assert found or done in (1, 20)  # after the first run nothing is known of the other arm
            left += [(seconds(found[0]), truth)] if found else []
    assert len(left) > 5 and all(abs(told - truth) <= 0.05 * truth for told, truth in left)


@pytest.mark.parametrize(("took", "known"), [(20.0, False), (3600.0, True)])
def test_a_short_first_run_of_a_process_tells_nothing_of_the_others(log: Log, took: float, known: bool) -> None:
    runs = [Condition("measure", seed, {}) for seed in range(9)]
    log.told.stage(TITLE, 9, 0, 0, 1, runs, Costs())
    log.new()
    for run, seconds_ in ((runs[0], took), (runs[1], 5.0)):
        log.seconds += 31
        log.told.advance(0, diverged=False, failed=False, condition=run, seconds=seconds_)
    first, second = log.new()
    assert ("left" in first) == known and "left" in second
    assert known or second.endswith("about 35 s left")


def test_runs_that_failed_at_once_do_not_make_the_others_quick(log: Log) -> None:
    log.told.stage(TITLE, 100, 0, 0, workers=1)
    for number in range(20):
        log.seconds += 10 if number % 2 else 1
        log.told.advance(0, diverged=False, failed=not number % 2)
    assert (
        log.new()[-1] == f"{TITLE}: 20 of 100 runs, 10 failed, 1 min 50 s elapsed, about 13 min 20 s left"
    )  # 80 x 10 s


def test_a_run_on_another_worker_leaves_the_first(log: Log) -> None:
    log.told.stage(TITLE, 2, 0, 0)
    log.told.inside(0, "a", 1, 10)
    log.told.inside(1, "a", 2, 10)
    log.seconds += 100
    log.new()
    log.told.inside(1, "a", 5, 10)
    assert [line.split(":")[0] for line in log.new()] == [TITLE, "a"]


@pytest.mark.parametrize("total", [0, 3])
def test_a_stage_with_nothing_to_do_has_no_times(log: Log, total: int) -> None:
    log.told.stage(TITLE, total, total, 0)
    assert log.new() == [f"{TITLE}: {total} of {total} runs"]


def test_a_total_of_nothing_or_of_no_number_does_no_harm(log: Log) -> None:
    log.told.stage(TITLE, 2, 0, 0)
    log.told.inside(0, "a", 1, 0)
    log.seconds += 1e6
    for done, total in (
        (5, 0),
        (float("nan"), float("nan")),
        (float("nan"), 3),
        (float("inf"), 3),
        (5, 3),
        (-1, 3),
        (0, float("inf")),
    ):
        log.told.inside(0, "a", done, total)
        log.seconds += 1e6
    log.told.advance(0, diverged=False, failed=False)
    assert all("\n" not in line for line in log.new())


def test_what_is_usually_brief_says_nothing_for_half_a_minute() -> None:
    log = Log()
    log.told.brief = True
    log.told.stage("surrogates", 100, 0, 0)
    for _ in range(5):
        log.seconds += 7
        log.told.advance(0, diverged=False, failed=False)
    assert log.new() == ["surrogates: 5 of 100, 35 s elapsed, about 11 min 5 s left"]
