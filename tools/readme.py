"""Write the tables of rules and credits into README.md, docs/brian.md and docs/credit.md, from the registries.

Usage: python tools/readme.py [--check]

A table stands between two marks, of which the first names it and, where they are not all, its columns. With --check
nothing is written; the exit code is 1 where a file is behind. The table of the rules in Brian2 is left as it is where
Brian2 is not installed.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

from neuro_decorr import credit, rules

ROOT = Path(__file__).parent.parent
FILES = tuple(ROOT / name for name in ("README.md", "docs/brian.md", "docs/credit.md"))
TABLE = re.compile(
    r"(?P<begin><!-- (?P<name>[\w ]+)(: (?P<columns>[\w, ]+))?; made by tools/readme\.py -->\n)"
    r"(?P<table>.*?)(?P<end><!-- end of (?P=name) -->)",
    flags=re.DOTALL,
)


def tables() -> dict[str, list[dict[str, str]]]:
    """The rows of every table by its name, of those whose packages are installed."""
    found = {"rules": rules.table(), "credits": credit.table()}
    if importlib.util.find_spec("brian2") is not None:
        from neuro_decorr import brian

        found["rules in Brian2"] = brian.table()
    return found


def table(rows: list[dict[str, str]], columns: list[str]) -> str:
    """Rows as a Markdown table of some columns."""
    titles = [column.removesuffix("_text").replace("_", " ") for column in columns]
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        # Outside code, < would begin a tag.
        cells = [f"`{row[c]}`" if c in ("name", "equation") else row[c].replace("<", "&lt;") for c in columns]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """The text of a file with its tables of this moment."""
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
