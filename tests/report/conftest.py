"""A small recording of units with awkward labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuro_decorr.recording import SpikeTrains, Trials, save

AWKWARD = ("$\\bad{$", "a_b^{2", "[/x]", "神経", "<b>", "e", "f", "silent")


@pytest.fixture(scope="session")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven units that share a third of their spikes and one that never fires, in 20 trials of two conditions."""
    generator = np.random.default_rng(0)
    mother = np.sort(generator.uniform(0, 40, 400))
    times = [
        np.unique(np.concatenate([mother[generator.random(400) < 0.3], generator.uniform(0, 40, 200)]))
        for _ in AWKWARD[:-1]
    ]
    starts = np.arange(20) * 2.0
    trials = Trials(starts, starts + 1.5, ["$x$", "[b]"] * 10)
    trains = SpikeTrains([*times, []], 0, 40, AWKWARD, trials=trials)
    return save(trains, tmp_path_factory.mktemp("recordings") / "my [bold] $recording$.npz")
