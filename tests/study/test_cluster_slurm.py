"""A study in jobs of Slurm, whose commands are scripts here that run the job on this machine."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import dask.config
import pytest

from neuro_decorr.study import provenance
from tests._dask import alive, wait_for

pytest.importorskip("dask_jobqueue")
Command = Callable[..., tuple[int, str, str]]

SBATCH = """#!/bin/bash
if [ "$1" = --test-only ]; then
    grep -q "^#SBATCH -A good" "$2" || { echo "sbatch: error: Invalid account" >&2; exit 1; }
    exit 0
fi
cp "$1" "$JOBS/script.$$"
setsid bash "$JOBS/script.$$" > "$JOBS/log.$$" 2>&1 &
echo $! >> "$JOBS/submitted"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
for job in "$@"; do echo "$job" >> "$JOBS/cancelled"; kill -TERM -- "-$job"; done
"""
CONFIGURATION = """
jobqueue:
  slurm:
    cores: 1
    processes: 1
    memory: 1GB
    account: {account}
    interface: lo
    worker-extra-args: ["--no-dashboard"]
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder where jobs leave their traces; the configuration of the user is read anew."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, script in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(folder))
    configure(folder, "good")
    before = dask.config.get("jobqueue")
    dask.config.refresh(paths=[str(folder)])
    yield folder
    dask.config.set({"jobqueue": before})
    for job in listed(folder / "submitted"):
        if alive(job):
            os.killpg(job, signal.SIGKILL)


def configure(folder: Path, account: str) -> None:
    (folder / "jobqueue.yaml").write_text(CONFIGURATION.format(account=account))


def listed(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.mark.slow
def test_jobs_compute_the_study_and_are_cancelled(jobs: Path, root: Path, complete: Path, command: Command) -> None:
    code, _, err = command("run", "tiny", "--out", "one", "--slurm", "--workers", "1")
    assert (code, "Traceback" in err) == (0, False), err
    for name in ("rows/courses.parquet", "rows/runs.parquet", "finding.txt"):
        assert (root / "one" / name).read_bytes() == (complete / name).read_bytes()
    (session,) = provenance.read(root / "one")
    assert (session["workers"], session["runs_computed"]) == ("1 job of Slurm", 10)
    (job,) = listed(jobs / "submitted")
    assert listed(jobs / "cancelled") == [job]
    wait_for(lambda: not alive(job), "the end of the job")


# A scheduler of Dask that could not begin leaves a coroutine behind.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_slurm_refuses_is_told(jobs: Path, root: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(jobs, "bad")
    dask.config.refresh(paths=[str(jobs)])
    code, _, err = command("run", "tiny", "--out", "one", "--slurm", "--workers", "1")
    assert code == 2
    assert "sbatch refuses a job" in err.splitlines()[-1]
    assert err.splitlines()[-1].endswith("sbatch: error: Invalid account")
    for wrong, told in (
        ({"interface": "ib77"}, "cannot use ~/.config/dask/jobqueue.yaml (section jobqueue: slurm:): "),
        ({"memory": "16 gigs"}, "Could not interpret 'gigs'"),
        ({"processes": 2}, "says 2 processes of 1 cores"),
    ):
        with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in wrong.items()}):
            code, _, err = command("run", "tiny", "--out", "one", "--slurm", "--workers", "1")
        assert (code, told in err.splitlines()[-1]) == (2, True), err
    dask.config.set({"jobqueue.slurm.cores": None})
    code, _, err = command("run", "tiny", "--out", "one", "--slurm", "--workers", "1")
    assert (code, "jobqueue.yaml (section jobqueue: slurm:) lacks cores of a job" in err) == (2, True)
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = command("run", "tiny", "--out", "one", "--slurm", "--workers", "1")
    assert (code, "the command sbatch is not found" in err) == (2, True)
    assert "as --workers N" in command("run", "tiny", "--out", "one", "--slurm")[2]
    assert not listed(jobs / "submitted")
