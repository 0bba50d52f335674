"""The standard set against each measure alone, its intervals against theory, spike trains against Elephant."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from neuro_decorr import metrics
from neuro_decorr.errors import InvalidValue, UnknownName
from neuro_decorr.recording import Rates, SpikeTrains, Trials


def poisson(units: int = 4, rate: float = 8.0, stop: float = 60.0, seed: int = 0, **options: object) -> SpikeTrains:
    source = np.random.default_rng(seed)
    times = [np.sort(source.uniform(0, stop, source.poisson(rate * stop))) for _ in range(units)]
    return SpikeTrains(times, 0.0, stop, **options)


@pytest.mark.parametrize("center", [True, False])
def test_the_summary_holds_what_each_measure_says(center: bool) -> None:
    x = np.random.default_rng(0).exponential(size=(50, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
    got = metrics.summary(x, center=center).record()
    r = metrics.correlation(x, center=center)[~np.eye(6, dtype=bool)]
    e = metrics.eigenvalues(x, center=center)
    assert got == pytest.approx(
        {
            "samples": 50,
            "units": 6,
            "silent": 0,
            "mean_variance": np.trace(metrics.covariance(x, center=center)) / 6,
            "mean_correlation": r.mean(),
            "correlation_deviation": r.std(),
            "mean_absolute_correlation": metrics.mean_absolute_correlation(x, center=center),
            "mean_squared_correlation": metrics.mean_squared_correlation(x, center=center),
            "participation_ratio": metrics.participation_ratio(x, center=center),
            "participation_ratio_samples": metrics.participation_ratio(x, correction="samples", center=center),
            "participation_ratio_both": metrics.participation_ratio(x, correction="both", center=center),
            "condition_number": metrics.condition_number(x, center=center),
            "leading_fraction": e[0] / e.sum(),
            "spectral_flatness": metrics.spectral_flatness(x, center=center),
            "whiteness": metrics.whiteness(x, center=center),
            "identity_distance": metrics.whiteness(x, target="identity", center=center),
        }
    )


def test_a_tensor_and_its_array_measure_the_same() -> None:
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    assert metrics.summary(x).record() == pytest.approx(metrics.summary(x.numpy()).record(), nan_ok=True)


def test_centering_hides_a_common_mean_that_a_weight_layer_sees() -> None:
    x = np.random.default_rng(0).normal(size=(500, 8)) + 5
    assert metrics.summary(x)["leading_fraction"].estimate < 0.2
    assert metrics.summary(x, center=False)["leading_fraction"].estimate > 0.9


def test_a_line_a_measure_with_its_interval_and_floor() -> None:
    summary = metrics.summary(np.random.default_rng(0).normal(size=(200, 3)), level=0.9)
    facts, head, *lines = str(summary).splitlines()
    lines, told = lines[: len(summary.rows)], lines[len(summary.rows) :]
    assert told == [f"warning: {one}" for one in summary.warnings]
    assert facts.startswith(
        "200 samples, 3 units, 0 silent (policy: nan); 90% intervals; autocorrelation time below 3.12 samples"
    )
    assert head.split() == ["estimate", "interval", "floor"]
    assert [line.split()[0] for line in lines] == list(summary.rows) == list(summary.to_frame().index)
    assert list(summary.to_frame().columns) == ["estimate", "low", "high", "floor"]
    with pytest.raises(UnknownName, match="did you mean 'whiteness'"):
        summary["whitenes"]


def test_floors_are_those_of_sampling() -> None:
    x = np.random.default_rng(0).normal(size=(400, 30))
    summary, floor = metrics.summary(x, intervals=False), metrics.sampling_floor(400)
    assert summary["mean_squared_correlation"].floor == floor.mean_squared
    assert summary["mean_absolute_correlation"].floor == floor.mean_absolute
    # Independent units lie at their floors, up to the sampling of 435 pairs.
    for name in ("mean_squared_correlation", "mean_absolute_correlation", "participation_ratio", "whiteness"):
        assert summary[name].estimate == pytest.approx(summary[name].floor, rel=0.15), name


def test_intervals_have_the_width_of_theory() -> None:
    # Of Gaussian samples: s.d. of a variance v sqrt(2 / P), of a correlation (1 - r^2) / sqrt(P).
    samples, r = 4_000, 0.6
    x = np.random.default_rng(0).normal(size=(samples, 2)) @ np.linalg.cholesky([[1, r], [r, 1]]).T
    summary = metrics.summary(x)
    for name, deviation in (
        ("mean_correlation", (1 - r**2) / samples**0.5),
        # Two variances of correlation r^2 are averaged.
        ("mean_variance", math.sqrt(2 / samples * (1 + r**2) / 2)),
    ):
        row = summary[name]
        assert row.high - row.low == pytest.approx(2 * 1.96 * deviation, rel=0.35), name
        assert row.low < row.estimate < row.high


def test_blocks_see_the_autocorrelation() -> None:
    # Every sample ten times: a tenth of the information, sqrt(10) times the interval.
    x = np.random.default_rng(0).normal(size=(1_000, 2))
    once, repeated = metrics.summary(x), metrics.summary(np.repeat(x, 10, axis=0))
    widths = [row.high - row.low for row in (once["mean_correlation"], repeated["mean_correlation"])]
    assert widths[1] == pytest.approx(widths[0], rel=0.35)  # ten times the samples and no more information


def test_a_block_is_in_seconds_of_recordings_and_in_samples_of_arrays() -> None:
    x = np.random.default_rng(0).normal(size=(400, 3))
    of_array = metrics.summary(x, block=40)
    of_rates = metrics.summary(Rates(x, step=0.05), block=2.0)
    assert of_array.rows == of_rates.rows
    assert of_array["mean_correlation"] != metrics.summary(x, block=20)["mean_correlation"]


def test_a_block_shorter_than_the_autocorrelation_time_is_told() -> None:
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.normal(size=(50, 1)), 80, axis=0)
    x = slow + rng.normal(size=(4_000, 4))
    found = metrics.summary(x, block=70)
    assert any("shorter than the autocorrelation time" in one for one in found.warnings)
    assert not any("block" in one for one in metrics.summary(rng.normal(size=(4_000, 4)), block=70).warnings)
    chosen = metrics.summary(x)
    assert 20 < chosen.autocorrelation_time < 400
    width = [one["mean_variance"].high - one["mean_variance"].low for one in (found, chosen)]
    assert width[0] < width[1]


def test_the_same_data_give_the_same_intervals() -> None:
    x = np.random.default_rng(0).normal(size=(100, 3))
    assert str(metrics.summary(x)) == str(metrics.summary(x.copy()))


def test_spike_trains_are_counted_and_their_irregularity_is_that_of_elephant() -> None:
    statistics = pytest.importorskip("elephant.statistics")
    trains = poisson()
    summary = metrics.summary(trains, bin=0.1)
    counts = trains.counts(0.1)
    assert summary["mean_variance"].estimate == pytest.approx(counts.var(axis=0, ddof=1).mean())
    assert summary["mean_rate"].estimate == pytest.approx(trains.rate.mean(), rel=1e-9)
    cv2 = [statistics.cv2(np.diff(times)) for times in trains.times]
    assert summary["mean_cv2"].estimate == pytest.approx(np.mean(cv2), rel=1e-12)
    fano = [counts[:, unit].var(ddof=1) / counts[:, unit].mean() for unit in range(4)]
    assert summary["mean_fano_factor"].estimate == pytest.approx(np.mean(fano), rel=1e-12)
    for name in ("mean_cv2", "mean_fano_factor"):  # of a Poisson process both are one
        assert summary[name].low < 1 < summary[name].high


def test_counts_in_chunks_are_the_array() -> None:
    trains = poisson(units=5, stop=30.0)
    in_chunks, whole = metrics.summary(trains, bin=0.02).record(), metrics.summary(trains.counts(0.02)).record()
    assert {name: in_chunks[name] for name in whole} == pytest.approx(whole, rel=1e-9, nan_ok=True)


def test_trials_are_measured_without_what_lies_between_them() -> None:
    trials = Trials(np.arange(0, 60, 2.0), np.arange(1, 61, 2.0))
    trains = poisson(trials=trials)
    summary = metrics.summary(trains, bin=0.1, over="trials")
    assert (summary.samples, summary.time_unit, summary.resolution) == (300, "trials", 1)
    counts = trains.counts(0.1).reshape(30, 20, 4)[:, :10].reshape(-1, 4)
    assert summary["mean_variance"].estimate == pytest.approx(counts.var(axis=0, ddof=1).mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "level: got 1.0"),
        ({"over": "units"}, "over must be one of 'time', 'trials'"),
        ({"over": "trials"}, "an array has no trials"),
        ({"block": 30}, "got 3 blocks in the recording; intervals need at least 5"),
        ({"block": 0}, "block must be a finite number > 0, got 0 .in samples"),
        ({"bin": 0.1}, "an array is binned already"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        metrics.summary(np.random.default_rng(0).normal(size=(100, 3)), **options)
