"""What one run of a study is: its stage, its seed and the levels of its factors."""

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
"""What a factor or a measurement may be: a table and a JSON file hold it without loss."""

RESERVED = ("stage", "seed", "diverged", "diverged_step", "reason")
"""Columns that the machinery fills; neither a factor nor a measurement may take their names."""

_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def scalar(name: str, value: object) -> Scalar:
    """A value as a plain Python scalar.

    Args:
        name: What the value is called, for the message.
        value: A Python scalar, a NumPy scalar, or an array or tensor of one element.

    Returns:
        The same value as str, int, float, bool or None.

    Raises:
        InvalidValue: It is something else.
    """
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


def seeds(count: int, start: int = 0) -> list[int]:
    """The paired seeds of a study: every arm is run with each of them.

    The seeds of a smaller count are the first of a larger one, so that more seeds extend a study.

    Args:
        count: How many, at least 1.
        start: The first one.

    Returns:
        `start, start + 1, ...`, count of them.

    Raises:
        InvalidValue: The count is below 1, or the start below 0.
    """
    if count < 1 or start < 0:
        raise InvalidValue(f"seeds(count={count}, start={start}): count is at least 1 and start at least 0.")
    return list(range(start, start + count))


@final
class Condition:
    """One run of a study. Frozen, hashable, and named by `key`.

    Everything that the run depends on, beyond the configuration of the study, is in here: what an earlier stage
    chose is handed on as a factor. So a stored run stays valid when seeds are added.

    Args:
        stage: Name of the stage that the run belongs to (letters, digits, `_`, `-`, `.`).
        seed: Seed of the run.
        factors: Level of every factor.

    Attributes:
        stage: Name of the stage.
        seed: Seed of the run.
        factors: Level of every factor, read-only.

    Raises:
        InvalidValue: A name is reserved or cannot name a folder, or a level is no finite scalar.
    """

    stage: str
    seed: int
    factors: Mapping[str, Any]  # the protocol, which gave the levels, knows their types

    def __init__(self, stage: str, seed: int, factors: Mapping[str, Any]) -> None:
        if not _STAGE.fullmatch(stage):
            raise InvalidValue(f"stage '{stage}': it names a folder, so use letters, digits, '_', '-' and '.' only.")
        levels: dict[str, Scalar] = {}
        for name, value in factors.items():
            if name in RESERVED:
                raise InvalidValue(f"factor '{name}': the names {', '.join(RESERVED)} are taken; choose another.")
            level = scalar(name, value)
            if isinstance(level, float) and not math.isfinite(level):
                raise InvalidValue(f"factor '{name}' is {level}; the level of a factor is finite, or None.")
            levels[name] = level
        object.__setattr__(self, "stage", stage)
        object.__setattr__(self, "seed", int(seed))
        object.__setattr__(self, "factors", MappingProxyType(levels))

    @cached_property
    def key(self) -> str:
        """Sixteen hexadecimal digits that depend on stage, seed and factors alone (not on the factors' order)."""
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
