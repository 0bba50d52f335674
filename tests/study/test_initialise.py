"""`neuro-decorr init` from a checkout, and what it refuses; the wheel's side is in tests/test_wheel.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from neuro_decorr.study import discovery, initialise

Command = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["study", "a path/with spaces and ünicode"])
def test_it_lays_out_a_study_directory(
    name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command("init", name)
    assert (code, out) == (0, "")
    assert err.startswith(f"wrote the study directory {name}; go on with: cd ")
    made = tmp_path / name
    assert {path.name for path in made.iterdir()} == {*initialise.PARTS, "README.md", "tutorial.py"}
    assert discovery.find_root(made / "models") == made.resolve()
    assert discovery.names(made) == discovery.names(ROOT) != []
    assert not list(made.rglob("__pycache__"))


def test_in_an_empty_current_directory(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = command("init", ".")
    assert (code, err) == (0, "wrote the study directory .; go on with: neuro-decorr list\n")


def test_its_readme_names_commands_and_places_that_exist(command: Command, tmp_path: Path) -> None:
    command("init", str(tmp_path / "study"))
    text = (tmp_path / "study" / "README.md").read_text(encoding="utf-8")
    assert str(Path(initialise.__file__).parents[2]) not in text, "no path of this machine"
    for part in (*initialise.PARTS, initialise.TUTORIAL):
        assert f"`{part}" in text and (tmp_path / "study" / part).exists()
    for line in (line for line in text.splitlines() if line.startswith("    neuro-decorr ")):
        assert command(line.split()[1], "--help")[0] == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("full", "full is not empty (it has thesis.tex); name a directory that is new or empty."),
        ("file", "file cannot be made: a file is in the way; name another directory."),
        ("file/below", "file/below cannot be made: a file is in the way; name another directory."),
        (".", ". is not empty (it has file); name a directory that is new or empty."),
    ],
)
def test_it_refuses_what_holds_something_in_one_line(
    name: str, told: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("full").mkdir()
    Path("full/thesis.tex").write_text("mine")
    assert command("init", name) == (2, "", f"neuro-decorr: {told}\n")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "thesis.tex"]


def test_twice_is_refused_and_changes_nothing(command: Command, tmp_path: Path) -> None:
    study = tmp_path / "study"
    assert command("init", str(study))[0] == 0
    (study / "protocols" / "mine.py").write_text("mine")
    code, _, err = command("init", str(study))
    assert (code, len(err.splitlines())) == (2, 1)
    assert (study / "protocols" / "mine.py").read_text() == "mine"


def test_what_cannot_be_written_leaves_nothing_behind(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after ten files; the directory that was there stays, those that were not go."""
    empty = tmp_path / "empty"
    empty.mkdir()
    write, written = Path.write_bytes, []

    def until_full(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) % 10 == 0:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    for place in (empty, tmp_path / "new" / "study"):
        code, _, err = command("init", str(place))
        assert (code, len(err.splitlines())) == (2, 1)
        assert f"cannot write {place}: No space left on device" in err
    assert list(tmp_path.rglob("*")) == [empty]


def test_a_read_only_place(command: Command, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    code, _, err = command("init", str(tmp_path / "study"))
    tmp_path.chmod(0o755)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "Permission denied" in err
