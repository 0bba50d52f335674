"""Worker process: it loads the protocol once, then runs conditions until it gets None."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np

from neuro_decorr.errors import Diverged, brief
from neuro_decorr.study import discovery
from neuro_decorr.study.checkpoints import Place, forget
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.configuration import Configuration, data_paths
from neuro_decorr.study.files import Unwritable, guarded
from neuro_decorr.study.origin import Origin
from neuro_decorr.study.recorder import Recorder
from neuro_decorr.study.store import Bundle, Store

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Environment variables that limit a worker to one thread, so that sums have the same order everywhere."""

Kind: TypeAlias = Literal[
    "ready", "unready", "progress", "note", "finished", "failed", "unwritable", "changed", "silent", "told", "stack"
]
Stamps: TypeAlias = dict[Path, tuple[int, int]]
"""Size and modification time of every data file."""


@final
@dataclass(frozen=True)
class Setup:
    """Setup of a worker.

    Attributes:
        root: The study directory.
        protocol: Name of the protocol.
        configuration: Values by field.
        directory: Directory of the study, where runs are stored.
        fingerprint: Digest that every stored run carries.
        origin: Data, code and versions of the parent process.
        path: Import path of the parent process.
        timeout: Longest time of a run (s). None: no limit.
        returned: True if finished runs go back with the message, for another process to store.
    """

    root: Path
    protocol: str
    configuration: dict[str, Any]
    directory: Path
    fingerprint: str
    origin: Origin
    path: list[str]
    timeout: float | None = None
    returned: bool = False


@final
@dataclass(frozen=True)
class Message:
    """Message of a worker.

    Attributes:
        kind: `ready`; `unready`, `unwritable` and `changed`, with the reason; `progress`; `finished`; `failed`, with
            the reason; `silent`, about a worker that has sent nothing for a long time; `told`, about no run in
            particular; `stack`, with the place of a run that is about to exceed its time limit.
        text: The reason.
        detail: The traceback of a failure.
        done: Steps done.
        total: Steps in total.
        diverged: True if the finished run diverged.
        bundle: The finished run, where the worker does not store it.
        seconds: Wall time of the finished run (s).
    """

    kind: Kind
    text: str = ""
    detail: str = ""
    done: float = 0
    total: float = 0
    diverged: bool = False
    bundle: Bundle | None = None
    seconds: float = 0


def work(pipe: connection.Connection[Any, Any], setup: Setup) -> None:
    """Run the conditions that arrive through a pipe, until None arrives.

    Args:
        pipe: Pipe that brings conditions and takes messages.
        setup: Setup of the worker.
    """
    # Ctrl-C reaches every process of the terminal; only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    sys.path[:] = setup.path
    try:
        protocol = discovery.load(setup.root, setup.protocol)
        configuration = protocol.configure(setup.configuration)
        stamps = _stamps(configuration)
        different = _differences(setup, configuration)
        _use_one_thread()
    except Exception as error:
        pipe.send(Message("unready", brief(error)))
        return
    if different:
        pipe.send(Message("changed", different))
        return
    outlet = _Outlet(pipe)
    store = Store(setup.directory, setup.fingerprint, setup.origin.brief)
    made_from = {"study": setup.fingerprint, "origin": setup.origin.brief}
    pipe.send(Message("ready"))
    with guarded(setup.directory):
        while True:
            try:
                condition: Condition | None = pipe.recv()
            except EOFError:
                return
            if condition is None:
                return
            with _watched(outlet, setup.timeout):
                last = _run_one(
                    protocol.run, configuration, condition, store, outlet, stamps, made_from, setup.returned
                )
            outlet.send(last)


@final
class _Outlet:
    """Sends messages of several threads, one after the other."""

    def __init__(self, pipe: connection.Connection[Any, Any]) -> None:
        self._pipe = pipe
        self._lock = threading.RLock()

    def send(self, message: Message) -> None:
        """Send a message."""
        with self._lock:
            self._pipe.send(message)


@contextlib.contextmanager
def _watched(outlet: _Outlet, timeout: float | None) -> Iterator[None]:
    """Send the place of a run just before its time limit: the process that ends the run cannot look into this one."""
    if timeout is None:
        yield
        return
    thread = threading.get_ident()

    def look() -> None:
        frame = sys._current_frames().get(thread)
        # Not in the form of a traceback, since this place need not be the cause.
        lines = [f"  {entry.filename}:{entry.lineno} in {entry.name}" for entry in traceback.extract_stack(frame)]
        with contextlib.suppress(OSError):
            outlet.send(Message("stack", detail="\n".join(lines)))

    timer = threading.Timer(timeout - min(1.0, timeout / 10), look)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _run_one(
    run: Any,
    configuration: Any,
    condition: Condition,
    store: Store,
    outlet: _Outlet,
    stamps: Stamps,
    made_from: dict[str, Any],
    returned: bool,
) -> Message:
    def announce(done: float, total: float) -> None:
        outlet.send(Message("progress", done=done, total=total))

    def tell(line: str) -> None:
        outlet.send(Message("note", line))

    recorder = Recorder(condition.factors, announce, Place(store.directory, condition, made_from, tell))
    _seed(condition.seed)
    try:
        with contextlib.chdir("."):  # back to where it was, for the data of the next run
            run(configuration, condition, recorder)
    except Diverged as error:
        recorder.diverged(int(recorder.done), str(error))
    except BaseException as error:  # SystemExit too: only the run fails
        return Message("failed", brief(error), traceback.format_exc())
    wall, cpu = recorder.elapsed()
    changed = [path for path, stamp in stamps.items() if _stamp(path) != stamp]
    if changed:
        return Message("changed", f"{changed[0]} was changed during the study; the last run was not stored")
    try:
        bundle = store.bundle(condition, recorder, wall, cpu)
        if returned:
            return Message("finished", diverged=recorder.reason is not None, bundle=bundle, seconds=wall)
        store.write(bundle)
    except Unwritable as error:
        return Message("unwritable", str(error))
    except Exception as error:
        return Message("failed", brief(error), traceback.format_exc())
    forget(store.directory, condition)
    return Message("finished", diverged=recorder.reason is not None, seconds=wall)


def _differences(setup: Setup, configuration: Configuration) -> str:
    """List the differences in data, code and versions between this process and its parent, in words."""
    return "; ".join(
        Origin.of(setup.root, setup.protocol, configuration).differences(setup.origin.brief, setup.directory)
    )


def _stamps(configuration: Configuration) -> Stamps:
    inside = [
        other
        for paths in data_paths(configuration).values()
        for path in paths
        for other in (path.rglob("*") if path.is_dir() else (path,))
    ]
    return {path: stamp for path in inside if (stamp := _stamp(path)) is not None}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if path.is_file() else None


def _seed(seed: int) -> None:
    # A protocol should use its own generators; if it does not, the order of runs must still not matter.
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global state, which a protocol may use by mistake
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _use_one_thread() -> None:
    # The environment limits a torch that is imported later; one that is imported already is limited here.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _follow_parent() -> None:
    # Without this the workers would keep computing after their parent was killed with signal 9.
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
