"""Directory of results that is written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from neuro_decorr.study import files


@contextlib.contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """Open a temporary folder whose content moves into the directory when everything has succeeded.

    An existing directory is kept, since it may be somebody's current directory; complete new results replace its files
    of the same names. After any failure or interruption no new result remains.

    Args:
        directory: Directory of the results; made when absent.

    Yields:
        The folder to write into.

    Raises:
        Unwritable: The operating system refuses; raised before anything is computed.
    """
    there = directory.is_dir()
    parents = [] if there else [parent for parent in directory.parents if not parent.exists()]
    staged = (directory if there else directory.parent) / f".{directory.name or 'out'}.{os.getpid()}.tmp"
    try:
        with _told(directory):
            staged.mkdir(parents=True)
        yield staged
        with _told(directory):
            if there:
                for entry in sorted(staged.iterdir()):
                    _remove(directory / entry.name)
                    entry.replace(directory / entry.name)
            else:
                staged.replace(directory)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        for parent in parents:  # the new folders that are empty, from the innermost on
            with contextlib.suppress(OSError):
                parent.rmdir()


@contextlib.contextmanager
def _told(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise files.unwritable(directory, error) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
