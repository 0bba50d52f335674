"""Options of `neuro-decorr analyse`, each checked on its own; a message says what was got and what is allowed.

Every command imports this module for the defaults, so it imports the measures only when they are needed.
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
    """Options of the command line, as texts; empty where an option is not given.

    Attributes:
        path: File or folder of a recording.
        bin: Width of a bin with its unit. Empty: 50 ms, or for rates the nearest multiple of their step; for noise
            correlations one count per trial.
        trials: Conditions, separated by commas, or `all`: only bins in their trials.
        period: `START:END` with units.
        against: Another recording, another period, or, with `trials`, other conditions.
        block: Length of a block of time that is resampled, with its unit. Empty: chosen from the autocorrelation.
        surrogates: Number of surrogates that show the values by chance; 0 for none.
        surrogate: Kind of the surrogates; `auto` chooses it from the data.
        high_pass: Fluctuations of each unit slower than this are removed first, with its unit. Empty: only drifts.
        seed: Seed of surrogates and sub-samples.
        pair: Labels of two units, separated by a comma, whose correlogram is measured.
        format: Format of the file. Empty: found from its content.
        units: Labels of the units wanted, separated by commas.
        quality: Labels of a curation, separated by commas.
        series: Name of the trace or time series to read.
        condition: Column of the trials that holds their condition.
        trial_table: File with one row per trial, for a recording whose own files hold no trials.
        sampling_rate: Sampling rate, with its unit.
        step: Time between two samples of rates, with its unit.
        layout: Order of the axes of an array of rates.
        variable: Name of the array, or of the arrays, in a file that has several.
        duplicates: `drop` a second spike of a unit at the same time.
        outside: `drop` spikes outside the window.
        durations: `common` takes the time that all units share, where they were observed at different times.
        sort: True to sort spikes that are out of order.
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
    trial_table: str = ""
    sampling_rate: str = ""
    step: str = ""
    layout: str = ""
    variable: str = ""
    duplicates: str = "error"
    outside: str = "error"
    durations: str = "error"
    sort: bool = False

    def width(self, step: float | None = None) -> float:
        """Return the width of a bin (s).

        Args:
            step: Time between two samples of rates (s). None: spikes.

        Raises:
            InvalidValue: `bin` is no duration above zero.
        """
        if self.bin:
            return positive(self.bin, "--bin", "50ms")
        return _BIN if step is None else max(1, round(_BIN / step)) * step

    def method(self) -> Method:
        """Return the method for intervals and for values by chance.

        Raises:
            InvalidValue: An option has a value that is not allowed.
        """
        from neuro_decorr.metrics.null import FEWEST
        from neuro_decorr.metrics.surrogates import Kind
        from neuro_decorr.report.picture import Method

        if self.surrogates < FEWEST and self.surrogates != 0:
            raise InvalidValue(
                f"--surrogates: got {self.surrogates}; allowed are 0 (none) or at least {FEWEST}, since fewer cannot "
                "reach p = 0.05."
            )
        if self.seed < 0:
            raise InvalidValue(f"--seed: got {self.seed}; allowed are whole numbers of at least 0.")
        kind = word("--surrogate", self.surrogate.replace("-", "_"), get_args(Kind))
        cutoff: Cutoff = positive(self.high_pass, "--high-pass", "10s") if self.high_pass else "auto"
        block = positive(self.block, "--block", "5s") if self.block else None
        return Method(self.surrogates, cast(Kind, kind), cutoff, block, self.seed)

    def reading(self, period: tuple[float, float] | None) -> Reading:
        """Return the options for `neuro_decorr.recording.load`.

        Args:
            period: Period to read (s).

        Raises:
            InvalidValue: An option has a value that is not allowed.
        """
        from neuro_decorr.recording.options import Layout

        given: dict[str, Any] = {"period": period} | {
            name: getattr(self, name)
            for name in ("format", "series", "condition", "trial_table", "variable")
            if getattr(self, name)
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
        """Return all options as values that JSON can hold."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"path": str(self.path)}


def positive(text: str, option: str, example: str) -> float:
    """Read a duration above zero.

    Args:
        text: The text, such as `50ms`.
        option: Name of the option, for the message.
        example: An allowed text, for the message.

    Returns:
        The duration (s).

    Raises:
        InvalidValue: The text is no number with a unit of time, or not above zero.
    """
    found = quantity(text, option, _UNITS, example)
    if found <= 0:
        raise InvalidValue(f"{option}: got {text!r}; allowed are durations above zero, such as {example}.")
    return found


def quantity(text: str, option: str, units: dict[str, float], example: str) -> float:
    """Read a number with its unit.

    Args:
        text: The text, such as `50ms`.
        option: Name of the option, for the message.
        units: Value of each unit in the basic unit.
        example: An allowed text, for the message.

    Returns:
        The number in the basic unit.

    Raises:
        InvalidValue: The text is no number with one of the units.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in units or not math.isfinite(float(match[1])):
        raise InvalidValue(
            f"{option}: got {text!r}; give a number with its unit ({', '.join(units)}), as in {example}."
        )
    return float(match[1]) * units[match[2]]


def period(text: str, option: str = "--period") -> tuple[float, float]:
    """Read a period.

    Args:
        text: `START:END` with units, such as `0s:60s`.
        option: Name of the option, for the message.

    Returns:
        Start and end (s).

    Raises:
        InvalidValue: The text is not two times, or the end is not after the start.
    """
    parts = text.split(":")
    if len(parts) != 2:
        raise InvalidValue(f"{option}: got {text!r}; a period is START:END, such as 0s:60s.")
    start, stop = (quantity(part, option, _UNITS, "0s:60s") for part in parts)
    if stop <= start:
        raise InvalidValue(f"{option}: got {text!r}; the end must follow the start, as in 0s:60s.")
    return start, stop


def listed(text: str, known: Iterable[str] = ()) -> list[str]:
    """Read labels separated by commas. A label that has a comma is in double quotes, or equals a known label.

    Args:
        text: The text.
        known: The existing labels, where they are known.

    Returns:
        The labels, without blanks around them.
    """
    if text in set(known):
        return [text]
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return [label.strip() for row in rows for label in row if label.strip()]


def two(text: str, known: Sequence[str]) -> tuple[str, str]:
    """Read two labels. A label may have commas if it is in double quotes, or if there is only one way to read the text.

    Args:
        text: The text given to `--pair`.
        known: Labels of all units.

    Returns:
        The labels.

    Raises:
        InvalidValue: The text is not two different labels of units, or can be read in two ways.
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
    """Turn a message about Python arguments into one about options of the command: `sort=True` becomes `--sort`.

    Args:
        message: Message of `neuro_decorr.recording.load`, or of a measure.

    Returns:
        The message for users of the command.
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
    '; condition="" takes all trials as one condition': "; if all trials are one condition, leave these columns out",
    "a trial_table": "a --trial-table",
    "choose a smaller reach, or leave the condition out": "leave the condition out of --trials",
    "step (s) or sampling_rate (Hz)": "--step, such as 30ms, or --sampling-rate, such as 30Hz",
    "sampling_rate (Hz)": "--sampling-rate, such as 30kHz",
    "leave it out (Trials.select)": "leave it out of --trials",
}
_FIRST = re.compile(
    r"(?:^|(?<=: ))(bin|block|period|series|condition|quality|layout|variable|format|sampling_rate|trial_table)(?=: )"
)
_NAMES = "|".join(field.name for field in fields(Options))
_ARGUMENT = re.compile(rf"\b({_NAMES})(?:=True\b|=(['\"])(.*?)\2|(?<=sampling_rate)=(\d+)|(?= \((?:s|Hz)\)))")


def _option(found: re.Match[str]) -> str:
    value = "" if found.re is _FIRST else found[3] or (f"{found[4]}Hz" if found[4] else "")
    return f"--{found[1].replace('_', '-')} {value}".rstrip()


def word(option: str, got: str, allowed: Iterable[str]) -> str:
    """Check that a word is one of the allowed ones.

    Args:
        option: Name of the option, for the message.
        got: The given word.
        allowed: The allowed words.

    Returns:
        The word.

    Raises:
        InvalidValue: The word is not allowed.
    """
    words = tuple(allowed)
    if got not in words:
        raise InvalidValue(f"{option}: got {got!r}; allowed: {', '.join(words)}.")
    return got
