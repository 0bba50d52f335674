"""Files of recordings: the format is found by content, and every fault is told with the file's name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Unpack, get_args

from neuro_decorr.errors import InvalidValue, MissingExtra, NeuroDecorrError
from neuro_decorr.recording import checks, formats, frames, neo_files, npz, nwb, sampled
from neuro_decorr.recording.assembly import Mends, Raw, assemble
from neuro_decorr.recording.options import Format, Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled
from neuro_decorr.recording.selection import select
from neuro_decorr.recording.spikes import SpikeTrains


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
    strange = sorted(set(options) - set(Options.__annotations__))
    if strange:
        raise InvalidValue(f"{strange[0]}: there is no such option; allowed are {', '.join(Options.__annotations__)}.")
    if (asked := options.get("period")) is not None:
        period = checks.numbers("period", asked).tolist()
        if len(period) != 2:
            raise InvalidValue(f"period: got {asked!r}; allowed are two numbers, its start and its end (s).")
        options["period"] = (period[0], period[1])
    file = Path(path)
    found = formats.find(file, options.get("format"))
    try:
        formats.check_options(found, options)
        read = formats.reader(found)(file, options)
        return _assembled(read, found, options)
    except MissingExtra:
        raise
    except NeuroDecorrError as error:
        raise InvalidValue(f"{file}: {error}") from error
    except MemoryError as error:
        raise InvalidValue(f"{file}: is too large for the memory ({error}).") from error
    except Exception as error:  # whatever a library meets in a damaged file: their errors have no common base
        told = f"{type(error).__name__}: {checks.first_line(error)}"
        raise InvalidValue(f"{file}: cannot be read as {found} ({told}): damaged or cut?") from error


def _assembled(read: Raw | Sampled, found: str, options: Options) -> SpikeTrains | Rates:
    content, mends = options.get("content"), {name: options.get(name) for name in Mends.__annotations__}
    asked: Any = {name: value for name, value in mends.items() if value not in (None, False, "error")}
    if content is not None and isinstance(read, Raw) != (content == "spikes"):
        raise InvalidValue(f"holds no {content}.")
    if found not in formats.SELECTING and (options.get("units") is not None or options.get("quality")):
        select(read, options)
    if isinstance(read, Raw):
        return assemble(read, options.get("period"), **asked)
    if asked:
        raise InvalidValue(f"{next(iter(asked))}: is for spikes, and these are rates; leave it out.")
    return sampled.assemble(read, options.get("period"))


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


def _writer(kind: str) -> Callable[[Path, Any], None]:
    return {
        "npz": npz.write,
        "csv": frames.write_csv,
        "parquet": frames.write_parquet,
        "nwb": nwb.write,
        "nix": neo_files.write_nix,
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
