"""The simulations behind the figure of settling, and the code that its page shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import neuro_decorr as nd
from analysis import settling_limits
from neuro_decorr.rate import settling


def test_stimuli_have_the_covariance_that_the_circuit_whitens() -> None:
    drive = settling_limits.stream(100, 200_000, 0)
    np.testing.assert_allclose(np.cov(drive.numpy().T), settling_limits.covariance(100), atol=0.05)
    settled = nd.settle(drive, settling_limits.whitening(100))
    np.testing.assert_allclose(np.cov(settled.numpy().T), np.eye(settling_limits.UNITS), atol=0.02)


@pytest.mark.parametrize("rule", list(settling_limits.RATES))
def test_learning_from_settled_activity_decorrelates(rule: str) -> None:
    before = nd.metrics.mean_absolute_correlation(settling_limits.stream(10, settling_limits.TEST, 0))
    assert settling_limits.learnt(rule, hold=10.0, updates=120, seed=0) < before / 3


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
