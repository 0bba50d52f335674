"""Pieces of pages that need no other file: readable on a screen, on a telephone and on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from neuro_decorr.report.tables import cell

ROWS = 200
"""How many rows of a table a page shows; the file has all."""
_SHORT = 36
"""Letters of a cell that is not broken into lines: longer than the names of measures."""

_STYLE = """
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; height: auto; } figcaption { color: #444; }
li, p, pre, td, figcaption { overflow-wrap: break-word; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.2rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; } td.number { font-variant-numeric: tabular-nums; }
th, td.number, td.short { white-space: nowrap; }
dl { display: grid; grid-template-columns: fit-content(40%) 1fr; gap: 0.3rem 1rem; font-size: 0.9rem; }
dt, dd { margin: 0; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; } ul.warning { border-left: 4px solid #d55e00; background: #fdf1e7; padding: 0.5rem 2rem; }
@media (max-width: 40rem) { figure .scroll img { max-width: none; width: 42rem; } }
@media print {
  body { max-width: none; margin: 0; font-size: 10pt; } h2, thead { break-after: avoid; }
  figure, tr { break-inside: avoid; } .scroll { overflow: visible; } table { font-size: 8pt; }
  figure .scroll img { max-width: 100%; width: auto; } th, td { padding: 0.1rem 0.4rem; }
}
"""


def document(title: str, heading: str, parts: Iterable[tuple[str, str]], generator: str) -> str:
    """A whole page.

    Args:
        title: For the browser's window.
        heading: Above everything.
        parts: Headings with their content in HTML; a part without content is left out.
        generator: What made it.

    Returns:
        The page in HTML.
    """
    body = "".join(f"<h2>{escape(name)}</h2>\n{content}\n" for name, content in parts if content)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="{escape(generator)}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(heading)}</h1>\n{body}</body>\n</html>\n"
    )


def figure(svg: bytes, caption: str) -> str:
    """A drawing with its caption.

    Args:
        svg: The drawing. As an image, not inline: the identifiers of two drawings in one document would clash.
        caption: In words.

    Returns:
        The figure in HTML.
    """
    data, said = base64.b64encode(svg).decode(), escape(caption)
    image = f'<img alt="{said}" src="data:image/svg+xml;base64,{data}">'
    return f'<figure><div class="scroll">{image}</div><figcaption>{said}</figcaption></figure>\n'


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", file: str = "") -> str:
    """A table, cut where it is long.

    Args:
        head: Names of the columns.
        rows: Values, or their texts; numbers are rounded to four digits and aligned.
        caption: In words, above it.
        file: Name of the file that has all rows.

    Returns:
        The table in HTML.
    """
    shown = [list(map(cell, row)) for row in rows[:ROWS]]
    numeric = [
        bool(shown) and all(_number(row[k]) is not None or not row[k] for row in shown) for k in range(len(head))
    ]
    top = "".join(
        f'<th class="number">{escape(name)}</th>' if right else f"<th>{escape(name)}</th>"
        for name, right in zip(head, numeric, strict=True)
    )
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in shown)
    said = f"<p>{escape(caption)}</p>\n" if caption else ""
    where = f" are in {escape(file)}" if file else " are left out here"
    more = f"<p>{len(rows) - ROWS} more rows{where}.</p>" if len(rows) > ROWS else ""
    body = f"<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}</tbody>"
    return f'{said}<div class="scroll"><table>\n{body}</table></div>{more}\n'


def definitions(values: Mapping[str, Any]) -> str:
    """Names with their values, as a list.

    Args:
        values: Scalars, lists or dicts by name.
    """
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>\n" for name, value in values.items())
    return f"<dl>\n{items}</dl>\n"


def folded(title: str, content: str) -> str:
    """Something that is opened by a click.

    Args:
        title: What stands there.
        content: HTML that it opens.
    """
    return f"<details><summary>{escape(title)}</summary>\n{content}</details>\n"


def bullets(lines: Sequence[str], kind: str = "") -> str:
    """Sentences, one below the other; nothing where there are none.

    Args:
        lines: The sentences.
        kind: Class of the list: `warning`, or empty.
    """
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>\n" for line in lines)
    return f'<ul class="{kind}">\n{items}</ul>\n'


def _cell(text: str) -> str:
    number = _number(text)
    if number is None:
        return f'<td class="short">{escape(text)}</td>' if len(text) <= _SHORT else f"<td>{escape(text)}</td>"
    shown = text if text.lstrip("-").isdigit() else f"{number:.4g}"
    return f'<td class="number">{escape(shown)}</td>'


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return "none" if value is None else str(value)
