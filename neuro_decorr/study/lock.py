"""One study at a time in a directory."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, final

from neuro_decorr.errors import StateMismatch
from neuro_decorr.study.files import unwritable

NAME = ".lock"


@final
class Lock:
    """A lock on a directory that the operating system gives back when its holder dies, however it dies.

    The file stays (removing it would let two processes lock two files of one name); a file that no living process
    holds is no obstacle, so there are no stale locks.

    Args:
        directory: The directory to hold while the context lasts; made when absent.

    Raises:
        StateMismatch: On entering, when another process holds it.
        Unwritable: On entering, when it cannot be made or written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[str] | None = None

    def __enter__(self) -> Lock:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            file = (self._directory / NAME).open("a+", encoding="utf-8")
        except OSError as error:
            raise unwritable(self._directory, error) from error
        try:
            _acquire(file)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise StateMismatch(
                f"{self._directory} is in use by {holder}; wait until that study ends, or choose another directory."
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def _acquire(file: IO[str]) -> None:
        # A byte far beyond the text, so that the text stays readable for the other process.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _acquire(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
