"""The protocol of the interneurons, and the code that its page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from protocols import interneuron_convergence as script
from tests.protocols.execution import whole

POWERS = np.arange(1, 65) ** -1.5
VALUES = {
    "condition 1e4, 20 units": 1e4 ** -np.linspace(0, 1, 20),
    "condition 1e4, 64 units": 1e4 ** -np.linspace(0, 1, 64),
    "power law -1.5, 64 units": POWERS,
}


@pytest.mark.parametrize("spectrum", get_args(script.Spectrum))
def test_the_spectra_are_those_named(spectrum: str) -> None:
    found = torch.linalg.eigvalsh(script.covariance(spectrum, seed=3)).flip(0).numpy()
    expected = VALUES[spectrum] / VALUES[spectrum].mean()
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("variant", list(script.VARIANTS))
@pytest.mark.parametrize("spectrum", get_args(script.Spectrum))
def test_from_a_known_distance_to_the_fixed_point(variant: str, spectrum: str) -> None:
    """Before the first update D = I, so the distance follows from the eigenvalues alone."""
    values = VALUES[spectrum] / VALUES[spectrum].mean()
    damped = values.copy()
    damped[:8] /= 1 + values[:8] / 3
    distances = script.course(variant, spectrum, 8, 0.3, 400, seed=1)
    assert len(distances) == 401
    assert distances[0] == pytest.approx(np.linalg.norm(values - damped) / np.linalg.norm(damped), rel=1e-9)
    assert distances[-1] < 1e-3
    assert 1 <= script.updates_until_near(distances) < 200


def test_until_it_stays_near() -> None:
    assert script.updates_until_near(np.array([1.0, 0.04, 0.06, 0.04, 0.01])) == 3
    assert script.updates_until_near(np.array([0.01, 0.02])) == 0
    assert np.isnan(script.updates_until_near(np.array([0.01, 0.05])))


@pytest.mark.parametrize("variant", list(script.VARIANTS))
def test_the_floor_falls_with_the_rate(variant: str) -> None:
    """An average over 1 / rate batches has an error that goes with the square root of the rate."""
    high, low = (
        script.floor(script.course(variant, "condition 1e4, 20 units", 8, rate, 600, 0, script.BATCH))
        for rate in (0.1, 0.025)
    )
    assert 1.5 < high / low < 3


def test_the_figure_and_the_table(tmp_path: Path) -> None:
    configuration, tables = whole(script.PROTOCOL, {"updates": 0.0016, "interneurons": (8,), "rates": (0.1,)}, seeds=1)
    script.report(configuration, tables, tmp_path)
    assert (tmp_path / "figures" / "interneuron_convergence.png").stat().st_size > 1_000
    table = pd.read_csv(tmp_path / "tables" / "interneuron_convergence.csv")
    assert len(table) == 3 * len(script.VARIANTS)
    assert table["updates"].isna().all(), "some updates are not enough, and the table says so"


def test_the_page_runs() -> None:
    page = Path(script.__file__).parent.parent / "docs" / "interneurons.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names["active"], int) and 2 <= names["active"] <= 8
