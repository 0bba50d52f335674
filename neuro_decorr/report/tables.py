"""Tables in files: CSV for programs, Markdown for people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro_decorr.study import files

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "tables"


def save_table(table: pd.DataFrame, directory: Path, name: str, caption: str = "", *, digits: int = 4) -> None:
    """Write `DIR/tables/NAME.csv` (all digits) and `.md` (rounded), each whole or not at all.

    Args:
        table: The table; a named index becomes its first columns, an unnamed one is left out.
        directory: Directory of the study.
        name: Name of the files, without ending.
        caption: What the table shows, in words, printed above the Markdown table and on the page.
        digits: Significant digits in Markdown.

    Raises:
        Unwritable: The directory cannot be written.
    """
    if any(level is not None for level in table.index.names):
        table = table.reset_index()
    files.write(directory / FOLDER / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    head = f"{caption}\n\n" if caption else ""
    files.write(directory / FOLDER / f"{name}.md", head + markdown(table, digits))


def markdown(table: pd.DataFrame, digits: int = 4) -> str:
    """A table as Markdown, without its index.

    Args:
        table: The table.
        digits: Significant digits of floats.

    Returns:
        One line a row, with a line feed at the end; numbers are aligned to the right.
    """
    names = [_cell(name, digits) for name in table.columns]
    numeric = [kind.kind in "iufb" if hasattr(kind, "kind") else False for kind in table.dtypes]
    rule = ["---:" if right else "---" for right in numeric]
    rows = [[_cell(value, digits) for value in row] for row in table.itertuples(index=False, name=None)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [names, rule, *rows])


def cell(value: Any, digits: int | None = None) -> str:
    """A value as text, empty where there is none.

    Args:
        value: Of any type.
        digits: Significant digits of a float; all when None.
    """
    if isinstance(value, float):
        return "" if math.isnan(value) else str(value) if digits is None else f"{value:.{digits}g}"
    text = "" if value is None else str(value)
    return "" if text == "<NA>" else text


def _cell(value: Any, digits: int) -> str:
    return cell(value, digits).replace("|", r"\|").replace("\n", " ")
