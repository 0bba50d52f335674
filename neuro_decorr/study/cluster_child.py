"""Process that computes runs on a worker of a cluster: `python -P -m neuro_decorr.study.cluster_child PIPE LIFE`.

Every session of a study has its own such process. It loads the protocol, the library and the data as they are now,
whatever the worker loaded earlier, and it can be killed when a run hangs.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any, final

from neuro_decorr.errors import brief
from neuro_decorr.study.origin import Origin
from neuro_decorr.study.worker import Message, Setup, work


@final
@dataclass(frozen=True)
class Order:
    """Description of a study for a process on another machine.

    Attributes:
        setup: Setup of every worker, with an empty origin, which is read from the study instead.
        origin: Key of the origin.
        folder: Current directory of the study's process, to which paths of data are relative.
        patience: Time that a file system may take to show a new file (s).
    """

    setup: Setup
    origin: str
    folder: Path
    patience: float


def main(pipe: connection.Connection[Any, Any], life: int) -> None:
    """Run the conditions that arrive through a pipe, as on one machine.

    Args:
        pipe: Pipe that brings the pickled order, then conditions, and takes messages.
        life: Descriptor of a pipe that brings nothing; it closes when the worker at its other end is dead.
    """
    threading.Thread(target=_end_with, args=(life,), daemon=True).start()
    try:
        # Unpickled without a check: the study's process made it, and the worker that passes it on runs its code anyway.
        order: Order = pickle.loads(pipe.recv_bytes())
        _find(order)
        os.chdir(order.folder)
        setup = order.setup
        origin = Origin.read(setup.directory, order.origin)
        # The packages of this machine first, then the other folders of the study's process, such as the user's own.
        path = list(dict.fromkeys([*sys.path, *setup.path]))
    except Exception as error:
        pipe.send(Message("unready", brief(error)))
        return
    work(pipe, replace(setup, origin=origin, path=path, returned=True))


def _find(order: Order) -> None:
    wanted = (order.setup.root, order.setup.directory, order.folder)
    deadline = time.monotonic() + order.patience
    while missing := [path for path in wanted if not path.is_dir()]:
        if time.monotonic() > deadline:
            raise FileNotFoundError(
                f"{missing[0]} is not there; put the study directory, the results and the data at the same path on "
                "every machine (a shared file system)"
            )
        time.sleep(0.2)


def _end_with(life: int) -> None:
    os.read(life, 1)
    os._exit(1)


if __name__ == "__main__":
    main(connection.Connection(int(sys.argv[1])), int(sys.argv[2]))
