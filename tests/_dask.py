"""A Dask cluster of separate processes on this machine, of which each can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import neuro_decorr

SOURCE = str(Path(neuro_decorr.__file__).parents[1])


def wait_for(condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    # A limit only for a test that fails; nothing is measured.
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether a process computes; one that ended and that nobody has asked after does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class DaskProcesses:
    """One scheduler and some workers, each a program of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        # Without a dashboard it would listen all the same, at 8787.
        places = ("--host", "127.0.0.1", "--port", str(self.port), "--dashboard-address", "127.0.0.1:0")
        self.scheduler = self._start("scheduler", *places, "--no-dashboard")

    def start_worker(self, *options: str, path: str = SOURCE, nanny: bool = False) -> subprocess.Popen[bytes]:
        kept = "--nanny" if nanny else "--no-nanny"
        given = (self.address, kept, "--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder))
        self.workers.append(self._start("worker", *given, *options, path=path))
        return self.workers[-1]

    def kill(self, process: subprocess.Popen[bytes] | None) -> None:
        assert process is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, kind: str, *options: str, path: str = SOURCE) -> subprocess.Popen[bytes]:
        with (self.folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options],
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
