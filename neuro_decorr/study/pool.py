"""Worker processes that live through all stages of a study, each with its own pipe.

Since every worker has its own pipe, a killed worker leaves nothing locked or half-written that others share: its death
shows at its pipe, only its run is lost, and a new process takes its place.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from multiprocessing import connection, resource_tracker
from pathlib import Path
from types import TracebackType
from typing import Any, final

from neuro_decorr.errors import InvalidValue, StateMismatch
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.origin import LIBRARY
from neuro_decorr.study.worker import THREADS, Message, Setup, work
from neuro_decorr.study.workers import ATTEMPTS, SILENCE, Event, ended, silent, too_long

_PATIENCE = 2.0
"""Time that the workers have to end before they are killed (s)."""


@final
class _Worker:
    """One worker process, its pipe, and its present run."""

    def __init__(self, slot: int, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self.slot = slot
        self.pipe, theirs = context.Pipe()
        # No daemon, so that a run may start processes, such as those of a DataLoader.
        self.process = context.Process(target=work, args=(theirs, setup), name=f"neuro-decorr worker {slot}")
        self._theirs = theirs
        self.ready = False
        self.condition: Condition | None = None
        self.began = self.heard = 0.0
        self.progress: Message | None = None
        self.stack = ""

    def start(self) -> None:
        """Start the process."""
        with _without_interrupt(), _one_thread(), _same_library():
            self.process.start()
        self._theirs.close()

    def receive(self) -> Message | None:
        """Return the next message; None when the process is dead."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            return None
        self.heard = time.monotonic()
        return message


@final
class Pool:
    """Runs conditions in worker processes. It is a context manager: when it is left, no worker is alive.

    Args:
        workers: Largest number of processes; they start when there is something to run.
        setup: Setup of every worker.
    """

    def __init__(self, workers: int, setup: Setup) -> None:
        self._limit = workers
        self._setup = setup
        self._workers: list[_Worker] = []
        self._stillborn = 0
        self._silent: set[Condition] = set()

    @property
    def description(self) -> str:
        """Description of the workers, for the record."""
        return "1 process" if self._limit == 1 else f"{self._limit} processes"

    @property
    def size(self) -> int:
        """Number of runs computed at a time."""
        return self._limit

    def run(self, conditions: Iterable[Condition]) -> Iterator[Event]:
        """Run conditions, as many at a time as there are workers.

        Args:
            conditions: The runs; started in this order.

        Yields:
            Progress, and the end of every run.

        Raises:
            InvalidValue: A worker cannot start, or cannot write.
            StateMismatch: A worker has loaded other code or versions than this process, or the data changed.
        """
        waiting = deque(conditions)
        deaths: dict[Condition, int] = {}
        while waiting or any(worker.condition for worker in self._workers):
            self._assign(waiting)
            for worker in self._wait():
                message = worker.receive()
                if message is None:
                    event = self._bury(worker, waiting, deaths)
                    if event is not None:
                        yield event
                elif message.kind == "ready":
                    worker.ready, self._stillborn = True, 0
                elif message.kind in ("unready", "unwritable"):
                    what = "start" if message.kind == "unready" else f"write in {self._setup.directory}"
                    raise InvalidValue(f"a worker cannot {what}: {message.text}")
                elif message.kind == "changed":
                    raise StateMismatch(f"a file was changed while the study ran: {message.text}.")
                elif message.kind == "stack":
                    worker.stack = message.detail
                elif worker.condition is not None:
                    if message.kind == "progress":
                        worker.progress = message
                    event = Event(worker.condition, worker.slot, message)
                    if message.kind not in ("progress", "note"):
                        worker.condition = None
                        # The worker gets its next run before the caller handles this one.
                        self._assign(waiting)
                    yield event
            yield from self._overdue()

    def _assign(self, waiting: deque[Condition]) -> None:
        busy = sum(worker.condition is not None for worker in self._workers)
        needed = min(self._limit, busy + len(waiting))
        free = [slot for slot in range(self._limit) if slot not in {worker.slot for worker in self._workers}]
        for slot in free[: max(0, needed - len(self._workers))]:
            try:
                # Listed before its start, so that an interrupt in between leaves no process behind.
                self._workers.append(_Worker(slot, self._setup))
                self._workers[-1].start()
            except OSError as error:
                raise InvalidValue(
                    f"worker {slot + 1} of {self._limit} cannot start: {error.strerror or error}; give fewer "
                    "--workers, or raise that limit of the system (ulimit -a)."
                ) from error
        for worker in self._workers:
            if waiting and worker.ready and worker.condition is None:
                condition = waiting.popleft()
                try:
                    worker.pipe.send(condition)
                except OSError:
                    waiting.appendleft(condition)  # the worker died idle, which its pipe shows at the next wait
                else:
                    worker.condition = condition
                    worker.began = worker.heard = time.monotonic()
                    worker.progress, worker.stack = None, ""

    def _wait(self) -> list[_Worker]:
        by_handle: dict[Any, _Worker] = {}
        for worker in self._workers:
            # The sentinel too, since a child of the worker may hold the other end of the pipe open.
            by_handle[worker.pipe] = by_handle[worker.process.sentinel] = worker
        ready = connection.wait(list(by_handle), self._patience())
        found = {by_handle[handle].slot: by_handle[handle] for handle in ready}
        for worker in list(found.values()):
            if not worker.process.is_alive() and not worker.pipe.poll():
                worker.pipe.close()  # so receive() shows the death at once
        return list(found.values())

    def _patience(self) -> float | None:
        """Time until a silent or overdue run needs attention (s); None: no limit."""
        limit = self._setup.timeout
        busy = [worker for worker in self._workers if worker.condition is not None]
        if limit is not None:
            ends = [worker.began + limit for worker in busy]
        else:
            ends = [worker.heard + SILENCE for worker in busy if worker.condition not in self._silent]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _overdue(self) -> Iterator[Event]:
        limit, now = self._setup.timeout, time.monotonic()
        for worker in list(self._workers):
            condition = worker.condition
            if condition is None or worker.pipe.poll():
                continue
            if limit is not None and now >= worker.began + limit:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()
                self._workers.remove(worker)
                yield Event(condition, worker.slot, too_long(limit, worker.progress, worker.stack))
            elif limit is None and now >= worker.heard + SILENCE and condition not in self._silent:
                self._silent.add(condition)
                yield Event(condition, worker.slot, silent(SILENCE))

    def _bury(self, worker: _Worker, waiting: deque[Condition], deaths: dict[Condition, int]) -> Event | None:
        worker.process.join(5)
        code = worker.process.exitcode
        how = ended(code)
        self._workers.remove(worker)
        worker.pipe.close()
        condition = worker.condition
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= ATTEMPTS:
                raise InvalidValue(f"a worker cannot start: its process ended {how}.")
        if condition is None:
            return None
        deaths[condition] = deaths.get(condition, 0) + 1
        if deaths[condition] < ATTEMPTS:
            waiting.append(condition)
            return Event(condition, worker.slot, Message("failed", f"its worker ended {how}"), retried=True)
        memory = "; perhaps it needs more memory than there is: give fewer --workers" if code == -9 else ""
        return Event(condition, worker.slot, Message("failed", f"its worker ended {how}, {ATTEMPTS} times{memory}"))

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _ignoring_interrupts():
            started = [worker for worker in self._workers if worker.process.pid is not None]
            for worker in started:
                if kind is None and worker.ready and worker.condition is None:
                    with suppress(OSError):
                        worker.pipe.send(None)
                else:
                    worker.process.terminate()
            deadline = time.monotonic() + _PATIENCE
            for worker in started:
                worker.process.join(max(0.0, deadline - time.monotonic()))
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()
                worker.pipe.close()
            self._workers.clear()


@contextmanager
def _without_interrupt() -> Iterator[None]:
    # A new process inherits the mask of signals, so Ctrl-C prints nothing in its first moments, before it is ignored.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started within the mask, the process would lift it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _same_library() -> Iterator[None]:
    # A new process inherits the import path, which begins with the study directory: it would load a copy of the library
    # in there instead of this one. The worker restores the path after it has loaded the library.
    importlib.invalidate_caches()
    spec = PathFinder.find_spec(LIBRARY.name, sys.path)
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent == LIBRARY:
        yield
        return
    sys.path.insert(0, str(LIBRARY.parent))
    try:
        yield
    finally:
        sys.path.remove(str(LIBRARY.parent))


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    # A second Ctrl-C must not interrupt the ending of the workers. Only the main thread may set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
