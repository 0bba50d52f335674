"""The page about recordings keeps its word: its examples run one after another, and print what their comments say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from examples import phy_folder
from examples.make_recordings import KNOWN
from neuro_decorr.recording import SpikeTrains, load

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "recordings.md").read_text(encoding="utf-8")


def test_the_examples_of_the_page_run_and_print_what_it_says(tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL))
    shutil.copytree(ROOT / "examples" / "recordings", tmp_path / "examples" / "recordings")
    command = [sys.executable, "-W", "error", "-W", "ignore:The 'copy' argument", "-c", code]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    printed = re.findall(r"print\(.*# (SpikeTrains\(.*\))$", TEXT, flags=re.MULTILINE)
    assert len(printed) == 3
    for line in printed:
        assert line in run.stdout.splitlines()
    assert (tmp_path / "distance.png").stat().st_size > 10_000
    assert "('75', '78')" in run.stdout  # the artefact
    assert "one that never fires is not among them" in run.stdout and "from the first spike to the last" in run.stdout


def test_the_known_answers_on_the_page() -> None:
    stated = [float(number) for number in re.findall(r"r = (0\.\d+)", TEXT)]
    assert stated == [round(KNOWN[name], 3) for name in ("single_interaction", "compound_poisson", "shared_modes")]


def test_what_the_tutorial_says_of_its_folder(tmp_path: Path) -> None:
    """Within a half of the probe counts correlate by about 0.23, between the halves not at all: by numpy."""
    recording = load(phy_folder.write(tmp_path / "phy"), quality=["good"])
    assert isinstance(recording, SpikeTrains)
    correlation = np.corrcoef(recording.counts(0.05).T)
    half = np.arange(phy_folder.GOOD) < phy_folder.GOOD // 2
    within = (half[:, None] == half) & ~np.eye(phy_folder.GOOD, dtype=bool)
    # The shared rates are two draws of 2000 signs: their own correlation has a standard deviation of 1 / sqrt(2000).
    assert abs(correlation[half[:, None] != half].mean()) < 4 * 0.23 / np.sqrt(2000)
    assert abs(correlation[within].mean() - KNOWN["shared_modes"]) < 0.03
    assert all((np.diff(times) > 0.9 * phy_folder.REFRACTORY).all() for times in recording.times)
