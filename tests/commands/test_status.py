"""How far a study is, from its files: counts against what was done to them, and nothing changed."""

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import neuro_decorr
from neuro_decorr.study import files, holder, provenance
from neuro_decorr.study.lock import Lock

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study(complete: Path, root: Path) -> Path:
    """A copy of a complete study of the protocol `tiny`, in results/."""
    shutil.copytree(complete, root / "results" / "one")
    return root / "results" / "one"


def content(directory: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(directory)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
        )
        for path in [directory, *directory.rglob("*")]
    }


def session(study: Path, **changes: Any) -> None:
    """Another last session on record."""
    sessions = provenance.read(study)
    sessions[-1].update(changes)
    document = {"checksum": files.digest(files.canonical(sessions)), "sessions": sessions}
    (study / provenance.NAME).write_text(json.dumps(document))


def record(command: Command, *directories: str) -> Any:
    code, out, err = command("status", *directories, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_complete_study(study: Path, command: Command) -> None:
    before = content(study)
    code, out, err = command("status", "results/one")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "results/one: protocol tiny: Is it <small>?"
    assert lines[1] == "  stage 1 of 2 (select): 2 of 2 runs stored"
    assert lines[2] == "  stage 2 of 2 (measure): 8 of 8 runs stored, 2 of them diverged"
    assert lines[3].startswith("  complete: last session of 20") and "10 runs computed" in lines[3]
    assert len(lines) == 4
    assert command("status").out.splitlines()[1:] == lines[1:]  # all of results/
    assert content(study) == before


def test_what_is_missing_is_counted_by_what_became_of_it(study: Path, command: Command) -> None:
    runs = sorted((study / "runs" / "measure").glob("*.json"))
    states = [files.unseal(path.read_bytes()) for path in runs]
    whole = [path for path, run in zip(runs, states, strict=True) if not run["diverged"]]
    diverged = [path for path, run in zip(runs, states, strict=True) if run["diverged"]]
    whole[0].write_bytes(whole[0].read_bytes()[:-10])
    whole[1].write_bytes(whole[2].read_bytes().replace(b'"study":"', b'"study":"x'))
    for path in (whole[2], whole[3], diverged[0]):
        path.unlink()
    (study / "failures").mkdir()
    (study / "failures" / f"{whole[2].stem}.txt").write_text("")
    checkpoint = study / "checkpoints" / "measure" / whole[3].stem / "0"
    checkpoint.mkdir(parents=True)
    (checkpoint / "20.json").write_text("")
    (study / "checkpoints" / "measure" / diverged[0].stem).mkdir()
    session(study, outcome="incomplete", workers="2 processes")
    (found,) = record(command, "results/one")
    select, measure = found["stages"]
    assert (select["declared"], select["stored"], select["missing"]) == (2, 2, 0)
    expected = {"declared": 8, "stored": 3, "missing": 5, "diverged": 1, "failed": 1, "damaged": 2, "checkpoints": 1}
    assert {name: measure[name] for name in expected} == expected
    assert found["left"] is not None and found["left"] > 0
    assert found["state"] == "incomplete"
    told = command("status", "results/one").out.splitlines()
    parts = "5 missing (1 failed, 2 damaged, 1 with a checkpoint)"
    assert told[2] == f"  stage 2 of 2 (measure): 3 of 8 runs stored, 1 of them diverged, {parts}"
    assert told[3].endswith("go on with: neuro-decorr run tiny --out results/one --workers 1")


def test_the_time_left_is_that_of_runs_of_the_same_arm(study: Path, command: Command) -> None:
    """Runs of `whitening` take 100 s, those of `center` 1 s; two of the former and one of the latter are missing."""
    taken = {"whitening": 2, "center": 1}
    for path in sorted((study / "runs" / "measure").glob("*.json")):
        run = files.unseal(path.read_bytes())
        arm = run["factors"]["arm"]
        if taken[arm]:
            taken[arm] -= 1
            path.unlink()
        else:
            path.write_bytes(files.seal({**run, "wall_seconds": 100.0 if arm == "whitening" else 1.0}))
    session(study, outcome="interrupted", workers="1 process")
    assert record(command, "results/one")[0]["left"] == pytest.approx(201)
    session(study, workers="3 processes")
    assert record(command, "results/one")[0]["left"] == pytest.approx(100)  # no run is shared among workers
    assert "about 1 min 40 s left with 3 processes" in command("status", "results/one").out
    session(study, workers="7 processes")  # all seven stored runs may be the first of their processes
    assert record(command, "results/one")[0]["left"] is None
    payload = files.unseal((study / "stages.json").read_bytes())
    del payload["factors"]  # as an earlier version wrote it
    (study / "stages.json").write_bytes(files.seal(payload))
    session(study, workers="1 process")
    assert record(command, "results/one")[0]["left"] == pytest.approx(3 * (2 * 100 + 3 * 1) / 5)


def test_the_time_left_is_unknown_while_an_arm_has_no_run(study: Path, command: Command) -> None:
    for path in (study / "runs" / "measure").glob("*.json"):
        if files.unseal(path.read_bytes())["factors"]["arm"] == "whitening":
            path.unlink()
    for path in list((study / "runs" / "measure").glob("*.json"))[1:]:
        path.unlink()
    session(study, outcome="interrupted", workers="1 process")
    assert record(command, "results/one")[0]["left"] is None
    assert "time left unknown" in command("status", "results/one").out


def test_a_study_with_a_stage_to_come(study: Path, command: Command) -> None:
    shutil.rmtree(study / "runs" / "measure")
    payload = files.unseal((study / "stages.json").read_bytes())
    (study / "stages.json").write_bytes(files.seal({**payload, "stages": payload["stages"][:1]}))
    session(study, outcome="interrupted")
    (found,) = record(command, "results/one")
    assert (len(found["stages"]), found["undeclared"], found["state"]) == (1, 1, "interrupted")
    told = command("status", "results/one").out.splitlines()
    assert told[2] == "  stage 2 of 2: to be declared when the earlier stages are complete"
    assert "at least 0 s left" in told[3]


def test_runs_that_an_earlier_choice_left_are_told_apart(study: Path, command: Command) -> None:
    payload = files.unseal((study / "stages.json").read_bytes())
    payload["stages"][1]["measure"] = payload["stages"][1]["measure"][:6]
    (study / "stages.json").write_bytes(files.seal(payload))
    (found,) = record(command, "results/one")
    assert (found["stages"][1]["declared"], found["stages"][1]["missing"]) == (6, 0)
    assert found["notes"] == ["no stage declares 2 stored runs any more"]


def test_a_study_that_somebody_works_on(study: Path, command: Command) -> None:
    """This process holds the lock: a status that took it would be refused, or would take it away."""
    began = datetime.now(UTC) - timedelta(minutes=10)
    session(study, outcome="running, or killed", ended=None, started=began.isoformat(timespec="seconds"))
    assert record(command, "results/one")[0]["state"] == "killed"
    with Lock(study):
        (found,) = record(command, "results/one")
        assert found["state"] == "running"
        assert found["holder"] == f"process {os.getpid()} on {platform.node()}"
        # The test itself may be held up, by less than a minute.
        assert 600 <= found["elapsed"] <= 660
        assert "  running: process" in command("status", "results/one").out
    assert record(command, "results/one")[0]["state"] == "killed"
    (study / ".lock").write_text("process 1 on another.machine\n")
    assert record(command, "results/one")[0]["state"] == "perhaps running"
    assert "perhaps running: process 1 on another.machine (unknown from here)" in command("status", "results/one").out


def test_without_a_table_of_locks_the_process_is_asked_for(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(holder, "_LOCKS", tmp_path / "absent")
    (study / ".lock").write_text(f"process {os.getpid()} on {platform.node()}\n")
    assert holder.holder(study).holds is True
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    (study / ".lock").write_text(f"process {ended.pid} on {platform.node()}\n")
    assert holder.holder(study).holds is False
    (study / ".lock").write_text(f"process {10**30} on {platform.node()}\n")
    assert holder.holder(study).holds is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_study_while_it_runs_and_after_it_was_killed(root: Path, command: Command) -> None:
    source = str(Path(neuro_decorr.__file__).parents[1])
    (root / "protocols" / "gate").touch()
    arguments = ["run", "tiny", "--out", "one", "--workers", "1", "--items", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "neuro_decorr", *arguments],
        env={**os.environ, "PYTHONPATH": source},
        stderr=subprocess.DEVNULL,
    ) as program:
        try:
            for _ in range(1200):  # a limit for a test that fails
                if len(list((root / "one" / "runs" / "measure").glob("*.json"))) == 2:
                    break
                time.sleep(0.05)
            (found,) = record(command, "one")
        finally:
            program.send_signal(signal.SIGKILL)
    assert (found["state"], found["holder"]) == ("running", f"process {program.pid} on {platform.node()}")
    assert [(stage["stored"], stage["missing"]) for stage in found["stages"]] == [(2, 0), (2, 2)]
    assert found["question"] == "Is it <small>?" and found["session"]["workers"] == "1 process"
    (found,) = record(command, "one")
    assert found["state"] == "killed"
    assert "go on with: neuro-decorr" in command("status", "one").out


@pytest.mark.parametrize("name", ["stages.json", "provenance.json"])
@pytest.mark.parametrize(
    "bad", [b"", b"\xff\xfe", b"[]", b'{"checksum": 1, "payload": {}, "sessions": 3}', b"[" * 200_000]
)
def test_a_damaged_record_is_a_note(study: Path, command: Command, name: str, bad: bytes) -> None:
    (study / name).write_bytes(bad)
    (found,) = record(command, "results/one")
    assert [stage["stored"] for stage in found["stages"]] in ([2, 8], [8, 2])
    assert len(found["notes"]) == 1 and name in found["notes"][0]
    code, out, err = command("status", "results/one")
    assert (code, err) == (0, "") and "Traceback" not in out and f"note: {name} is " in out


@pytest.mark.parametrize("bad", [b"", b"\xff", b"{}", b"[" * 200_000])
def test_what_is_no_study_is_one_line_beside_the_others(study: Path, command: Command, root: Path, bad: bytes) -> None:
    broken = root / "results" / "broken"
    broken.mkdir()
    (broken / "configuration.json").write_bytes(bad)
    code, out, err = command("status", "results/broken", "results/one")
    assert code == 2
    assert out.startswith("results/one: protocol tiny")
    assert err.startswith("neuro-decorr: results/broken/configuration.json is damaged") and len(err.splitlines()) == 1
    code, out, err = command("status", "absent", "results/one", "--json")
    assert code == 2 and len(err.splitlines()) == 1
    first, second = json.loads(out)
    assert "holds no study" in first["error"] and second["state"] == "complete"


def test_without_any_study_one_line_says_so(root: Path, command: Command) -> None:
    code, out, err = command("status")
    assert (code, out) == (2, "")
    assert err.endswith("name its directory: neuro-decorr status DIR\n") and len(err.splitlines()) == 1
