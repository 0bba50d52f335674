"""Recognition of the format of a file or folder by its content, and choice of its reader."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import alf, caiman, checks, frames, matlab, neo_files, nest, npz, nwb, phy, suite2p
from neuro_decorr.recording.assembly import Mends, Raw
from neuro_decorr.recording.options import Foreign, Format, Options
from neuro_decorr.recording.sampled import Sampled

Reader: TypeAlias = Callable[[Path, Options], Raw | Sampled]

SELECTING = ("phy", "alf", "suite2p", "caiman", "nwb")
"""Formats whose readers select units, because they know the quality of the units."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_STRANGERS = {b"\x80": "a pickle, which can run any program and is never loaded", b"\x1f\x8b": "gzip: unpack it"}
_ENDINGS = {"npz", "csv", "parquet", "nwb", "nix", "mat", "npy"}
_FOLDERS = {"phy": phy.is_folder, "alf": alf.is_folder, "suite2p": suite2p.is_folder}
_ALWAYS = {"format", "content", "period", "units", "trial_table", *Mends.__annotations__}
_READERS: dict[str, Reader] = {
    "npz": npz.read, "npy": npz.read_array, "csv": frames.read_csv, "parquet": frames.read_parquet, "nwb": nwb.read,
    "nix": neo_files.read_nix, "mat": matlab.read, "nest": nest.read, "phy": phy.read, "alf": alf.read,
    "suite2p": suite2p.read, "caiman": caiman.read,
}  # fmt: skip
_USED = {
    "npz": {"variable", "sampling_rate", "step", "layout"},
    "npy": {"sampling_rate", "step", "layout"},
    "mat": {"variable", "sampling_rate", "step", "layout"},
    "csv": {"series", "sampling_rate", "step"},
    "parquet": {"series", "sampling_rate", "step"},
    "nwb": {"series", "quality", "condition", "sampling_rate", "step", "layout"},
    "nix": {"series"},
    "nest": {"series", "step", "sampling_rate"},
    "phy": {"quality", "sampling_rate"},
    "alf": {"quality", "condition", "sampling_rate"},
    "suite2p": {"series", "quality", "sampling_rate", "step"},
    "caiman": {"series", "quality", "sampling_rate", "step"},
}


def find(path: Path, given: str | None) -> str:
    """Find the format of a file or folder.

    Args:
        path: The file or folder.
        given: Format that the user gave, or None.

    Returns:
        A name in `Format` or `Foreign`, or the name of one of Neo's readers.

    Raises:
        InvalidValue: The path does not exist, the format is unknown, or it is not the given one.
    """
    ours = (*get_args(Format), *get_args(Foreign))
    if not path.exists():
        raise InvalidValue(f"{path}: there is no such file.")
    if not path.is_dir() and not path.is_file():  # reading it could wait for ever
        raise InvalidValue(f"{path}: is no file but a pipe or a device.")
    if given is not None and given not in ours:
        if not neo_files.known(given):
            raise InvalidValue(f"format: got {given!r}; allowed are {', '.join(ours)}, and Neo's readers: "
                               f"{', '.join(neo_files.names())}.")  # fmt: skip
        return given
    found = _of_folder(path, given) if path.is_dir() else _of_file(path, given)
    named = path.suffix.lower().removeprefix(".")
    if given is None and named in _ENDINGS and named != found and not (named == "csv" and found == "nest"):
        raise InvalidValue(f"{path}: holds {found}, though its name says {named}; rename it, or give the format.")
    if given is not None and given != found:
        raise InvalidValue(f"{path}: holds {found}, not {given}.")
    return found


def reader(name: str) -> Reader:
    """Reader of a format.

    Args:
        name: Name from `find`.

    Returns:
        The reader.
    """
    return _READERS.get(name) or partial(neo_files.read, name)


def check_options(name: str, options: Options) -> None:
    """Refuse options that a format cannot use.

    Args:
        name: The format.
        options: The options.

    Raises:
        InvalidValue: An option would have no effect.
    """
    used = _USED.get(name, {"series"})
    for option, value in options.items():
        if value is not None and np.asarray(value).size and option not in _ALWAYS | used:
            raise InvalidValue(
                f"{option}: {name} has no use for it; besides the period, the units, a trial_table and the mends it "
                f"takes {', '.join(sorted(used))}."
            )


def _of_folder(path: Path, given: str | None) -> str:
    found = [name for name, holds in _FOLDERS.items() if holds(path)]
    if given in found:
        found = [str(given)]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise InvalidValue(f"{path}: holds {' and '.join(found)}; give the format.")
    below = sorted({sub.parent for name in ("spike_clusters.npy", "*spikes.clusters*.npy", "F.npy", "spks.npy")
                    for depth in ("*", "*/*", "*/*/*") for sub in path.glob(f"{depth}/{name}")})  # fmt: skip
    inside = f" Is it one of {', '.join(map(str, below[:8]))}?" if below else ""
    if not below and (path / "spike_times.npy").is_file():
        raise InvalidValue(f"{path}: holds spike_times.npy, but no spike_clusters.npy: which unit fired is not known.")
    if not below and any(path.glob("cluster_*.tsv")):
        raise InvalidValue(
            f"{path}: holds tables of phy, but no spike_times.npy; give the folder with all of its files."
        )
    neo = neo_files.candidates(path) if not below else []
    tried = f" Neo would try {', '.join(neo[:8])}: give one as format." if neo else ""
    raise InvalidValue(f"{path}: is a folder, but none of {', '.join(_FOLDERS)}.{inside}{tried}")


def _of_file(path: Path, given: str | None) -> str:
    with path.open("rb") as stream:
        head = stream.read(4096)
    if not head:
        raise InvalidValue(f"{path}: is empty.")
    ending = path.suffix.lower()
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(path):
            raise InvalidValue(f"{path}: is a damaged or cut archive.")
        return "npz"
    if head.startswith((b"MATLAB 5.0", b"MATLAB 7.3")):
        return "mat"
    simple = {b"PAR1": "parquet", b"\x93NUMPY": "npy"}
    kind = next((name for magic, name in simple.items() if head.startswith(magic)), None)
    if kind is not None:
        return kind
    if head.startswith(_HDF5):
        return _of_hdf5(path)
    if ending == ".mat":  # version 4 has no magic number
        return "mat"
    stranger = next((name for magic, name in _STRANGERS.items() if head.startswith(magic)), None)
    utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if stranger is None and (utf16 or b"\0" not in head):
        plain = head.decode("utf-8", errors="replace")
        return "nest" if given == "nest" or (not utf16 and (ending == ".gdf" or nest.is_text(plain))) else "csv"
    what = f" ({stranger})" if stranger else ""
    neo = neo_files.candidates(path)
    tried = f"; Neo would try {', '.join(neo[:8])}: give one as format" if neo and not stranger else ""
    known = ", ".join((*get_args(Format), *get_args(Foreign)))
    raise InvalidValue(f"{path}: is of no known format{what}; known are {known}{tried}.")


def _of_hdf5(path: Path) -> str:
    h5py = require("h5py", "recordings")
    try:
        with h5py.File(path) as stream:
            attributes: dict[str, Any] = dict(stream.attrs)
            caiman = isinstance(stream.get("estimates"), h5py.Group)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise InvalidValue(f"{path}: is a damaged or cut HDF5 file ({checks.first_line(error)}).") from error
    if "nwb_version" in attributes:
        return "nwb"
    if attributes.get("format") in ("nix", b"nix"):
        return "nix"
    if caiman:
        return "caiman"
    raise InvalidValue(
        f"{path}: is an HDF5 file, but none of NWB, NIX and CaImAn: read its arrays with h5py, then give them to "
        "recording.from_times or recording.Rates."
    )
