"""Runs of several origins in one table: the number of each and the differences, for every reader of the study.

DIR/mixed.json      the same, sealed, beside the tables that it is about; absent where all runs are of one origin
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from neuro_decorr.study import files
from neuro_decorr.study.configuration import option
from neuro_decorr.study.failures import counted
from neuro_decorr.study.origin import Origin, key
from neuro_decorr.study.store import StoredRun

NAME = "mixed.json"
_SHOWN = 10
"""Number of differences that are listed one by one; the others are counted."""


@final
@dataclass(frozen=True)
class Mixed:
    """Origins of the stored runs of a study, where there are several.

    Attributes:
        runs: Number of runs of each origin, the largest first.
        differences: One line per difference: the digest in each origin, in the same order.
    """

    runs: list[int]
    differences: list[str]

    def lines(self) -> list[str]:
        """Describe the origins in words, one line each: first their numbers of runs, then the differences."""
        told = ", ".join(map(counted, self.runs))
        lines = [
            f"Mixed: the {sum(self.runs)} stored runs were made from {len(self.runs)} combinations of data, code and "
            f"versions ({told}), and are in one table; --accept-changed recompute makes them alike."
        ]
        lines += [f"differs: {line}" for line in self.differences[:_SHOWN]]
        more = len(self.differences) - _SHOWN
        return lines + ([f"{counted(more, 'more difference')}; origins/ lists each"] if more > 0 else [])

    def write(self, directory: Path) -> None:
        """Store it as `DIR/mixed.json`."""
        files.write(directory / NAME, files.seal(asdict(self)))


def mixed(runs: Sequence[StoredRun], directory: Path) -> Mixed | None:
    """Find the origins of stored runs, where they differ.

    Args:
        runs: Stored runs.
        directory: Directory of the study, which has the digests of every origin file by file.

    Returns:
        The origins; None where all runs are of one origin.
    """
    origins = {key(run.origin): run.origin for run in runs}
    counts = Counter(key(run.origin) for run in runs)
    names = sorted(origins, key=lambda name: (-counts[name], name))
    if len(names) < 2:
        return None
    parts = [_digests(directory, name, origins[name]) for name in names]
    differences = []
    for thing in dict.fromkeys(thing for part in parts for thing in part):
        digests = [part.get(thing, "(none)") for part in parts]
        if len(set(digests)) > 1:
            told = ", ".join(f"{one} in {counted(counts[name])}" for name, one in zip(names, digests, strict=True))
            differences.append(f"{thing}: {told}")
    return Mixed([counts[name] for name in names], differences)


def read(directory: Path) -> Mixed | None:
    """Read the record of the origins of a study's runs.

    Args:
        directory: Directory of the study.

    Returns:
        The record; None where all runs are of one origin, or the record is damaged.
    """
    try:
        found = files.unseal(files.read(directory / NAME))
        return Mixed(list(found["runs"]), list(found["differences"]))
    except (OSError, files.Damaged, KeyError, TypeError):
        return None


def _digests(directory: Path, name: str, brief: Mapping[str, Any]) -> dict[str, str]:
    """Digests of all parts of an origin, by name; of protocol and library as a whole where the files are not known."""
    try:
        whole = Origin.read(directory, name)
        code = {**whole.protocol, **whole.library}
    except (files.Damaged, files.Unreadable):
        code = {f"the {part}": str(brief.get(part)) for part in ("protocol", "library")}
    data = {f"{option(field)} (its content)": digest for field, digest in brief["data"].items()}
    return {**data, **code, **brief["versions"]}
