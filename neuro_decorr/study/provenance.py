"""Provenance of a study: commands, versions, commit, seeds, machine, times."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, final

from neuro_decorr.study import files

NAME = "provenance.json"
_INTERVAL = 0.5
"""Time between two records of the number of runs (s)."""
PACKAGES = (
    "neuro-decorr", "torch", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib",
    "pydantic", "click", "rich", "safetensors", "brian2", "norse",
)  # fmt: skip

OPEN = "running, or killed"
"""Outcome of a session that has not ended on record."""


@final
class Provenance:
    """Record of a study: one entry for every session that worked on it, with a checksum over all entries.

    Reading it changes nothing. A session is on record from `begin` on, and its runs as they end, so a killed session is
    on record too.

    Args:
        directory: Directory of the study.

    Attributes:
        sessions: The sessions so far.
        warnings: Warnings for the reader of the results, such as a damaged record.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self.warnings: list[str] = []
        self.sessions: list[dict[str, Any]] = []
        self._damaged = False
        self._next = 0.0
        try:
            self.sessions = read(directory)
        except FileNotFoundError:
            pass
        except files.Damaged as error:
            self._damaged = True
            self.warnings.append(
                f"{self._path} is {error}; it is kept as {NAME}.damaged, and a new record begins without those sessions"
            )

    def begin(
        self,
        command: Sequence[str],
        seeds: list[int],
        workers: str,
        origin: Mapping[str, Any],
        root: Path,
        accepted: Mapping[str, Any] | None = None,
    ) -> None:
        """Put a session on record.

        Args:
            command: The command line.
            seeds: The paired seeds.
            workers: Description of its workers, such as `4 processes`.
            origin: Origin of its runs; see `Origin.brief`.
            root: The study directory, whose commit goes on record.
            accepted: Choice for runs of another origin; see `changes.settle`. None: no choice was needed.
        """
        if self._damaged:
            try:
                self._path.replace(self._path.with_name(f"{NAME}.damaged"))
            except OSError as error:
                raise files.unwritable(self._path, error) from error
        self.sessions.append(
            {
                "command": list(command),
                "started": _now(),
                "ended": None,
                "outcome": OPEN,
                "runs_computed": 0,
                "seeds": seeds,
                "workers": workers,
                "origin": dict(origin),
                "accepted_changes": dict(accepted) if accepted else None,
                "git": commit(root),
                "versions": versions(),
                "machine": machine(),
            }
        )
        self._write()

    def computed(self, runs: int) -> None:
        """Put the number of computed runs on record, at most twice a second."""
        self.sessions[-1]["runs_computed"] = runs
        # More often it would take a third of the time of a study with thousands of short runs.
        if time.monotonic() >= self._next:
            self._write()
            self._next = time.monotonic() + _INTERVAL

    def end(self, outcome: str, computed: int) -> None:
        """Close the session.

        Args:
            outcome: `complete`, `incomplete`, `interrupted`, or `failed`.
            computed: Number of runs that it computed.
        """
        self.sessions[-1].update(ended=_now(), outcome=outcome, runs_computed=computed)
        self._write()

    def _write(self) -> None:
        document = {"checksum": files.digest(files.canonical(self.sessions)), "sessions": self.sessions}
        files.write(self._path, json.dumps(document, indent=2) + "\n")


def read(directory: Path) -> list[dict[str, Any]]:
    """Read the sessions of a study.

    Args:
        directory: Directory of the study.

    Returns:
        The entry of each session. One that did not end on record has the outcome `running, or killed`, and `killed` if
        a later one has begun in the same directory, which the lock of the first one would have refused.

    Raises:
        FileNotFoundError: There is no record.
        Damaged: The checksum of the record does not fit.
    """
    try:
        document = json.loads(files.read(directory / NAME))
        sessions, checksum = document["sessions"], document["checksum"]
        intact = files.digest(files.canonical(sessions)) == checksum
    except FileNotFoundError:
        raise
    except (OSError, files.Damaged, ValueError, KeyError, TypeError, RecursionError) as error:
        raise files.Damaged("damaged (no JSON text with a checksum)") from error
    if not intact:
        raise files.Damaged("damaged (its checksum does not fit)")
    if not isinstance(sessions, list) or not all(isinstance(session, dict) for session in sessions):
        raise files.Damaged("damaged (no list of sessions)")
    later = set[str]()
    for session in reversed(sessions):
        place = str(session.get("merged_from"))
        if session.get("outcome") == OPEN and place in later:
            session["outcome"] = "killed"
        later.add(place)
    return sessions


def versions() -> dict[str, str]:
    """Return the versions of Python and of every installed package that results may depend on."""
    return {"python": platform.python_version(), **installed(PACKAGES)}


def commit(directory: Path) -> dict[str, Any] | None:
    """Return the git commit of a directory.

    Args:
        directory: A directory of a repository.

    Returns:
        `commit`, and `dirty`: True if a tracked file is changed or a Python file is untracked. None without git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(directory), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout

    try:
        lines = git("status", "--porcelain", "--untracked-files=normal").splitlines()
        dirty = any(not line.startswith("??") or line.endswith((".py", "/")) for line in lines)
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": dirty}
    except (OSError, subprocess.SubprocessError):
        return None


def machine() -> dict[str, Any]:
    """Return processor, cores and platform of this machine."""
    return {"processor": _processor(), "cores": os.cpu_count(), "platform": platform.platform()}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed, by name."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
