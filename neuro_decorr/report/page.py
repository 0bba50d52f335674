"""The page of a study: one HTML file that needs no other."""

from __future__ import annotations

import base64
import csv
import json
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import figures, tables
from neuro_decorr.study import files, identity, provenance, read_tables

NAME = "index.html"
_ROWS = 200
"""How many rows of a table the page shows; the file has all."""

_STYLE = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; } figcaption { color: #555; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } pre { white-space: pre-wrap; }
"""


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
        ("Configuration", _definitions(settings)),
        ("Provenance", _provenance(directory / provenance.NAME)),
    ]
    body = "".join(f"<h2>{title}</h2>\n{content}\n" for title, content in parts if content)
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(study.protocol)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(question)}</h1>\n{body}</body>\n</html>\n"
    )
    files.write(directory / NAME, page)
    return directory / NAME


def _figure(path: Path) -> str:
    content = path.read_bytes()
    caption = ""
    for element in ElementTree.fromstring(content).iter("{http://purl.org/dc/elements/1.1/}description"):
        caption = element.text or ""
    # As an image, not inline: the identifiers of two drawings in one document would clash.
    data = base64.b64encode(content).decode()
    image = f'<img alt="{escape(caption or path.stem)}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(caption or path.stem)}</figcaption></figure>\n"


def _table(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    first = _text(path.with_suffix(".md")).split("\n", 1)[0]
    caption = path.stem if first.startswith("|") or not first else first
    more = f"<p>{len(rows) - _ROWS} more rows are in {escape(path.name)}.</p>" if len(rows) > _ROWS else ""
    return f"<p>{escape(caption)}</p>\n{_rows(head, rows[:_ROWS])}{more}\n"


def _rows(head: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}</tbody></table></div>'


def _cell(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return f"<td>{escape(text)}</td>"
    shown = text if text.lstrip("-").isdigit() else f"{number:.4g}"
    return f'<td class="number">{escape(shown)}</td>'


def _diverged(directory: Path) -> str:
    try:
        runs = read_tables(directory)["runs"]
    except InvalidValue:
        return ""
    marked = runs[runs["diverged"]].astype(object).where(runs.notna(), "")
    cells = [[str(value) for value in row] for row in marked.itertuples(index=False)]
    return _rows(list(runs.columns), cells) if cells else f"<p>None of {len(runs)}.</p>"


def _definitions(values: dict[str, Any]) -> str:
    return _rows(["", ""], [[name, _plain(value)] for name, value in values.items()])


def _provenance(path: Path) -> str:
    try:
        sessions = json.loads(path.read_bytes())["sessions"]
        return "".join(_definitions(session) for session in sessions if session["runs_computed"] or len(sessions) == 1)
    except (OSError, ValueError, KeyError, TypeError):
        return f"<p>{path.name} is missing or damaged.</p>"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return "none" if value is None else str(value)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
