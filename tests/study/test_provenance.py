import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from neuro_decorr.study.provenance import NAME, Provenance, commit, machine, read, versions

ORIGIN = {"data": {}, "protocol": "p", "library": "l", "versions": {"python": "3.12"}}


def session(directory: Path) -> Provenance:
    record = Provenance(directory)
    record.begin(["neuro-decorr", "run"], [0, 1], "2 processes", ORIGIN, directory)
    return record


def test_every_session_is_recorded(tmp_path: Path) -> None:
    first = session(tmp_path)
    assert json.loads((tmp_path / NAME).read_text())["sessions"][0]["ended"] is None
    first.end("interrupted", 3)
    second = session(tmp_path)
    second.end("complete", 1)
    assert second.warnings == []
    sessions = read(tmp_path)
    assert [(one["outcome"], one["runs_computed"]) for one in sessions] == [("interrupted", 3), ("complete", 1)]
    assert [one["origin"] for one in sessions] == [ORIGIN, ORIGIN]
    assert sessions[0]["seeds"] == [0, 1]
    assert {"python", "torch", "numpy", "neuro-decorr"} <= set(sessions[0]["versions"]) | {"neuro-decorr"}
    assert sessions[0]["machine"]["cores"] >= 1
    assert sessions[0]["started"] <= sessions[1]["ended"]


def test_a_session_that_is_killed_is_on_record_with_its_runs(tmp_path: Path) -> None:
    session(tmp_path).computed(3)
    (one,) = read(tmp_path)
    assert (one["runs_computed"], one["outcome"], one["ended"]) == (3, "running, or killed", None)


def test_a_session_without_an_end_was_killed_if_a_later_one_has_begun(tmp_path: Path) -> None:
    session(tmp_path)
    assert read(tmp_path)[0]["outcome"] == "running, or killed"
    second = session(tmp_path)
    assert [one["outcome"] for one in read(tmp_path)] == ["killed", "running, or killed"]
    second.end("complete", 1)
    assert [one["outcome"] for one in read(tmp_path)] == ["killed", "complete"]
    # A merged session may still run in its own directory, however late it began.
    second.sessions[0].update(outcome="running, or killed", merged_from="elsewhere")
    second.end("complete", 1)
    assert [one["outcome"] for one in read(tmp_path)] == ["running, or killed", "complete"]
    second.sessions.append({**second.sessions[0], "outcome": "failed"})
    second.end("complete", 1)
    assert [one["outcome"] for one in read(tmp_path)][:2] == ["killed", "complete"]


def test_reading_the_record_changes_nothing(tmp_path: Path) -> None:
    Provenance(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"runs_computed": 3', '"runs_computed": 4'),
        lambda text: text[: len(text) // 2],
        lambda text: json.dumps({"sessions": json.loads(text)["sessions"]}),
        lambda _: "[" * 200_000,
        lambda _: "",
    ],
    ids=["another number", "half", "no checksum", "deep", "empty"],
)
def test_a_damaged_record_is_told_and_kept_aside(tmp_path: Path, damage: Callable[[str], str]) -> None:
    session(tmp_path).end("complete", 3)
    bad = damage((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(bad)
    assert "damaged" in session(tmp_path).warnings[0]
    assert len(read(tmp_path)) == 1
    assert (tmp_path / f"{NAME}.damaged").read_text() == bad


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
