import errno
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

import neuro_decorr
from neuro_decorr import cli, errors
from tests.study import _here

ROOT = Path(__file__).resolve().parents[1]

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


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = subprocess.run([sys.executable, "-c", BLOCKED, "list"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (2, "")
    assert "in the extra 'study'" in found.stderr and found.stderr.endswith(f"{errors.install('study')}\n")
    assert len(found.stderr.splitlines()) == 1


def test_one_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert cli.main(["list"]) == 2
    assert "needs rich, in the extra 'study', which is not installed here: pip install" in capsys.readouterr().err
    assert cli.main(["analyse", "x.npz"]) == 2
    assert "needs rich, in the extra 'recordings', which is not installed here: pip" in capsys.readouterr().err


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


def test_an_error_that_nobody_foresaw_is_one_line_and_its_traceback_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def odd(arguments: list[str]) -> int:
        raise KeyError(f"a\nb {os.fsdecode(bytes([255]))}")

    monkeypatch.setattr(cli, "_run", odd)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cli.main(["list"]) == 3
    out, err = capsys.readouterr()
    (kept,) = tmp_path.iterdir()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "an unexpected error: KeyError: " in err and str(kept) in err
    assert "Traceback" in kept.read_text() and "raise KeyError" in kept.read_text()
    # Where no file can be made, the line says how to see it.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert cli.main(["list"]) == 3
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "NEURO_DECORR_TRACEBACK=1" in err
    monkeypatch.setenv("NEURO_DECORR_TRACEBACK", "1")
    assert cli.main(["list"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (
            OSError(errno.EMFILE, "Too many open files", "x"),
            2,
            "the system refuses: Too many open files (x); raise that",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "refuses: No space left on device; make room"),
        (MemoryError(), 2, "there is not enough memory"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (RecursionError("too deep"), 3, "RecursionError: too deep"),
    ],
)
def test_what_a_system_runs_out_of_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int, told: str
) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main(["list"]) == code
    err = capsys.readouterr().err
    assert told in err and len(err.splitlines()) == bool(told)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("{command} --version >&-", 2, "neuro-decorr: the output cannot be written: Bad file descriptor.\n"),
        ("{command} --version > /dev/full", 2, "No space left on device"),
        ("{command} --help | head -0", 141, ""),
        ("{command} nothing >&- 2>&- <&-", 2, ""),
        ("{command} --version > /dev/null 2>&- <&-", 0, ""),
    ],
)
def test_closed_streams(line: str, code: int, told: str) -> None:
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("a device of Linux")
    command = f"'{sys.executable}' -m neuro_decorr"
    found = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line.format(command=command)}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (found.returncode, told in found.stderr) == (code, True)
    assert len(found.stderr.splitlines()) == bool(told)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_too_few_files_are_one_line(tmp_path: Path) -> None:
    """A study of 30 workers, each of which needs some, with room for few."""
    (tmp_path / "protocols").mkdir()
    _here.write(tmp_path)
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))\n"
    limited += "from neuro_decorr.cli import main\nsys.exit(main(sys.argv[1:]))"
    found = subprocess.run(
        [sys.executable, "-c", limited, "run", "p", "--workers", "30", "--items", "30"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(neuro_decorr.__file__).parents[1])},
    )
    assert (found.returncode, "Traceback" in found.stderr) == (2, False)
    assert found.stderr.splitlines()[-1].startswith("neuro-decorr: ")
    assert "Too many open files" in found.stderr.splitlines()[-1]
