"""A directory of results that is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from neuro_decorr.study import files


@contextlib.contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """A folder to write into, whose content becomes that of the directory when everything succeeded.

    A directory that is there keeps its place (it may be somebody's current one): what the new results have by the same
    name is replaced when they are complete. On any failure, an interruption included, nothing of it remains.

    Args:
        directory: Where the results are to be; made when absent.

    Yields:
        The folder to write into.

    Raises:
        Unwritable: The operating system refuses; told before anything is computed.
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
        for parent in parents:  # those of ours that are empty, from the innermost on
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
