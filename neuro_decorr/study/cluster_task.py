"""Run of a study as a Dask task: the worker starts a process for the run and passes on its messages.

The process is the one that computes runs on one machine too, so the results are the same to the last bit. After a run
it waits for the next one of its session.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from typing import final

from neuro_decorr.errors import require
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.origin import LIBRARY
from neuro_decorr.study.worker import THREADS, Message
from neuro_decorr.study.workers import SILENCE, ended, silent, too_long

_IDLE_SECONDS = 60.0
"""Time that a process waits for the next run of its session (s)."""
_TICK = 0.5
"""Time between two checks that a run is still wanted (s)."""
_GRACE = 5.0
"""Time that an ended process has to write a checkpoint (s)."""


@final
@dataclass(frozen=True)
class Answer:
    """Answer of a cluster's worker at the end of a task.

    Attributes:
        message: The last message of the run.
        worker: Name of the worker, for messages.
        died: True if the process of the run died; the message says how.
        left: True if the worker ends, for example at its time limit; the run was ended in order and can continue
            elsewhere.
    """

    message: Message
    worker: str
    died: bool = False
    left: bool = False


@final
class _Process:
    """Process for runs, its pipe, and a pipe whose closing shows it the death of this process."""

    def __init__(self, order: bytes) -> None:
        self.pipe, theirs = Pipe()
        life, self._life = os.pipe()
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        # The library of this worker, wherever the process is started.
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(LIBRARY.parent), *([known] if known else [])])
        command = [sys.executable, "-P", "-m", "neuro_decorr.study.cluster_child", str(theirs.fileno()), str(life)]
        # Not by multiprocessing: workers of Dask are daemons, to which it allows no processes.
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), life)
        )
        theirs.close()
        os.close(life)
        self._timer: threading.Timer | None = None
        with suppress(OSError):
            self.pipe.send_bytes(order)

    def receive(self, seconds: float) -> Message | None:
        """Return the next message; None when none came.

        Raises:
            EOFError: The process is dead.
        """
        try:
            if self.pipe.poll(seconds):
                message: Message = self.pipe.recv()
                return message
        except OSError as error:
            raise EOFError from error
        if self._process.poll() is not None and not self.pipe.poll():
            raise EOFError
        return None

    def end(self) -> str:
        """End the process, after some seconds at the latest. Returns how it ended."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            code = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self.pipe.close()
        with suppress(OSError):
            os.close(self._life)
        return ended(code)

    def death(self) -> str:
        """Wait for the death of the process, and return how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        return self.end()

    def rest(self, expired: Callable[[], None]) -> None:
        """Wait for the next run, for a limited time."""
        self._timer = threading.Timer(_IDLE_SECONDS, expired)
        self._timer.daemon = True
        self._timer.start()

    def wake(self) -> bool:
        """Stop waiting. Returns True if the process is still alive."""
        if self._timer is not None:
            self._timer.cancel()
        return self._process.poll() is None


class _Overdue(TimeoutError):
    """A run took longer than its limit; the argument is the message about it."""


class _Unwanted(TimeoutError):
    """Nobody waits for the result of the run any more."""


_IDLE: dict[str, list[_Process]] = {}
"""Processes that wait for a run, by session."""
_GUARD = threading.Lock()


def compute(session: str, order: bytes, condition: Condition, timeout: float | None, topic: str) -> Answer:
    """Run a condition. Dask calls this function.

    Args:
        session: Name of the session of a study; its processes serve no other session.
        order: Pickled `Order` for a new process.
        condition: The run.
        timeout: Longest time of the run (s). None: no limit.
        topic: Dask topic for progress messages.

    Returns:
        The last message of the run, or the reason why it could not begin.
    """
    worker = require("distributed", "cluster").get_worker()
    key = worker.get_current_task()
    name = f"{worker.address} on {socket.gethostname()}"

    def tell(message: Message) -> None:
        said = {"kind": message.kind, "text": message.text, "done": message.done, "total": message.total}
        worker.log_event(topic, {"key": key, **said})

    def wanted() -> bool:
        # Dask does not stop a task by itself when it is cancelled or its client is gone.
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled" and not leaving()

    def leaving() -> bool:
        return worker.status.name in ("closing_gracefully", "closing", "closed", "failed")

    worker.log_event(topic, {"key": key, "kind": "begun", "text": name})
    process = _idle(session)
    fresh = process is None
    process = process or _Process(order)
    try:
        if fresh:
            ready = _listen(process, tell, wanted, None)
            if ready.kind != "ready":
                process.end()
                return Answer(ready, name)
        process.pipe.send(condition)
        last = _listen(process, tell, wanted, timeout)
    except TimeoutError as error:
        process.end()
        worker.log_event(topic, {"key": key, "kind": "over"})
        last = error.args[0] if isinstance(error, _Overdue) else Message("failed", str(error))
        return Answer(last, name, left=isinstance(error, _Unwanted) and leaving())
    except (EOFError, OSError):
        return Answer(Message("failed", f"its process ended {process.death()}"), name, died=True)
    _keep(session, process)
    return Answer(last, name)


def _listen(
    process: _Process, tell: Callable[[Message], None], wanted: Callable[[], bool], timeout: float | None
) -> Message:
    """Return the message that ends the run; pass on the earlier ones.

    Raises:
        EOFError: The process is dead.
        TimeoutError: The run takes too long (`_Overdue`), or nobody waits for its result any more (`_Unwanted`).
    """
    began = heard = time.monotonic()
    progress, stack = None, ""
    while True:
        message = process.receive(_TICK)
        now = time.monotonic()
        if message is not None and message.kind == "stack":
            stack, message = message.detail, None
        if message is not None and message.kind not in ("progress", "note"):
            return message
        if message is not None and message.kind == "progress":
            progress = message
        if message is not None:
            heard = now
            tell(message)
        elif timeout is None and now - heard > SILENCE:
            heard = now
            tell(silent(SILENCE))
        if timeout is not None and now - began > timeout:
            raise _Overdue(too_long(timeout, progress, stack))
        if message is None and not wanted():
            raise _Unwanted("its worker ended")


def _idle(session: str) -> _Process | None:
    with _GUARD:
        while waiting := _IDLE.get(session, []):
            process = waiting.pop()
            if process.wake():
                return process
    return None


def _keep(session: str, process: _Process) -> None:
    with _GUARD:
        _IDLE.setdefault(session, []).append(process)
        process.rest(lambda: _expire(session, process))


def _expire(session: str, process: _Process) -> None:
    with _GUARD:
        waiting = _IDLE.get(session, [])
        if process not in waiting:
            return
        waiting.remove(process)
        if not waiting:
            del _IDLE[session]
    process.end()
