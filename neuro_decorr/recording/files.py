"""Files of recordings: the format is found by content, and every fault is told with the file's name."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Unpack, get_args

from neuro_decorr.errors import InvalidValue, MissingExtra, require
from neuro_decorr.recording.assembly import Raw, assemble
from neuro_decorr.recording.neo_objects import Content, Period
from neuro_decorr.recording.options import Format, Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.spikes import SpikeTrains

_HDF5 = b"\x89HDF\r\n\x1a\n"
_STRANGERS = {b"\x93NUMPY": "a bare numpy array", b"MATLAB": "a MATLAB file", b"\x80": "a pickle", b"\x1f\x8b": "gzip"}


def load(path: str | PathLike[str], **options: Unpack[Options]) -> SpikeTrains | Rates:
    """Read a recording.

    Args:
        path: The file or folder.
        **options: What to read, and what may be mended; see `Options` and `Mends`. Without them whatever is wrong is
            refused. A file whose ending names another format than its content is refused unless the format is given.

    Returns:
        Spike trains or rates; their notes tell what was mended, and what the file does not say.

    Raises:
        InvalidValue: No such file, an empty, damaged or foreign one, an option that the format cannot use, or whatever
            a recording refuses; one line.
    """
    format, content, period = options.pop("format", None), options.pop("content", None), options.pop("period", None)
    mends: Any = options
    file = Path(path)
    if not file.is_file():
        raise InvalidValue(f"{file}: there is no such file.")
    found = _format(file)
    named = file.suffix.lower().removeprefix(".")
    if format is None and named in get_args(Format) and named != found:
        raise InvalidValue(f"{file}: holds {found}, though its name says {named}; rename it, or give the format.")
    if format is not None and format != found:
        raise InvalidValue(f"{file}: holds {found}, not {format}.")
    try:
        read = _read(found, file, content, period)
        if content is not None and isinstance(read, Raw) != (content == "spikes"):
            raise InvalidValue(f"holds no {content}.")
        return assemble(read, period, **mends) if isinstance(read, Raw) else read
    except MissingExtra:
        raise
    except InvalidValue as error:
        raise InvalidValue(f"{file}: {error}") from error
    except Exception as error:  # whatever a reader of HDF5 meets in a damaged file: its own errors have no common base
        if found not in ("nwb", "nix"):
            raise
        first = (str(error).splitlines() or [""])[0]
        raise InvalidValue(
            f"{file}: cannot be read as {found} ({type(error).__name__}: {first}): damaged or cut?"
        ) from error


def save(recording: SpikeTrains | Rates, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a recording; the ending of the name is the format: .npz, .csv, .parquet, .nwb or .nix.

    Args:
        recording: The recording.
        path: The file.
        overwrite: Whether a file of that name may be replaced.

    Returns:
        The file, whole: it appears when it is complete.

    Raises:
        InvalidValue: Another ending, or a file of that name.
    """
    file = Path(path)
    kind = file.suffix.lower().removeprefix(".")
    if kind not in get_args(Format):
        raise InvalidValue(f"{file}: got the ending {file.suffix!r}; allowed: .{', .'.join(get_args(Format))}.")
    if file.exists() and not overwrite:
        raise InvalidValue(f"{file}: is there already; choose another name, or pass overwrite=True.")
    with _whole(file) as temporary:
        _writer(kind)(temporary, recording)
    return file


def _format(file: Path) -> Format:
    with file.open("rb") as stream:
        head = stream.read(4096)
    if not head:
        raise InvalidValue(f"{file}: is empty.")
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(file):
            raise InvalidValue(f"{file}: is a damaged or cut archive.")
        return "npz"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(_HDF5):
        return _kind_of_hdf5(file)
    stranger = next((name for magic, name in _STRANGERS.items() if head.startswith(magic)), None)
    if stranger is None and b"\0" not in head:
        return "csv"
    what = f" ({stranger})" if stranger else ""
    raise InvalidValue(f"{file}: is of no known format{what}; known are {', '.join(get_args(Format))}.")


def _kind_of_hdf5(file: Path) -> Format:
    h5py = require("h5py", "recordings")
    try:
        with h5py.File(file) as stream:
            attributes = dict(stream.attrs)
    except OSError as error:
        raise InvalidValue(f"{file}: is a damaged or cut HDF5 file ({error}).") from error
    if "nwb_version" in attributes:
        return "nwb"
    if attributes.get("format") in ("nix", b"nix"):
        return "nix"
    raise InvalidValue(f"{file}: is an HDF5 file, but neither NWB nor NIX.")


def _read(kind: Format, file: Path, content: Content | None, period: Period | None) -> Raw | Rates:
    from neuro_decorr.recording import frames, neo_objects, npz, nwb

    if kind == "nwb":
        return nwb.read(file, content, period)
    if kind == "nix":
        return neo_objects.read_nix(file, content, period)
    readers: dict[str, Callable[..., Raw | Rates]] = {
        "npz": npz.read,
        "csv": frames.read_csv,
        "parquet": frames.read_parquet,
    }
    return readers[kind](file, period)


def _writer(kind: str) -> Callable[[Path, Any], None]:
    from neuro_decorr.recording import frames, neo_objects, npz, nwb

    return {
        "npz": npz.write,
        "csv": frames.write_csv,
        "parquet": frames.write_parquet,
        "nwb": nwb.write,
        "nix": neo_objects.write_nix,
    }[kind]


@contextlib.contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A name to write to, which becomes the file when the writing succeeded."""
    temporary = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        yield temporary
        temporary.replace(file)
    except OSError as error:
        raise InvalidValue(f"{file}: cannot be written ({error.strerror or error}).") from error
    finally:
        temporary.unlink(missing_ok=True)
