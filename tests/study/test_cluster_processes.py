"""A Dask cluster of separate processes, of which some are killed: nothing that ended is lost or counted twice."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neuro_decorr.study import provenance
from tests._dask import SOURCE, DaskProcesses, alive, wait_for

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
Command = Callable[..., tuple[int, str, str]]
SAME = ("rows/courses.parquet", "rows/runs.parquet", "finding.txt", "tables/means.csv")


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[DaskProcesses]:
    folder = tmp_path / "dask"
    folder.mkdir()
    processes = DaskProcesses(folder)
    processes.start_scheduler()
    try:
        yield processes
    finally:
        processes.close()


class Client:
    """`neuro-decorr run tiny --out one` on the cluster, as a program of its own."""

    def __init__(self, dask: DaskProcesses, root: Path, *options: str, patience: float = 300) -> None:
        self.stored = root / "one" / "runs" / "measure"
        code = (
            "import sys; from neuro_decorr.study import cluster; from neuro_decorr.cli import main; "
            f"cluster.Cluster.__init__.__kwdefaults__['patience'] = {patience}; sys.exit(main(sys.argv[1:]))"
        )
        self.log = root / "client.log"
        with self.log.open("wb") as log:
            self.program = subprocess.Popen(
                [sys.executable, "-c", code, "run", "tiny", "--out", "one", "--scheduler", dask.address, *options],
                env={**os.environ, "PYTHONPATH": SOURCE},
                stderr=log,
                cwd=root,
            )

    def wait_for_runs(self, number: int) -> None:
        wait_for(lambda: len(list(self.stored.glob("*.json"))) >= number, f"{number} runs")

    def end(self) -> tuple[int, str]:
        code = self.program.wait(120)
        told = self.log.read_text()
        assert "Traceback" not in told, told
        return code, told


def running(root: Path) -> set[int]:
    """The processes of runs."""
    return {int(path.stem) for path in (root / "protocols").glob("*.pid") if alive(int(path.stem))}


def test_a_worker_that_is_killed_costs_nothing(root: Path, complete: Path, dask: DaskProcesses) -> None:
    first = dask.start_worker()
    (root / "protocols" / "gate").touch()
    client = Client(dask, root)
    client.wait_for_runs(4)
    wait_for(lambda: len(running(root)) == 1, "a run that waits")
    dask.kill(first)
    wait_for(lambda: not running(root), "the end of the run, whose worker is dead")
    none = f"waiting for workers: none is connected to {dask.address}."
    wait_for(lambda: none in client.log.read_text(), "the line that no worker is there")
    dask.start_worker()
    wait_for(lambda: running(root), "the run, tried again")
    wait_for(lambda: " 1 worker again." in client.log.read_text(), "the line that one is there again")
    assert client.log.read_text().count(none) == 1
    (root / "protocols" / "gate").unlink()
    code, told = client.end()
    assert code == 0, told
    assert "its worker was lost; trying this run once more" in told
    for name in SAME:
        assert (root / "one" / name).read_bytes() == (complete / name).read_bytes()
    (session,) = provenance.read(root / "one")
    assert session["runs_computed"] == 10


def test_a_worker_that_is_lost_while_it_starts_a_run_is_told(root: Path, dask: DaskProcesses) -> None:
    # What the protocol does on import goes before the first run.
    path = root / "protocols" / "tiny.py"
    wait = 'while (HERE / "shut").exists() and "neuro_decorr.study.cluster_child" in " ".join(sys.orig_argv):'
    stop = f'{wait}\n    (HERE / f"{{os.getpid()}}.pid").touch()\n    time.sleep(0.05)\n'
    text = path.read_text().replace("import os, signal, time", "import os, signal, sys, time")
    path.write_text(text.replace("\n\nclass Configuration", f"\n{stop}\n\nclass Configuration", 1))
    (root / "protocols" / "shut").touch()
    first = dask.start_worker()
    client = Client(dask, root, "--items", "1")
    wait_for(lambda: running(root), "a process that starts")
    dask.kill(first)
    wait_for(lambda: not running(root), "its end")
    dask.start_worker()
    wait_for(lambda: "its worker was lost; trying this run once more" in client.log.read_text(), "the line")
    (root / "protocols" / "shut").unlink()
    code, told = client.end()
    assert code == 0, told


def test_a_scheduler_that_comes_back_goes_on_and_one_that_does_not_is_told(
    root: Path, complete: Path, dask: DaskProcesses, command: Command
) -> None:
    dask.start_worker()
    (root / "protocols" / "gate").touch()
    client = Client(dask, root, patience=60)
    client.wait_for_runs(4)
    wait_for(lambda: running(root), "a run that waits")
    dask.kill(dask.scheduler)
    wait_for(lambda: "was lost; waiting for it up to 60 s" in client.log.read_text(), "the line")
    wait_for(lambda: not running(root), "the end of the runs, whose scheduler is gone")
    dask.start_scheduler()
    dask.start_worker()
    wait_for(lambda: running(root), "the runs, handed over again")
    (root / "protocols" / "gate").unlink()
    code, told = client.end()
    assert (code, "is back" in told) == (0, True), told
    for name in SAME:
        assert (root / "one" / name).read_bytes() == (complete / name).read_bytes()
    assert provenance.read(root / "one")[-1]["runs_computed"] == 10

    # Two more runs, and nobody comes back.
    (root / "protocols" / "gate").touch()
    shutil.rmtree(client.stored)
    client = Client(dask, root, patience=3)
    client.wait_for_runs(4)
    dask.kill(dask.scheduler)
    code, told = client.end()
    assert code == 2
    last = told.splitlines()[-1]
    assert re.match(rf"neuro-decorr: no scheduler answers at {dask.address} within 3 s \(.*\); 6 runs are stored", last)
    (root / "protocols" / "gate").unlink()
    assert command("run", "tiny", "--out", "one", "--workers", "1")[0] == 0
    assert provenance.read(root / "one")[-1]["runs_computed"] == 4


def test_a_worker_with_another_library_is_refused(root: Path, dask: DaskProcesses, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(Path(SOURCE) / "neuro_decorr", copy / "neuro_decorr")
    path = copy / "neuro_decorr" / "study" / "conditions.py"
    path.write_text(path.read_text() + "# changed\n")
    dask.start_worker(path=str(copy))
    code, told = Client(dask, root).end()
    assert code == 2
    assert re.search(r"the worker tcp://127.0.0.1:\d+ on \S+ has other data, code or versions", told)
    assert "neuro_decorr/study/conditions.py: stored" in told
    assert not list((root / "one" / "runs").glob("*/*"))


def test_a_directory_is_of_one_study_at_a_time(root: Path, dask: DaskProcesses, command: Command) -> None:
    dask.start_worker()
    (root / "protocols" / "gate").touch()
    client = Client(dask, root)
    client.wait_for_runs(4)
    code, _, err = command("run", "tiny", "--out", "one", "--scheduler", dask.address)
    assert (code, "one is in use by process" in err) == (2, True)
    (root / "protocols" / "gate").unlink()
    assert client.end()[0] == 0


def test_a_process_that_is_stopped_hangs_and_is_ended(root: Path, dask: DaskProcesses) -> None:
    dask.start_worker()
    (root / "protocols" / "gate").touch()
    client = Client(dask, root, "--timeout", "6s", "--items", "1")
    client.wait_for_runs(2)
    wait_for(lambda: running(root), "a run that waits")
    (process,) = running(root)
    os.kill(process, signal.SIGSTOP)
    code, told = client.end()
    assert code == 1
    assert "it took longer than 6 s (--timeout), so it was ended" in told
    assert not alive(process)


def test_a_worker_whose_time_is_over_hands_its_run_on(root: Path, complete: Path, dask: DaskProcesses) -> None:
    dask.start_worker()
    (root / "protocols" / "gate").touch()
    client = Client(dask, root)
    client.wait_for_runs(4)
    wait_for(lambda: running(root), "a run that waits")
    (first,) = running(root)
    with distributed.Client(dask.address, set_as_default=False) as other:
        (address,) = other.nthreads()
        dask.start_worker()
        wait_for(lambda: len(running(root)) == 2, "a second run that waits")
        other.retire_workers([address], close_workers=True)  # as `dask worker --lifetime` does
    wait_for(lambda: not alive(first), "the end of the first worker's run")
    (root / "protocols" / "gate").unlink()
    code, told = client.end()
    assert code == 0, told
    for name in SAME:
        assert (root / "one" / name).read_bytes() == (complete / name).read_bytes()
    assert provenance.read(root / "one")[-1]["runs_computed"] == 10
