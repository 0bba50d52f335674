"""The benchmark of counts runs, and its rows come from equal counts (it checks that itself). No time is asserted."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "spike_counts.py"


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARK), "--sizes", "3", "--duration", "5", "--large", "0", "--rounds", "1"]
    result = subprocess.run(
        [*command, "--out", str(tmp_path / "table.csv")], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["what"] for row in rows] == ["counts", "with construction", "Elephant"]
    assert all(float(row["ms"]) > 0 for row in rows)
