"""Progress as lines of a log, for an output that is no terminal: a job of a cluster, a file, a pipe."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import final

from neuro_decorr.study import duration
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.costs import Costs
from neuro_decorr.study.remaining import Remaining

_INTERVAL = 30.0
"""Time between two lines on one stage (s), except for the lines at every tenth of its runs."""
_LEAST = 1.0
"""Least time between two lines on one stage (s)."""
_HEARTBEAT = 300.0
"""Time after which a line is written although nothing is new (s)."""
_LONG = 60.0
"""Time after which a run gets lines of its own (s)."""


@final
@dataclass
class _Run:
    """A run that is being computed.

    Attributes:
        label: Its condition in words.
        began: Time of its first message (s).
        done: Steps done.
        total: Steps in total.
        first: Part of the run that was done at its first message; above 0 where it continues from a checkpoint.
        told: Time of the last line on this run (s).
        tenth: Number of tenths that were done then.
    """

    label: str
    began: float
    done: float = 0
    total: float = 0
    first: float = 0
    told: float = 0
    tenth: int = -1

    @property
    def share(self) -> float:
        """Part of the run that is done, from 0 to 1."""
        share = self.done / self.total if self.total > 0 else 0.0
        return min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0


@final
@dataclass
class LogLines:
    """Writes lines about a running study: the first and the last line of a stage, and some in between.

    A stage gets a line at every tenth of its runs, and otherwise at most every 30 s. A run that takes over a minute has
    its own lines: the first after that minute, then one at every tenth of its steps or every five minutes.

    Attributes:
        write: Receives each line.
        clock: Monotonic clock (s).
        now: Time of day.
        brief: True for work that usually takes under 30 s: no line is written before that. The title then names the
            things that are counted.
    """

    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = datetime.now
    brief: bool = False
    _title: str = ""
    _total: int = 0
    _stored: int = 0
    _ended: int = 0
    _diverged: int = 0
    _failed: int = 0
    _began: float = 0
    _told: float = 0
    _tenth: int = 0
    _runs: dict[int, _Run] = field(default_factory=dict)
    _remaining: Remaining = field(init=False)

    def __post_init__(self) -> None:
        self._remaining = Remaining(self.clock)

    def line(self, text: str) -> None:
        """Write a line, with the time of day before it."""
        self.write(f"{self.now().isoformat(timespec='seconds')} {text}")

    def stage(
        self,
        title: str,
        total: int,
        stored: int,
        diverged: int,
        workers: int = 1,
        conditions: Iterable[Condition] = (),
        costs: Costs | None = None,
    ) -> None:
        """Begin a stage; see `View.stage`."""
        self._remaining.stage(total - stored, workers, conditions, costs)
        self._title, self._total, self._stored = title, total, stored
        self._ended = self._failed = 0
        self._diverged = diverged
        self._began = self.clock()
        self._runs.clear()
        if self.brief:
            self._told, self._tenth = self._began, 10
        else:
            self._tell()

    def inside(self, slot: int, label: str, done: float, total: float) -> None:
        """Show the progress of a run; see `View.inside`."""
        run = self._runs.get(slot)
        if run is None or run.label != label:
            # A run whose worker died may come back on another one.
            self._runs = {other: run for other, run in self._runs.items() if run.label != label}
            run = self._runs[slot] = _Run(label, self.clock(), done, total)
            run.first = run.share
            if run.first < 0.5:  # else it began long before
                self._remaining.begun(slot)
        run.done, run.total = done, total
        if self.clock() - self._told >= _INTERVAL:
            self._tell_inside()

    def advance(
        self, slot: int, *, diverged: bool, failed: bool, condition: Condition | None = None, seconds: float = 0
    ) -> None:
        """Count a run that ended; see `View.advance`."""
        self._remaining.ended(slot, failed, condition, seconds)
        self._runs.pop(slot, None)
        now = self.clock()
        self._ended += 1
        self._diverged += diverged
        self._failed += failed
        since = now - self._told
        if since >= _INTERVAL or (since >= _LEAST and self._tenths() > self._tenth):
            self._tell()
            self._tell_inside()

    def summary(self, text: str) -> None:
        """End a stage with one line."""
        self.line(f"{self._title}: {text}")

    def _tell(self) -> None:
        self._told, self._tenth = self.clock(), self._tenths()
        counts = {"diverged": self._diverged, "failed": self._failed}
        told = "".join(f", {number} {what}" for what, number in counts.items() if number)
        elapsed = self.clock() - self._began
        times = f", {duration.told(elapsed)} elapsed" if self._ended or elapsed >= _LEAST else ""
        left = self._remaining.left()
        if times and left is not None:
            times += f", about {duration.told(left)} left"
        total = f"{self._total}" if self.brief else f"{self._total} runs"
        self.line(f"{self._title}: {self._stored + self._ended} of {total}{told}{times}")

    def _tell_inside(self) -> None:
        now = self.clock()
        due = [
            run
            for run in self._runs.values()
            if now - run.began >= _LONG and (int(run.share * 10) > run.tenth or now - run.told >= _HEARTBEAT)
        ]
        if not due and now - self._told < _HEARTBEAT:
            return
        if now > self._told:
            self._tell()
        for run in due:
            run.told, run.tenth = now, int(run.share * 10)
            moved = run.share - run.first
            passed = now - run.began
            rest = f", about {duration.told(passed * (1 - run.share) / moved)} left" if moved > 0 else ""
            self.line(f"{run.label}: {run.done:g} of {run.total:g} steps, {duration.told(passed)} elapsed{rest}")

    def _tenths(self) -> int:
        return (self._stored + self._ended) * 10 // self._total if self._total else 10
