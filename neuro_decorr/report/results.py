"""Results of an analysis, and their files: tables and figures in a directory, or one page."""

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
"""File with the options of the analysis; the command writes only into directories that have it, or are empty."""
GENERATOR = "neuro-decorr analyse"


class Table(NamedTuple):
    """Table of an analysis."""

    name: str  # of its files, without ending
    caption: str  # its content, and the meaning of its intervals
    frame: pd.DataFrame
    printed: bool  # True if the command prints it; files and page have all tables


@final
@dataclass(frozen=True, eq=False)
class Part:
    """Results of one recording, or of a comparison.

    Attributes:
        title: Name of the recording or of the comparison.
        facts: Basis of the numbers, in sentences.
        warnings: Warnings that a reader must know before trusting the numbers.
        tables: The numbers.
        sheets: The figures; drawn only on request.
    """

    title: str
    facts: Sequence[str]
    warnings: Sequence[str]
    tables: Sequence[Table]
    sheets: list[Sheet] = field(default_factory=list)


@final
@dataclass(frozen=True, eq=False)
class Analysis:
    """Results of an analysis.

    Attributes:
        parts: Results of the recording; with a second recording also of the comparison and of that one.
        settings: The options, as given.
        source: Names, sizes and digests of the files.
    """

    parts: Sequence[Part]
    settings: Mapping[str, Any]
    source: Mapping[str, Any]

    def table(self, name: str) -> pd.DataFrame:
        """Return a table by its name.

        Args:
            name: Name of the table, such as `summary` or `comparison`.
        """
        return next(table.frame for part in self.parts for table in part.tables if table.name == name)

    def page(self, command: Sequence[str]) -> str:
        """Make one page that needs no other file.

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
        """Write tables, figures, the page and the settings: all of them or, on any failure, none.

        Args:
            directory: Directory of the results; see `check_directory`.
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
    """Refuse a directory that holds anything except an earlier result of the same analysis.

    Args:
        directory: Directory of the results.
        settings: Options of the analysis.

    Raises:
        InvalidValue: The directory holds other files, or the result of another analysis.
    """
    _check_writable(directory, "--out")
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    held = sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else None
    wanted, made = json.loads(json.dumps(dict(settings))), None
    with contextlib.suppress(OSError, ValueError):
        made = json.loads((directory / MARK).read_bytes()) if held else None
    if made != wanted:
        what = "is no directory" if held is None else f"holds other files ({', '.join(held[:3])})"
        if isinstance(made, dict):
            other = [name for name in wanted if made.get(name) != wanted[name]]
            what = f"holds an analysis made with other options ({', '.join(other[:3])})"
        raise InvalidValue(f"--out: {directory} {what}; nothing is overwritten: choose another directory.")


def check_page(path: Path) -> None:
    """Refuse an existing file, unless it is a page of this command, which may be replaced.

    Args:
        path: File of the new page.

    Raises:
        InvalidValue: The path is a directory, or a file of another kind.
    """
    _check_writable(path, "--html")
    if path.is_dir():
        raise InvalidValue(f"--html: {path} is a directory; give the name of a file, such as {path / 'report.html'}.")
    if not path.exists():
        return
    with path.open("rb") as stream:
        ours = f'content="{GENERATOR}"'.encode() in stream.read(4096)
    if not ours:
        raise InvalidValue(
            f"--html: {path} exists and is no page of this command; nothing is overwritten: give another name."
        )


def _check_writable(path: Path, option: str) -> None:
    """Check, before anything is computed, that the existing folder accepts new files."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".neuro-decorr-", dir=folder):  # permissions alone do not show it
            pass
    except OSError as error:
        told = error.strerror or error
        raise InvalidValue(f"{option}: nothing can be written into {folder} ({told}); choose another place.") from error


def source(paths: Sequence[Path], trial_table: str = "") -> dict[str, Any]:
    """Describe files by size and SHA-256, so that readers can check that they have the same files.

    Args:
        paths: Files, or folders; of a folder only the size is given.
        trial_table: The table of trials, if one was given.

    Returns:
        Name, bytes and digest in words, by `file`, `against` and `trial_table`.
    """
    found = {}
    named = dict(zip(("file", "against"), dict.fromkeys(paths), strict=False))
    for name, path in {**named, **({"trial_table": Path(trial_table)} if trial_table else {})}.items():
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
        if not table.printed:  # long tables, which a click opens
            shown.append(html.folded(f"Table {table.name}", _table(table)))
    return "".join(shown)


def _table(table: Table) -> str:
    rows = list(table.frame.itertuples(index=False, name=None))
    return html.table([str(name) for name in table.frame.columns], rows, table.caption, f"{table.name}.csv")
