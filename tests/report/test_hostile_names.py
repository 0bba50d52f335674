"""The command `analyse` on names that mean something to a terminal, without what only studies need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuro_decorr
from neuro_decorr.cli import main
from neuro_decorr.recording import SpikeTrains, save

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pydantic", "pyarrow", "plotly", "safetensors", "pooch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
import neuro_decorr.cli
sys.exit(neuro_decorr.cli.main(sys.argv[1:]))
"""
LABELS = ["[/bold]", "[red]a", "|`b`|"]


def test_markup_in_names_is_shown_and_only_the_extra_of_recordings_is_needed(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    trains = SpikeTrains([np.sort(generator.uniform(0, 20, 200)) for _ in LABELS], 0, 20, LABELS)
    folder = tmp_path / "["
    folder.mkdir()
    path = os.fsdecode(os.fsencode(folder) + b"/x] \xff.npz")
    save(trains, path)
    where = {**os.environ, "PYTHONPATH": str(Path(neuro_decorr.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
    options = ["--surrogates", "0", "--block", "1s", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-c", BLOCKED, "analyse", path, *options]
    found = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=where)
    assert found.returncode == 0 and b"Traceback" not in found.stderr, found.stderr
    assert found.stdout.startswith(b"x] ") and all(label.encode() in found.stdout for label in LABELS)
    assert b"mean_absolute_correlation" in found.stdout and list((tmp_path / "out" / "figures").glob("*.svg"))


@pytest.mark.parametrize("name", ["[/x].npz", "[bold]"])
def test_a_file_that_is_not_there_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", name]) == 2
    told = capsys.readouterr().err
    assert told.startswith("neuro-decorr: ") and len(told.splitlines()) == 1
    assert name in told
