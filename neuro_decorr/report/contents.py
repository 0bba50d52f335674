"""Contents of the directory of a study for its page; a file that cannot be shown is named, not skipped."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final
from xml.etree import ElementTree

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import figures, tables
from neuro_decorr.report.courses import parted
from neuro_decorr.report.labels import printable
from neuro_decorr.study import declared, failures, files, identity, mixed, provenance, read_tables
from neuro_decorr.study.reporting import RECORD

if TYPE_CHECKING:
    import pandas as pd

MOST = 300_000
"""Largest number of rows of a kind that a page reads; a protocol draws the figures of larger tables."""
_DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"


class Drawing(NamedTuple):
    """Figure of a study."""

    name: str
    svg: bytes
    caption: str


class Table(NamedTuple):
    """Table made by the protocol."""

    name: str
    caption: str
    head: list[str]
    rows: list[list[str]]
    csv: bytes


@final
@dataclass(frozen=True)
class Contents:
    """Contents of a study for its page.

    Attributes:
        directory: Directory of the study.
        name: Name of the study on a page that compares it with others.
        identity: Protocol, configuration, seeds.
        finding: Text printed by its protocol.
        drawings: Figures, in the order in which the protocol saved them.
        tables: Tables of its protocol, in the order in which it saved them.
        rows: Tables of the measurements, by kind.
        large: Numbers of rows of the kinds that are too large for a page.
        sessions: Record of its sessions; None where it is missing or damaged.
        missing: Missing runs in words, one line each.
        mixed: Origins of the runs in words, where there are several, one line each.
        unshown: Files that cannot be shown, with the reasons.
        declared: Levels of every factor, in the order in which the stages list their runs.
    """

    directory: Path
    name: str
    identity: identity.Identity
    finding: str
    drawings: Sequence[Drawing]
    tables: Sequence[Table]
    rows: Mapping[str, pd.DataFrame]
    large: Mapping[str, int]
    sessions: Sequence[Mapping[str, Any]] | None
    missing: Sequence[str]
    mixed: Sequence[str]
    unshown: Sequence[str] = field(default_factory=list)
    declared: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def caption(self, drawing: Drawing) -> str:
        """Write the caption of a figure, with the number of seeds unless it gives an n of its own.

        Args:
            drawing: A figure of the study.
        """
        if re.search(r"\bn = \d", drawing.caption):
            return drawing.caption
        seeds = self.identity.seeds
        return f"{drawing.caption} " + (f"n = {seeds} paired seeds." if seeds > 1 else "n = 1 seed.")

    @property
    def orders(self) -> list[list[Any]]:
        """Orders of the levels that a reader expects: the order of the stages, and the lists of the configuration."""
        lists = [value for value in self.identity.configuration.values() if isinstance(value, list) and value]
        return [*map(list, self.declared.values()), *lists]


def read(directory: Path, name: str = "") -> Contents:
    """Read the contents of a study.

    Args:
        directory: Directory of the study.
        name: Name of the study on a page that compares it with others.

    Returns:
        The contents.

    Raises:
        InvalidValue: The directory holds no study.
        StateMismatch: Its configuration is damaged.
    """
    known = identity.Identity.read(directory)
    unshown: list[str] = []
    incomplete, origins = failures.read(directory), mixed.read(directory)
    rows, large = _rows(directory, unshown)
    return Contents(
        directory,
        printable(name or directory.absolute().name),
        known,
        _text(directory / "finding.txt"),
        [one for path in _ordered(directory, figures.FOLDER, ".svg") if (one := _drawing(path, unshown))],
        [table for path in _ordered(directory, tables.FOLDER, ".csv") if (table := _table(path, unshown))],
        rows,
        large,
        _sessions(directory),
        incomplete.lines() if incomplete else [],
        origins.lines() if origins else [],
        unshown,
        _declared(directory, rows["runs"]) if "runs" in rows else {},
    )


def _ordered(directory: Path, folder: str, ending: str) -> list[Path]:
    """List the files of a folder in the order in which they were saved, then files of other origin."""
    saved = [directory / place for place in files.recorded(directory / RECORD)]
    there = sorted((directory / folder).glob(f"*{ending}"))
    rank = {path: number for number, path in enumerate(saved)}
    return sorted(there, key=lambda path: rank.get(path, len(rank)))


def _drawing(path: Path, unshown: list[str]) -> Drawing | None:
    try:
        content = files.read(path)
        found = [element.text or "" for element in ElementTree.fromstring(content).iter(_DESCRIPTION)]
    except (OSError, ValueError, SyntaxError, files.Damaged) as error:
        unshown.append(f"{path.name} cannot be shown: {type(error).__name__}.")
        return None
    return Drawing(path.stem, content, found[-1] if found and found[-1] else path.stem)


def _table(path: Path, unshown: list[str]) -> Table | None:
    try:
        content = files.read(path)
        head, *rows = list(csv.reader(content.decode().splitlines(keepends=True))) or [[]]
        if any(len(row) != len(head) for row in rows):
            raise ValueError("rows of unequal length")
    except (OSError, ValueError, csv.Error, files.Damaged) as error:
        unshown.append(f"{path.name} cannot be shown: {type(error).__name__}.")
        return None
    first = _text(path.with_suffix(".md")).split("\n", 1)[0]
    return Table(path.stem, "" if first.startswith("|") else first, head, rows, content)


def _rows(directory: Path, unshown: list[str]) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """Read the tables that fit into a page, and count the rows of the others."""
    try:
        lazy = read_tables(directory)
    except InvalidValue:
        return {}, {}
    found, large = {}, {}
    for kind in lazy:
        try:
            if (count := lazy.source(kind).count()) > MOST:
                large[kind] = count
            else:
                found[kind] = lazy[kind]
        except files.Damaged as error:
            unshown.append(str(error))
    return found, large


def _declared(directory: Path, runs: pd.DataFrame) -> dict[str, list[str]]:
    """Find the levels in the order in which the stages list their runs; the tables are sorted in another way."""
    names = [name for name in parted(runs)[0] if runs[name].dtype.kind == "O"]
    missing = {name: set(map(str, runs[name].dropna())) for name in names}
    found: dict[str, list[str]] = {name: [] for name in names}
    try:
        record = declared.read(directory)
    except (OSError, files.Damaged, files.Unreadable):
        return {}
    keys = [(stage, key) for stages in (record.stages if record else ()) for stage in stages for key in stages[stage]]
    for stage, key in keys:
        if not any(missing.values()):  # usually the runs of one seed have all levels
            break
        try:
            factors = files.unseal(files.read(directory / "runs" / stage / f"{key}.json"))["factors"]
        except (OSError, LookupError, files.Damaged, files.Unreadable):
            continue
        for name in names:
            if (level := str(factors.get(name))) in missing[name]:
                found[name].append(level)
                missing[name].remove(level)
    return found


def _sessions(directory: Path) -> list[dict[str, Any]] | None:
    try:
        return provenance.read(directory)
    except (OSError, files.Damaged):
        return None


def _text(path: Path) -> str:
    try:
        return files.read(path).decode()
    except (OSError, ValueError, files.Damaged):
        return ""
