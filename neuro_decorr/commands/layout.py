"""Layout of the help of a protocol: long lists break after their commas, never inside a word."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

_TERM = 32
"""Largest width of the column with the options; a longer one has lines of its own."""
_GAP = 2


def write_options(formatter: click.HelpFormatter, records: Sequence[tuple[str, str]]) -> None:
    """Write options with their help.

    Args:
        formatter: Formatter of the help.
        records: The options and their help, from `click.Option.get_help_record`.
    """
    column = min(max(len(option) for option, _ in records), _TERM) + _GAP
    width = max(formatter.width - column - _GAP, 10)
    further = "\n" + " " * (formatter.current_indent + 4)
    rows = []
    for option, text in records:
        lines = wrapped(option, formatter.width - formatter.current_indent - 4)
        # After a line with \b click keeps the lines as they are.
        rows.append((further.join(lines), "\n".join(["\b", *wrapped(text, width)])))
    formatter.write_dl(rows, col_max=_TERM, col_spacing=_GAP)


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines at its blanks, and words that are longer than a line after their commas and bars.

    Args:
        text: The text, without line feeds.
        width: Largest number of characters of a line; a part without blank, comma and bar may be longer.
    """
    lines = [""]
    for word in text.split(" "):
        parts = [word] if len(word) <= width else re.findall(r"[^,|]*[,|]|[^,|]+", word)
        for number, part in enumerate(parts):
            longer = f"{lines[-1]}{' ' if lines[-1] and number == 0 else ''}{part}"
            if not lines[-1] or len(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(part)
    return [line.rstrip() for line in lines]
