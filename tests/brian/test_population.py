"""A population with shared input decorrelates, and keeps its rates (compiled to C++)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neuro_decorr import metrics
from neuro_decorr.recording import SpikeTrains, load

ROOT = Path(__file__).parent.parent.parent
BIN = 0.05  # seconds


def periods(folder: Path) -> tuple[SpikeTrains, SpikeTrains]:
    return tuple(load(folder / f"lateral_inhibition_{name}.npz") for name in ("before", "after"))


def check_decorrelated(before: SpikeTrains, after: SpikeTrains) -> None:
    """Held weights and biases, new input: correlations a fifth of before or less, rate within 5 %."""
    assert before.duration == pytest.approx(40) and after.duration == pytest.approx(40)
    correlations = [metrics.mean_absolute_correlation(period.counts(BIN)) for period in (before, after)]
    assert correlations[0] > 0.2
    assert correlations[1] < correlations[0] / 5
    assert after.rate.mean() == pytest.approx(before.rate.mean(), rel=0.05)
    assert (after.rate > 0).all()  # not by falling silent


def test_the_shipped_recordings_are_of_a_population_that_decorrelated() -> None:
    check_decorrelated(*periods(ROOT / "examples" / "recordings"))


@pytest.mark.slow
@pytest.mark.standalone
def test_the_script_decorrelates_the_population_again(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(ROOT / "examples" / "lateral_inhibition.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    check_decorrelated(*periods(tmp_path))
    shipped = periods(ROOT / "examples" / "recordings")
    for made, kept in zip(periods(tmp_path), shipped, strict=True):
        assert made.spikes == pytest.approx(kept.spikes, rel=0.05)  # rounding of another machine parts the trajectories
        assert np.corrcoef(made.rate, kept.rate)[0, 1] > 0.5
