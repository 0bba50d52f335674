"""Files that are whole or absent: atomic writes, and JSON with its checksum inside."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from neuro_decorr.errors import NeuroDecorrError, StateMismatch


class Damaged(StateMismatch):
    """A stored file that is not what was written."""


class Unwritable(NeuroDecorrError, OSError):
    """A file or a directory that cannot be written."""


def unwritable(path: Path, error: OSError) -> Unwritable:
    """The error for a place that cannot be written.

    Args:
        path: The file or directory.
        error: What the operating system said.

    Returns:
        The error, to be raised by the caller.
    """
    return Unwritable(f"cannot write {path}: {error.strerror or error}; mend that, or choose another directory.")


def write(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    The content is not forced to the disk (that costs more than a short run): after a power failure a file may be
    truncated, which its checksum tells.

    Args:
        path: The file; its folder is made when absent.
        content: Bytes, or text to be encoded as UTF-8.

    Raises:
        Unwritable: The operating system refuses.
    """
    data = content.encode() if isinstance(content, str) else content
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


def sweep(directory: Path) -> int:
    """Remove the temporary files that killed processes left.

    Args:
        directory: Where to look, with all folders below.

    Returns:
        How many were removed.
    """
    strays = list(directory.rglob(".*.tmp"))
    for stray in strays:
        stray.unlink(missing_ok=True)
    return len(strays)


def digest(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no blanks, numbers that are not finite as `{"float": "nan"}`."""
    text = json.dumps(_encode(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def seal(payload: dict[str, Any]) -> bytes:
    """A payload as JSON text with its checksum.

    Args:
        payload: Dicts with string keys, lists and scalars.

    Returns:
        `{"checksum": SHA-256 of the payload's canonical text, "payload": ...}`.
    """
    text = canonical(payload)
    return b'{"checksum":"' + digest(text).encode() + b'",\n"payload":' + text + b"}\n"


def unseal(content: bytes) -> dict[str, Any]:
    """The payload of a sealed text, checked.

    Args:
        content: What `seal` gave.

    Returns:
        The payload.

    Raises:
        Damaged: It is no JSON text, or the checksum does not fit.
    """
    try:
        document = json.loads(content)
        checksum, payload = document["checksum"], _decode(document["payload"])
        intact = isinstance(payload, dict) and digest(canonical(payload)) == checksum
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged("half-written or damaged (no JSON text with a checksum)") from error
    if not intact:
        raise Damaged("damaged (its checksum does not fit)")
    return payload  # type: ignore[no-any-return]


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, dict):
        return {name: _encode(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"} and value["float"] in ("nan", "inf", "-inf"):
            return float(value["float"])
        return {name: _decode(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value
