"""The benchmark of whole studies runs, small."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "study_commands.py"


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--runs", "4", "--rows", "300", "--workers", "1"]
    told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    rows = re.findall(r"^(run|again, nothing missing|report) +([\d.]+) +([\d.]+) +(\d+)$", told, re.MULTILINE)
    assert [row[0] for row in rows] == ["run", "again, nothing missing", "report"]
    assert all(float(value) > 0 for row in rows for value in row[1:])
    assert re.search(r"the page: [\d.]+ MB, (drawn in [\d.]+ s|no Chromium here)", told)
