"""Files of a data set that are not there yet: fetched from where its authors publish them, and checked."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuro_decorr.errors import InvalidValue, MissingExtra, require


@dataclass(frozen=True)
class Source:
    """Where the files of a data set are published."""

    name: str  # of the data set
    address: str  # of the folder that holds the files, without the last slash
    checksums: Mapping[str, str]  # SHA-256 of each file, by its name


def fetch(source: Source, file: str, folder: Path, members: Sequence[str] = ()) -> None:
    """Fetch one file into a folder, check it, and unpack it where it is an archive.

    What arrives with another checksum is deleted. A file that is there already is not fetched again.

    Args:
        source: Where it is published.
        file: Its name.
        folder: Where to put it; made where it is absent.
        members: What to unpack of an archive into the same folder.

    Raises:
        InvalidValue: No network, no such file there, or another checksum; says what to put where.
        MissingExtra: pooch is not installed; says what to put where.
    """
    address = f"{source.address}/{file}"
    by_hand = f"Put {address} into {folder} yourself{', and unpack it there' if members else ''}."
    try:
        pooch = require("pooch", "study")
    except MissingExtra as error:
        raise MissingExtra(f"{source.name}: {file} is not in {folder}, and to fetch it, {error} {by_hand}") from error
    unpack = pooch.Untar(members=list(members), extract_dir=".") if members else None
    try:
        pooch.retrieve(
            address,
            known_hash=f"sha256:{source.checksums[file]}",
            fname=file,
            path=folder,
            processor=unpack,
            progressbar=sys.stderr.isatty(),
        )
    except (OSError, ValueError) as error:  # what requests raises is an OSError, another checksum a ValueError
        raise InvalidValue(f"{source.name}: {file} could not be fetched ({error}). {by_hand}") from error
