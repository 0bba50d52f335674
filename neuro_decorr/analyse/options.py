"""What the command line means: durations and periods with their units."""

from __future__ import annotations

import math
import re

from neuro_decorr.errors import InvalidValue

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([a-z]+)\s*", re.IGNORECASE)


def duration(text: str, option: str) -> float:
    """A duration with its unit.

    Args:
        text: Such as `50ms`, `0.05 s` or `2min`.
        option: The option it was given to, for the error.

    Returns:
        Seconds.

    Raises:
        InvalidValue: No number with a unit of time, or not positive.
    """
    value = _time(text, option)
    if value <= 0:
        raise InvalidValue(f"{option}: got {text!r}; allowed are durations above zero, such as 50ms or 0.05s.")
    return value


def period(text: str, option: str) -> tuple[float, float]:
    """A period with its units.

    Args:
        text: Such as `0s:60s` or `2min:10min`.
        option: The option it was given to, for the error.

    Returns:
        Start and end (s).

    Raises:
        InvalidValue: Not two times with a colon between them, or an end that does not follow the start.
    """
    parts = text.split(":")
    if len(parts) != 2:
        raise InvalidValue(f"{option}: got {text!r}; a period is START:END, such as 0s:60s.")
    start, end = (_time(part, option) for part in parts)
    if end <= start:
        raise InvalidValue(f"{option}: got {text!r}; the end must follow the start, as in 0s:60s.")
    return start, end


def _time(text: str, option: str) -> float:
    match = _DURATION.fullmatch(text)
    unit = match[2].lower() if match else ""
    value = float(match[1]) * _SECONDS[unit] if match and unit in _SECONDS else math.nan
    if not math.isfinite(value):
        known = ", ".join(_SECONDS)
        raise InvalidValue(
            f"{option}: got {text!r}; a time is a number with its unit ({known}), such as 50ms or 0.05s."
        )
    return value
