"""Which study a directory holds, and whether another one may go on in it."""

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


@final
@dataclass(frozen=True)
class Identity:
    """A study: its protocol, its configuration, its seeds.

    Attributes:
        protocol: Name of the protocol.
        configuration: Values by field, as JSON holds them.
        seeds: How many paired seeds.
    """

    protocol: str
    configuration: Mapping[str, Any]
    seeds: int

    @property
    def fingerprint(self) -> str:
        """A digest of protocol and configuration (not of the seeds, which may grow). Every stored run carries it."""
        return files.digest(files.canonical({"protocol": self.protocol, "configuration": dict(self.configuration)}))

    @staticmethod
    def read(directory: Path) -> Identity:
        """The study that a directory holds.

        Args:
            directory: Directory of a study.

        Returns:
            Its identity.

        Raises:
            InvalidValue: It is no directory of a study.
            StateMismatch: Its configuration.json is damaged.
        """
        try:
            content = (directory / NAME).read_bytes()
        except OSError as error:
            raise InvalidValue(f"{directory} holds no study: {NAME} cannot be read ({error.strerror}).") from error
        try:
            document = json.loads(content)
            found = Identity(document["protocol"], document["configuration"], document["seeds"])
            sound = isinstance(found.configuration, dict) and isinstance(found.seeds, int)
        except (ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            raise StateMismatch(
                f"{directory / NAME} is damaged, so it cannot be told which study this is; "
                "restore that file, or choose another directory."
            )
        return found

    def check(self, directory: Path) -> None:
        """Whether this study may start or go on in a directory. Changes nothing.

        Args:
            directory: An absent or empty directory, or one that this study has begun with as many seeds or fewer.

        Raises:
            InvalidValue: It is a file, or a directory with something else in it.
            StateMismatch: It holds another study; the difference is told field by field.
        """
        try:
            entries = [entry.name for entry in directory.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise InvalidValue(f"{directory} cannot be used: {error.strerror}; choose another directory.") from error
        if NAME not in entries:
            # A study that was killed in its first moments leaves its lock and no more.
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
            lines.append(f"seeds: stored {stored.seeds}, asked for {self.seeds} (more extend a study, fewer do not)")
        if lines:
            told = "\n".join(f"  {line}" for line in lines)
            raise StateMismatch(
                f"{directory} holds a study with another configuration; nothing was changed.\n{told}\n"
                "  Ask for the stored values to go on with it, or choose another directory."
            )

    def write(self, directory: Path) -> None:
        """Store this identity.

        Args:
            directory: Directory of the study.
        """
        document = {"protocol": self.protocol, "seeds": self.seeds, "configuration": dict(self.configuration)}
        files.write(directory / NAME, json.dumps(document, indent=2) + "\n")
