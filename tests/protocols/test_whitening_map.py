"""A small part of the map of whitening, with the limit of any estimate beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuro_decorr import study
from protocols import whitening_map as protocol
from tests.protocols.execution import whole


def cell(features: int, batch: int, condition: float, scale: float) -> dict[str, float]:
    recorder = study.Recorder()
    levels = {"features": features, "batch": batch, "condition": condition, "scale": scale}
    protocol.run(protocol.Configuration(), study.Condition("measure", 0, levels), recorder)
    (row,) = recorder.rows["cells"]
    return row


@pytest.mark.parametrize(
    ("batch", "condition", "scale"), [(1, 1e6, 1e3), (16, 1e2, 1.0), (16, 1e6, 1e-3), (256, 1e2, 1e3), (256, 1e6, 1e-3)]
)
def test_the_default_reaches_a_thousandth_of_the_start(batch: int, condition: float, scale: float) -> None:
    found = cell(16, batch, condition, scale)
    assert found["start"] > 0.05
    assert found["end"] < protocol.GOAL * found["start"]
    # N samples leave about 1 / N to any estimate of a covariance.
    assert found["end"] > 0.3 / found["samples"]


def test_nothing_to_remove_stays_at_the_floor_of_sampling() -> None:
    found = cell(16, 16, 1.0, 1.0)
    assert found["start"] < 1e-15 and 0.3 < found["end"] * found["samples"] < 3


def test_wider_layers_need_as_many_more_samples() -> None:
    """Samples after the hold, for a condition of 1e4: in proportion to the units, whatever the batch size."""
    counts = {}
    for features in (64, 256):
        start = protocol.mean_squared_correlation(protocol.covariance_with_condition(features, 1e4, seed=0))
        for batch in (1, 256):
            hold, updates = protocol.schedule(features, batch, 1e4, start)
            counts[features, batch] = (updates - hold) * batch
    assert counts[64, 1] == pytest.approx(counts[64, 256], rel=0.02)
    assert counts[256, 1] == pytest.approx(4 * counts[64, 1], rel=0.05)


def test_the_figure_shows_every_cell(tmp_path: Path) -> None:
    values = {"features": (4,), "batches": (64,), "conditions": (1.0, 10.0), "scales": (1.0,)}
    configuration, tables = whole(protocol.PROTOCOL, values, seeds=1)
    protocol.report(configuration, tables, tmp_path)
    assert (tmp_path / "figures" / "whitening_map.png").stat().st_size > 1_000
    assert len(tables["cells"]) == 2
