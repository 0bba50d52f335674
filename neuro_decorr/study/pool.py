"""Worker processes that live through all stages of a study, each with a pipe of its own.

With a pipe each, nothing is shared that a killed worker could leave locked or half-written: its death is seen at
its own pipe, its run alone is lost, and a new process takes its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from types import TracebackType
from typing import Any, final

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.worker import THREADS, Message, Setup, work

_ATTEMPTS = 2
"""How often a run whose worker is killed is tried, and how often in a row a worker may die while it starts."""


@final
@dataclass(frozen=True)
class Event:
    """What happened to a run: a worker's message, or the death of its worker.

    Attributes:
        condition: Which run.
        slot: Which worker, from 0.
        message: What the worker said; of kind `failed` when it was killed for the last time.
        retried: The worker was killed and the run will be tried again.
    """

    condition: Condition
    slot: int
    message: Message
    retried: bool = False


@final
class _Worker:
    """One process, its pipe, and the run that it has."""

    def __init__(self, slot: int, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self.slot = slot
        self.pipe, theirs = context.Pipe()
        # No daemon: a run may have processes of its own, such as a DataLoader's.
        self.process = context.Process(target=work, args=(theirs, setup), name=f"neuro-decorr worker {slot}")
        self._theirs = theirs
        self.ready = False
        self.condition: Condition | None = None

    def start(self) -> None:
        """Start the process."""
        with _without_interrupt(), _one_thread():
            self.process.start()
        self._theirs.close()

    def receive(self) -> Message | None:
        """The next message; None when the process is dead."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return message


@final
class Pool:
    """Runs conditions in worker processes. A context manager: on leaving it no worker is alive.

    Args:
        workers: How many processes at most; they start when there is something to run.
        setup: What each of them needs to know.
    """

    def __init__(self, workers: int, setup: Setup) -> None:
        self._limit = workers
        self._setup = setup
        self._workers: list[_Worker] = []
        self._stillborn = 0

    def run(self, conditions: Iterable[Condition]) -> Iterator[Event]:
        """Run conditions, as many at a time as there are workers.

        Args:
            conditions: What to run; started in this order.

        Yields:
            Progress, and the end of every run.

        Raises:
            InvalidValue: A worker cannot start, or cannot write.
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
                elif worker.condition is not None:
                    event = Event(worker.condition, worker.slot, message)
                    if message.kind != "progress":
                        worker.condition = None
                        # The worker gets its next run before the caller looks at this one.
                        self._assign(waiting)
                    yield event

    def _assign(self, waiting: deque[Condition]) -> None:
        busy = sum(worker.condition is not None for worker in self._workers)
        needed = min(self._limit, busy + len(waiting))
        free = [slot for slot in range(self._limit) if slot not in {worker.slot for worker in self._workers}]
        for slot in free[: max(0, needed - len(self._workers))]:
            # Known before it is started, so that an interrupt in between leaves no process behind.
            self._workers.append(_Worker(slot, self._setup))
            self._workers[-1].start()
        for worker in self._workers:
            if waiting and worker.ready and worker.condition is None:
                condition = waiting.popleft()
                try:
                    worker.pipe.send(condition)
                except OSError:
                    waiting.appendleft(condition)  # It died idle; its pipe tells so at the next wait.
                else:
                    worker.condition = condition

    def _wait(self) -> list[_Worker]:
        by_handle: dict[Any, _Worker] = {}
        for worker in self._workers:
            # The sentinel too: a child of the worker may hold the other end of the pipe open.
            by_handle[worker.pipe] = by_handle[worker.process.sentinel] = worker
        found = {by_handle[handle].slot: by_handle[handle] for handle in connection.wait(list(by_handle))}
        for worker in list(found.values()):
            if not worker.process.is_alive() and not worker.pipe.poll():
                worker.pipe.close()  # So that receive() tells the death at once.
        return list(found.values())

    def _bury(self, worker: _Worker, waiting: deque[Condition], deaths: dict[Condition, int]) -> Event | None:
        worker.process.join(5)
        code = worker.process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        self._workers.remove(worker)
        worker.pipe.close()
        condition = worker.condition
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= _ATTEMPTS:
                raise InvalidValue(f"a worker cannot start: its process ended {how}.")
        if condition is None:
            return None
        deaths[condition] = deaths.get(condition, 0) + 1
        if deaths[condition] < _ATTEMPTS:
            waiting.append(condition)
            return Event(condition, worker.slot, Message("failed", f"its worker ended {how}"), retried=True)
        memory = "; is there enough memory?" if code == -9 else ""
        return Event(condition, worker.slot, Message("failed", f"its worker ended {how}, {_ATTEMPTS} times{memory}"))

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _ignoring_interrupts():
            started = [worker for worker in self._workers if worker.process.pid is not None]
            for worker in started:
                if kind is None and worker.ready:
                    with suppress(OSError):
                        worker.pipe.send(None)
                else:
                    worker.process.terminate()
            for worker in started:
                worker.process.join(3)
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()
                worker.pipe.close()
            self._workers.clear()


@contextmanager
def _without_interrupt() -> Iterator[None]:
    # A new process inherits the mask: Ctrl-C in its first moments, before it ignores it, prints nothing.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # It would lift the mask if it were started within.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    # A second Ctrl-C must not break off the ending of the workers. Handlers belong to the main thread.
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
