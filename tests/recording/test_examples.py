"""The shipped examples are what their script makes, and hold the correlations that the script says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from examples.make_recordings import FOLDER, KNOWN, MADE, STEP
from neuro_decorr.recording import SpikeTrains, load


def example(name: str) -> SpikeTrains:
    found = load(FOLDER / name)
    assert isinstance(found, SpikeTrains)
    return found


@pytest.mark.parametrize("name", MADE)
def test_the_files_are_what_the_script_makes(name: str) -> None:
    found, made = example(name), MADE[name]()
    assert (found.start, found.stop, found.units, found.notes) == (made.start, made.stop, made.units, ())
    for ours, theirs in zip(made.times, found.times, strict=True):
        np.testing.assert_array_max_ulp(ours, theirs, 1)
    if made.trials is not None:
        assert found.trials is not None and found.trials.conditions == made.trials.conditions
    assert (FOLDER / name).stat().st_size < 300_000


def test_no_file_is_without_its_script() -> None:
    by_brian = {f"lateral_inhibition_{name}.npz" for name in ("before", "after")}  # examples/lateral_inhibition.py
    assert {path.name for path in FOLDER.iterdir()} == set(MADE) | by_brian


def means(trains: SpikeTrains, pairs: np.ndarray, bin: float, blocks: int = 10) -> np.ndarray:
    """Mean correlation of the pairs in each block of the recording, by numpy."""
    parts = np.array_split(trains.counts(bin).astype(float), blocks)
    return np.array([np.corrcoef(part.T)[pairs].mean() for part in parts])


def agrees(measured: np.ndarray, known: float) -> None:
    interval = stats.t.ppf(0.9995, len(measured) - 1) * stats.sem(measured)
    assert interval < 0.08
    assert abs(measured.mean() - known) < interval


@pytest.mark.parametrize("bin", [0.02, 0.1])
@pytest.mark.parametrize("name", ["single_interaction.nix", "compound_poisson.nwb"])
def test_correlations_are_the_known_ones_at_every_time_scale(name: str, bin: float) -> None:
    trains = example(name)
    pairs = ~np.eye(len(trains.units), dtype=bool)
    agrees(means(trains, pairs, bin), KNOWN[Path(name).stem])


def test_shared_modes_correlate_within_groups_and_in_the_control_trials_only() -> None:
    trains = example("shared_modes.npz")
    group = np.array([name[0] for name in trains.units])
    within = (group[:, None] == group) & ~np.eye(len(group), dtype=bool)
    half = trains.stop / 2
    agrees(means(trains.window(0, half), within, STEP), KNOWN["shared_modes"])
    agrees(means(trains.window(0, half), group[:, None] != group, STEP), 0.0)
    agrees(means(trains.window(half, trains.stop), within, STEP), 0.0)


def test_rates_are_the_known_ones() -> None:
    for name, known in (("single_interaction.nix", 6), ("compound_poisson.nwb", 6), ("shared_modes.npz", 8)):
        trains = example(name)
        # Poisson counts of one unit; the mean over units is at least as close.
        assert abs(trains.rate.mean() - known) < 4 * np.sqrt(known / trains.duration)
