"""The benchmark of a silent sensor runs, and counts what a constant current makes of no input."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from benchmarks import idle_activity as benchmark


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    benchmark.main(["--seeds", "1", "--updates", "2", "--threads", "1", "--out", str(table)])
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 and rows[0]["decorrelation"] == "none"
    assert all(float(row["spikes a digit"].split(" ")[0]) > 0 for row in rows)


def test_only_what_is_subtracted_drives_a_silent_network() -> None:
    """Without biases nothing but the mean can make a spike where there is no input."""
    found = []
    for centring in benchmark.CENTRING:
        network = benchmark.trained(0, "norm_preserving", centring, updates=3)
        for module in network.modules():
            if isinstance(module, torch.nn.Linear):
                module.bias.data.zero_()
            if hasattr(module, "decorrelation") and module.decorrelation.center:
                module.decorrelation.mean.fill_(-0.5)
                module.decorrelation.matrix.copy_(torch.eye(module.decorrelation.features))
        network[1].weight.data.abs_()
        found.append(benchmark.measured(network)["spikes, silent input"])
    assert found[0] > 0 and found[1:] == [0, 0]
