"""Messages at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from brian2 import BrianObject, get_device


@final
class AfterRun(BrianObject):  # type: ignore[misc]  # Brian2 carries no types
    """Object of a network that calls a function after every run and does nothing else."""

    def __init__(self, tell: Callable[[], None], clock: Any, name: str) -> None:
        """Store the function.

        Args:
            tell: Function that is called after a run, but not where a standalone program is still to be compiled.
            clock: Clock of the group.
            name: Name of the object.
        """
        super().__init__(clock=clock, name=name)
        self._tell = tell

    def after_run(self) -> None:
        """Call the function."""
        super().after_run()
        if not hasattr(get_device(), "has_been_run"):
            self._tell()
