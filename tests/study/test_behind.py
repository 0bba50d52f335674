"""Warning about settings that fall behind in the measured seeds: in a protocol, by its formula, and in simulations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from neuro_decorr.study.behind import Chosen, fallen
from tests.study.conftest import Said

PROTOCOL = """
from neuro_decorr import study
from neuro_decorr.errors import Diverged

ARMS = ("sound", "diverges", "some fall", "all fall")
SELECTION = study.Selection(
    conditions=lambda _: [{"arm": arm} for arm in ARMS], grid=lambda *_: [{"rate": rate} for rate in (0.1, 0.2, 0.5)],
    kind="curves", column="validation_accuracy",
)


def run(configuration, condition, recorder):
    arm, rate, seed = condition.factors["arm"], condition.factors["rate"], condition.seed
    score = {0.1: 0.1, 0.2: 0.9, 0.5: 0.6}[rate]
    if condition.stage == "measure" and arm != "sound":
        if arm == "diverges" and seed == 3:
            raise Diverged("loss is nan")
        score = 0.1 if arm == "all fall" or (arm == "some fall" and seed in (1, 4)) else score
    recorder.row("curves", validation_accuracy=score + 0.001 * (seed % 5))


PROTOCOL = study.Protocol(
    name="fall", question="Is it?", configuration=study.Configuration, stages=SELECTION.stages, run=run,
    report=lambda *_: print("It is."), seeds=5,
)
"""
TOLD = (
    "3 of 4 selected settings fall far behind in the measured seeds: arm=diverges rate=0.2 (1 of 5 measured runs "
    "diverged, no selection run did); arm=some fall rate=0.2 (selected with validation_accuracy 0.9, 2 of 5 measured "
    "runs have 0.101 to 0.104); arm=all fall rate=0.2 (selected with validation_accuracy 0.9, 5 of 5 measured runs "
    "have 0.1 to 0.104). Select with more seeds."
)


def test_the_finding_tells_of_settings_that_fall_behind(root: Path, command: Callable[..., Said]) -> None:
    (root / "protocols" / "fall.py").write_text(PROTOCOL)
    said = command("run", "fall", "--out", "o", "--workers", "1")
    assert TOLD in said.out
    assert (root / "o" / "finding.txt").read_text() == f"It is.\n\n{TOLD}\n"
    for name in ("README.md", "index.html"):
        assert TOLD in (root / "o" / name).read_text()


def test_settings_that_keep_their_score_need_no_warning(root: Path, command: Callable[..., Said]) -> None:
    (root / "protocols" / "fall.py").write_text(PROTOCOL.replace('arm != "sound"', "False"))
    command("run", "fall", "--out", "o", "--workers", "1")
    assert (root / "o" / "finding.txt").read_text() == "It is.\n"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("measured", [(0.88, 0.9, 0.12, 0.93, 0.1), (0.1, 0.12, 0.11), (0.9, 0.91, 0.2)])
def test_the_limit_is_that_of_a_t_test_with_the_bound_of_bonferroni(measured: tuple[float, ...], sign: int) -> None:
    groups = [[x for x in measured if (x < 0.5) is low] for low in (True, False)]
    groups = [group for group in groups if group]
    freedom = len(measured) - len(groups)
    squares = sum(statistics.pvariance(group) * len(group) for group in groups)
    # c = 2 conditions, g = 7 settings, k = 3 seeds
    quantile = stats.t.isf(0.05 / (2 * 7 * len(measured)), freedom)
    limit = quantile * math.sqrt(squares / freedom) * math.sqrt(1 + 1 / 3)
    for factor, falls in ((0.999, False), (1.001, True)):
        # The chosen score is `far`, the worst one `-far`, so the middle is 0; the groups keep their spread.
        far = sign * factor * limit
        moved = [(far if group[0] > 0.5 else -far) / 2 + x - sum(group) / len(group) for group in groups for x in group]
        found = [Chosen("a", far, 7, 0, moved, 0), Chosen("b", far, 7, 0, [far] * 3, 0)]
        counts = fallen(found, [far, -far, 0], seeds=3, maximise=sign > 0)
        assert counts == [sum(x < 0.5 for x in measured) if falls else 0, 0]


def test_less_than_a_tenth_is_no_fall() -> None:
    found = [Chosen("a", 0.95, 3, 0, [0.9, 0.9, 0.9], 0)]
    assert fallen(found, [0.95, 0.9], seeds=1) == [0]
    assert fallen(found, [0.95, 0.5], seeds=1) == [0]
    assert fallen([found[0]._replace(measured=[0.5] * 3)], [0.95, 0.5], seeds=1) == [3]
    assert fallen([found[0]._replace(measured=[0.5, math.nan])], [0.95, 0.5], seeds=1) == [0]  # of one run nothing
    assert fallen([found[0]._replace(score=math.inf)], [], seeds=1) == [0]


@pytest.mark.parametrize(("conditions", "settings", "seeds", "measured"), [(1, 7, 1, 5), (8, 7, 1, 5), (8, 5, 3, 10)])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_false_alarms_are_rare(conditions: int, settings: int, seeds: int, measured: int, spread: float) -> None:
    """All settings are equally good, which is the worst case: the best score is then due to chance alone."""
    random, alarms, studies = np.random.default_rng(0), 0, 400
    for _ in range(studies):
        deviation = 0.1 * np.exp(spread * random.normal(size=conditions))
        scores = 0.8 + deviation[:, None] * random.normal(size=(conditions, settings)) / math.sqrt(seeds)
        runs = 0.8 + deviation[:, None] * random.normal(size=(conditions, measured))
        found = [Chosen("", max(s), settings, 0, list(x), 0) for s, x in zip(scores, runs, strict=True)]
        alarms += any(fallen(found, list(scores.flat), seeds))
    assert alarms / studies <= 0.03


@pytest.mark.parametrize("fall", [1, 2, 5])
def test_a_fall_to_chance_is_found(fall: int) -> None:
    random, hits, studies = np.random.default_rng(1), 0, 200
    for _ in range(studies):
        scores = np.tile([0.1, 0.3, 0.6, 0.9, 0.7, 0.4, 0.1], (8, 1)) + 0.01 * random.normal(size=(8, 7))
        runs = 0.9 + 0.01 * random.normal(size=(8, 5))
        runs[0, :fall] -= 0.8
        found = [Chosen("", max(s), 7, 0, list(x), 0) for s, x in zip(scores, runs, strict=True)]
        counts = fallen(found, list(scores.flat), 1)
        assert not any(counts[1:])
        hits += counts[0] == fall
    assert hits / studies > 0.85
