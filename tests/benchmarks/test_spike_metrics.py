"""The benchmark of measures runs, and its opponent gives equal correlations (it checks that itself)."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "spike_metrics.py"


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARK), "--units", "3", "--duration", "5", "--large", "2", "--analyse", "10000"]
    result = subprocess.run(
        [*command, "--out", str(tmp_path / "table.csv")], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    measured = ["summary with intervals", "neuro-decorr analyse", "Elephant, pair by pair", "lagged_covariance"]
    assert [row["what"] for row in rows] == measured
    assert float(rows[1]["processor (s)"]) > 0 and float(rows[1]["peak of the process (MB)"]) > 0
    assert all(float(row["ms"]) > 0 for row in rows)
