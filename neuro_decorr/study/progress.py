"""Progress on a terminal: a bar over the runs of a stage, one inside each run that lasts."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_INSIDE = 4
"""How many runs get a bar of their own at most."""


@final
class View:
    """Shows how far a study is, on stderr; bars on a terminal, else a line a stage.

    Args:
        console: Where to; stderr when None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(file=sys.stderr)
        self._bars: Progress | None = None
        self._whole: TaskID | None = None
        self._inside: dict[int, TaskID] = {}
        self._title = ""

    def __enter__(self) -> View:
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
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
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stage(self, title: str, total: int, stored: int) -> None:
        """A stage begins.

        Args:
            title: What it is called.
            total: How many runs it has.
            stored: How many of them are stored already.
        """
        self._title = title
        if self._bars is None:
            return
        for task in [self._whole, *self._inside.values()]:
            if task is not None:
                self._bars.remove_task(task)
        self._inside.clear()
        self._whole = self._bars.add_task(title, total=total, completed=stored)

    def inside(self, slot: int, label: str, done: float, total: float) -> None:
        """A run is somewhere in its middle.

        Args:
            slot: Which worker has it.
            label: The condition in words.
            done: Steps done.
            total: Steps in all.
        """
        if self._bars is None or slot >= _INSIDE:
            return
        text = f"  {label if len(label) <= 60 else label[:59] + '…'}"
        if slot not in self._inside:
            self._inside[slot] = self._bars.add_task(text, total=total)
        self._bars.update(self._inside[slot], description=text, completed=done, total=total, visible=True)

    def advance(self, slot: int) -> None:
        """A run ended.

        Args:
            slot: Which worker had it.
        """
        if self._bars is None or self._whole is None:
            return
        self._bars.advance(self._whole)
        if slot in self._inside:
            self._bars.update(self._inside[slot], visible=False)

    def summary(self, text: str) -> None:
        """A stage ended: one line."""
        self.line(f"{self._title}: {text}")
