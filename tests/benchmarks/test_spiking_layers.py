"""The benchmark of spiking layers runs, and the opponent does the same work. No time is asserted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from benchmarks import spiking_layers as benchmark
from models.spiking import spiking

SMALL = ["--sizes", "20", "16", "10", "--steps", "6", "--batch", "4", "--rounds", "1", "--threads", "1"]


@pytest.mark.slow
def test_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main([*SMALL, "--out", str(tmp_path / "table.csv")])
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["layers"] == benchmark.OPPONENT
    assert all(float(row["ms"]) > 0 for row in rows)
    assert "LateralLIF" in capsys.readouterr().out


def test_plain_norse_spikes_the_same() -> None:
    sizes = [20, 12, 10]
    inputs = (torch.rand(15, 6, 20, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    theirs, ours = benchmark.plain(sizes, 3.0), spiking(sizes, gain=3.0, seed=0).network
    spikes, mine = theirs(inputs)[0], ours(inputs)[0]
    assert 0.02 < float(mine.detach().mean()) < 0.9
    assert torch.equal(spikes, mine)
