"""The benchmark of chips runs, and counts what a folded network asks for."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import chips as benchmark


@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "CALIBRATION", 8)
    monkeypatch.setattr(benchmark, "STEPS", 5)
    table = tmp_path / "table.csv"
    benchmark.main(["--seeds", "1", "--updates", "3", "--threads", "1", "--out", str(table)])
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == list(benchmark.ARMS)
    values = {key: [float(row[key].split(" ")[0]) for row in rows] for key in rows[0] if key != "network"}
    # Three updates teach nothing; the classes are of equal size.
    assert values["weights"][:4] == [7400.0, 7400.0, 7400.0, 2600.0]
    assert values["weights"][4] > 2600 >= values["weights"][5] > 1000
    assert all(0 <= value <= 100 for name in benchmark.BITS for value in values[name])
    assert min(values["synaptic operations"]) > 64 and all(2 < bits <= 25 for bits in values["bits for 1 %"])
