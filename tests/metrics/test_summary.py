import dataclasses
import math

import numpy as np
import pytest
import torch

from neuro_decorr import metrics


@pytest.mark.parametrize("center", [True, False])
def test_the_summary_holds_what_each_measure_says(center: bool) -> None:
    x = np.random.default_rng(0).exponential(size=(50, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
    got = dataclasses.asdict(metrics.summary(x, center=center))
    floor = metrics.sampling_floor(50, center=center)
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
            "mean_absolute_correlation_floor": floor.mean_absolute,
            "mean_squared_correlation": metrics.mean_squared_correlation(x, center=center),
            "mean_squared_correlation_floor": floor.mean_squared,
            "participation_ratio": metrics.participation_ratio(x, center=center),
            "participation_ratio_corrected": metrics.participation_ratio(x, corrected=True, center=center),
            "condition_number": metrics.condition_number(x, center=center),
            "leading_fraction": e[0] / e.sum(),
            "spectral_flatness": metrics.spectral_flatness(x, center=center),
            "whiteness": metrics.whiteness(x, center=center),
            "identity_distance": metrics.whiteness(x, target="identity", center=center),
        }
    )


def test_a_tensor_and_its_array_measure_the_same() -> None:
    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    assert dataclasses.asdict(metrics.summary(x)) == pytest.approx(dataclasses.asdict(metrics.summary(x.numpy())))


def test_centering_hides_a_common_mean_that_a_weight_layer_sees() -> None:
    x = np.random.default_rng(0).normal(size=(500, 8)) + 5
    assert metrics.summary(x).leading_fraction < 0.2
    assert metrics.summary(x, center=False).leading_fraction > 0.9


def test_it_prints_one_line_a_measure() -> None:
    summary = metrics.summary(np.random.default_rng(0).normal(size=(20, 3)))
    lines = str(summary).splitlines()
    assert len(lines) == len(dataclasses.fields(summary))
    assert lines[0].split() == ["samples", "20"]
    assert not any(math.isnan(value) for value in dataclasses.astuple(summary))
