"""Data of the figures, inside the page: tables as CSV, measurements compressed."""

from __future__ import annotations

import base64
import gzip
import io
from typing import TYPE_CHECKING, NamedTuple

from neuro_decorr.errors import require
from neuro_decorr.report import html
from neuro_decorr.report.contents import Contents

if TYPE_CHECKING:
    import pandas as pd

ROWS = 50_000
"""Largest number of rows of a kind in a page; of a larger table the page only names the file."""
_ALL, _PLAIN = 4_000_000, 100_000
"""Largest numbers of bytes: of all files in a page, and of a file that is not compressed."""
_TYPES = {"csv": "text/csv", "gz": "application/gzip"}


class _Held(NamedTuple):
    name: str
    content: bytes
    what: str


def downloads(study: Contents) -> str:
    """Make links to the tables and the measurements; a table that is too large is named with its file.

    Args:
        study: The study.

    Returns:
        HTML.
    """
    held = [_Held(f"{made.name}.csv", made.csv, f"table, {len(made.rows)} rows") for made in study.tables]
    named: list[tuple[str, int]] = []
    for kind in sorted(study.rows, key=lambda kind: len(study.rows[kind])):
        table = study.rows[kind]
        if not len(table):
            continue
        content = _csv(table) if len(table) <= ROWS else b""
        if content and len(content) > _PLAIN:
            one = _Held(f"{kind}.csv.gz", gzip.compress(content, 5, mtime=0), f"measurements, {len(table)} rows")
        else:
            one = _Held(f"{kind}.csv", content, f"measurements, {len(table)} rows")
        if content and sum(len(other.content) for other in held) + len(one.content) <= _ALL:
            held.append(one)
        else:
            named.append((kind, len(table)))
    told = "`rows/{}.parquet` ({} rows) is too large for a page; find it in the directory of the study."
    lines = [told.format(kind, count) for kind, count in [*named, *study.large.items()]]
    items = "".join(f"<li>{_link(one)} ({one.what})</li>\n" for one in held)
    above = (
        "<p>The figures are made from these files. All measurements are in the directory of the study too, as "
        '<code>rows/KIND.parquet</code>: <code>pandas.read_parquet("rows/curves.parquet")</code>.</p>\n'
    )
    listed = f'<ul class="downloads">\n{items}</ul>\n' if items else ""
    return f'<div id="{place(study)}">\n{above}{listed}{html.bullets(lines)}</div>\n' if held or lines else ""


def place(study: Contents) -> str:
    """Return the identifier of the section with the links."""
    return html.anchor(f"data of {study.name}")


def _csv(table: pd.DataFrame) -> bytes:
    arrow, writer = require("pyarrow", "study"), require("pyarrow.csv", "study")
    content = io.BytesIO()
    writer.write_csv(arrow.Table.from_pandas(table, preserve_index=False), content)
    return content.getvalue()


def _link(one: _Held) -> str:
    kind = _TYPES[one.name.rpartition(".")[2]]
    data = base64.b64encode(one.content).decode()
    return f'<a download="{html.text(one.name)}" href="data:{kind};base64,{data}">{html.text(one.name)}</a>'
