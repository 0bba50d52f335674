"""Progress of a study: on a terminal a bar over the runs of a stage and one for each long run; elsewhere log lines."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.costs import Costs
from neuro_decorr.study.log_lines import LogLines
from neuro_decorr.study.remaining import Remaining

_INSIDE = 4
"""Largest number of runs with a bar of their own."""
_UNKNOWN = float("nan")


@final
class _Left(TimeRemainingColumn):
    """Time left; that of a whole stage from the runs' own times, since its runs may differ in cost."""

    def render(self, task: Task) -> Text:
        if "left" not in task.fields or task.finished:
            return super().render(task)
        left = task.fields["left"] - time.monotonic()
        told = "-:--:--" if math.isnan(left) else str(timedelta(seconds=round(max(left, 0.0))))
        return Text(told, style="progress.remaining")


@final
class View:
    """Shows the progress of a study on stderr: bars on a terminal, elsewhere lines without control characters.

    Args:
        console: Console to write to. None: stderr.
        brief: True for work that usually takes under half a minute: no line is written before that.
    """

    def __init__(self, console: Console | None = None, *, brief: bool = False) -> None:
        # The environment may ask for colours, but a bar is redrawn in place, which a file does not allow.
        self._console = console or Console(file=sys.stderr, force_terminal=sys.stderr.isatty())
        self._log = LogLines(self._print, brief=brief)
        self._remaining = Remaining()
        self._bars: Progress | None = None
        self._whole: TaskID | None = None
        self._inside: dict[int, TaskID] = {}
        self._title = ""

    def __enter__(self) -> View:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                _Left(elapsed_when_finished=True),
                console=self._console,
                refresh_per_second=4,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def line(self, text: str) -> None:
        """Print a line, above the bars."""
        if self._bars is None:
            self._log.line(text)
        else:
            self._print(text)

    def stage(
        self,
        title: str,
        total: int,
        stored: int,
        diverged: int = 0,
        workers: int = 1,
        conditions: Iterable[Condition] = (),
        costs: Costs | None = None,
    ) -> None:
        """Begin a stage.

        Args:
            title: Title of the stage.
            total: Number of its runs.
            stored: Number of them that are stored already.
            diverged: Number of stored runs that diverged.
            workers: Number of runs computed at a time; a larger number is used where more workers send messages.
            conditions: Its runs that are not stored.
            costs: Known times of runs, from which the time left is estimated; it gets those of the stage. None: all
                runs count alike.
        """
        self._title = title
        if self._bars is None:
            self._log.stage(title, total, stored, diverged, workers, conditions, costs)
            return
        self._remaining.stage(total - stored, workers, conditions, costs)
        for task in [self._whole, *self._inside.values()]:
            if task is not None:
                self._bars.remove_task(task)
        self._inside.clear()
        self._whole = self._bars.add_task(title, total=total, completed=stored, left=_UNKNOWN)

    def inside(self, slot: int, label: str, done: float, total: float) -> None:
        """Show the progress of a run.

        Args:
            slot: Number of its worker.
            label: The condition in words.
            done: Steps done.
            total: Steps in total.
        """
        if self._bars is None:
            self._log.inside(slot, label, done, total)
            return
        self._remaining.begun(slot)
        if slot >= _INSIDE:
            return
        text = f"  {label if len(label) <= 60 else label[:59] + '…'}"
        if slot not in self._inside:
            self._inside[slot] = self._bars.add_task(text, total=total)
        self._bars.update(self._inside[slot], description=text, completed=done, total=total, visible=True)

    def advance(
        self,
        slot: int,
        *,
        diverged: bool = False,
        failed: bool = False,
        condition: Condition | None = None,
        seconds: float = 0,
    ) -> None:
        """Count a run that ended.

        Args:
            slot: Number of its worker.
            diverged: True if it diverged.
            failed: True if it failed, so that it is not stored.
            condition: The run.
            seconds: Its time (s); 0 where it is unknown.
        """
        if self._bars is None:
            self._log.advance(slot, diverged=diverged, failed=failed, condition=condition, seconds=seconds)
        if self._bars is None or self._whole is None:
            return
        self._remaining.ended(slot, failed, condition, seconds)
        left = self._remaining.left()
        self._bars.update(self._whole, advance=1, left=_UNKNOWN if left is None else time.monotonic() + left)
        if slot in self._inside:
            self._bars.update(self._inside[slot], visible=False)

    def summary(self, text: str) -> None:
        """End a stage with one line."""
        self.line(f"{self._title}: {text}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
