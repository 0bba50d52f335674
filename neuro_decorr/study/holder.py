"""The process that works in the directory of a study, found without taking the lock."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import final

from neuro_decorr.study import files, lock

_TEXT = re.compile(r"process (\d+) on (.+)")
_LOCKS = Path("/proc/locks")


@final
@dataclass(frozen=True)
class Holder:
    """Holder of the lock of a study.

    Attributes:
        text: The last holder, such as `process 12 on node7`; empty where there was none.
        holds: True if it holds the lock now; None where this is unknown, such as on another machine.
    """

    text: str
    holds: bool | None


def holder(directory: Path) -> Holder:
    """Find the process that works in a directory.

    On Linux the kernel's table of locks is read; elsewhere the process is checked to be alive. Of a process on another
    machine only the name is known.

    Args:
        directory: Directory of a study.

    Returns:
        The holder.
    """
    path = directory / lock.NAME
    try:
        text = files.read(path).decode(errors="replace").strip()
        inode = path.stat().st_ino
    except (OSError, files.Damaged):
        return Holder("", False)
    named = _TEXT.fullmatch(text)
    if named is None:
        return Holder("another process", None) if text else Holder("", False)
    if named[2] != platform.node():
        return Holder(text, None)
    found = _in_table(inode, int(named[1]))
    return Holder(text, _alive(int(named[1])) if found is None else found)


def _in_table(inode: int, process: int) -> bool | None:
    try:
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    # NUMBER: FLOCK ADVISORY WRITE PROCESS MAJOR:MINOR:INODE START END; layered file systems show another device.
    held = {(fields[4], fields[5].rpartition(":")[2]) for line in lines if len(fields := line.split()) > 5}
    return (str(process), str(inode)) in held


def _alive(process: int) -> bool | None:
    if sys.platform == "win32":
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return None
    return True
