"""Write the table of rules into README.md, from the registry.

Usage: python tools/readme.py [--check]

The table stands between two marks. With --check nothing is written; the exit code is 1 where the README is behind.
"""

from __future__ import annotations

import sys
from pathlib import Path

from neuro_decorr import rules

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- rules: made by tools/readme.py -->", "<!-- end of rules -->"
COLUMNS = ("name", "what it does", "update", "fixed point", "local to", "cost of an update", "source")


def table() -> str:
    """The registered rules as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rules.table():
        # Outside code, < would begin a tag.
        cells = [f"`{row[c]}`" if c in ("name", "update") else row[c].replace("<", "&lt;") for c in COLUMNS]
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines)


def filled(text: str) -> str:
    """The README with the table of this moment."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    """Write or check; see the usage above."""
    text = README.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return int(filled(text) != text)
    README.write_text(filled(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
