"""The benchmark of Brian2 runs, and all its opponents emit the same spikes (it checks that itself)."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import brian2
import numpy as np
import pytest
from brian2 import NeuronGroup, second

from benchmarks import brian_plasticity as benchmark

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "brian_plasticity.py"


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARK), "--targets", "numpy", "--sizes", "10", "--seconds", "0.05", "--parts"]
    result = subprocess.run(
        [*command, "--rounds", "1", "--out", str(tmp_path / "table.csv")],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["synapses"] for row in rows] == list(benchmark.CASES)
    assert all(float(row["s / simulated s"]) > 0 for row in rows)
    assert "learning_post" in result.stdout  # of the parts


@pytest.mark.usefixtures("brian_on_numpy")
def test_the_opponent_learns_the_same() -> None:
    """Correlated spikes; by hand and by the rule: the same spikes, the same weights."""
    changes = {}
    for case in ("lateral_covariance", "clock-driven"):
        brian2.start_scope()
        brian2.seed(1)
        brian2.defaultclock.dt = 1 * brian2.ms
        group = benchmark.population(12, by_hand=case == "clock-driven")
        shared = NeuronGroup(3, "ds/dt = -s/(30*ms) + xi*sqrt(2/(30*ms)) : 1", method="euler", name="shared")
        mixing = brian2.Synapses(shared, group, on_pre="")
        mixing.connect(condition="i == j % 3")
        mixing.run_regularly("v_post += 0.4*mV*s_pre")
        synapses = benchmark.lateral(case, group)
        synapses.connect(condition="i != j")
        synapses.w = 0.5
        brian2.Network(group, shared, mixing, synapses).run(10 * second)
        changes[case] = synapses.w[:] - 0.5
        partners = np.asarray(synapses.i) % 3 == np.asarray(synapses.j) % 3
    ours, by_hand = changes["lateral_covariance"], changes["clock-driven"]
    assert ours[partners].min() > 0.02 and ours[partners].max() < 0.49  # no weight at its bound
    assert ours[partners].mean() > 4 * abs(ours[~partners].mean())
    assert np.corrcoef(ours, by_hand)[0, 1] > 0.99
    # By hand, products are read after a step of decay, (1 - dt / trace_time)^2 = .96, and Euler's decay is steeper than
    # the exponential: the same learning, slower by a few percent at this dt.
    assert by_hand[partners].mean() == pytest.approx(0.95 * ours[partners].mean(), rel=0.05)
