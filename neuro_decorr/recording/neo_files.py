"""Files that Neo reads: NIX, and by its own readers the formats of the acquisition systems."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import neo_objects
from neuro_decorr.recording.assembly import Raw
from neuro_decorr.recording.options import Options
from neuro_decorr.recording.rates import Rates
from neuro_decorr.recording.sampled import Sampled
from neuro_decorr.recording.spikes import SpikeTrains

_REFUSED = {
    "pickle": "a pickle can run any program; load it where you trust it, and use from_neo",
    "nest": "give format='nest', which reads the lines of NEST itself",
}


def read_nix(path: Path, options: Options) -> Raw | Sampled:
    """Read spikes or rates from a NIX file.

    Args:
        path: The file.
        options: See `Options`.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: The file holds no block or several, or see `from_neo`.
    """
    neo = require("neo", "recordings")
    require("nixio", "recordings")
    with neo.io.NixIO(str(path), "ro") as file:
        blocks = file.read_all_blocks()
    if len(blocks) != 1:
        raise InvalidValue(f"holds {len(blocks)} blocks; allowed is one: read it with neo.io.NixIO and use from_neo.")
    return neo_objects.read(blocks[0], options)


def write_nix(path: Path, recording: SpikeTrains | Rates) -> None:
    """Write a recording as a NIX file.

    Args:
        path: The file.
        recording: The recording.
    """
    neo = require("neo", "recordings")
    require("nixio", "recordings")
    with neo.io.NixIO(str(path), "ow") as file:
        file.write_block(neo_objects.to_neo(recording))


def names() -> list[str]:
    """Names of Neo's readers, as `load` takes them: `blackrock` for `BlackrockIO`."""
    return sorted(_readers())


def candidates(path: Path) -> list[str]:
    """Names of the readers that Neo would try for a path, by its ending."""
    neo = require("neo", "recordings")
    try:
        return sorted({_short(reader) for reader in neo.io.list_candidate_ios(path)} - set(_REFUSED))
    except (ValueError, OSError):
        return []


def known(name: str) -> bool:
    """True if Neo has a reader of this name."""
    return _plain(name) in _readers() or _plain(name) in _REFUSED


def read(name: str, path: Path, options: Options) -> Raw | Sampled:
    """Read spikes or rates by one of Neo's readers; signals are loaded only if they are wanted.

    Args:
        name: Name of the reader, such as `blackrock` or `BlackrockIO`.
        path: The file, or the folder for a reader of folders.
        options: See `Options`.

    Returns:
        Spikes or rates, to be assembled.

    Raises:
        InvalidValue: The reader is not allowed, or see `from_neo`.
    """
    short = _plain(name)
    if short in _REFUSED:
        raise InvalidValue(f"format: {name} is not read: {_REFUSED[short]}.")
    neo, reader = require("neo", "recordings"), _readers()[short]
    parameters = list(inspect.signature(reader).parameters)
    argument = next((key for key in ("filename", "dirname") if key in parameters), parameters[0])
    file = reader(**{argument: str(path)})
    if neo.Block not in reader.readable_objects:
        return neo_objects.read(file.read_segment(), options)
    found = neo_objects.read(file.read_block(**({"lazy": True} if reader.support_lazy else {})), options)
    if hasattr(file, "block_count") and (blocks := file.block_count()) > 1:
        found.notes.append(f"the first of {blocks} blocks; read the others with neo.io and from_neo")
    return found


def _readers() -> dict[str, Any]:
    neo = require("neo", "recordings")
    readable = {neo.Block, neo.Segment}
    found = {_short(reader): reader for reader in neo.io.iolist if readable & set(reader.readable_objects)}
    return {name: reader for name, reader in found.items() if name not in _REFUSED}


def _short(reader: Any) -> str:
    return _plain(reader.__name__)


def _plain(name: str) -> str:
    return name.lower().removesuffix("io")
