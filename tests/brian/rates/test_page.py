"""The example of the page on rate rules runs, and decorrelates; the tests that the page names exist."""

from __future__ import annotations

import re
from pathlib import Path

import brian2
import numpy as np
import pytest

from neuro_decorr import metrics

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "brian_rates.md").read_text()


def test_the_example_decorrelates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")
    step = brian2.defaultclock.dt
    brian2.start_scope()
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    found: dict[str, object] = {}
    exec(example, found)
    brian2.defaultclock.dt = step
    mixing, weights = np.asarray(found["mixing"]), np.asarray(found["weights"])
    noise = np.random.default_rng(1).normal(size=(20_000, 20))
    drive = noise @ mixing.T
    outputs = np.linalg.solve(np.eye(20) + weights.T, drive.T).T
    before, after = (metrics.mean_absolute_correlation(samples) for samples in (drive, outputs))
    assert before > 0.15
    assert after < before / 2


def test_the_tests_that_the_page_names_exist() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "tests" / "brian" / "rates").glob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named and named <= set(re.findall(r"^def (test_\w+)", sources, flags=re.MULTILINE))
