"""Origin of results: the data, the protocol with its imports, the library, and the versions that matter."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

from neuro_decorr.study import files
from neuro_decorr.study.configuration import Configuration, data_paths, option
from neuro_decorr.study.imports import reached
from neuro_decorr.study.provenance import installed

FOLDER = "origins"
LIBRARY = Path(__file__).resolve().parents[1]
"""Folder of the library that this process has loaded."""
Digests: TypeAlias = dict[str, str]

_ALWAYS = ("neuro-decorr", "numpy", "torch")
_WHERE_IMPORTED = {"brian2": {"brian", "brian2"}, "norse": {"norse"}}
_SHOWN = 5


@final
@dataclass(frozen=True)
class Origin:
    """Origin of the runs of one session: digests of contents, by name.

    Attributes:
        data: Digests by field of the configuration that names a file or a folder.
        protocol: Digests by file of the study directory that the protocol reaches by its imports.
        library: Digests by file of this library.
        versions: Versions of Python (major.minor) and of the packages that results depend on.
    """

    data: Digests
    protocol: Digests
    library: Digests
    versions: Digests

    @staticmethod
    def of(root: Path, protocol: str, configuration: Configuration) -> Origin:
        """Return the origin of a run that is made now. Cost: every file is read, about 1 s per gigabyte of data.

        Args:
            root: The study directory.
            protocol: Name of the protocol.
            configuration: Its configuration, whose paths are relative to the current directory.

        Returns:
            The origin. It does not cover files that a protocol opens without a field of the configuration for them.

        Raises:
            Unreadable: A file cannot be read.
        """
        root = root.resolve()
        code, names = reached(root, protocol)
        packages = [*_ALWAYS, *(package for package, told in _WHERE_IMPORTED.items() if told & names)]
        return Origin(
            {field: content(*paths) for field, paths in data_paths(configuration).items()},
            {path.relative_to(root).as_posix(): content(path) for path in code},
            {path.relative_to(LIBRARY.parent).as_posix(): content(path) for path in _library()},
            {"python": ".".join(platform.python_version_tuple()[:2]), **installed(packages)},
        )

    @property
    def brief(self) -> dict[str, Any]:
        """Origin with one digest for the protocol and one for the library, which every stored run carries."""
        protocol, library = (files.digest(files.canonical(part))[:16] for part in (self.protocol, self.library))
        return {"data": self.data, "protocol": protocol, "library": library, "versions": self.versions}

    def write(self, directory: Path) -> None:
        """Store the digests file by file as `DIR/origins/KEY.json`, so that differences can be listed later."""
        files.write(_path(directory, self.brief), files.seal(asdict(self)))

    @staticmethod
    def read(directory: Path, name: str) -> Origin:
        """Read a stored origin.

        Args:
            directory: Directory of the study.
            name: Key of the origin; see `key`.

        Returns:
            The origin.

        Raises:
            Unreadable: The file cannot be read.
            Damaged: The file does not have the content that was written.
        """
        path = directory / FOLDER / f"{name}.json"
        try:
            return Origin(**_sound(files.unseal(files.read(path))))
        except OSError as error:
            raise files.Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error
        except (files.Damaged, TypeError) as error:
            raise files.Damaged(f"{path} is damaged.") from error

    def differences(self, stored: Mapping[str, Any], directory: Path) -> list[str]:
        """List the differences from the origin of a stored run.

        Args:
            stored: Origin that the run carries; see `brief`.
            directory: Directory of the study, which has the digests file by file.

        Returns:
            One line for each difference; no line when the origins are equal.
        """
        brief = self.brief
        _sound({part: stored.get(part) for part in ("data", "versions")})
        lines = _compared(stored["data"], self.data, lambda field: f"{option(field)} (its content)")
        try:
            detail = _sound(files.unseal(files.read(_path(directory, stored))))
        except (OSError, files.Damaged):
            detail = {}
        for part, now in (("protocol", self.protocol), ("library", self.library)):
            if stored.get(part) != brief[part]:
                told = _compared(detail[part], now, str) if part in detail else []
                lines += told[:_SHOWN] or [f"{part}: stored {stored.get(part)}, now {brief[part]}"]
                if len(told) > _SHOWN:
                    lines.append(f"{len(told) - _SHOWN} more files of the {part}")
        return lines + _compared(stored["versions"], self.versions, str)


def key(brief: Mapping[str, Any]) -> str:
    """Return sixteen hexadecimal digits that identify an origin."""
    return files.digest(files.canonical(dict(brief)))[:16]


def content(*paths: Path) -> str:
    """Digest the content of files, and of folders with all files in them; names count only below a folder.

    Args:
        *paths: Files or folders.

    Returns:
        Sixteen hexadecimal digits.

    Raises:
        Unreadable: The operating system refuses.
    """
    found = [_one(path) for path in paths]
    return (found[0] if len(found) == 1 else files.digest(files.canonical({"paths": found})))[:16]


def _one(path: Path) -> str:
    if path.is_dir():
        inside = sorted(other for other in path.rglob("*") if other.is_file())
        return files.digest(files.canonical({other.relative_to(path).as_posix(): _one(other) for other in inside}))
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise files.Unreadable(f"{path} cannot be read: {error.strerror or error}.") from error


def _sound(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check that each part of an origin has texts by name, and return the parts."""
    for part in parts.values():
        if not isinstance(part, dict) or not all(isinstance(told, str) for told in part.values()):
            raise files.Damaged("the record of an origin is damaged, or of another version")
    return parts


def _compared(stored: Mapping[str, str], now: Mapping[str, str], name: Any) -> list[str]:
    return [
        f"{name(key)}: stored {stored.get(key, '(none)')}, now {now.get(key, '(none)')}"
        for key in dict.fromkeys([*stored, *now])
        if stored.get(key) != now.get(key)
    ]


def _library() -> list[Path]:
    # Compiled files change with every Python; the files that `init` copies count in the study directory.
    skipped = {"__pycache__", "_template"}
    return sorted(path for path in LIBRARY.rglob("*") if path.is_file() and not skipped & set(path.parts))


def _path(directory: Path, brief: Mapping[str, Any]) -> Path:
    return directory / FOLDER / f"{key(brief)}.json"
