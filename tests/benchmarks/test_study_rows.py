"""The benchmark of rows on disk runs, and a million rows fit into less than half of the memory that dicts take."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "study_rows.py"


@pytest.mark.slow
def test_a_million_rows_take_little_more_memory_than_the_imports(tmp_path: Path) -> None:
    """Cells as Python objects are 300 MB and more, one run's are a few; 100 leave room for other machines."""
    out = tmp_path / "table.csv"
    subprocess.run([sys.executable, str(SCRIPT), "--rounds", "1", "--out", str(out)], cwd=tmp_path, check=True)
    with out.open(encoding="utf-8") as file:
        table = {row["phase"]: row for row in csv.DictReader(file)}
    imports = float(table["imports"]["parquet, MB"])
    assert float(table["report"]["parquet, MB"]) < imports + 100
    assert float(table["report"]["json, MB"]) > imports + 300
