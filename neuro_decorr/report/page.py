"""The page of a study: one HTML file that needs no other."""

from __future__ import annotations

import csv
import json
from html import escape
from pathlib import Path
from xml.etree import ElementTree

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import figures, html, tables
from neuro_decorr.study import files, identity, provenance, read_tables

NAME = "index.html"


def write(directory: Path, question: str) -> Path:
    """Write `DIR/index.html` from the files of a study.

    Args:
        directory: Directory of a study, with its report written.
        question: What the study answers.

    Returns:
        The page.

    Raises:
        InvalidValue: The directory holds no study.
        Unwritable: It cannot be written.
    """
    study = identity.Identity.read(directory)
    finding = _text(directory / "finding.txt")
    settings = {"protocol": study.protocol, "seeds": study.seeds, **study.configuration}
    parts = [
        ("Finding", f"<pre>{escape(finding)}</pre>" if finding else ""),
        ("Figures", "".join(_figure(path) for path in sorted((directory / figures.FOLDER).glob("*.svg")))),
        ("Tables", "".join(_table(path) for path in sorted((directory / tables.FOLDER).glob("*.csv")))),
        ("Runs that diverged", _diverged(directory)),
        ("Configuration", html.definitions(settings)),
        ("Provenance", _provenance(directory / provenance.NAME)),
    ]
    page = html.document(study.protocol, question, parts, "neuro-decorr")
    files.write(directory / NAME, page)
    return directory / NAME


def _figure(path: Path) -> str:
    content = path.read_bytes()
    caption = ""
    for element in ElementTree.fromstring(content).iter("{http://purl.org/dc/elements/1.1/}description"):
        caption = element.text or ""
    return html.figure(content, caption or path.stem)


def _table(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    first = _text(path.with_suffix(".md")).split("\n", 1)[0]
    caption = path.stem if first.startswith("|") or not first else first
    return html.table(head, rows, caption, path.name)


def _diverged(directory: Path) -> str:
    try:
        runs = read_tables(directory)["runs"]
    except InvalidValue:
        return ""
    marked = runs[runs["diverged"]].astype(object).where(runs.notna(), "")
    cells = [[str(value) for value in row] for row in marked.itertuples(index=False)]
    return html.table(list(runs.columns), cells) if cells else f"<p>None of {len(runs)}.</p>"


def _provenance(path: Path) -> str:
    try:
        sessions = json.loads(path.read_bytes())["sessions"]
        return "".join(
            html.definitions(session) for session in sessions if session["runs_computed"] or len(sessions) == 1
        )
    except (OSError, ValueError, KeyError, TypeError):
        return f"<p>{path.name} is missing or damaged.</p>"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
