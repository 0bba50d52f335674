"""Durations: read from a text such as `90s`, `20min` or `1.5h`, and written as `12 min 30 s`."""

from __future__ import annotations

import itertools
import re

from neuro_decorr.errors import InvalidValue

_UNITS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
_TEXT = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")


def seconds(name: str, text: str) -> float:
    """Read a duration.

    Args:
        name: Name of the option or argument, for the message.
        text: A number with its unit: `s`, `min`, `h` or `d`.

    Returns:
        The duration (s), above 0.

    Raises:
        InvalidValue: The text is no such duration, or the duration is 0 or infinite.
    """
    found = _TEXT.fullmatch(text.strip())
    length = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < length < float("inf"):
        raise InvalidValue(f"{name}: got {text!r:.40}; should be a time with its unit, such as 90s, 20min or 2h")
    return length


def told(length: float) -> str:
    """Write a duration in its two largest units, such as `12 min 30 s` or `3 h 20 min`.

    Args:
        length: The duration (s).

    Returns:
        The text, rounded to the smaller of the two units; below one minute to 0.1 s, below one second to two digits.
    """
    for (unit, size), (part, fraction) in itertools.pairwise(_UNITS.items()):
        if length >= size - fraction / 2:
            whole, rest = divmod(round(length / fraction), round(size / fraction))
            return f"{whole} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{round(length, 1):g} s" if length >= 1 else f"{length:.2g} s"
