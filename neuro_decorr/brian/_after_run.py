"""What is said at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from brian2 import BrianObject, get_device


@final
class AfterRun(BrianObject):  # type: ignore[misc]  # Brian2 carries no types
    """An object of a network that does nothing but call a function after every run."""

    def __init__(self, tell: Callable[[], None], clock: Any, name: str) -> None:
        """Wait for runs.

        Args:
            tell: Called where something has run, not where a program is still to be compiled.
            clock: Of the group.
            name: Of the object.
        """
        super().__init__(clock=clock, name=name)
        self._tell = tell

    def after_run(self) -> None:
        """Tell."""
        super().after_run()
        if not hasattr(get_device(), "has_been_run"):
            self._tell()
