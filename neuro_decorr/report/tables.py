"""Tables in files: CSV for programs, Markdown for people."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro_decorr.study import files

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "tables"
TINY = 1e-12
"""Smallest absolute number that is printed; in most tables smaller ones are rounding errors of 0. The CSV has them."""


def save_table(
    table: pd.DataFrame, directory: str | PathLike[str], name: str, caption: str = "", *, digits: int = 4
) -> None:
    """Write `DIR/tables/NAME.csv` (all digits) and `.md` (rounded), each as a whole or not at all.

    Args:
        table: The table; a named index becomes its first columns, an unnamed index is left out.
        directory: Directory of the study.
        name: Name of the files, without ending.
        caption: Caption, printed above the Markdown table and on the page.
        digits: Significant digits in Markdown.

    Raises:
        InvalidValue: The name cannot name a file.
        Unwritable: The directory cannot be written.
    """
    files.plain("name", name)
    if any(level is not None for level in table.index.names):
        table = table.reset_index()
    files.write(Path(directory) / FOLDER / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    head = f"{caption}\n\n" if caption else ""
    files.write(Path(directory) / FOLDER / f"{name}.md", head + markdown(table, digits))


def markdown(table: pd.DataFrame, digits: int = 4) -> str:
    """Write a table as Markdown, without its index.

    Args:
        table: The table.
        digits: Significant digits of floats.

    Returns:
        One line per row, with a line feed at the end; numbers are aligned to the right.
    """
    names = [_cell(name, digits) for name in table.columns]
    numeric = [kind.kind in "iufb" if hasattr(kind, "kind") else False for kind in table.dtypes]
    rule = ["---:" if right else "---" for right in numeric]
    rows = [[_cell(value, digits) for value in row] for row in table.itertuples(index=False, name=None)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [names, rule, *rows])


def table_text(table: pd.DataFrame, digits: int = 3) -> str:
    """Write a table for a terminal, without its index: columns are aligned, numbers to the right.

    Args:
        table: The table.
        digits: Significant digits of floats.

    Returns:
        One line for the names and one for each row, without a line feed at the end.
    """
    columns = []
    for name, kind in zip(table.columns, table.dtypes, strict=True):
        told = [cell(name), *(cell(value, digits).replace("\n", " ") for value in table[name])]
        right = getattr(kind, "kind", "O") in "iuf"
        width = max(map(len, told))
        columns.append([one.rjust(width) if right else one.ljust(width) for one in told])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def cell(value: Any, digits: int | None = None) -> str:
    """Write a value as text, empty where it is missing.

    Args:
        value: Value of any type.
        digits: Significant digits of a float. None: all.
    """
    if isinstance(value, float):
        return "" if math.isnan(value) else str(value) if digits is None else rounded(value, digits)
    text = "" if value is None else str(value)
    return "" if text == "<NA>" else text


def rounded(value: float, digits: int) -> str:
    """Write a number for readers.

    Args:
        value: The number; one that is nearer to 0 than `TINY` is written as `< TINY`, with its sign.
        digits: Significant digits.
    """
    if 0 < abs(value) < TINY:
        return f"< {TINY:g}" if value > 0 else f"> -{TINY:g}"
    return f"{value:.{digits}g}"


def _cell(value: Any, digits: int) -> str:
    return cell(value, digits).replace("|", r"\|").replace("\n", " ")
