"""What can be checked only when a run starts, and whose line an error of a run names."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import brian2
from brian2 import BrianObject

_PACKAGES = {Path(brian2.__file__).parent, Path(__file__).parents[1]}


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


def point_to_user(made: BrianObject) -> None:
    """Let errors of a run name the line of the user's that asked for an object and for all that it contains.

    Brian2 names the last line outside of itself, which would be one of this package, and has no public way to say so.
    """
    calls = [call for call in traceback.extract_stack() if _PACKAGES.isdisjoint(Path(call.filename).parents)]
    if not calls:
        return
    line = f"  File '{calls[-1].filename}', line {calls[-1].lineno}, in {calls[-1].name}\n    {calls[-1].line}"
    waiting = [made]
    while waiting:
        item = waiting.pop()
        item._creation_stack = line
        waiting.extend(item.contained_objects)
