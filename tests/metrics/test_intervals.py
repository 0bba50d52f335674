"""Floors of the summary, its intervals where they are not defined, over trials and over gaps, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains, Trials

MEASURES = [
    "mean_variance", "mean_correlation", "correlation_deviation", "mean_absolute_correlation",
    "mean_squared_correlation", "participation_ratio", "participation_ratio_samples", "participation_ratio_both",
    "condition_number", "leading_fraction", "spectral_flatness", "whiteness", "identity_distance",
]  # fmt: skip


def activity(seed: int = 0, samples: int = 200, units: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(samples, units)) + 0.5 * rng.normal(size=(samples, 1))


def trains(rate: float = 8, units: int = 5, duration: float = 60, shared: float = 0, **kwargs) -> SpikeTrains:
    """Poisson trains, a part of whose spikes all units have in common."""
    rng = np.random.default_rng(0)
    common = rng.uniform(0, duration, size=rng.poisson(shared * rate * duration))
    own = [rng.uniform(0, duration, size=rng.poisson((1 - shared) * rate * duration)) for _ in range(units)]
    return SpikeTrains([np.sort(np.concatenate([common, times])) for times in own], 0, duration, **kwargs)


def test_the_floor_is_the_mean_over_independent_units() -> None:
    rng = np.random.default_rng(0)
    deviations = np.geomspace(1, 3, 8)
    found = [metrics.summary(rng.normal(size=(30, 8)) * deviations, intervals=False) for _ in range(400)]
    for name in MEASURES:
        floor = np.mean([one[name].floor for one in found])
        values = np.array([one[name].estimate for one in found])
        if not math.isnan(floor):
            # A ratio and a root of means are not the means of ratios and roots: a few per cent at 30 samples.
            slack = 0.04 * floor if name in ("participation_ratio", "whiteness", "correlation_deviation") else 0
            slack = 0.12 * floor if name == "participation_ratio_samples" else slack
            assert values.mean() == pytest.approx(floor, abs=slack + 4 * values.std() / 20), name
    assert {name for name in MEASURES if not math.isnan(found[0][name].floor)} == {
        "mean_correlation", "correlation_deviation", "mean_absolute_correlation", "mean_squared_correlation",
        "participation_ratio", "participation_ratio_samples", "whiteness",
    }  # fmt: skip


@pytest.mark.parametrize("kind", [np.float32, torch.tensor, np.asfortranarray])
def test_other_kinds_of_array_measure_the_same(kind) -> None:
    x = activity()
    found, expected = metrics.summary(kind(x)), metrics.summary(x)
    for name in MEASURES:
        assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5, nan_ok=True)


def test_units_that_hardly_fire_are_counted() -> None:
    recording = SpikeTrains([*trains().times, [], [3.0], [4.0, 5.0]], 0, 60)
    found = metrics.summary(recording, bin=0.05, silent="drop")
    assert (found.units, found.silent, found.sparse) == (8, 1, 3)
    assert "1 silent (policy: drop)" in found.facts
    assert "3 with fewer than 3 spikes" in found.facts
    assert found["mean_cv2"].estimate == pytest.approx(metrics.summary(trains(), bin=0.05)["mean_cv2"].estimate)


def test_over_trials_the_samples_are_those_inside_them() -> None:
    recording = trains(shared=0.3, trials=Trials.every(1.0, 40, start=5.0))
    found = metrics.summary(recording, bin=0.1, over="trials")
    inside = recording.window(5, 45)
    expected = metrics.summary(inside, bin=0.1)
    assert found.samples == 400
    for name in MEASURES:
        assert found[name].estimate == pytest.approx(expected[name].estimate)
        assert found[name].low < found[name].estimate < found[name].high
    assert found.time_unit == "trials"
    rates = Rates(recording.counts(0.1), 0.1, trials=Trials.every(1.0, 40, start=5.0))
    again = metrics.summary(rates, bin=0.1, over="trials")
    for name in MEASURES:
        assert again[name] == pytest.approx(found[name], nan_ok=True)


def test_rates_are_measured_as_they_are_or_in_bins() -> None:
    x = activity()
    rates = Rates(x, step=0.01)
    assert metrics.summary(rates).rows == metrics.summary(x).rows
    assert metrics.summary(rates).bin == 0.01
    assert metrics.summary(rates, bin=0.02).record() == pytest.approx(
        metrics.summary(x.reshape(100, 2, 6).mean(axis=1)).record()
    )


def test_measures_that_are_not_defined_have_no_interval() -> None:
    x = activity()
    x[:, 2] = 1
    found = metrics.summary(x)
    assert all(map(math.isnan, found["mean_correlation"][:3]))
    assert found["condition_number"].estimate == math.inf
    assert math.isnan(found["condition_number"].low)
    assert not math.isnan(found["whiteness"].low)


@pytest.mark.parametrize(
    ("recording", "arguments", "message"),
    [
        (trains(), {}, "bin: spike trains need the width"),
        (trains(), {"bin": 100}, "wider than the 60 s"),
        (trains(), {"bin": 10}, "samples: got 6; intervals need at least 20"),
        (trains(), {"bin": 0.1, "over": "trials"}, "trials: the recording has none"),
        (
            trains(trials=Trials.every(10, 6)),
            {"bin": 0.1, "over": "trials"},
            "trials: got 6; intervals need at least 10",
        ),
        (SpikeTrains([[], []], 0, 60), {"bin": 0.1, "silent": "error"}, "2 of 2 units never vary"),
    ],
)
def test_bad_recordings(recording: SpikeTrains, arguments: dict, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.summary(recording, **arguments)


def test_empty_trains_make_no_number_from_nothing() -> None:
    found = metrics.summary(SpikeTrains([[], [], []], 0, 60), bin=0.1)
    assert (found.silent, found["mean_rate"].estimate) == (3, 0)
    assert all(math.isnan(found[name].estimate) for name in ("mean_correlation", "mean_cv2", "mean_fano_factor"))
