"""The options of `neuro-decorr analyse`, each checked on its own: what was got, what is allowed, how to mend it.

Every command imports this module for the defaults, so that it imports what measures only when something is measured.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, final, get_args

from neuro_decorr.errors import InvalidValue

if TYPE_CHECKING:
    from neuro_decorr.metrics.trends import Cutoff
    from neuro_decorr.recording.options import Options as Reading
    from neuro_decorr.report.picture import Method

_BIN = 0.05
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_FREQUENCIES = {"Hz": 1.0, "kHz": 1e3}
_QUANTITY = re.compile(r"\s*(-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([A-Za-z]+)\s*")


@final
@dataclass(frozen=True)
class Options:
    """What the command line says: texts as they were given, empty or None where nothing was.

    Attributes:
        path: File or folder of a recording.
        bin: Width of a bin with its unit; 50 ms when empty, of rates the whole number of their steps nearest to it.
        trials: Conditions, separated by commas: only bins in their trials.
        period: `START:END` with units.
        against: Another recording, another period, or, with `trials`, other conditions.
        block: Length of a block of time that is drawn again, with its unit; chosen from the autocorrelation when empty.
        surrogates: How many surrogates tell what chance gives; 0 for none.
        surrogate: How they are made; chosen by what varies in the data when `auto`.
        high_pass: Slower changes than this are removed from each unit first, with its unit; none are when empty.
        seed: Seed of surrogates and sub-samples.
        pair: Labels of two units, separated by a comma, whose correlogram is wanted.
        format: What the file is; found by its content when empty.
        units: Labels of the units wanted, separated by commas.
        quality: Labels of a curation, separated by commas.
        series: The trace or time series wanted.
        condition: Column of the trials that is their condition.
        sampling_rate: Samples a second, with its unit.
        step: Length of a step of rates, with its unit.
        layout: What the rows of an array of rates are.
        variable: Array or arrays of a file that has several.
        duplicates: `drop` a second spike of a unit at the same time.
        outside: `drop` spikes outside the window.
        durations: `common` takes the time that all units share, where they were observed at different times.
        sort: Whether spikes out of order are sorted.
    """

    path: Path
    bin: str = ""
    trials: str = ""
    period: str = ""
    against: str = ""
    block: str = ""
    surrogates: int = 99
    surrogate: str = "auto"
    high_pass: str = ""
    seed: int = 0
    pair: str = ""
    format: str = ""
    units: str = ""
    quality: str = ""
    series: str = ""
    condition: str = ""
    sampling_rate: str = ""
    step: str = ""
    layout: str = ""
    variable: str = ""
    duplicates: str = "error"
    outside: str = "error"
    durations: str = "error"
    sort: bool = False

    def width(self, step: float | None = None) -> float:
        """Width of a bin (s).

        Args:
            step: Of rates (s); None of spikes.

        Raises:
            InvalidValue: No duration.
        """
        if self.bin:
            return positive(self.bin, "--bin", "50ms")
        return _BIN if step is None else max(1, round(_BIN / step)) * step

    def method(self) -> Method:
        """How chance and intervals are found.

        Raises:
            InvalidValue: An option is not allowed.
        """
        from neuro_decorr.metrics.null import FEWEST
        from neuro_decorr.metrics.surrogates import Kind
        from neuro_decorr.report.picture import Method

        if self.surrogates < FEWEST and self.surrogates != 0:
            raise InvalidValue(
                f"--surrogates: got {self.surrogates}; allowed are 0 (none) and {FEWEST} and more: fewer cannot reach "
                "p = 0.05."
            )
        if self.seed < 0:
            raise InvalidValue(f"--seed: got {self.seed}; allowed are whole numbers from 0 on.")
        kind = word("--surrogate", self.surrogate.replace("-", "_"), get_args(Kind))
        cutoff: Cutoff = positive(self.high_pass, "--high-pass", "10s") if self.high_pass else "auto"
        block = positive(self.block, "--block", "5s") if self.block else None
        return Method(self.surrogates, cast(Kind, kind), cutoff, block, self.seed)

    def reading(self, period: tuple[float, float] | None) -> Reading:
        """The options of `neuro_decorr.recording.load`.

        Args:
            period: The period wanted (s).

        Raises:
            InvalidValue: One of them is not allowed.
        """
        from neuro_decorr.recording.options import Layout

        given: dict[str, Any] = {"period": period} | {
            name: getattr(self, name) for name in ("format", "series", "condition", "variable") if getattr(self, name)
        }
        given |= {name: listed(getattr(self, name)) for name in ("units", "quality") if getattr(self, name)}
        if self.layout:
            given["layout"] = word("--layout", self.layout, get_args(Layout))
        if self.sampling_rate:
            given["sampling_rate"] = quantity(self.sampling_rate, "--sampling-rate", _FREQUENCIES, "30kHz")
        if self.step:
            given["step"] = positive(self.step, "--step", "33.3ms")
        for name in ("duplicates", "outside"):
            given[name] = word(f"--{name}", getattr(self, name), ("error", "drop"))
        given["durations"] = word("--durations", self.durations, ("error", "common"))
        return cast("Reading", {**given, "sort": self.sort})

    def record(self) -> dict[str, Any]:
        """All of them as JSON can hold them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"path": str(self.path)}


def positive(text: str, option: str, example: str) -> float:
    """A duration above zero.

    Args:
        text: Such as `50ms`.
        option: The option it was given to, for the error.
        example: One that is allowed.

    Returns:
        Seconds.

    Raises:
        InvalidValue: No number with a unit of time, or not above zero.
    """
    found = quantity(text, option, _UNITS, example)
    if found <= 0:
        raise InvalidValue(f"{option}: got {text!r}; allowed are durations above zero, such as {example}.")
    return found


def quantity(text: str, option: str, units: dict[str, float], example: str) -> float:
    """A number with its unit.

    Args:
        text: Such as `50ms`.
        option: The option it was given to, for the error.
        units: What each unit is worth.
        example: What is allowed.

    Returns:
        The number in the basic unit.

    Raises:
        InvalidValue: No number with a unit.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units or not math.isfinite(float(match[1])):
        raise InvalidValue(
            f"{option}: got {text!r}; give a number with its unit ({', '.join(units)}), as in {example}."
        )
    return float(match[1]) * units[match[2]]


def period(text: str, option: str = "--period") -> tuple[float, float]:
    """A period.

    Args:
        text: `START:END` with units, such as `0s:60s`.
        option: The option it was given to, for the error.

    Returns:
        Start and end (s).

    Raises:
        InvalidValue: No two times, or an end that does not follow the start.
    """
    parts = text.split(":")
    if len(parts) != 2:
        raise InvalidValue(f"{option}: got {text!r}; a period is START:END, such as 0s:60s.")
    start, stop = (quantity(part, option, _UNITS, "0s:60s") for part in parts)
    if stop <= start:
        raise InvalidValue(f"{option}: got {text!r}; the end must follow the start, as in 0s:60s.")
    return start, stop


def listed(text: str, known: Iterable[str] = ()) -> list[str]:
    """Labels separated by commas; one that holds a comma stands in double quotes, or is known as a whole.

    Args:
        text: What was given.
        known: Labels that exist, where they are known.

    Returns:
        The labels, without blanks around them.
    """
    if text in set(known):
        return [text]
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return [label.strip() for row in rows for label in row if label.strip()]


def two(text: str, known: Sequence[str]) -> tuple[str, str]:
    """Two labels, of which either may hold commas: in double quotes, or where no other way to read them is known.

    Args:
        text: What was given to `--pair`.
        known: Labels of all units.

    Returns:
        The labels.

    Raises:
        InvalidValue: Not two different labels of units, or two ways to read them.
    """
    from neuro_decorr.recording.checks import chosen

    labels, parts = listed(text), text.split(",")
    ways = [labels] if len(labels) == 2 else [[",".join(parts[:k]), ",".join(parts[k:])] for k in range(1, len(parts))]
    pairs = [(first.strip(), second.strip()) for first, second in ways]
    found = [pair for pair in pairs if pair[0] != pair[1] and set(pair) <= set(known)]
    if len(found) == 1:
        return found[0]
    if len(labels) == 2:
        chosen(labels, known)
    raise InvalidValue(f"--pair: got {text!r}; give the labels of two different units, as in {','.join(known[:2])}.")


def as_options(message: str) -> str:
    """A message about arguments in Python as one about options of the command: `sort=True` as `--sort`.

    Args:
        message: Of `neuro_decorr.recording.load`, or of a measure.
    """
    for said, asked in _SAID.items():
        message = message.replace(said, asked)
    return _ARGUMENT.sub(_option, _FIRST.sub(_option, message))


_SAID = {
    "high_pass, detrended": "--high-pass",
    "high-pass: cutoff must": "--high-pass: must",
    "give the format": "give --format",
    "give one as format": "give one as --format",
    "give the period": "give --period",
    "choose a smaller reach, or leave the condition out": "leave the condition out of --trials",
    "leave it out (Trials.select)": "leave it out of --trials",
}
_FIRST = re.compile(
    r"(?:^|(?<=: ))(bin|block|period|series|condition|quality|layout|variable|format|sampling_rate)(?=: )"
)
_NAMES = "|".join(field.name for field in fields(Options))
_ARGUMENT = re.compile(rf"\b({_NAMES})(?:=True\b|=(['\"])(.*?)\2|(?<=sampling_rate)=(\d+)|(?= \((?:s|Hz)\)))")


def _option(found: re.Match[str]) -> str:
    value = "" if found.re is _FIRST else found[3] or (f"{found[4]}Hz" if found[4] else "")
    return f"--{found[1].replace('_', '-')} {value}".rstrip()


def word(option: str, got: str, allowed: Iterable[str]) -> str:
    """One of some words.

    Args:
        option: The option it was given to, for the error.
        got: The word.
        allowed: All that would do.

    Returns:
        The word.

    Raises:
        InvalidValue: Another one.
    """
    words = tuple(allowed)
    if got not in words:
        raise InvalidValue(f"{option}: got {got!r}; allowed: {', '.join(words)}.")
    return got
