"""Record of the failures of a study: each run in its own file at once, and a summary beside the tables.

DIR/failures/KEY.txt    one failed run: its condition, the reason, the traceback; gone when the run is stored
DIR/failures.json       the runs that are missing from the tables beside it, sealed; absent when none is missing
"""

from __future__ import annotations

import contextlib
import re
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from neuro_decorr.study import files
from neuro_decorr.study.conditions import Condition

NAME, FOLDER = "failures.json", "failures"
_SHOWN = 20
"""Number of failures with different messages that are listed; the others are counted."""
_PLACE = re.compile(r'^\s*File "(.+)", line (\d+)', re.MULTILINE)


@final
@dataclass(frozen=True)
class Failure:
    """A run that ended with an error.

    Attributes:
        stage: Name of its stage.
        seed: Its seed.
        factors: Level of every factor.
        text: The error, in one line.
        traceback: File of the traceback, below the directory of the study; None where there is none.
    """

    stage: str
    seed: int
    factors: dict[str, Any]
    text: str
    traceback: str | None = None

    @property
    def condition(self) -> Condition:
        """Condition of the run."""
        return Condition(self.stage, self.seed, self.factors)

    def __str__(self) -> str:
        return f"{self.condition.label}: {self.text}"


@final
@dataclass(frozen=True)
class Incomplete:
    """Runs that are missing from the tables of a study.

    Attributes:
        expected: Number of runs that the stages declare, as far as they could be declared.
        stored: Number of them that are stored.
        failures: The runs that failed.
        untried: Number of other missing runs.
        notes: Further remarks, one line each: a stage that could not be declared, a report that failed.
    """

    expected: int
    stored: int
    failures: list[Failure] = field(default_factory=list)
    untried: int = 0
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Describe the missing runs in words, one line each: first the summary, then failures and notes."""
        missing = self.expected - self.stored
        lines = []
        if missing:
            parts = {f"{len(self.failures)} failed": len(self.failures), f"{self.untried} not tried": self.untried}
            told = ", ".join(part for part, number in parts.items() if number)
            lines.append(f"Incomplete: {missing} of {counted(self.expected)} missing ({told}).")
        alike: dict[str, list[Failure]] = {}
        for failure in self.failures:
            alike.setdefault(failure.text, []).append(failure)
        groups = list(alike.values())
        for first, *others in groups[:_SHOWN]:
            lines.append(
                f"failed: {1 + len(others)} runs in the same way, the first {first}" if others else f"failed: {first}"
            )
        more = sum(map(len, groups[_SHOWN:]))
        if more:
            lines.append(f"{counted(more, 'more run')} failed; {FOLDER}/ has the error of each")
        return lines + self.notes

    def write(self, directory: Path) -> None:
        """Store it as `DIR/failures.json`."""
        files.write(directory / NAME, files.seal(asdict(self)))


def read(directory: Path) -> Incomplete | None:
    """Read the record of the runs that are missing from the tables of a study.

    Args:
        directory: Directory of a study.

    Returns:
        The record; None where there is none, or where it is damaged.
    """
    try:
        found = files.unseal(files.read(directory / NAME))
        return Incomplete(**{**found, "failures": [Failure(**failure) for failure in found["failures"]]})
    except (OSError, files.Damaged, KeyError, TypeError):
        return None


def keep(directory: Path, condition: Condition, text: str, detail: str) -> Failure:
    """Put a failed run on record.

    Args:
        directory: Directory of the study.
        condition: The run.
        text: The error, in one line.
        detail: The traceback; empty where there is none.

    Returns:
        The failure.
    """
    place = f"{FOLDER}/{condition.key}.txt"
    files.write(directory / place, f"{condition.label}\n{text}\n\n{detail}")
    return _failure(condition, text, place if detail else None)


def kept(directory: Path, condition: Condition) -> Failure | None:
    """Read the record of a failed run; None where there is none."""
    place = f"{FOLDER}/{condition.key}.txt"
    try:
        _, text, *rest = files.read(directory / place).decode(errors="replace").splitlines()
    except (OSError, ValueError, files.Damaged):
        return None
    return _failure(condition, text, place if any(rest) else None)


def _failure(condition: Condition, text: str, traceback: str | None) -> Failure:
    return Failure(condition.stage, condition.seed, dict(condition.factors), text, traceback)


def forget(directory: Path, condition: Condition) -> None:
    """Remove the record of a failure, since the run is stored now."""
    with contextlib.suppress(OSError):
        (directory / FOLDER / f"{condition.key}.txt").unlink()


def place(error: BaseException) -> str:
    """Return the file and the line that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "an unknown place"


def signature(text: str, detail: str) -> tuple[str, ...]:
    """Return what all failures of one cause share: the type of the error, and the place that raised it.

    Args:
        text: The error, in one line.
        detail: Its traceback; empty where there is none.
    """
    places = _PLACE.findall(detail)
    return (text.split(":", maxsplit=1)[0], *places[-1]) if places else (text,)


def counted(number: int, what: str = "run") -> str:
    """Write a number with its noun: `1 run`, `2 runs`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
