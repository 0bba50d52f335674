"""Tables of a study in Markdown: a value that all rows share is written once, an interval beside its value."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from neuro_decorr.report.contents import Table

ENDS = (("low", "high"), ("from", "to"))
"""Names of the columns of an interval, alone or at the end of a longer name."""
DIGITS = 3
SPACE = "\N{NO-BREAK SPACE}"
SHOWN = 40
"""Rows beyond which a table is folded."""


def markdown(table: Table, captioned: bool = True) -> str:
    """A table of a study as Markdown: caption if wanted, values that all rows share, rows."""
    import pandas as pd

    frame = pd.read_csv(io.BytesIO(table.csv), keep_default_na=False, na_values=[""])
    frame = frame.dropna(axis="columns", how="all")
    shared = []
    if len(frame) > 1:
        for name in [name for name in frame if frame[name].nunique(dropna=False) == 1]:
            shared.append(f"{label(name)} {_texts(frame[name])[0]}")
            frame = frame.drop(columns=name)
    head, rule, columns = [], [], []
    for name, text, numeric in _columns(frame):
        head.append(label(name))
        rule.append("---:" if numeric else "---")
        columns.append(text)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, rule, *zip(*columns, strict=True))]
    caption = f"{escaped(table.caption)}\n\n" if captioned and table.caption else ""
    same = f"The same in every row: {', '.join(shared)}.\n\n" if shared else ""
    shown = "\n".join(lines) + "\n"
    if len(frame) > SHOWN:
        shown = f'<details markdown="1">\n<summary>All {len(frame)} rows</summary>\n\n{shown}\n</details>\n'
    return caption + same + shown


def label(name: Any) -> str:
    """A name of the study in words."""
    return escaped(str(name).replace("_", " "))


def escaped(text: str) -> str:
    """A text whose angle brackets and bars Markdown leaves alone, those in code too."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("|", r"\|") for part in parts[::2]]
    return "`".join(parts)


def number(value: float) -> str:
    """A number with three digits at most, in full between 1e-4 and a million."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 6:
        return f"{value:.1e}"
    shown = f"{value:,.{max(DIGITS - 1 - size, 0)}f}"
    exact = "." in shown and float(shown.replace(",", "")) == value
    return shown.rstrip("0").rstrip(".") if exact else shown


def _columns(frame: pd.DataFrame) -> list[tuple[str, list[str], bool]]:
    """Name, cells and alignment of every column; deviations and intervals in the column of their value."""
    found: list[tuple[str, list[str], bool]] = []
    names = list(map(str, frame.columns))
    position = 0
    while position < len(names):
        name, position = names[position], position + 1
        numeric = frame[name].dtype.kind in "if"
        following = names[position : position + 2]
        if numeric and len(following) == 2 and any(_pair(following[0], following[1], *ends) for ends in ENDS):
            cells = _texts(frame[name], *(frame[one] for one in following))
            value, low, high = (cells[part::3] for part in range(3))
            texts = [f"{v} [{a},{SPACE}{b}]" if a and a != b else v for v, a, b in zip(value, low, high, strict=True)]
            found.append((f"{name} [95 % interval]", texts, True))
            position += 2
        elif numeric and following and _deviation(name, following[0]):
            cells = _texts(frame[name], frame[following[0]])
            texts = [f"{v}{SPACE}±{SPACE}{d}" if d else v for v, d in zip(cells[::2], cells[1::2], strict=True)]
            found.append((f"{name} ± deviation", texts, True))
            position += 1
        else:
            found.append((name, _texts(frame[name]), numeric))
    return found


def _deviation(name: str, following: str) -> bool:
    named = name.endswith("mean") and following == name.removesuffix("mean") + "std"
    return following == "deviation" or named


def _pair(first: str, second: str, low: str, high: str) -> bool:
    same = first.removesuffix(low) == second.removesuffix(high)
    return first.endswith(low) and second.endswith(high) and same


def _texts(*columns: pd.Series[Any]) -> list[str]:
    """The cells of columns, row by row.

    A value and its interval or deviation have the same number of decimals in all rows, and so has a column whose
    numbers are of one size. Other numbers have three digits each.
    """
    rows = list(zip(*columns, strict=True))
    floats = [value for row in rows for value in row if isinstance(value, float) and math.isfinite(value)]
    sizes = [math.floor(math.log10(abs(value))) for value in floats if value != 0]
    largest = max(sizes, default=0)
    exact = all(float(f"{value:.{DIGITS}g}") == value for value in floats)
    alike = len(columns) > 1 or (not exact and min(sizes, default=0) >= largest - 1)
    places = min(max(DIGITS - 1 - largest, 0) + (largest == 0), DIGITS) if alike and -3 <= largest < 6 else None
    signed = len(columns) > 1 and any(value < 0 for value in columns[0].dropna())

    def text(value: Any, places: int | None) -> str:
        if not isinstance(value, float):
            return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else label(value)
        if math.isnan(value):
            return ""
        shown = number(value) if places is None or value == 0 else f"{value:,.{places}f}"
        return f"+{shown}" if signed and value > 0 else shown

    found = []
    for row in rows:
        shown = [round(value, places or 0) for value in row if isinstance(value, float) and math.isfinite(value)]
        lost = places is not None and any(row) and not any(shown)
        found += [text(value, None if lost else places) for value in row]
    return found
