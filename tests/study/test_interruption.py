"""Ctrl-C and kill -9 of the whole program, which need a program of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import neuro_decorr
from neuro_decorr.study import provenance

Command = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    # A limit only for a test that fails; nothing is measured.
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited a minute for {what}")


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    try:
        # A process that ended and that nobody has asked after is dead too.
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return Path("/proc").is_dir() is False


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_study_that_is_stopped_goes_on_where_it_was(root: Path, command: Command, blow: signal.Signals) -> None:
    source = str(Path(neuro_decorr.__file__).parents[1])
    arguments = ["run", "tiny", "--out", "one", "--items", "4"]
    (root / "protocols" / "gate").touch()
    with subprocess.Popen(
        [sys.executable, "-m", "neuro_decorr", *arguments, "--workers", "2"],
        env={**os.environ, "PYTHONPATH": source},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        stored = root / "one" / "runs" / "measure"
        # The runs of seed 0 end, and those of seed 1 wait: the blow meets both workers inside a run.
        wait_for(lambda: len(list(stored.glob("*.json"))) == 8, "the runs of seed 0")
        wait_for(lambda: len(list((root / "protocols").glob("*.pid"))) == 2, "the second worker")
        if blow is signal.SIGINT:
            os.killpg(program.pid, blow)  # As a terminal does: to every process of the group.
        else:
            program.kill()
        assert program.stderr is not None
        err = program.stderr.read()
        code = program.wait()
    workers = [int(path.stem) for path in (root / "protocols").glob("*.pid")]
    assert len(workers) == 2
    wait_for(lambda: not any(map(alive, workers)), "the end of the workers")
    assert len(list((root / "one" / "runs").glob("*/*.json"))) == 10
    assert not (root / "one" / "rows").exists()
    if blow is signal.SIGINT:
        assert code == 130
        assert "Traceback" not in err
        assert err.splitlines()[-1] == (
            f"Interrupted: one has 10 stored runs; go on with: neuro-decorr {' '.join(arguments)} --workers 2"
        )
        assert list((root / "one").rglob("*.tmp")) == []

    # What the killed session was made from is on record: nothing else goes on in its place.
    (session,) = provenance.read(root / "one")
    assert 1 <= session["runs_computed"] <= 10
    assert session["outcome"] == ("interrupted" if blow is signal.SIGINT else "running, or killed")
    protocol = root / "protocols" / "tiny.py"
    before = protocol.read_text()
    protocol.write_text(before.replace("seed / 7", "seed / 8"))
    code, _, err = command(*arguments, "--workers", "1")
    assert (code, "10 of 10 runs in one were made from other data, code or versions" in err) == (2, True)
    protocol.write_text(before)

    (root / "protocols" / "gate").unlink()
    code, _, err = command(*arguments, "--workers", "1")
    assert code == 0
    assert "16 runs, 8 stored before, 4 diverged" in err
    assert list((root / "one").rglob("*.tmp")) == []
    assert len(pd.read_parquet(root / "one" / "rows" / "runs.parquet")) == 18
