"""Expected times of runs, from the times of the runs that are most alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, final

Run: TypeAlias = tuple[str, Mapping[str, Any]]
"""Name of the stage of a run, and its factors."""
_Levels: TypeAlias = frozenset[tuple[str, str, Any]]


@final
class Costs:
    """Times of runs by their levels, and the expected time of other runs.

    A run is expected to take as long as the mean of the known runs with the most equal levels; where there are several
    such, of those with the most equal numbers among them. Numbers that need not be whole, such as a learning rate,
    hardly ever change the time of a run, so the others decide: names, switches, sizes, numbers of steps, the stage.
    The first run of a process loads its modules too; it counts only where no other run is as much alike.
    """

    def __init__(self) -> None:
        self._known: defaultdict[_Levels, list[tuple[float, bool]]] = defaultdict(list)
        self._any = False
        self._met: set[tuple[str, str, Any]] = set()
        self._found: dict[_Levels, float] = {}

    def add(self, stage: str, factors: Mapping[str, Any], seconds: float, *, first: bool = False) -> None:
        """Add the time of a run.

        Args:
            stage: Name of its stage.
            factors: Its levels.
            seconds: Its time (s).
            first: True for the first run of a process.
        """
        levels = _levels(stage, factors)
        self._known[levels].append((seconds, first))
        self._any |= not first
        self._met |= levels
        self._found.clear()

    def expected(self, missing: Iterable[Run]) -> list[float] | None:
        """Return the expected times of runs.

        Args:
            missing: The runs.

        Returns:
            Their times (s), in descending order. None where the known runs say too little: all are the first of their
            process; or a level of a missing run, other than a number that need not be whole, was in no run yet, and
            fewer runs of these stages are known than are missing.
        """
        counts = Counter(_levels(stage, factors) for stage, factors in missing)
        wanted = set[tuple[str, str, Any]]().union(*counts)
        stages = {level for level in wanted if level[0] == "stage"}
        known = sum(len(times) for levels, times in self._known.items() if levels & stages)
        if counts and (not self._any or (not _decisive(wanted) <= self._met and known < sum(counts.values()))):
            return None
        times = [time for levels, count in counts.items() for time in [self._expected(levels)] * count]
        return sorted(times, reverse=True)

    def _expected(self, levels: _Levels) -> float:
        if levels not in self._found:
            decisive = _decisive(levels)
            alike = {other: (len(decisive & other), len(levels & other)) for other in self._known}
            most = max(alike.values())
            runs = [run for other, score in alike.items() if score == most for run in self._known[other]]
            times = [seconds for seconds, first in runs if not first] or [seconds for seconds, _ in runs]
            self._found[levels] = sum(times) / len(times)
        return self._found[levels]


def _levels(stage: str, factors: Mapping[str, Any]) -> _Levels:
    # With the type, since 1, 1.0 and True compare as equal; no factor has the name `stage`.
    levels = [(name, type(level).__name__, level) for name, level in factors.items()]
    return frozenset([("stage", "str", stage), *levels])


def _decisive(levels: Iterable[tuple[str, str, Any]]) -> set[tuple[str, str, Any]]:
    return {level for level in levels if level[1] != "float"}
