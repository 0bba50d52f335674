"""The benchmark of several processes runs, and its bytes are those of the messages."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import several_processes as benchmark


@pytest.mark.slow
def test_it_runs_and_sends_less_than_rows_or_matrices(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    benchmark.main(["--rounds", "1", "--processes", "2", "--out", str(table)])
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(benchmark.NETWORKS) * len(benchmark.RULES)
    for row in rows:
        if row["lateral weights"] != "none":
            sent, least = float(row["kB, plasticity"]), min(float(row["kB, all rows"]), float(row["kB, matrices"]))
            assert 0 < sent < 0.6 * least
