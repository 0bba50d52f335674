"""Elements of pages that need no other file, readable on a screen, on a telephone and on paper."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from neuro_decorr.report.tables import TINY, cell, rounded

ROWS = 200
"""Largest number of rows of a table on a page; the file has all rows."""
_SHORT = 36
"""Largest number of letters of a cell without line breaks; the names of measures are shorter."""
_TALL = 25
"""Number of rows beyond which a table scrolls in its place."""
_WIDE = 600.0
"""Width (pixels) beyond which a figure scrolls in its place on a telephone, instead of getting smaller."""
_SVG = re.compile(r"<svg\b[^>]*?\swidth=[\"']([\d.]+)(pt|px|mm|cm|in|)[\"']", re.DOTALL)
_SCREEN = 1.35
"""Width of a figure on a page over its width in print, so that text of 7 pt is as large as that of the page."""
_PIXELS = {"pt": 96 / 72, "px": 1.0, "": 1.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_CODE = re.compile(r"`([^`]+)`")
_DIRECTIONS = dict.fromkeys(map(ord, "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"))
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def asset(name: str) -> str:
    """Read a style sheet or a script of this package.

    Args:
        name: Name of the file.
    """
    return (resources.files("neuro_decorr.report") / "assets" / name).read_text(encoding="utf-8")


def text(value: object) -> str:
    """Encode a text as HTML: markup in it is shown as text; marks that change the direction of writing are left out.

    Args:
        value: The text.
    """
    return escape(str(value).translate(_DIRECTIONS))


def prose(value: str) -> str:
    """Encode a text as HTML, with the words between backticks as code.

    Args:
        value: The text, such as a caption.
    """
    return _CODE.sub(r"<code>\1</code>", text(value))


def json_block(value: Any, identifier: str) -> str:
    """Make a block of JSON data for the scripts of a page; no text in it can end the block.

    Args:
        value: Value that JSON can hold.
        identifier: Identifier of the block in the page.
    """
    content = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign, written in _UNSAFE.items():
        content = content.replace(sign, written)
    return f'<script type="application/json" id="{escape(identifier)}">{content}</script>\n'


def document(
    title: str,
    heading: str,
    parts: Iterable[tuple[str, str]],
    generator: str,
    *,
    kicker: str = "",
    lead: str = "",
    scripts: Sequence[str] = (),
) -> str:
    """Make a whole page. It loads nothing, and runs only its own scripts.

    Args:
        title: Title of the browser's window.
        heading: Heading of the page.
        parts: Headings with their content in HTML; a part without content is left out.
        generator: Name of the program that made the page.
        kicker: Line above the heading.
        lead: HTML before the parts.
        scripts: Scripts at the end of the page, beside those of every page.

    Returns:
        The page in HTML.
    """
    shown = [(name, content) for name, content in parts if content]
    places = [anchor(name) for name, _ in shown]
    places = [one if places.index(one) == k else f"{one}-{k}" for k, one in enumerate(places)]
    named = list(zip(places, shown, strict=True))
    body = "".join(f'<h2 id="{place}">{text(name)}</h2>\n{content}\n' for place, (name, content) in named)
    links = "".join(f'<li><a href="#{place}">{text(name)}</a></li>\n' for place, (name, _) in named)
    own = [_inline(script) for script in [*scripts, asset("page.js")]]
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in own)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )
    above = f'<p class="kicker">{text(kicker)}</p>\n' if kicker else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{escape(generator)}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{text(title)}</title>\n<link rel="icon" href="data:,">\n<style>{asset("page.css")}</style>\n</head>\n'
        f'<body>\n<a class="skip" href="#content">To the content</a>\n<header>\n{above}<h1>{text(heading)}</h1>\n'
        f'</header>\n{lead}<nav aria-label="Contents">\n<ul>\n{links}</ul>\n</nav>\n'
        f'<main id="content" tabindex="-1">\n{body}</main>\n'
        + "".join(f"<script>{script}</script>\n" for script in own)
        + "</body>\n</html>\n"
    )


def sections(parts: Iterable[tuple[str, str]], level: int) -> str:
    """Make the sections of a part.

    Args:
        parts: Headings with their content, as in `document`.
        level: Level of the headings.
    """
    return "".join(f"<h{level}>{text(name)}</h{level}>\n{content}\n" for name, content in parts if content)


def figure(svg: bytes, caption: str, more: str = "") -> str:
    """Make a figure with its caption, at most as wide as the page; a figure of many panels scrolls on a telephone.

    Args:
        svg: The drawing. It becomes an image, since the identifiers of two inline drawings would clash.
        caption: Caption of the figure.
        more: HTML that follows the caption.

    Returns:
        The figure in HTML.
    """
    content = base64.b64encode(svg).decode()
    width = f' width="{_SCREEN * wide:.0f}"' if (wide := _width(svg)) else ""
    image = f'<img alt="{text(caption)}"{width} src="data:image/svg+xml;base64,{content}">'
    shown = _scrolling(image, "Figure") if wide > _WIDE else image
    return f"<figure>{shown}<figcaption>{prose(caption)}{more}</figcaption></figure>\n"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", file: str = "") -> str:
    """Make a table. A long table is cut, and a wide one scrolls beside its first column.

    Args:
        head: Names of the columns.
        rows: Values, or their texts; numbers are rounded to four digits and aligned.
        caption: Caption above the table.
        file: Name of the file that has all rows.

    Returns:
        The table in HTML.
    """
    shown = [list(map(cell, row)) for row in rows[:ROWS]]
    numeric = [
        bool(shown) and all(_number(row[k]) is not None or not row[k] for row in shown) for k in range(len(head))
    ]
    top = "".join(
        f'<th scope="col" class="number">{prose(name)}</th>' if right else f'<th scope="col">{prose(name)}</th>'
        for name, right in zip(head, numeric, strict=True)
    )
    lines = "".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>\n" for row in shown)
    said = f"<p>{prose(caption)}</p>\n" if caption else ""
    where = f" are in {text(file)}" if file else " are left out here"
    more = f"<p>{len(rows) - ROWS} more rows{where}.</p>" if len(rows) > ROWS else ""
    body = f"<table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}</tbody></table>"
    kind = " tall" if len(shown) > _TALL else ""
    return f"{said}{_scrolling(body, f'Table: {caption[:80] or file}', kind)}{more}\n"


def definitions(values: Mapping[str, Any]) -> str:
    """Make a list of names with their values.

    Args:
        values: Scalars, lists or dicts by name.
    """
    items = "".join(f"<dt>{text(name)}</dt><dd>{text(plain(value))}</dd>\n" for name, value in values.items())
    return f"<dl>\n{items}</dl>\n"


def folded(title: str, content: str) -> str:
    """Make a section that a click opens.

    Args:
        title: Title of the section.
        content: HTML inside it.
    """
    return f"<details><summary>{text(title)}</summary>\n{content}</details>\n"


def bullets(lines: Sequence[str], kind: str = "") -> str:
    """Make a list of sentences; empty where there are none.

    Args:
        lines: The sentences.
        kind: Class of the list: `warning`, or empty.
    """
    if not lines:
        return ""
    items = "".join(f"<li>{prose(line)}</li>\n" for line in lines)
    return f'<ul class="{kind}">\n{items}</ul>\n'


def words(value: str) -> str:
    """Encode printed text as HTML: paragraphs, and what scrolls, where blanks align columns.

    Args:
        value: The text; empty lines divide it into parts, each a table or lines of words.
    """
    made = ""
    for part in re.split(r"\n[^\S\n]*\n", value.strip("\n")):
        if re.search(r"\S  +\S|^\s", part.strip("\n"), re.MULTILINE):
            shown = part.rstrip().strip("\n")
            made += _scrolling(f"<pre>{text(shown)}</pre>", "Finding") if shown.strip() else ""
        else:
            made += "".join(f"<p>{prose(line)}</p>\n" for line in part.splitlines() if line.strip())
    return made


def _width(svg: bytes) -> float:
    """Width of a drawing in pixels of a page; 0 where the drawing does not give it."""
    found = _SVG.search(svg.decode(errors="replace"))
    return float(found[1]) * _PIXELS[found[2]] if found else 0.0


def _scrolling(content: str, label: str, kind: str = "") -> str:
    return (
        f'<div class="scroll{kind}" tabindex="0" role="region" aria-label="{text(label)}">{content}</div>'
        '<p class="hint" aria-hidden="true">Wider than the page: scroll sideways →</p>\n'
    )


def anchor(name: str) -> str:
    """Make an identifier for a place in the page from its name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "part"


def _inline(script: str) -> str:
    # Marks that would end the element, or begin a comment in it, occur only in texts of the script.
    return script.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _cell(value: str, right: bool) -> str:
    number = _number(value)
    if number is None:
        kind = "short" if len(value) <= _SHORT else "long"
        # A name may break here: in the column that does not scroll, and on paper.
        shown = prose(value).replace("_", "_<wbr>") if kind == "short" else prose(value)
        return f'<td class="{kind}">{shown}</td>'
    kind = "number" if right else "short"
    if value.lstrip("-").isdigit():
        return f'<td class="{kind}">{value}</td>'
    told = f' title="{text(value)}: within the rounding error of 0"' if 0 < abs(number) < TINY else ""
    return f'<td class="{kind}"{told}>{text(rounded(number, 4))}</td>'


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def plain(value: Any) -> str:
    """Write a value of a configuration in words.

    Args:
        value: A scalar, or a list or dict of values.
    """
    if isinstance(value, dict):
        return ", ".join(f"{name}: {plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "none" if value is None else str(value)
