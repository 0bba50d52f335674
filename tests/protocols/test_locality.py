"""Decorrelation and learning with few connections, small: measures by hand, budgets, tables of known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import locality as analysis
from neuro_decorr import data, study
from neuro_decorr.rules.connectivity import Band
from protocols import locality as protocol
from protocols._images import enlarged
from protocols.locality.settling import squared_correlations
from tests.protocols.execution import whole

SMALL = {
    "radii": (1.0,), "hidden": (12,), "epochs": 1, "batch_size": 20, "settling": 12, "selection_runs": 2,
    "training": 60, "evaluated": 60,
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("few_images")


def test_squared_correlations_are_those_of_numpy() -> None:
    samples = torch.randn(40, 9) @ torch.randn(9, 9)
    samples[:, 4] = 2.5  # never varies: left out
    matrix = np.corrcoef(np.delete(samples.double().numpy(), 4, axis=1), rowvar=False) ** 2
    pairs = Band(1).pairs(9)
    whole_mean, near = squared_correlations(samples, pairs)
    assert whole_mean == pytest.approx(matrix[~np.eye(8, dtype=bool)].mean())
    kept = np.delete(np.arange(9), 4)
    near_pairs = [(i, j) for i in range(8) for j in range(8) if abs(kept[i] - kept[j]) == 1]
    assert near == pytest.approx(np.mean([matrix[pair] for pair in near_pairs]))
    assert squared_correlations(samples, None)[1] == whole_mean


@pytest.mark.parametrize(("radius", "count"), [(1.0, 4), (1.5, 8), (2.0, 12), (4.0, 48)])
def test_random_connections_are_as_many_as_neighbours(radius: float, count: int) -> None:
    images = data.fashion(0)
    near, others = protocol.connected("local", radius, images)
    assert protocol.neighbours(radius) == count
    for connectivity in (others, protocol.connected("random", radius, images)[0]):
        assert int(connectivity.matrix(60)[30].sum()) == count + 1
    assert int(near.matrix(784)[14 * 28 + 14].sum()) == count + 1


def test_every_condition_has_as_many_selection_runs() -> None:
    configuration = protocol.PROTOCOL.configure({})
    chosen = protocol.SELECTION.selection_runs(configuration, [0], study.Tables())
    keys = [tuple(condition.factors[name] for name in analysis.CONDITION) for condition in chosen]
    assert len(set(keys)) == 2 * (3 + 2 * 3 + 1)
    assert {keys.count(key) for key in keys} == {configuration.selection_runs}


def test_enlarged_images_are_the_bilinear_ones() -> None:
    images = enlarged(data.fashion(0), 56, 7)
    assert (len(images.train.inputs), images.features, images.image_shape) == (7, 56**2, (56, 56))
    small = data.fashion(0).train.inputs[3].view(28, 28).numpy()
    large = images.train.inputs[3].view(56, 56).numpy()
    # Twice the size: each new pixel lies a quarter of a pixel from an old one, along either axis.
    expected = 0.75 * (0.75 * small[5, 9] + 0.25 * small[5, 10]) + 0.25 * (0.75 * small[6, 9] + 0.25 * small[6, 10])
    assert large[11, 19] == pytest.approx(expected, abs=1e-6)


def test_tables_of_known_answers() -> None:
    settled = [
        {"stage": "settle", "arm": "local", "radius": 1.0, "seed": seed, "units": 10, "connections": 50, "bytes": 400,
         "all_before": 0.2, "all_after": after, "connected_before": 0.5, "connected_after": 0.1}
        for seed, after in enumerate([0.02, 0.04])
    ]  # fmt: skip
    timings = [
        {"stage": "settle", "arm": "local", "radius": 1.0, "seed": seed, "update": 2e-3, "forward": 1e-3}
        for seed in (0, 1)
    ]
    values = {("center", 0.0): (0.5, 0.6), ("local", 1.0): (0.7, 0.9)}
    tests = [
        {"stage": "measure", "credit": "backprop", "arm": arm, "radius": radius, "seed": seed, "diverged": False,
         "learning_rate": 0.1, "test_accuracy": value, "chance": 0.1}
        for (arm, radius), both in values.items() for seed, value in enumerate(both)
    ]  # fmt: skip
    runs = [
        {"stage": "select", "credit": "backprop", "arm": arm, "radius": radius, "learning_rate": rate}
        for arm, radius in values for rate in (0.1, 0.2)
    ]  # fmt: skip
    frames = {"settled": settled, "timings": timings, "tests": tests, "runs": runs}
    tables = study.Tables({kind: pd.DataFrame(rows) for kind, rows in frames.items()})
    (row,) = analysis.settled(tables).to_dict("records")
    assert (row["connections"], row["update"], row["left"]) == (5.0, pytest.approx(2.0), pytest.approx(0.15))
    assert row["high"] - row["left"] == pytest.approx(12.706 * 0.05, rel=1e-3)  # Student, one degree of freedom
    made = analysis.learnt(tables).set_index("arm")
    assert made.loc["local", "minus"] == pytest.approx(0.25)
    assert set(made["edge"]) == {"lowest"}


def test_the_whole_of_it(tmp_path: Path) -> None:
    configuration, tables = whole(protocol.PROTOCOL, SMALL)
    protocol.report(configuration, tables, tmp_path)
    alone = analysis.settled(tables).set_index("arm")
    assert alone.loc["full", "connections"] == 784
    # Of 784 pixels with four neighbours each; those at the border have fewer.
    assert alone.loc["local", "connections"] == pytest.approx((784 + 4 * 27 * 28) / 784)
    assert (alone["all"] < alone["was"]).all()
    assert (alone["connected"] < alone["connected was"]).all()
    assert len(analysis.learnt(tables)) == 2 * 6
    assert (tmp_path / "figures" / "locality.png").stat().st_size > 10_000
