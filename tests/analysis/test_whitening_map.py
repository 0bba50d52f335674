"""A small part of the map of whitening, with the limit of any estimate beside it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis import whitening_map as script


@pytest.mark.parametrize(
    ("batch", "condition", "scale"), [(1, 1e6, 1e3), (16, 1e2, 1.0), (16, 1e6, 1e-3), (256, 1e2, 1e3), (256, 1e6, 1e-3)]
)
def test_the_default_reaches_a_thousandth_of_the_start(batch: int, condition: float, scale: float) -> None:
    found = script.cell(16, batch, condition, scale)
    assert found["start"] > 0.05
    assert found["end"] < script.GOAL * found["start"]
    # N samples leave about 1 / N to any estimate of a covariance.
    assert found["end"] > 0.3 / found["samples"]


def test_nothing_to_remove_stays_at_the_floor_of_sampling() -> None:
    found = script.cell(16, 16, 1.0, 1.0)
    assert found["start"] < 1e-15 and 0.3 < found["end"] * found["samples"] < 3


def test_wider_layers_need_as_many_more_samples() -> None:
    """Samples after the hold, for a condition of 1e4: in proportion to the units, whatever the batch size."""
    counts = {}
    for features in (64, 256):
        start = script.mean_squared_correlation(script.covariance_with_condition(features, 1e4, seed=0))
        for batch in (1, 256):
            hold, updates = script.schedule(features, batch, 1e4, start)
            counts[features, batch] = (updates - hold) * batch
    assert counts[64, 1] == pytest.approx(counts[64, 256], rel=0.02)
    assert counts[256, 1] == pytest.approx(4 * counts[64, 1], rel=0.05)


def test_the_figure_is_drawn_from_what_there_is(tmp_path: Path) -> None:
    rows = [dict(zip(script.KEYS, keys, strict=True)) for keys in ((16, 1, 1.0, 1.0), (64, 256, 1e4, 1e3))]
    script.draw(pd.DataFrame([{**row, "start": 0.1, "end": 1e-5} for row in rows]), tmp_path)
    assert (tmp_path / "figures" / "whitening_map.png").stat().st_size > 1_000
