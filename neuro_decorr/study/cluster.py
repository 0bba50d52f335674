"""Workers of a Dask cluster. Every run is a task; the process of the study alone stores the finished runs.

A worker writes nothing into the directory of the study except checkpoints, so no run is stored in part or twice,
whichever process dies.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import queue
import time
import uuid
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from neuro_decorr.errors import InvalidValue, NeuroDecorrError, StateMismatch, require
from neuro_decorr.study import checkpoints
from neuro_decorr.study.cluster_child import Order
from neuro_decorr.study.cluster_task import Answer, compute
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.failures import counted
from neuro_decorr.study.origin import Origin, key
from neuro_decorr.study.store import Store
from neuro_decorr.study.worker import Message, Setup
from neuro_decorr.study.workers import ATTEMPTS, Event

PATIENCE = 300.0
"""Time to wait for a scheduler that was lost (s)."""
_WINDOW = 2000
"""Number of runs that the scheduler holds at a time; more would only cost it memory."""
_FIRST = 30.0
"""Time to wait for the first answer of a scheduler (s)."""
_SHARED = 20.0
"""Time that a network file system takes to show a new folder on another machine (s)."""
_LOOK = 5.0
"""Time between two checks of the workers (s)."""
_MOVES = 20
"""Number of times a run is begun whose workers end, for example at the time limit of a job; it may have checkpoints."""
_LAST = 8.0
"""Time that cancelled runs have to end when the cluster is left (s)."""


_LOST = (OSError, TimeoutError, asyncio.CancelledError)
"""Errors that Dask raises when a connection is lost during a request."""


class Unreachable(NeuroDecorrError, ConnectionError):
    """A scheduler that does not answer."""


@final
@dataclass
class _Task:
    """A run that is with the scheduler."""

    condition: Condition
    future: Any
    slot: int = _WINDOW
    begun: int = 0


@final
class Cluster:
    """Runs conditions on a Dask cluster. It is a context manager: leaving it cancels the tasks.

    Every worker must see the study directory, the results and the data at the same paths (a shared file system) and
    have the same versions; a worker that does not is refused, and the message names the difference. A worker computes
    a run in a separate process, as on one machine. When that process dies, the run is tried once more; when the worker
    dies, the run is tried as often as Dask's `distributed.scheduler.allowed-failures` says. A scheduler that is lost is
    waited for; the runs without a result are then handed to it again.

    Args:
        setup: Setup of every worker.
        address: Address of the scheduler, such as `tcp://node1:8786`.
        description: Description of the workers, for the record. Empty: made from the address.
        close: Function that is called at the end.
        patience: Time to wait for a scheduler that was lost (s).

    Raises:
        MissingExtra: Dask is not installed.
    """

    def __init__(
        self,
        setup: Setup,
        address: str,
        *,
        description: str = "",
        close: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
    ) -> None:
        self._distributed: Any = require("distributed", "cluster")
        self._address = address
        self._description = description or f"Dask cluster at {address}"
        self._close = close
        self._patience = patience
        self._setup = setup
        bare = replace(setup, origin=Origin({}, {}, {}, {}))
        self._order = pickle.dumps(Order(bare, key(setup.origin.brief), Path.cwd(), _SHARED))
        self._store = Store(setup.directory, setup.fingerprint, setup.origin.brief)
        self._session = uuid.uuid4().hex
        self._client: Any = None
        self._heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks: dict[str, _Task] = {}
        self._number = 0
        self._looked = 0.0
        self._missing, self._had = False, False

    @property
    def _scheduler(self) -> str:
        return f"the scheduler at {self._address}"

    @property
    def description(self) -> str:
        """Description of the workers, for the record."""
        return self._description

    @property
    def size(self) -> int:
        """Number of threads of its workers; 1 before a worker is known."""
        if self._client is None or self._client.status != "running":
            return 1
        try:
            threads: dict[str, int] = self._client.nthreads()
        except _LOST:
            return 1
        return max(1, sum(threads.values()))

    def run(self, conditions: Iterable[Condition]) -> Iterator[Event]:
        """Run conditions, as many at a time as the cluster has threads, and store each run that ends.

        Args:
            conditions: The runs; the scheduler gets them in this order.

        Yields:
            Progress, and the end of every run.

        Raises:
            InvalidValue: A worker cannot start.
            StateMismatch: A worker has other data, code or versions than this process, or the data changed.
            Unwritable: The directory of the study cannot be written.
            Unreachable: The scheduler does not answer.
        """
        waiting = deque(conditions)
        ends: Counter[tuple[Condition, bool]] = Counter()
        self._looked = time.monotonic() + (0.0 if self._had else _FIRST - _LOOK)
        while waiting or self._tasks:
            event = None
            try:
                self._submit(waiting)
                heard = self._next()
                if isinstance(heard, dict):
                    event = self._told(heard)
                elif heard in self._tasks:
                    event = self._ended(heard, waiting, ends)
                event = event or self._look()
            except _LOST as error:
                if isinstance(error, NeuroDecorrError):
                    raise
                waiting.extendleft(reversed([task.condition for task in self._tasks.values()]))
                self._tasks.clear()
                yield _told(waiting, f"{self._scheduler} was lost; waiting for it up to {self._patience:.0f} s")
                self._connect(self._patience)
                yield _told(waiting, f"{self._scheduler} is back")
            if event is not None:
                yield event

    def _submit(self, waiting: deque[Condition]) -> None:
        if self._client is None:
            self._connect(_FIRST)
        while waiting and len(self._tasks) < _WINDOW:
            condition = waiting[0]
            self._number += 1
            name = f"{condition.key}-{self._session}-{self._number}"
            future = self._client.submit(
                compute,
                self._session,
                self._order,
                condition,
                self._setup.timeout,
                self._session,
                key=name,
                pure=False,
                priority=-self._number,
            )
            waiting.popleft()
            self._tasks[name] = _Task(condition, future)
            future.add_done_callback(lambda done: self._heard.put(done.key))

    def _next(self) -> Any:
        """Return the next message; None when none came for one second.

        Raises:
            ConnectionError: The scheduler is lost.
        """
        try:
            return self._heard.get(timeout=1)
        except queue.Empty:
            if self._client.status != "running":
                raise ConnectionError from None
            return None

    def _look(self) -> Event | None:
        """Return an event when there is no worker, or no longer, and when there is one again.

        Raises:
            ConnectionError: The scheduler is lost.
        """
        if not self._tasks or time.monotonic() - self._looked < _LOOK:
            return None
        self._looked = time.monotonic()
        number = len(self._client.nthreads())
        again, changed = self._had, self._missing == bool(number)
        self._missing, self._had = not number, self._had or number > 0
        if not changed:
            return None
        text = f"waiting for workers: none is connected to {self._address}"
        if number:
            text = f"{counted(number, 'worker')} {'again' if again else 'connected'}"
        return _told([task.condition for task in self._tasks.values()], text)

    def _told(self, said: dict[str, Any]) -> Event | None:
        task = self._tasks.get(said["key"])
        if task is None or said["kind"] == "over":
            return None
        message = Message(said["kind"], said["text"], done=said.get("done", 0), total=said.get("total", 0))
        if said["kind"] != "begun":
            return Event(task.condition, task.slot, message)
        task.begun += 1
        # A worker has come: from now on the loss of the last one is reported at once, without the first waiting time.
        self._had, self._looked = True, min(self._looked, time.monotonic())
        if task.begun == 1:
            taken = {other.slot for other in self._tasks.values() if other.begun}
            task.slot = min(set(range(len(taken) + 1)) - taken)
            return None
        return Event(task.condition, task.slot, Message("failed", "its worker was lost"), retried=True)

    def _ended(self, name: str, waiting: deque[Condition], ends: Counter[tuple[Condition, bool]]) -> Event | None:
        task = self._tasks[name]
        if task.future.status in ("cancelled", "lost"):
            raise ConnectionError
        if task.future.status == "pending":  # Its worker died with the result: it comes again.
            task.future.add_done_callback(lambda done: self._heard.put(done.key))
            return None
        if task.future.status == "error":
            event = self._broken(task)
        else:
            answer: Answer = self._client.gather(task.future)
            event = self._answered(task, answer, waiting, ends)
        del self._tasks[name]
        return event

    def _answered(
        self, task: _Task, answer: Answer, waiting: deque[Condition], ends: Counter[tuple[Condition, bool]]
    ) -> Event:
        message = answer.message
        if message.kind == "unready":
            raise InvalidValue(f"the worker {answer.worker} cannot start: {message.text}")
        if message.kind == "changed":
            raise StateMismatch(
                f"the worker {answer.worker} has other data, code or versions than this process, or a file was changed "
                f"while the study ran: {message.text}."
            )
        if answer.died or answer.left:
            ends[task.condition, answer.left] += 1
            times = ends[task.condition, answer.left]
            if times < (_MOVES if answer.left else ATTEMPTS):
                waiting.append(task.condition)
                return Event(task.condition, task.slot, message, retried=True)
            return Event(task.condition, task.slot, Message("failed", f"{message.text}, {times} times"))
        if message.kind == "finished":
            assert message.bundle is not None
            self._store.write(message.bundle)
            checkpoints.forget(self._setup.directory, task.condition)
            message = replace(message, bundle=None)
        return Event(task.condition, task.slot, message)

    def _broken(self, task: _Task) -> Event:
        error = task.future.exception()
        if type(error).__name__ == "KilledWorker":
            return Event(task.condition, task.slot, Message("failed", f"its worker was lost {task.begun} times"))
        raise InvalidValue(
            f"a worker of {self._address} cannot compute runs of this study: {type(error).__name__}: {error}. Check "
            "that the workers and the scheduler have the same versions of neuro-decorr and of Dask as this machine."
        )

    def _connect(self, patience: float) -> None:
        first, deadline, last = self._client is None, time.monotonic() + patience, ""
        if self._client is not None:
            _quietly(lambda: self._client.close(timeout=1))
        while time.monotonic() < deadline:
            try:
                with warnings.catch_warnings():
                    # Every worker compares the versions that matter; Dask would compare others.
                    warnings.simplefilter("ignore")
                    self._client = self._distributed.Client(
                        self._address, timeout=min(5, patience), set_as_default=False, name="neuro-decorr"
                    )
                self._client.subscribe_topic(self._session, lambda event: self._heard.put(event[1]))
                return
            except (OSError, TimeoutError) as error:
                last = str(error) or type(error).__name__
                time.sleep(0.2)
            except (ValueError, TypeError) as error:
                raise InvalidValue(f"--scheduler: got {self._address!r}: {error}") from error
        stored = f"; {self._store.count()} runs are stored, and the same command goes on with them"
        raise Unreachable(
            f"no scheduler answers at {self._address} within {patience:.0f} s ({last.splitlines()[0]})"
            + ("" if first else stored)
            + "."
        )

    def _await_end(self) -> None:
        """Wait until the cancelled runs have ended, for a limited time."""
        running = {name for name, task in self._tasks.items() if task.begun}
        deadline = time.monotonic() + _LAST
        while running and time.monotonic() < deadline:
            with suppress(queue.Empty):
                heard = self._heard.get(timeout=0.2)
                if isinstance(heard, dict) and heard["kind"] == "over":
                    running.discard(heard["key"])

    def __enter__(self) -> Self:
        self._silenced = _silence()
        self._silenced.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._client is not None:
                futures = [task.future for task in self._tasks.values()]
                if futures and self._client.status == "running":
                    _quietly(lambda: self._client.cancel(futures, force=True))
                    self._await_end()
                _quietly(lambda: self._client.close(timeout=3))
            _quietly(self._close)
        finally:
            self._silenced.__exit__(None, None, None)


def _told(conditions: Sequence[Condition], text: str) -> Event:
    return Event(conditions[0], 0, Message("told", text))


def _quietly(action: Callable[[], object]) -> None:
    # An object that cannot be closed was lost already.
    with suppress(Exception, asyncio.CancelledError):
        action()


@contextmanager
def _silence() -> Iterator[None]:
    # Dask logs every lost connection, some with a traceback; this module reports it in one line.
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "tornado")]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
