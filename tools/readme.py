"""Write the tables of rules into README.md and docs/brian.md, from the registries.

Usage: python tools/readme.py [--check]

A table stands between two marks. With --check nothing is written; the exit code is 1 where a file is behind. The table
of the rules in Brian2 is left as it is where Brian2 is not installed.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from neuro_decorr import rules

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- rules: made by tools/readme.py -->", "<!-- end of rules -->"


def table(rows: list[dict[str, str]]) -> str:
    """Registered rules as a Markdown table."""
    columns = {column: column.removesuffix("_text").replace("_", " ") for column in rows[0]}
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        # Outside code, < would begin a tag.
        cells = [f"`{row[c]}`" if c in ("name", "equation") else row[c].replace("<", "&lt;") for c in columns]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def tables() -> dict[Path, list[dict[str, str]]]:
    """The table of every file, of the rules whose packages are installed."""
    found = {ROOT / "README.md": rules.table()}
    if importlib.util.find_spec("brian2") is not None:
        from neuro_decorr import brian

        found[ROOT / "docs" / "brian.md"] = brian.table()
    return found


def filled(text: str, rows: list[dict[str, str]]) -> str:
    """The text of a file with its table of this moment."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"


def main() -> int:
    """Write or check; see the usage above."""
    behind = False
    for path, rows in tables().items():
        text = path.read_text(encoding="utf-8")
        behind |= filled(text, rows) != text
        if "--check" not in sys.argv[1:]:
            path.write_text(filled(text, rows), encoding="utf-8")
    return int(behind and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
