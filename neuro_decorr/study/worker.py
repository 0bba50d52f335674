"""What a worker process does: load the protocol once, then run conditions until told to stop."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np

from neuro_decorr.errors import Diverged
from neuro_decorr.study import discovery
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.files import Unwritable
from neuro_decorr.study.recorder import Recorder
from neuro_decorr.study.store import Store

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Environment variables that hold a worker to one thread: sums are then taken in one order everywhere."""

Kind: TypeAlias = Literal["ready", "unready", "progress", "finished", "failed", "unwritable"]


@final
@dataclass(frozen=True)
class Setup:
    """What a worker needs to know.

    Attributes:
        root: The study directory.
        protocol: Name of the protocol.
        configuration: Values by field.
        directory: Where runs are stored.
        fingerprint: Digest that every stored run carries.
    """

    root: Path
    protocol: str
    configuration: dict[str, Any]
    directory: Path
    fingerprint: str


@final
@dataclass(frozen=True)
class Message:
    """What a worker says.

    Attributes:
        kind: `ready`; `unready` and `unwritable` with the reason; `progress`; `finished`; `failed` with the reason.
        text: The reason.
        detail: The traceback of a failure.
        done: Steps done.
        total: Steps in all.
        diverged: Whether the finished run diverged.
    """

    kind: Kind
    text: str = ""
    detail: str = ""
    done: float = 0
    total: float = 0
    diverged: bool = False


def work(pipe: connection.Connection[Any, Any], setup: Setup) -> None:
    """Run conditions that come through a pipe until None comes.

    Args:
        pipe: Conditions come in, messages go out.
        setup: The study.
    """
    # Ctrl-C reaches every process of the terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        protocol = discovery.load(setup.root, setup.protocol)
        configuration = protocol.configure(setup.configuration)
        _use_one_thread()
    except Exception as error:
        pipe.send(Message("unready", f"{type(error).__name__}: {error}"))
        return
    store = Store(setup.directory, setup.fingerprint)
    pipe.send(Message("ready"))
    while True:
        try:
            condition: Condition | None = pipe.recv()
        except EOFError:
            return
        if condition is None:
            return
        pipe.send(_run_one(protocol.run, configuration, condition, store, pipe))


def _run_one(
    run: Any, configuration: Any, condition: Condition, store: Store, pipe: connection.Connection[Any, Any]
) -> Message:
    def announce(done: float, total: float) -> None:
        pipe.send(Message("progress", done=done, total=total))

    recorder = Recorder(condition.factors, announce)
    _seed(condition.seed)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        run(configuration, condition, recorder)
    except Diverged as error:
        recorder.diverged(int(recorder.done), str(error))
    except Exception as error:
        return Message("failed", _brief(error), traceback.format_exc())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    try:
        store.save(condition, recorder, wall, cpu)
    except Unwritable as error:
        return Message("unwritable", str(error))
    except Exception as error:
        return Message("failed", _brief(error), traceback.format_exc())
    return Message("finished", diverged=recorder.reason is not None)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _seed(seed: int) -> None:
    # A protocol draws from its own generators; should one forget to, the order of runs must still not matter.
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global state is the one that a protocol may use by mistake
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _use_one_thread() -> None:
    # The environment holds a torch that is imported later; one that is imported already is told.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _follow_parent() -> None:
    # A parent killed with -9 tells nobody; without this its workers would compute on.
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
