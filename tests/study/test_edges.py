"""What a study tells of its selection, in a protocol whose best rate is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.study.conftest import Said

PROTOCOL = """
from neuro_decorr import study

BEST = {"w": 0.1, "x": 0.5, "y": 0.2, "z": 0.2}  # of the rates 0.1, 0.2, 0.5
SELECTION = study.Selection(
    conditions=lambda _: [{"arm": arm} for arm in BEST], grid=lambda *_: [{"rate": rate} for rate in (0.1, 0.2, 0.5)],
    kind="curves", column="validation_accuracy",
)


def run(configuration, condition, recorder):
    level = condition.factors
    recorder.row("curves", validation_accuracy=1 - abs(level["rate"] - BEST[level["arm"]]))


PROTOCOL = study.Protocol(
    name="edge", question="Is it?", configuration=study.Configuration, stages=SELECTION.stages, run=run,
    report=lambda *_: print("It is."), seeds=2,
)
"""


def test_the_finding_tells_of_a_choice_at_the_edge_of_its_grid(root: Path, command: Callable[..., Said]) -> None:
    (root / "protocols" / "edge.py").write_text(PROTOCOL)
    said = command("run", "edge", "--out", "o", "--workers", "1")
    told = "2 of 4 selected settings lie at an edge of their grid (rate)"
    assert said.code == 0 and told in said.out
    for name in ("finding.txt", "README.md", "index.html"):
        assert told in (root / "o" / name).read_text()
    assert (root / "o" / "finding.txt").read_text().startswith("It is.\n\n2 of 4")


def test_a_choice_inside_of_its_grid_needs_no_warning(root: Path, command: Callable[..., Said]) -> None:
    (root / "protocols" / "edge.py").write_text(PROTOCOL.replace('"w": 0.1, "x": 0.5', '"w": 0.2, "x": 0.2'))
    assert command("run", "edge", "--out", "o", "--workers", "1").code == 0
    assert (root / "o" / "finding.txt").read_text() == "It is.\n"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (
            'kind="curves", column="validation_acuracy"',
            "recorded no column 'validation_acuracy', so that it has no score; did you mean 'validation_accuracy'? "
            "Recorded in 'curves': validation_accuracy.",
        ),
        ('kind="curve", column="validation_accuracy"', "recorded no kind 'curve', so that it has no score; did you"),
    ],
)
def test_a_misspelt_score_is_told_after_the_first_run(
    named: str, told: str, root: Path, command: Callable[..., Said]
) -> None:
    (root / "protocols" / "edge.py").write_text(PROTOCOL.replace('kind="curves", column="validation_accuracy"', named))
    for _ in range(2):  # the same command again finds the run that is stored
        said = command("run", "edge", "--out", "o", "--workers", "1")
        assert said.code != 0 and told in said.err
        assert len(list((root / "o" / "runs").glob("*/*.json"))) < 12  # of the stage; a worker may have begun the next
