"""Write the tables of rules and credits into the pages of docs, from the registries.

Usage: python tools/readme.py [--check]

Two marks enclose a table; the first one names the table and, if it has only some of the columns, these columns. With
--check nothing is written, and the exit code is 1 if a file is out of date. Without Brian2 the table of its rules is
left as it is.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

from neuro_decorr import credit, rules

ROOT = Path(__file__).parent.parent
FILES = tuple(ROOT / name for name in ("docs/choosing.md", "docs/brian.md", "docs/credit.md"))
TABLE = re.compile(
    r"(?P<begin><!-- (?P<name>[\w ]+)(: (?P<columns>[\w, ]+))?; made by tools/readme\.py -->\n)"
    r"(?P<table>.*?)(?P<end><!-- end of (?P=name) -->)",
    flags=re.DOTALL,
)


def tables() -> dict[str, list[dict[str, str]]]:
    """Return the rows of every table whose packages are installed, by the name of the table."""
    found = {"rules": rules.table(), "credits": credit.table()}
    if importlib.util.find_spec("brian2") is not None:
        from neuro_decorr import brian

        found["rules in Brian2"] = brian.table()
    return found


def table(rows: list[dict[str, str]], columns: list[str]) -> str:
    """Write rows as a Markdown table with the given columns."""
    titles = [column.removesuffix("_text").replace("_", " ") for column in columns]
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        # Outside code, < would begin a tag.
        cells = [f"`{row[c]}`" if c in ("name", "equation") else row[c].replace("<", "&lt;") for c in columns]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """Return the text of a file with its tables renewed."""
    known = tables()

    def made(found: re.Match[str]) -> str:
        if found["name"] not in known:
            return found[0]
        rows = known[found["name"]]
        columns = found["columns"].split(", ") if found["columns"] else list(rows[0])
        return found["begin"] + table(rows, columns) + "\n" + found["end"]

    return TABLE.sub(made, text)


def main() -> int:
    """Write or check; see the usage above."""
    check = "--check" in sys.argv[1:]
    behind = False
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        behind |= filled(text) != text
        if not check:
            path.write_text(filled(text), encoding="utf-8")
    return int(behind and check)


if __name__ == "__main__":
    sys.exit(main())
