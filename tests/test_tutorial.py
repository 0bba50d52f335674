"""The page on a protocol of one's own keeps its word: its code runs, by itself and as the study that it describes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from neuro_decorr import study

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "tutorial_protocol.md").read_text(encoding="utf-8")
FILES = re.findall(r'```python title="([^"]+)"\n(.*?)```', TEXT, flags=re.DOTALL)
COMMANDS = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)


def write_files(directory: Path) -> None:
    """As its reader does: what follows in the same file is appended."""
    for name in dict(FILES):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n\n".join(code for other, code in FILES if other == name), encoding="utf-8")


@pytest.fixture
def where(tmp_path: Path) -> ModuleType:
    write_files(tmp_path)
    spec = importlib.util.spec_from_file_location("where_of_the_tutorial", tmp_path / "protocols" / "where.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_block_of_python_has_its_file() -> None:
    assert len(FILES) == TEXT.count("```python")
    assert list(dict(FILES)) == ["protocols/where.py", "tests/test_where.py"]


def test_its_table_compares_pair_by_pair(where: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made-up accuracies: an arm that is better by 0.1 with every seed is so with an interval of no width."""
    gains = {"none": -0.1, "center": 0.0, "input": 0.1, "every": 0.2}
    rows: list[dict[str, Any]] = [
        {"stage": "measure", "seed": seed, "arm": arm, "epoch": epoch, "accuracy": 0.2 * epoch + seed / 8 + gain}
        for seed in (0, 1)
        for arm, gain in gains.items()
        for epoch in (1, 2)
    ]
    where.PROTOCOL.report(where.PROTOCOL.configure(), study.Tables(curves=pd.DataFrame(rows)), tmp_path)
    table = pd.read_csv(tmp_path / "tables" / "where.csv").set_index("arm")
    for arm, gain in gains.items():
        expected = {"accuracy": 0.4 + 1 / 16 + gain, "over center": gain, "from": gain, "to": gain}
        assert table.loc[arm].to_dict() == pytest.approx(expected, abs=1e-12)
    assert (tmp_path / "figures" / "where.svg").is_file()
    assert "every    0.66, +0.20 over center" in capsys.readouterr().out


def test_a_run_records_one_row_an_epoch_and_learns(where: ModuleType) -> None:
    recorder = study.Recorder()
    condition = study.Condition("measure", 0, {"arm": "every"})
    where.PROTOCOL.run(where.PROTOCOL.configure({"epochs": 4}), condition, recorder)
    curve = recorder.rows["curves"]
    assert [row["epoch"] for row in curve] == [1, 2, 3, 4]
    assert curve[-1]["accuracy"] > 0.6  # chance is 0.1, and the control is below 0.3


@pytest.mark.slow
def test_from_init_to_the_readers_own_tests(tmp_path: Path) -> None:
    """All commands of the page but the installation, in the order of the page, each of them successful."""
    place = tmp_path / "a réader"
    place.mkdir()
    functions = {"neuro-decorr": "-m neuro_decorr ", "python": ""}
    begin = "\n".join(f'{name}() {{ "{sys.executable}" {how}"$@"; }}' for name, how in functions.items())
    scripts = [re.sub(r"(?m)^pip install .*\n", "", block) for block in COMMANDS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def shell(script: str, cwd: Path) -> str:
        command = ["bash", "-ec", f"{begin}\n{script}"]
        said = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False)
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout

    assert "credit_assignment" in shell(scripts[0], place)
    write_files(place / "study")
    said = [shell(script, place / "study") for script in scripts[1:]]
    assert "rule of the arms 'input' and 'every'" in said[0]
    tables = [place / "study" / "results" / name / "tables" / "where.csv" for name in ("where", "where_interneuron")]
    first, second = (pd.read_csv(path).set_index("arm") for path in tables)
    assert first.loc["every", "from"] > 0 and first.loc["input", "from"] > 0
    assert first.loc["every", "accuracy"] > first.loc["input", "accuracy"]  # what the page shows
    assert first.index.equals(second.index)
    assert "2 passed" in said[-1]
