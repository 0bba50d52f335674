import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from neuro_decorr.study.provenance import NAME, Provenance, commit, machine, versions


def session(directory: Path, file: Path) -> Provenance:
    return Provenance(directory, file, ["neuro-decorr", "run"], [0, 1], 2)


def test_every_session_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "protocol.py"
    file.write_text("one")
    first = session(tmp_path, file)
    assert json.loads((tmp_path / NAME).read_text())["sessions"][0]["ended"] is None
    first.end("interrupted", 3)
    second = session(tmp_path, file)
    second.end("complete", 1)
    assert second.warnings == []
    sessions = json.loads((tmp_path / NAME).read_text())["sessions"]
    assert [(one["outcome"], one["runs_computed"]) for one in sessions] == [("interrupted", 3), ("complete", 1)]
    assert sessions[0]["seeds"] == [0, 1]
    assert {"python", "torch", "numpy", "neuro-decorr"} <= set(sessions[0]["versions"]) | {"neuro-decorr"}
    assert sessions[0]["machine"]["cores"] >= 1
    assert sessions[0]["started"] <= sessions[1]["ended"]


def test_a_changed_protocol_is_told(tmp_path: Path) -> None:
    file = tmp_path / "protocol.py"
    file.write_text("one")
    session(tmp_path, file).end("complete", 3)
    file.write_text("two")
    assert any("another protocol" in warning for warning in session(tmp_path, file).warnings)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda folder: (folder / "measures.py").write_text("two"), True),
        (lambda folder: (folder / "deep" / "__init__.py").write_text("two"), True),
        (lambda folder: (folder / "more.py").write_text(""), True),
        (lambda folder: (folder / "measures.py").rename(folder / "population.py"), True),
        (lambda folder: (folder / "notes.txt").write_text("two"), False),
        (lambda folder: (folder / "measures.py").write_text("one"), False),
    ],
    ids=["a helper", "a folder below", "a new file", "a new name", "no Python", "the same again"],
)
def test_every_module_in_the_folder_of_a_protocol_counts(
    tmp_path: Path, change: Callable[[Path], object], seen: bool
) -> None:
    folder = tmp_path / "protocols" / "large"
    (folder / "deep").mkdir(parents=True)
    for name in ("__init__.py", "measures.py", "deep/__init__.py", "notes.txt"):
        (folder / name).write_text("one")
    session(tmp_path, folder / "__init__.py").end("complete", 3)
    change(folder)
    warnings = session(tmp_path, folder / "__init__.py").warnings
    assert warnings == [f"earlier runs in {tmp_path} were made with another protocol; see {NAME}"] * seen


def test_a_damaged_record_is_told_and_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "protocol.py"
    file.write_text("one")
    (tmp_path / NAME).write_text('{"sessions": [')
    assert "damaged" in session(tmp_path, file).warnings[0]
    assert len(json.loads((tmp_path / NAME).read_text())["sessions"]) == 1


def test_commit_and_whether_it_is_the_whole_truth(tmp_path: Path) -> None:
    assert commit(tmp_path) is None

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-m", "one", "--no-verify")
    clean = commit(tmp_path)
    assert clean is not None
    assert (len(clean["commit"]), clean["dirty"]) == (40, False)
    (tmp_path / "notes.txt").write_text("not code")
    assert commit(tmp_path) == clean
    (tmp_path / "a.py").write_text("2")
    assert commit(tmp_path) == {**clean, "dirty": True}


def test_versions_and_machine_are_plain() -> None:
    assert json.loads(json.dumps([versions(), machine()])) == [versions(), machine()]
