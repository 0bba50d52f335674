"""The page about recordings keeps its word: its examples run one after another, and print what their comments say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from examples.make_recordings import KNOWN

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
    assert len(printed) == 2
    for line in printed:
        assert line in run.stdout.splitlines()
    assert "one that never fires is not among them" in run.stdout and "from the first spike to the last" in run.stdout


def test_the_known_answers_on_the_page() -> None:
    stated = [float(number) for number in re.findall(r"r = (0\.\d+)", TEXT)]
    assert stated == [round(KNOWN[name], 3) for name in ("single_interaction", "compound_poisson", "shared_modes")]
