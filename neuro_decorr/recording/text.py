"""Tables of text, with commas, semicolons or tabs between the cells, and with decimal points or commas."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuro_decorr.errors import InvalidValue, require
from neuro_decorr.recording import checks, tidy

if TYPE_CHECKING:
    import pandas as pd

_MISSING = ("", "NA", "None", "<NA>")
_LINE = re.compile(r"#\s*(\w+)\s*=\s*(.*)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


def decode(path: Path) -> str:
    """Read the text of a file.

    Args:
        path: The file, in UTF-8, or in UTF-16 with a byte order mark.

    Returns:
        The text.

    Raises:
        InvalidValue: The file is in another encoding.
    """
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidValue(
            f"no CSV table of a recording: not UTF-8 at byte {error.start} ({content[error.start : error.start + 4]!r}"
            "); save it in UTF-8."
        ) from error


def table(text: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Parse a table and the header above it.

    Args:
        text: Lines of the header (see `tidy`), then the names of the columns, then the rows.

    Returns:
        The table, with cells of text, so that every number is converted exactly and a label "NA" stays a label; and the
        header.

    Raises:
        InvalidValue: The text is not a table, or the header is not valid.
    """
    pandas = require("pandas", "recordings")
    lines = text.splitlines(keepends=True)
    top = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    given: dict[str, Any] = {}
    for line in lines[:top]:
        if (found := _LINE.match(line)) and found[1] in tidy.KEYS:
            try:
                given[found[1]] = json.loads(found[2])
            except ValueError as error:
                raise InvalidValue(
                    f"no CSV table of a recording: the line {line.strip()[:60]!r} holds no JSON value ({error})."
                ) from error
    head = lines[top].strip("\r\n") if top < len(lines) else ""
    separator = max("\t;,", key=head.count)
    blanks = separator not in head and len(head.split()) > 1
    names = head.split() if blanks else [name.strip() for name in next(csv.reader([head], delimiter=separator), [])]
    if names and all(is_number(name.replace(",", ".")) for name in names):
        raise InvalidValue(
            f"columns: the first row is numbers ({', '.join(names[:4])}): add a first line such as unit,time; or give "
            "format='nest' for lines of sender and time (ms)."
        )
    if blanks:
        raise InvalidValue(
            f"columns: blanks stand between {', '.join(names[:8])}; write commas, semicolons or tabs there."
        )
    twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if twice is not None:
        raise InvalidValue(f"columns: {twice!r} is there twice; give every column a name of its own.")
    try:
        with warnings.catch_warnings():
            # pandas cuts rows that are longer than the first line, and only warns.
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            rows = pandas.read_csv(
                io.StringIO("".join(lines[top:])),
                sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True, index_col=False,
            )  # fmt: skip
    except pandas.errors.ParserWarning as error:
        raise InvalidValue(
            f"columns: the first line names {len(names)} ({', '.join(names[:8])}), but rows have more cells; name each."
        ) from error
    except ValueError as error:  # pandas' errors are among these
        raise InvalidValue(f"no CSV table of a recording: {checks.first_line(error)}.") from error
    rows.columns = names
    rows.attrs["separator"] = separator
    return rows, tidy.checked(given)


def numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Convert a column to numbers; an empty cell becomes NaN.

    Args:
        table: The table.
        name: Name of the column.

    Returns:
        The numbers, shape `(rows,)`.

    Raises:
        InvalidValue: A cell is not a number, or a comma may separate thousands.
    """
    column = table[name].to_numpy()
    if column.dtype.kind not in "fiu":
        cells = ["nan" if str(cell) in _MISSING else str(cell) for cell in column.tolist()]
        if any("," in cell for cell in cells):
            cells = _points(cells, name, table.attrs.get("separator", ","))
        try:
            column = np.array(cells, dtype=object).astype(np.float64)
            if any("_" in cell for cell in cells):  # Python's own way of writing 1000 as 1_000
                raise ValueError
        except ValueError:
            row = next(k for k, cell in enumerate(cells) if not is_number(cell))
            raise InvalidValue(f"column {name!r}: got {cells[row]!r} in row {row}; allowed are numbers.") from None
    converted: NDArray[np.float64] = column.astype(np.float64, copy=False)
    return converted


def whole(name: str, values: NDArray[np.float64], allowed: str) -> NDArray[np.int64]:
    """Convert whole numbers to integers.

    Args:
        name: Name of the numbers for the error.
        values: The numbers.
        allowed: Allowed values for the error.

    Returns:
        The integers.

    Raises:
        InvalidValue: A number is not whole.
    """
    if not (np.isfinite(values).all() and (values == np.floor(values)).all()):
        raise InvalidValue(f"{name}: got numbers that are not whole; {allowed}")
    return values.astype(np.int64)


def is_number(text: str) -> bool:
    """True if a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _points(cells: list[str], name: str, separator: str) -> list[str]:
    """Replace decimal commas by decimal points."""
    with_comma = [cell for cell in cells if "," in cell]
    thousands = separator == "," and all(_THOUSANDS.fullmatch(cell) for cell in with_comma)
    if thousands or any("." in cell or cell.count(",") > 1 for cell in with_comma):
        raise InvalidValue(
            f"column {name!r}: got {with_comma[0]!r}, where the comma may separate thousands; write numbers without it."
        )
    return [cell.replace(",", ".") for cell in cells]
