"""The benchmark of confined decorrelations: it runs, and no matrix of all pairs is ever made."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks._measure import Allocations
from benchmarks.connections import layer_of, measure
from neuro_decorr.rules.connectivity import Connectivity, FanIn, Groups, Neighbourhood

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "connections.py"


@pytest.mark.slow
def test_the_script_runs(tmp_path: Path) -> None:
    out = tmp_path / "table.csv"
    settings = ["--sides", "6", "--radii", "1", "--rounds", "1", "--threads", "1", "--out", str(out)]
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *settings], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    with out.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["connections"] for row in table] == ["full", "radius 1", "groups of 4", "fan-in 4"]
    assert all(float(row["step, ms"]) > 0 for row in table)


@pytest.mark.parametrize("connectivity", [Neighbourhood((96, 96), 1), Groups(5), FanIn(4)], ids=str)
def test_memory_is_that_of_the_connections_and_of_the_batch(connectivity: Connectivity) -> None:
    """9,216 units: a full matrix of float32 has 340 MB; a step never holds a tensor of a tenth of it."""
    units = 96**2
    layer, _, step = layer_of(units, connectivity)
    with Allocations(*layer.buffers()) as seen:
        step()
    whole = units**2 * 4
    held = sum(tensor.numel() * tensor.element_size() for tensor in layer.transform_state().values())
    assert held < 0.01 * whole
    assert seen.largest < 0.1 * whole


def test_no_full_matrix_beyond_4096_units() -> None:
    assert {row["connections"] for row in measure(65, [1.0], 1)} == {"radius 1", "groups of 5", "fan-in 5"}
