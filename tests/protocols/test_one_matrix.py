"""The identity behind eight names, on inputs drawn anew; the figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis import one_matrix as analysis
from protocols import one_matrix as protocol
from tests.protocols.execution import whole


@pytest.mark.parametrize("samples", [7, 60])  # fewer than features, and more
@pytest.mark.parametrize("name", [name for name in protocol.METHODS if name != "gradient"])
def test_the_update_is_the_gradient_behind_the_damped_inverse(name: str, samples: int) -> None:
    generator = np.random.default_rng(samples)
    inputs = generator.normal(size=(samples, 9)) * np.logspace(-1, 1, 9)
    errors = generator.normal(size=(samples, 3))
    got = protocol.METHODS[name](torch.from_numpy(inputs), torch.from_numpy(errors), 0.7).numpy()
    wanted = errors.T @ inputs @ np.linalg.inv(inputs.T @ inputs / samples + 0.7 * np.eye(9))
    cosine = np.sum(got * wanted) / np.linalg.norm(got) / np.linalg.norm(wanted)
    assert abs(1 - abs(cosine)) < 1e-12
    scale = np.sum(got * wanted) / np.sum(wanted * wanted)
    np.testing.assert_allclose(got, scale * wanted, rtol=1e-8, atol=1e-10 * np.abs(got).max())


@pytest.mark.parametrize("name", list(protocol.METHODS))
def test_on_whitened_inputs_it_is_the_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.linalg.qr(torch.randn(40, 6, generator=generator, dtype=torch.float64)).Q * 40**0.5
    errors = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    update = protocol.METHODS[name](inputs, errors, 0.5)
    assert protocol.distance(update, errors.T @ inputs) < 1e-10


def test_distance_is_the_sine_of_the_angle() -> None:
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    assert protocol.distance(one, 3 * one) == 0
    assert protocol.distance(one, other) == pytest.approx(0.5**0.5)


def test_the_figure_and_the_table_show_every_method(tmp_path: Path) -> None:
    configuration, tables = whole(protocol.PROTOCOL, {"samples": 128, "updates": 20})
    protocol.report(configuration, tables, tmp_path)
    made = analysis.table(tables).set_index("method")
    assert list(made.index) == [*protocol.METHODS, *protocol.LEARNT]
    assert (made.loc[list(analysis.MARKERS)] < 1e-9).all(axis=None)
    assert (made.loc[list(protocol.LEARNT), "distance"] > 1e-3).all()
    assert made["whitened"].isna().sum() == len(protocol.LEARNT)
    assert (tmp_path / "figures" / "one_matrix.png").stat().st_size > 10_000
