"""Identity of a study: it says which study a directory holds, and refuses another one there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from neuro_decorr.errors import InvalidValue, StateMismatch
from neuro_decorr.study import files, lock
from neuro_decorr.study.configuration import difference

NAME = "configuration.json"
SEEDS = 1_000_000
"""Largest number of paired seeds of a study."""


@final
@dataclass(frozen=True)
class Identity:
    """Identity of a study: its protocol, its configuration, its seeds.

    Attributes:
        protocol: Name of the protocol.
        configuration: Values by field, as JSON holds them.
        seeds: Number of paired seeds.
    """

    protocol: str
    configuration: Mapping[str, Any]
    seeds: int

    @property
    def fingerprint(self) -> str:
        """Digest of protocol and configuration (not of the seeds, which may grow). Every stored run carries it."""
        return files.digest(files.canonical({"protocol": self.protocol, "configuration": dict(self.configuration)}))

    @staticmethod
    def read(directory: Path) -> Identity:
        """Read the identity of the study in a directory.

        Args:
            directory: Directory of a study.

        Returns:
            The identity.

        Raises:
            InvalidValue: The directory holds no study.
            StateMismatch: Its configuration.json is damaged.
        """
        if not directory.exists():
            raise InvalidValue(f"{directory} holds no study: there is no such directory.")
        try:
            content = files.read(directory / NAME)
        except (OSError, files.Damaged) as error:
            raise InvalidValue(f"{directory} holds no study: {NAME} cannot be read ({_why(error)}).") from error
        try:
            document = json.loads(content)
            protocol, configuration, seeds = (document[name] for name in ("protocol", "configuration", "seeds"))
            found = Identity(protocol, configuration, seeds)
            sound = isinstance(protocol, str) and type(seeds) is int and 1 <= seeds <= SEEDS
            # JSON that is nested too deeply for a fingerprint may still be readable.
            sound = sound and isinstance(configuration, dict) and bool(found.fingerprint)
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise StateMismatch(
                f"{directory / NAME} is damaged, so the study in this directory is unknown; "
                "restore that file, or choose another directory."
            )
        return found

    def check(self, directory: Path) -> None:
        """Refuse a directory in which this study may neither start nor continue. Changes nothing.

        Args:
            directory: An absent or empty directory, or one in which this study was begun with as many seeds or fewer.

        Raises:
            InvalidValue: The path is a file, or a directory with other files in it.
            StateMismatch: The directory holds another study; the message lists the differences field by field.
        """
        try:
            entries = [entry.name for entry in directory.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise InvalidValue(f"{directory} cannot be used: {error.strerror}; choose another directory.") from error
        if NAME not in entries:
            # A study that was killed in its first moments leaves only its lock.
            foreign = [name for name in sorted(entries) if name != lock.NAME and not name.endswith(".tmp")]
            if foreign:
                raise InvalidValue(
                    f"{directory} is not empty and holds no study (it has {foreign[0]}); choose another directory."
                )
            return
        stored = Identity.read(directory)
        lines = difference({"protocol": stored.protocol}, {"protocol": self.protocol})
        if not lines:
            lines = difference(stored.configuration, self.configuration)
        if stored.seeds > self.seeds:
            lines.append(f"seeds: stored {stored.seeds}, asked for {self.seeds} (seeds can be added, not removed)")
        if lines:
            told = "\n".join(f"  {line}" for line in lines)
            raise StateMismatch(
                f"{directory} holds a study with another configuration; nothing was changed.\n{told}\n"
                "  Give the stored values to go on with that study, or choose another directory."
            )

    def write(self, directory: Path) -> None:
        """Write this identity into the directory of the study.

        Args:
            directory: Directory of the study.
        """
        document = {"protocol": self.protocol, "seeds": self.seeds, "configuration": dict(self.configuration)}
        files.write(directory / NAME, json.dumps(document, indent=2) + "\n")


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
