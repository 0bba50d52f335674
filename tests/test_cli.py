import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import neuro_decorr
from neuro_decorr import cli

BLOCKED = """
import sys
EXTRA = ("click", "pydantic", "rich", "pandas", "scipy", "matplotlib", "pyarrow", "safetensors", "sklearn")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRA:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
import neuro_decorr.cli
sys.exit(neuro_decorr.cli.main(sys.argv[1:]))
"""


def test_without_the_extra_one_line_names_it() -> None:
    source = str(Path(neuro_decorr.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-c", BLOCKED, "list"], capture_output=True, text=True, check=False, cwd=source
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.endswith("pip install 'neuro-decorr[study]'\n")
    assert len(found.stderr.splitlines()) == 1


def test_one_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert cli.main(["list"]) == 2
    assert "needs rich, not installed here: pip install 'neuro-decorr[study]'" in capsys.readouterr().err


def test_analyse_needs_no_pydantic_and_nothing_else_of_studies(tmp_path: Path) -> None:
    """Neither it, nor what stores runs, is imported on the way."""
    root = Path(neuro_decorr.__file__).parents[1]
    recording = root / "examples" / "recordings" / "shared_modes.npz"
    hidden = re.sub(r"EXTRA = .*", 'EXTRA = ("pydantic", "pyarrow", "safetensors")', BLOCKED)
    command = ["analyse", str(recording), "--surrogates", "0", "--out", str(tmp_path / "out")]
    found = subprocess.run(
        [sys.executable, "-c", hidden, *command], capture_output=True, text=True, check=False, cwd=root
    )
    assert found.returncode == 0, found.stderr
    assert "mean_absolute_correlation" in found.stdout
    assert list((tmp_path / "out" / "figures").glob("*.svg"))


def test_help_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        assert cli.main(arguments) == 0
        out = capsys.readouterr().out
        for command in ("init", "list", "run", "report"):
            assert f"\n  {command} " in out


def test_an_interrupt_before_anything_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "neuro-decorr: interrupted.\n"


def test_the_module_is_the_command() -> None:
    assert isinstance(importlib.import_module("neuro_decorr.__main__"), ModuleType)
