"""Time that a stage still takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import final

from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.costs import Costs

LONG = 60.0
"""Time of a run (s) beside which the start of its process does not count."""


@final
@dataclass
class Remaining:
    """Estimates the time that a stage still takes, from its messages.

    Without conditions all runs count alike, and their times are measured from message to message.

    Attributes:
        clock: Monotonic clock (s).
    """

    clock: Callable[[], float] = time.monotonic
    _missing: int = 0
    _conditions: Counter[Condition] = field(default_factory=Counter)
    _costs: Costs | None = None
    _workers: int = 1
    _stage_began: float = 0
    _ended: int = 0
    _first: list[float] = field(default_factory=list)
    _lasted: list[float] = field(default_factory=list)
    _began: dict[int, float] = field(default_factory=dict)
    _warm: set[int] = field(default_factory=set)  # workers that have ended a run, in any stage

    def stage(
        self, missing: int, workers: int, conditions: Iterable[Condition] = (), costs: Costs | None = None
    ) -> None:
        """Begin a stage.

        Args:
            missing: Number of its runs that are not stored.
            workers: Number of runs computed at a time.
            conditions: These runs.
            costs: Known times of runs; it gets those of the stage. None: all runs count alike.
        """
        self._missing, self._workers, self._costs = missing, workers, costs
        self._conditions = Counter(conditions)
        self._stage_began, self._ended = self.clock(), 0
        self._first.clear()
        self._lasted.clear()
        self._began.clear()

    def begun(self, slot: int) -> None:
        """Note that a worker computes a run; only its first run is not known to begin where another one ended."""
        self._began.setdefault(slot, self.clock())

    def ended(self, slot: int, failed: bool, condition: Condition | None = None, seconds: float = 0) -> None:
        """Count a run that ended.

        Args:
            slot: Number of its worker.
            failed: True if it failed.
            condition: The run.
            seconds: Its time (s); 0 where it is unknown.
        """
        now = self.clock()
        if not failed:
            # Where the beginning of the run is unknown, the time includes the start of its process.
            known = self._lasted if slot in self._began else self._first
            known.append(now - self._began.get(slot, self._stage_began))
        if condition is not None:
            self._conditions -= Counter([condition])
            if self._costs is not None and seconds > 0:
                first = slot not in self._warm and seconds < LONG
                self._costs.add(condition.stage, condition.factors, seconds, first=first)
        self._warm.add(slot)
        self._began[slot] = now
        self._missing -= 1
        self._ended += 1

    def left(self) -> float | None:
        """Estimate the time left (s), without the start of processes; None where too little is known."""
        workers = max(self._workers, len(self._began))
        times = self._times(workers) if self._missing > 0 else None
        if not times:
            return None
        mean, now = sum(times) / len(times), self.clock()
        # A new run began where one ended; a run that takes longer than the mean is taken to end now.
        passed = sorted((min(mean, now - began) for began in self._began.values()), reverse=True)[: len(times)]
        shared = (sum(times) - sum(passed)) / min(len(times), workers)
        return max(shared, times[0] - max(passed, default=0.0))  # no run is shared among workers

    def _times(self, workers: int) -> list[float] | None:
        if self._costs is not None:
            missing = [(one.stage, one.factors) for one in self._conditions.elements()]
            return self._costs.expected(missing) if self._ended else None
        if len(self._first) + len(self._lasted) < workers:
            return None
        lasted = self._lasted if len(self._lasted) >= workers else self._first + self._lasted
        return [sum(lasted) / len(lasted)] * self._missing
