"""What can be checked only when a run starts: clocks and synapses that came after those of a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from brian2 import BrianObject


@final
class AtRun(BrianObject):  # type: ignore[misc]  # Brian2 carries no types
    """An object of a network that does nothing but check, before every run, on every target."""

    def __init__(self, check: Callable[[], None], clock: Any, name: str) -> None:
        """Check when a run starts.

        Args:
            check: Raises what is wrong.
            clock: Of the group.
            name: Of the object.
        """
        super().__init__(clock=clock, name=name)
        self._check = check

    def before_run(self, run_namespace: Any) -> None:
        """Check."""
        self._check()
        super().before_run(run_namespace)
