"""The simulations behind the figure of settling, and the code that its page shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import neuro_decorr as nd
from neuro_decorr.rate import settling
from protocols import settling_limits
from tests.protocols.execution import whole


def test_stimuli_have_the_covariance_that_the_circuit_whitens() -> None:
    drive = settling_limits.stream(100, 200_000, 0)
    np.testing.assert_allclose(np.cov(drive.numpy().T), settling_limits.covariance(100), atol=0.05)
    settled = nd.settle(drive, settling_limits.whitening(100))
    np.testing.assert_allclose(np.cov(settled.numpy().T), np.eye(settling_limits.UNITS), atol=0.02)


@pytest.mark.parametrize("rule", list(settling_limits.RATES))
def test_learning_from_settled_activity_decorrelates(rule: str) -> None:
    before = nd.metrics.mean_absolute_correlation(settling_limits.stream(10, settling_limits.TEST, 0))
    assert settling_limits.learnt(rule, hold=10.0, updates=120, seed=0) < before / 3


def test_simulated_delays_agree_with_the_exact_limit_and_the_figure_shows_all_parts(tmp_path: Path) -> None:
    values = {"updates": 2, "holds": (0.5, 10.0), "conditions": (10,), "modes": (1.2, 15.0), "powers": (9,)}
    configuration, tables = whole(settling_limits.PROTOCOL, values, seeds=1)
    delays = tables["delays"]
    assert len(delays) == 4 and (delays["grows"] == (delays["relative"] > 1)).all()
    settled = tables["settling"].set_index("hold")["distance"]
    assert settled.is_monotonic_decreasing and settled.iloc[-1] < 1e-3
    settling_limits.report(configuration, tables, tmp_path)
    assert (tmp_path / "figures" / "settling_limits.png").stat().st_size > 10_000


def test_the_page_runs() -> None:
    page = Path(settling_limits.__file__).parent.parent / "docs" / "settling.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names["x"], torch.Tensor) and names["x"].shape == (32, 64)


def test_the_delay_that_the_page_states() -> None:
    assert float(settling.delay_limits(torch.tensor(14.0))) == pytest.approx(0.12, abs=0.005)
