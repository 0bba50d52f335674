"""Files that are complete or absent: atomic writes, and JSON with its checksum inside."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuro_decorr.errors import InvalidValue, NeuroDecorrError, StateMismatch

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
"""Name of a file or a folder while it is being written: `.NAME.PROCESS.tmp`."""
_HEAD, _FOOT = b'{"checksum":"%b",\n"payload":', b"}\n"
"""Text around the canonical text in a sealed file."""
_STAGED: dict[Path, tuple[Path, dict[str, None]]] = {}
"""Directories whose files are being written together: the folder where the files wait, and their names in order."""
_GUARDED: set[Path] = set()
"""Directories that are not made again after they were removed or renamed."""
_NAMES = {"float", "escaped"}
"""Keys with a special meaning in sealed JSON when they stand alone."""


class Damaged(StateMismatch):
    """A stored file does not have the content that was written."""


class Unreadable(NeuroDecorrError, OSError):
    """A file cannot be read."""


class Unwritable(NeuroDecorrError, OSError):
    """A file or a directory cannot be written."""


def unwritable(path: Path, error: OSError) -> Unwritable:
    """Make the error for a place that cannot be written.

    Args:
        path: The file or directory.
        error: Error of the operating system.

    Returns:
        The error, to be raised by the caller.
    """
    return Unwritable(f"cannot write {path}: {error.strerror or error}; mend that, or choose another directory.")


def read(path: Path) -> bytes:
    """Read a file. A named pipe or the like raises; the function never waits for it.

    Args:
        path: The file.

    Returns:
        Its bytes.

    Raises:
        FileNotFoundError: The file does not exist.
        Damaged: The path is a pipe, a socket or a device.
        Unreadable: The path is a directory, or the operating system refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            kind = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(kind):
                raise Unreadable(f"{path} is a directory where a file belongs; move it away.")
            if not stat.S_ISREG(kind):
                raise Damaged("a pipe or a device instead of a file")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)
    except (FileNotFoundError, Unreadable):
        raise
    except OSError as error:
        if path.is_dir():  # On Windows none can be opened.
            raise Unreadable(f"{path} is a directory where a file belongs; move it away.") from error
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error


@contextlib.contextmanager
def guarded(directory: Path) -> Iterator[None]:
    """Refuse to write into a directory that was removed or renamed while this context lasts.

    Args:
        directory: An existing directory.
    """
    _GUARDED.add(directory.absolute())
    try:
        yield
    finally:
        _GUARDED.discard(directory.absolute())


def write(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    The content is not forced to the disk, which would cost more time than a short run. After a power failure a file may
    be truncated, which its checksum shows.

    Args:
        path: The file; its folder is made when absent.
        content: Bytes, or text to be encoded as UTF-8; bytes in names of files that are not UTF-8 are written as
            escapes.

    Raises:
        Unwritable: The operating system refuses.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    for gone in [directory for directory in _GUARDED if path.absolute().is_relative_to(directory)]:
        if not gone.is_dir():
            raise Unwritable(
                f"{gone} was renamed or removed while the study ran; give it its name again, and the same command "
                "goes on with it."
            )
    for directory, (staged, names) in _STAGED.items():
        if path.absolute().is_relative_to(directory):
            name = path.absolute().relative_to(directory)
            names[name.as_posix()] = None
            path = staged / name
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def plain(argument: str, name: str) -> None:
    """Refuse a text that cannot name a file in a folder, such as `../x`.

    Args:
        argument: Name of the argument, for the message.
        name: The text.

    Raises:
        InvalidValue: The text is empty, begins with a dot, or has a separator or a null character.
    """
    if not name or name.startswith(".") or any(sign in name for sign in "/\\\0"):
        raise InvalidValue(
            f"{argument}: got {name!r}; it names a file, so it must not be empty, have '/' or '\\', or begin with '.'."
        )


def sweep(directory: Path) -> int:
    """Remove the temporary files and folders that killed processes left; a user's own `.notes.tmp` stays.

    Args:
        directory: Directory to search, with all folders below.

    Returns:
        Number of removed files and folders.
    """
    strays = [path for path in directory.rglob(".*.tmp") if _TEMPORARY.fullmatch(path.name)]
    for stray in strays:
        if stray.is_dir() and not stray.is_symlink():
            shutil.rmtree(stray, ignore_errors=True)
        else:
            stray.unlink(missing_ok=True)
    return len(strays)


@contextlib.contextmanager
def together(directory: Path, record: str) -> Iterator[Path]:
    """Write files of a directory all together or not at all.

    The files that `write` gets for the directory wait in a temporary folder. When the block ends without an error, each
    file takes its place. Files that the last block of the same record wrote, and this block did not, are removed; other
    files stay. The files are renamed within milliseconds; after a kill in between, the next block completes the work.

    Args:
        directory: The directory.
        record: Name of the file in it that lists the written files, in the order of writing; see `recorded`.

    Yields:
        The folder where the files wait; a file that is removed from there counts as not written.

    Raises:
        Unwritable: The operating system refuses.
    """
    staged = directory.absolute() / f".{record.lstrip('.')}.{os.getpid()}.tmp"
    names: dict[str, None] = {}
    _STAGED[directory.absolute()] = (staged, names)
    try:
        yield staged
        del _STAGED[directory.absolute()]
        _take_places(staged, [name for name in names if (staged / name).is_file()], directory, record)
    finally:
        _STAGED.pop(directory.absolute(), None)
        shutil.rmtree(staged, ignore_errors=True)


def recorded(record: Path) -> list[str]:
    """List the files that were last written together, in the order of writing.

    Args:
        record: The file that lists them.

    Returns:
        Their names; none where the record is absent or damaged.
    """
    try:
        names = unseal(read(record))["files"]
    except (OSError, Damaged, KeyError):
        return []
    # Never a path above the directory, whoever wrote the list.
    return [name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts]


def _take_places(staged: Path, made: list[str], directory: Path, record: str) -> None:
    try:
        left = set(recorded(directory / record)).difference(made)
        # Old and new names, so that the list covers all files if the process is killed from here on.
        write(directory / record, seal({"files": [*made, *sorted(left)]}))
        for place in made:
            (directory / place).parent.mkdir(parents=True, exist_ok=True)
            (staged / place).replace(directory / place)
        for place in sorted(left):
            (directory / place).unlink(missing_ok=True)
        write(directory / record, seal({"files": made}))
    except OSError as error:
        raise error if isinstance(error, Unwritable) else unwritable(directory, error) from error


def digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> bytes:
    """Return the canonical JSON text of a value.

    It has sorted keys and no blanks, and numbers that are not finite are written as `{"float": "nan"}`.
    A dict with the single key `float` or `escaped` is written as `{"escaped": ...}`, so that two different values never
    have the same text.
    """
    text = json.dumps(_encode(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def seal(payload: dict[str, Any]) -> bytes:
    """Encode a payload as JSON text with its checksum.

    Args:
        payload: Dicts with string keys, lists and scalars.

    Returns:
        `{"checksum": SHA-256 of the payload's canonical text, "payload": ...}`.
    """
    text = canonical(payload)
    return _HEAD % digest(text).encode() + text + _FOOT


def unseal(content: bytes) -> dict[str, Any]:
    """Check a sealed text and return its payload.

    Args:
        content: Bytes made by `seal`.

    Returns:
        The payload.

    Raises:
        Damaged: The content is no JSON text, or its checksum does not fit.
    """
    try:
        document = json.loads(content)
        checksum, payload = document["checksum"], _decode(document["payload"])
        # The canonical text is a part of the content; only after reformatting it has to be made again.
        head = _HEAD % checksum.encode()
        text = content[len(head) : -len(_FOOT)]
        untouched = content.startswith(head) and content.endswith(_FOOT) and digest(text) == checksum
        intact = isinstance(payload, dict) and (untouched or digest(canonical(payload)) == checksum)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged("half-written or damaged (no JSON text with a checksum)") from error
    if not intact:
        raise Damaged("damaged (its checksum does not fit)")
    return payload  # type: ignore[no-any-return]


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, dict):
        inside = {name: _encode(item) for name, item in value.items()}
        return {"escaped": inside} if len(inside) == 1 and inside.keys() <= _NAMES else inside
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"}:
            return float(value["float"])
        if value.keys() == {"escaped"}:
            value = value["escaped"]
        return {name: _decode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value
