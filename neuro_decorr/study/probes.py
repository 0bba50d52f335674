"""First runs of a stage, which cover every level of every factor; the stage stops when all of them fail alike."""

from __future__ import annotations

from collections import Counter
from typing import Any, final

from neuro_decorr.study import failures
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.worker import Message

_FEWEST, _MOST = 3, 24
"""Least number of runs that have to fail alike; and the largest number, where a factor has more levels."""


@final
class Probes:
    """Detects a bug that makes every run fail.

    Args:
        conditions: The runs of a stage, none of which is stored.

    Attributes:
        order: The same runs; those that cover every level of every factor come first.
    """

    def __init__(self, conditions: list[Condition]) -> None:
        chosen = _covering(conditions)
        self.order = [*chosen, *(condition for condition in conditions if condition not in set(chosen))]
        self._awaited = set(self.order[: max(_FEWEST, len(chosen))])
        self._rest = len(conditions) - len(self._awaited)
        self._number = len(self._awaited)
        self._signature: tuple[str, ...] | None = None
        self._different = False

    def failed(self, condition: Condition, message: Message) -> str:
        """Count a failed run, while none has succeeded.

        Args:
            condition: The run.
            message: Message about the failure.

        Returns:
            The reason to stop; empty while another run may still succeed, or when no run is left.
        """
        signature = failures.signature(message.text, message.detail)
        self._different |= self._signature not in (None, signature)
        self._signature = signature
        self._awaited.discard(condition)
        if self._awaited or self._different or self._rest <= 0:
            return ""
        return f"the first {self._number} runs, which cover every level of every factor, all failed in the same way"


def _covering(conditions: list[Condition]) -> list[Condition]:
    """Choose conditions that together have every level of every factor, each level about equally often."""
    arms: dict[tuple[Any, ...], Condition] = {}
    for condition in conditions:
        arms.setdefault(tuple(_levels(condition)), condition)
    wanted = {level for arm in arms for level in arm}
    waiting, chosen = list(arms.values()), list[Condition]()
    met: Counter[tuple[Any, ...]] = Counter()

    def gain(condition: Condition) -> tuple[int, int]:
        levels = _levels(condition)
        return len(wanted.intersection(levels)), -sum(met[level] for level in levels)

    while wanted and len(chosen) < _MOST:
        best = max(waiting, key=gain)
        chosen.append(best)
        waiting.remove(best)
        met.update(_levels(best))
        wanted.difference_update(met)
    return chosen


def _levels(condition: Condition) -> list[tuple[str, str, Any]]:
    # With the type, since 1, 1.0 and True compare as equal.
    return [(name, type(level).__name__, level) for name, level in condition.factors.items()]
