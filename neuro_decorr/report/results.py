"""What an analysis found, and how it is kept: tables and figures in a directory, or one page."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import figures, html
from neuro_decorr.report.sheets import Sheet
from neuro_decorr.report.staging import whole
from neuro_decorr.report.tables import save_table
from neuro_decorr.study import files, provenance

if TYPE_CHECKING:
    import pandas as pd

MARK, PAGE = "analysis.json", "index.html"
"""What was analysed and how; a directory without it is not ours to write into."""
GENERATOR = "neuro-decorr analyse"


class Table(NamedTuple):
    """A table of an analysis."""

    name: str  # of its files, without ending
    caption: str  # what it shows, what its intervals are
    frame: pd.DataFrame
    printed: bool  # whether the command prints it; all are in files and on the page


@final
@dataclass(frozen=True, eq=False)
class Part:
    """What was found of one recording, or of a comparison.

    Attributes:
        title: What it is of.
        facts: What the numbers rest on, in sentences.
        warnings: What a reader must know before believing them.
        tables: The numbers.
        sheets: The figures; drawn only where they are wanted.
    """

    title: str
    facts: Sequence[str]
    warnings: Sequence[str]
    tables: Sequence[Table]
    sheets: list[Sheet] = field(default_factory=list)


@final
@dataclass(frozen=True, eq=False)
class Analysis:
    """All that an analysis found.

    Attributes:
        parts: The recording; with another one the comparison and then the other.
        settings: The options, as given.
        source: What the files are: name, size, digest.
    """

    parts: Sequence[Part]
    settings: Mapping[str, Any]
    source: Mapping[str, Any]

    def table(self, name: str) -> pd.DataFrame:
        """A table by its name.

        Args:
            name: Such as `summary` or `comparison`.
        """
        return next(table.frame for part in self.parts for table in part.tables if table.name == name)

    def page(self, command: Sequence[str]) -> str:
        """One page that needs no other file.

        Args:
            command: The command line that made it.

        Returns:
            HTML.
        """
        sections = [(part.title, _section(part)) for part in self.parts]
        made = {
            "command": " ".join(command), "made": datetime.now(UTC).isoformat(timespec="seconds"), **self.source,
            "options": {name: value for name, value in self.settings.items() if value not in ("", None)},
            "versions": provenance.versions(),
        }  # fmt: skip
        heading = f"Correlations in {self.parts[0].title}"
        return html.document(heading, heading, [*sections, ("How this was made", html.definitions(made))], GENERATOR)

    def save(self, directory: Path, command: Sequence[str]) -> None:
        """Write tables, figures, the page and the settings: all of them or, on any failure, nothing.

        Args:
            directory: Where to; see `check_directory`.
            command: The command line.

        Raises:
            Unwritable: The operating system refuses.
        """
        with whole(directory) as staged:
            for part in self.parts:
                for table in part.tables:
                    save_table(table.frame, staged, table.name, table.caption)
                for drawn in part.sheets:
                    files.write(staged / figures.FOLDER / f"{drawn.name}.svg", drawn.svg)
                    files.write(staged / figures.FOLDER / f"{drawn.name}.png", drawn.png)
            files.write(staged / PAGE, self.page(command))
            files.write(staged / MARK, json.dumps(dict(self.settings), indent=1) + "\n")


def check_directory(directory: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a directory that holds anything but the same analysis, made before.

    Args:
        directory: Where results are to be.
        settings: Of the analysis.

    Raises:
        InvalidValue: It holds something else.
    """
    _check_writable(directory, "--out")
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    held = sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else None
    wanted, made = json.loads(json.dumps(dict(settings))), None
    with contextlib.suppress(OSError, ValueError):
        made = json.loads((directory / MARK).read_bytes()) if held else None
    if made != wanted:
        what = "is no directory" if held is None else f"holds something else ({', '.join(held[:3])})"
        if isinstance(made, dict):
            other = [name for name in wanted if made.get(name) != wanted[name]]
            what = f"holds an analysis made with other options ({', '.join(other[:3])})"
        raise InvalidValue(f"--out: {directory} {what}; nothing is overwritten: choose another directory.")


def check_page(path: Path) -> None:
    """Refuse a file that is there, unless it is such a page: that one is written anew.

    Args:
        path: Where the page is to be.

    Raises:
        InvalidValue: A directory, or a file that is something else.
    """
    _check_writable(path, "--html")
    if path.is_dir():
        raise InvalidValue(f"--html: {path} is a directory; give the name of a file, such as {path / 'report.html'}.")
    if not path.exists():
        return
    with path.open("rb") as stream:
        ours = f'content="{GENERATOR}"'.encode() in stream.read(4096)
    if not ours:
        raise InvalidValue(f"--html: {path} is there and is no page of this command; nothing is overwritten.")


def _check_writable(path: Path, option: str) -> None:
    """Before anything is computed: the folder that is there already must take new files."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".neuro-decorr-", dir=folder):  # permissions alone do not tell
            pass
    except OSError as error:
        told = error.strerror or error
        raise InvalidValue(f"{option}: nothing can be written into {folder} ({told}); choose another place.") from error


def source(paths: Sequence[Path]) -> dict[str, Any]:
    """What files are, so that a reader can tell whether theirs is the same: size and SHA-256.

    Args:
        paths: Files, or folders, of which the size alone is told.

    Returns:
        By `file`, `against`: name, bytes and digest in words.
    """
    found = {}
    for name, path in zip(("file", "against"), dict.fromkeys(paths), strict=False):
        if path.is_dir():
            inside = [entry for entry in path.rglob("*") if entry.is_file()]
            found[name] = f"{path.name}: {len(inside)} files, {sum(entry.stat().st_size for entry in inside)} bytes"
        else:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found[name] = f"{path.name}: {path.stat().st_size} bytes, SHA-256 {digest}"
    return found


def _section(part: Part) -> str:
    shown = [html.bullets(part.warnings, "warning"), html.bullets(part.facts)]
    shown += [_table(table) for table in part.tables if table.printed]
    shown += [html.figure(drawn.svg, drawn.caption) for drawn in part.sheets]
    for table in part.tables:
        if not table.printed:  # long ones, closed until somebody asks
            shown.append(html.folded(f"Table {table.name}", _table(table)))
    return "".join(shown)


def _table(table: Table) -> str:
    rows = list(table.frame.itertuples(index=False, name=None))
    return html.table([str(name) for name in table.frame.columns], rows, table.caption, f"{table.name}.csv")
