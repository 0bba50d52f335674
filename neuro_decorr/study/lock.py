"""Lock on the directory of a study, so that one process works in it at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import final

from neuro_decorr.errors import NeuroDecorrError, StateMismatch, Unsupported
from neuro_decorr.study.files import guarded, unwritable

NAME = ".lock"


@final
class Lock:
    """Lock on a directory. The operating system releases it when its holder dies, however it dies.

    The file of the lock stays (removing it would let two processes lock two files of one name). A file that no living
    process holds is no obstacle, so there are no stale locks. While this process holds the lock, it does not make the
    directory again after someone removed or renamed it.

    Args:
        directory: The directory to hold while the context lasts; made when absent.

    Raises:
        StateMismatch: On entering: another process holds the lock.
        Unsupported: On entering: the file system has no locks.
        Unwritable: On entering: the lock cannot be made or written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Lock:
        with contextlib.ExitStack() as opened:
            descriptor = self._open()
            opened.callback(os.close, descriptor)
            try:
                _acquire(descriptor)
            except OSError as error:
                raise self._refused(descriptor, error) from error
            try:
                os.ftruncate(descriptor, 0)
                _say(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
            except OSError as error:
                raise unwritable(self._directory / NAME, error) from error
            opened.enter_context(guarded(self._directory))
            self._held = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _open(self) -> int:
        path = self._directory / NAME
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            # Opening must not wait for the writer of a named pipe.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise unwritable(path if path.exists() else self._directory, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StateMismatch(f"{path} is a pipe or a device instead of a file; remove it.")
        return descriptor

    def _refused(self, descriptor: int, error: OSError) -> NeuroDecorrError:
        if error.errno not in _HELD:
            return Unsupported(
                f"the file system of {self._directory} gives no lock ({error.strerror or error}), and without one two "
                "studies could write into one directory; choose a directory on another one, or have this one mounted "
                "with locks (Lustre: the option flock)."
            )
        holder = os.read(descriptor, 200).decode(errors="backslashreplace").strip() or "another process"
        return StateMismatch(
            f"{self._directory} is in use by {holder}; wait until that study ends, or choose another directory."
        )


def _say(descriptor: int, text: bytes) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text)


if sys.platform == "win32":
    import msvcrt

    _HELD = (errno.EACCES, errno.EDEADLK)

    def _acquire(descriptor: int) -> None:
        # Lock a byte far beyond the text, so that other processes can still read the text.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    _HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

    def _acquire(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
