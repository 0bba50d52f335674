"""What made a study: commands, versions, commit, seeds, machine, times."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, final

from neuro_decorr.study import files

NAME = "provenance.json"
PACKAGES = (
    "neuro-decorr", "torch", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib",
    "pydantic", "click", "rich", "safetensors", "brian2", "norse",
)  # fmt: skip


@final
class Provenance:
    """The record of a study: one entry for every session that worked on it.

    Args:
        directory: Directory of the study.
        protocol_file: The protocol's file, or the `__init__.py` of its folder; see `code`.
        command: The command line.
        seeds: The paired seeds.
        workers: How many processes.

    Attributes:
        warnings: What a reader of the results should know: sessions with other code, a damaged record.
    """

    def __init__(
        self, directory: Path, protocol_file: Path, command: Sequence[str], seeds: list[int], workers: int
    ) -> None:
        self._path = directory / NAME
        self.warnings: list[str] = []
        earlier = self._earlier()
        self._session: dict[str, Any] = {
            "command": list(command),
            "started": _now(),
            "ended": None,
            "outcome": "running, or killed",
            "runs_computed": 0,
            "seeds": seeds,
            "workers": workers,
            "protocol_sha256": code(protocol_file),
            "git": commit(protocol_file.parent),
            "versions": versions(),
            "machine": machine(),
        }
        for name, what in (("protocol_sha256", "protocol"), ("git", "commit"), ("versions", "versions")):
            if any(session["runs_computed"] and session.get(name) != self._session[name] for session in earlier):
                self.warnings.append(f"earlier runs in {directory} were made with another {what}; see {NAME}")
        self._sessions = [*earlier, self._session]
        self._write()

    def end(self, outcome: str, computed: int) -> None:
        """Close the session.

        Args:
            outcome: `complete`, `interrupted`, or `failed`.
            computed: How many runs it computed.
        """
        self._session.update(ended=_now(), outcome=outcome, runs_computed=computed)
        self._write()

    def _earlier(self) -> list[dict[str, Any]]:
        try:
            sessions = json.loads(self._path.read_bytes())["sessions"]
            return [dict(session, runs_computed=session["runs_computed"]) for session in sessions]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            self.warnings.append(f"{self._path} was damaged; the record of earlier sessions is lost")
            return []

    def _write(self) -> None:
        files.write(self._path, json.dumps({"sessions": self._sessions}, indent=2) + "\n")


def code(protocol_file: Path) -> str:
    """A digest that tells whether a protocol has changed: of its file, or of every Python file in its folder."""
    if protocol_file.name != "__init__.py":
        return files.digest(protocol_file.read_bytes())
    folder = protocol_file.parent
    contents = {path.relative_to(folder).as_posix(): files.digest(path.read_bytes()) for path in folder.rglob("*.py")}
    return files.digest(files.canonical(contents))


def versions() -> dict[str, str]:
    """Versions of Python and of every package installed that results may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit(directory: Path) -> dict[str, Any] | None:
    """The git commit of a directory.

    Args:
        directory: A directory of a repository.

    Returns:
        `commit`, and `dirty`: whether a tracked file is changed or a Python file is untracked. None without git.
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
    """Processor, cores and platform of this machine."""
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
