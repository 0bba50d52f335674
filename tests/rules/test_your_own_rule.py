"""The tutorial on a rule of one's own: its rules pass as a user tests them, a wrong declaration fails as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neuro_decorr.rules import suite

ROOT = Path(__file__).parents[2]
CELLS = (ROOT / "examples" / "tutorials" / "6_rule.py").read_text(encoding="utf-8").split("\n# %%\n")


def cell(holding: str) -> str:
    """The only cell of the tutorial that holds a text."""
    (found,) = [cell for cell in CELLS if holding in cell]
    return found


def run(folder: Path, *command: str) -> str:
    """What a command prints that ends well, in the folder of a user, without the tests' own setting."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_rules.py").write_text(cell("class LeakyLateral(Rule)"), encoding="utf-8")
    return tmp_path


def test_the_test_that_it_shows_runs_every_check(folder: Path) -> None:
    shown = re.sub(r"(?m)^# ? ? ? ? ?", "", cell("import my_rules"))
    (folder / "test_mine.py").write_text(shown[shown.index("import pytest") :], encoding="utf-8")
    said = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py")
    assert f"{len(suite.CHECKS)} passed" in said


def test_a_wrong_declaration_fails_and_the_second_rule_passes(folder: Path) -> None:
    program = "\n".join(["from my_rules import *", cell("class Mistaken"), cell("class RelativeGradient(Rule)")])
    (folder / "rest.py").write_text(program, encoding="utf-8")
    said = run(folder, "rest.py")
    assert "rule 'mistaken' is not stable at 0.97 of its declared limit 1.79." in said
    assert "relative_gradient passes" in said
