"""Condition of one run of a study: its stage, its seed and the levels of its factors."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias, final

from neuro_decorr.errors import InvalidValue

Scalar: TypeAlias = str | int | float | bool | None
"""Type of a factor or a measurement: tables and JSON files hold it without loss."""

RESERVED = ("stage", "seed", "diverged", "diverged_step", "reason")
"""Columns that the study fills itself; no factor and no measurement may take these names."""

_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def scalar(name: str, value: object) -> Scalar:
    """Convert a value to a plain Python scalar.

    Args:
        name: Name of the value, for the message.
        value: A Python scalar, a NumPy scalar, or an array or tensor of one element.

    Returns:
        The same value as str, int, float, bool or None.

    Raises:
        InvalidValue: The value is of another type, or a text that UTF-8 cannot encode.
    """
    if isinstance(value, str) and not value.isascii():
        _check_text(name, value)
    if value is None or type(value) in (str, int, float, bool):
        return value  # type: ignore[return-value]
    if getattr(value, "size", None) == 1 or getattr(value, "shape", None) == ():
        value = value.item()  # type: ignore[attr-defined]
    else:
        numel = getattr(value, "numel", None)
        if callable(numel) and numel() == 1:
            value = value.item()  # type: ignore[attr-defined]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise InvalidValue(
        f"'{name}' is {value!r:.80} of type {type(value).__name__}; a table holds str, int, float, bool or None "
        "in one cell: give one number, or one row for each element."
    )


def _check_text(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            f"'{name}' is {value!r:.80}, which no table can hold: it has bytes that are not UTF-8, perhaps from the "
            "name of a file; give it as value.encode(errors='backslashreplace').decode()."
        ) from error


def seeds(count: int, start: int = 0) -> list[int]:
    """Return the paired seeds of a study: every arm is run with each of them.

    A larger count has the same first seeds as a smaller one, so that more seeds extend a study.

    Args:
        count: Number of seeds, at least 1.
        start: The first seed, at least 0.

    Returns:
        `start, start + 1, ...`, count of them.

    Raises:
        InvalidValue: The count is below 1, or the start below 0.
    """
    if count < 1 or start < 0:
        raise InvalidValue(f"seeds(count={count}, start={start}): count must be at least 1, start at least 0.")
    return list(range(start, start + count))


@final
class Condition:
    """Condition of one run of a study; frozen, hashable, and named by `key`.

    It holds everything that the run depends on beyond the configuration of the study; the choice of an earlier stage is
    a factor too. So a stored run stays valid when seeds are added.

    Args:
        stage: Name of the stage that the run belongs to (letters, digits, `_`, `-`, `.`).
        seed: Seed of the run.
        factors: Level of every factor.

    Attributes:
        stage: Name of the stage.
        seed: Seed of the run.
        factors: Level of every factor, read-only.

    Raises:
        InvalidValue: A name is reserved or cannot name a folder, or a level is not a finite scalar.
    """

    stage: str
    seed: int
    factors: Mapping[str, Any]  # the types of the levels are known to the protocol that gave them

    def __init__(self, stage: str, seed: int, factors: Mapping[str, Any]) -> None:
        if not _STAGE.fullmatch(stage):
            raise InvalidValue(f"stage '{stage}': use letters, digits, '_', '-' and '.' only, since it names a folder.")
        levels: dict[str, Scalar] = {}
        for name, value in factors.items():
            if name in RESERVED:
                raise InvalidValue(
                    f"factor '{name}': the names {', '.join(RESERVED)} are reserved; choose another one."
                )
            level = scalar(name, value)
            if isinstance(level, float) and not math.isfinite(level):
                raise InvalidValue(f"factor '{name}': got the level {level}; it must be finite, or None.")
            levels[name] = level
        object.__setattr__(self, "stage", stage)
        object.__setattr__(self, "seed", int(seed))
        object.__setattr__(self, "factors", MappingProxyType(levels))

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that depend only on stage, seed and factors (not on the order of the factors)."""
        text = json.dumps([self.stage, self.seed, dict(self.factors)], sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The condition in words, for progress and messages."""
        levels = (f"{name}={value}" for name, value in self.factors.items())
        return " ".join([self.stage, *levels, f"seed={self.seed}"])

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Condition is frozen: '{name}' cannot be set; make a new Condition.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Condition is frozen: '{name}' cannot be deleted.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[type[Condition], tuple[str, int, dict[str, Scalar]]]:
        return Condition, (self.stage, self.seed, dict(self.factors))

    def __repr__(self) -> str:
        return f"Condition(stage={self.stage!r}, seed={self.seed}, factors={dict(self.factors)!r})"
