"""Download of missing files of a data set from the place where its authors publish them, with a checksum."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuro_decorr.errors import InvalidValue, MissingExtra, require


@dataclass(frozen=True)
class Source:
    """Place where the files of a data set are published."""

    name: str  # of the data set
    address: str  # of the folder that holds the files, without the last slash
    checksums: Mapping[str, str]  # SHA-256 of each file, by its name


def fetch(source: Source, file: str, folder: Path, members: Sequence[str] = ()) -> None:
    """Fetch one file into a folder, check it, and unpack it if it is an archive.

    A file with another checksum is deleted. A file that is there already is not fetched again.

    Args:
        source: Place where the file is published.
        file: Name of the file.
        folder: Folder to put it into; made if it is absent.
        members: Members of an archive to unpack into the same folder.

    Raises:
        InvalidValue: There is no network, no such file, or another checksum; the message says which file to put where.
        MissingExtra: pooch is not installed; the message says which file to put where.
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
    except (OSError, ValueError) as error:  # requests raises an OSError, pooch a ValueError for another checksum
        raise InvalidValue(f"{source.name}: {file} could not be fetched ({error}). {by_hand}") from error
