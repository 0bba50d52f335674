"""A population with shared input decorrelates, and keeps its rates (compiled to C++)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BIN, NEURONS = 0.05, 50  # seconds


def counts(times: np.ndarray, neurons: np.ndarray, start: float, stop: float) -> np.ndarray:
    edges = np.arange(round((stop - start) / BIN) + 1) * BIN + start
    return np.histogram2d(neurons, times, bins=(np.arange(NEURONS + 1), edges))[0]


def correlation(values: np.ndarray) -> float:
    return float(np.abs(np.corrcoef(values)[~np.eye(NEURONS, dtype=bool)]).mean())


@pytest.mark.slow
@pytest.mark.standalone
def test_learning_decorrelates_and_keeps_rates(tmp_path: Path) -> None:
    """Held weights and biases, new input: correlations a third of before or less, rates within 10 %."""
    file = tmp_path / "spikes.npz"
    command = [sys.executable, "-W", "ignore", "-m", "tests.brian.population", str(file)]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    with np.load(file) as saved:
        times, neurons, weights = saved["times"], saved["neurons"], saved["weights"]
    before, learning, held = (counts(times, neurons, *span) for span in ((0, 50), (150, 250), (250, 350)))
    assert correlation(before) > 0.2
    assert correlation(held) < correlation(before) / 3
    assert learning.sum() / 100 == pytest.approx(before.sum() / 50, rel=0.05)
    assert held.sum() / 100 == pytest.approx(before.sum() / 50, rel=0.1)
    assert np.nanmean(weights) > 0 and np.nanmax(weights) < 1
