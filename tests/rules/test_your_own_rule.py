"""The page on rules of one's own keeps its word: its code runs, and its rule passes what every rule passes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from neuro_decorr.rules import suite

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "your_own_rule.md").read_text(), flags=re.DOTALL)


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    """The rule is checked as the page says, then as a test module of a user, by pytest."""
    file = tmp_path / "test_mine.py"
    file.write_text("\n".join(BLOCKS))
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(file)]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert run.returncode == 0, run.stdout
    assert "rule 'mistaken' is not stable at 0.97 of its declared limit 2." in run.stdout
    assert f"{len(suite.CHECKS)} passed" in run.stdout, run.stdout


def test_the_rule_is_fifteen_lines() -> None:
    written = BLOCKS[0].split("@register")[1].split("nd.rules.suite")[0]
    assert len([line for line in written.splitlines() if line.strip()]) <= 15
