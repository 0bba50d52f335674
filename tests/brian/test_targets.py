"""The same spikes and the same weights on numpy, cython and cpp_standalone; frozen weights do not move on any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TARGETS = ["cython", "cpp_standalone"]


def run_on(target: str, file: Path) -> dict[str, np.ndarray]:
    """In a process of its own: a device of Brian2 is set for good."""
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-W", "ignore", "-m", "tests.brian.targets", target, str(file)]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    with np.load(file) as saved:
        return dict(saved)


@pytest.mark.slow
@pytest.mark.standalone
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_gives_the_same_spikes_and_weights(target: str, tmp_path: Path) -> None:
    expected = run_on("numpy", tmp_path / "numpy.npz")
    course = expected["course"]  # every 100 ms: frozen from 200 to 400
    assert len(expected["times"]) > 100 and np.ptp(course[:, 2] - course[:, 0]) > 0
    found = run_on(target, tmp_path / "found.npz")
    for name in ("times", "neurons"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-9)
    for name in ("matrix", "bias", "course"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)
    assert np.array_equal(found["course"][:, 2], found["course"][:, 3])
    assert not np.array_equal(found["course"][:, 3], found["course"][:, 5])
