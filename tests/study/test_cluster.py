"""Studies on a Dask cluster: the same results, files and messages as on one machine, whoever dies."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dask.config
import pandas as pd
import pytest

from neuro_decorr.study import cluster, provenance
from tests._dask import SOURCE, alive, wait_for

distributed = pytest.importorskip("distributed")
Command = Callable[..., tuple[int, str, str]]
SAME = ("rows/courses.parquet", "rows/runs.parquet", "finding.txt", "tables/means.csv", "tables/means.md")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A cluster within this process; the runs have processes of their own all the same."""
    patient = {"distributed.comm.timeouts.connect": "120s", "distributed.deploy.lost-worker-timeout": "120s"}
    given = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "protocol": "tcp://"}
    with dask.config.set(patient):
        local = distributed.LocalCluster(**given, dashboard_address=":0")  # any free port: None means 8787
        yield local.scheduler_address
        local.close(timeout=60)


def same(one: Path, other: Path) -> None:
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_cluster_gives_the_same_study(scheduler: str, root: Path, complete: Path, command: Command) -> None:
    code, _, err = command("run", "tiny", "--out", "one", "--scheduler", scheduler)
    assert (code, "Traceback" in err) == (0, False)
    same(root / "one", complete)
    assert {str(path.relative_to(root / "one")) for path in (root / "one").rglob("*") if path.is_file()} == {
        str(path.relative_to(complete)) for path in complete.rglob("*") if path.is_file()
    }
    (session,) = provenance.read(root / "one")
    assert (session["runs_computed"], session["workers"]) == (10, f"Dask cluster at {scheduler}")
    # Complete: nothing is asked of the cluster, which may be gone.
    assert command("run", "tiny", "--out", "one", "--scheduler", "tcp://127.0.0.1:1")[0] == 0


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("kill once", None),
        ("kill", "by signal 9, 2 times"),
        pytest.param("bug", "a bug", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_is_tried_again_and_a_bug_is_told(
    scheduler: str, root: Path, command: Command, trouble: str, told: str | None
) -> None:
    (root / "protocols" / "measure.trouble").write_text(trouble)
    code, _, err = command("run", "tiny", "--out", "one", "--items", "1", "--scheduler", scheduler)
    assert "Traceback" not in err
    assert ("trying this run once more" in err) == trouble.startswith("kill")
    assert code == (0 if told is None else 1)
    assert told is None or told in err
    assert len(list((root / "one" / "runs").glob("*/*.json"))) == (6 if told is None else 5)


@pytest.mark.slow
def test_a_run_that_hangs_is_ended(scheduler: str, root: Path, command: Command) -> None:
    (root / "protocols" / "gate").touch()
    given = ("run", "tiny", "--out", "one", "--items", "1", "--scheduler", scheduler)
    code, _, err = command(*given, "--timeout", "1s")
    assert (code, "Traceback" in err) == (1, False)
    assert "measure rate=0.5 arm=center item=0 seed=1: it took longer than 1 s (--timeout), so it was ended" in err
    (root / "protocols" / "gate").unlink()
    assert command(*given)[0] == 0
    assert provenance.read(root / "one")[-1]["runs_computed"] == 2


@pytest.mark.slow
def test_a_cluster_that_lives_on_runs_what_the_files_say_now(scheduler: str, root: Path, command: Command) -> None:
    given = ("run", "tiny", "--items", "1", "--scheduler", scheduler, "--out")
    assert command(*given, "one")[0] == 0
    path = root / "protocols" / "tiny.py"
    path.write_text(path.read_text().replace("seed / 7", "seed / 8"))
    assert command(*given, "two")[0] == 0
    values = pd.read_parquet(root / "two" / "rows" / "courses.parquet").query("stage == 'select' and rate == 0.1")
    assert list(values["value"]) == pytest.approx([125.0, 125.1, 125.2], rel=1e-12)


def test_a_full_disk_is_one_line_and_nothing_half_written(
    scheduler: str, root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("run", "tiny", "--out", "one", "--scheduler", scheduler)
    write = Path.write_bytes
    written: list[str] = []

    def full(path: Path, content: bytes) -> int:
        if path.parent.name == "measure":
            written.append(path.name)
            if len(written) > 3:
                write(path, content[:20])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        code, _, err = command(*given)
    assert (code, "Traceback" in err) == (2, False)
    assert err.splitlines()[-1].startswith(f"neuro-decorr: cannot write {root / 'one' / 'runs' / 'measure'}/")
    assert "No space left on device" in err
    stored = len(list((root / "one" / "runs" / "measure").iterdir()))
    assert 1 <= stored <= 3
    assert list((root / "one").rglob("*.tmp")) == []
    assert command(*given)[0] == 0
    assert provenance.read(root / "one")[-1]["runs_computed"] == 8 - stored


def test_a_worker_with_other_versions_is_refused(
    scheduler: str, root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = root / "packages" / "numpy-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9\n")
    monkeypatch.setenv("PYTHONPATH", str(other.parent))
    code, _, err = command("run", "tiny", "--out", "one", "--scheduler", scheduler)
    assert (code, "Traceback" in err) == (2, False)
    assert f"the worker {scheduler.rsplit(':', 1)[0]}" in err
    assert "now 9.9" in err and "numpy: stored" in err
    assert not (root / "one" / "runs").exists()


@pytest.mark.parametrize("missing", ["directory", pytest.param("root", marks=pytest.mark.slow)])
def test_a_worker_that_does_not_see_the_study_says_so(
    scheduler: str, root: Path, command: Command, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(cluster, "_SHARED", 0.0)
    real = cluster.Order
    hidden = root / "elsewhere"
    monkeypatch.setattr(
        cluster, "Order", lambda setup, *given: real(dataclasses.replace(setup, **{missing: hidden}), *given)
    )
    code, _, err = command("run", "tiny", "--out", "one", "--scheduler", scheduler)
    assert code == 2
    assert f"{hidden} is not there" in err.splitlines()[-1]
    assert "same path on every machine" in err.splitlines()[-1]


def test_no_scheduler_is_one_line(root: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_FIRST", 1.0)
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "tcp://", "no such host:80"):
        code, _, err = command("run", "tiny", "--out", "one", "--scheduler", address)
        assert (code, err.count("neuro-decorr:"), "Traceback" in err) == (2, 1, False), address
        assert address in err.splitlines()[-1]


def test_what_does_not_go_together_is_refused(root: Path, command: Command) -> None:
    code, _, err = command("run", "tiny", "--scheduler", "tcp://a:1", "--slurm", "--shard", "3/2")
    assert code == 2
    assert "--scheduler and --slurm: give only one of them" in err
    assert "--shard: got 3/2; should be I/N with I from 1 to N" in err
    refused = command("run", "tiny", "--scheduler", "tcp://a:1", "--workers", "2")[2]
    assert "--workers: leave it out with --scheduler" in refused


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_is_stopped_leaves_nothing_that_computes(
    scheduler: str, root: Path, command: Command, blow: signal.Signals
) -> None:
    (root / "protocols" / "gate").touch()
    arguments = ["run", "tiny", "--out", "one", "--scheduler", scheduler]
    with subprocess.Popen(
        [sys.executable, "-m", "neuro_decorr", *arguments],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        stored = root / "one" / "runs" / "measure"
        wait_for(lambda: len(list(stored.glob("*.json"))) == 4, "the runs of seed 0")
        program.send_signal(blow)
        assert program.stderr is not None
        err = program.stderr.read()
        code = program.wait()
    if blow is signal.SIGINT:
        assert (code, "Traceback" in err) == (130, False)
        assert err.splitlines()[-1].startswith("Interrupted: one has 6 stored runs; go on with: neuro-decorr run tiny")
    running = [int(path.stem) for path in (root / "protocols").glob("*.pid")]
    wait_for(lambda: not any(map(alive, running)), "the end of the runs", 30)
    (root / "protocols" / "gate").unlink()
    assert command(*arguments)[0] == 0
    assert provenance.read(root / "one")[-1]["runs_computed"] == 4
