"""Checks at the start of a run; an error of the run names the line of the user's code."""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import brian2
import numpy as np
from brian2 import BrianObject, Synapses, get_logger

from neuro_decorr.brian._checks import numbers, whole_group
from neuro_decorr.errors import InvalidValue, Unsupported

_PACKAGES = {Path(brian2.__file__).parent, Path(__file__).parents[1]}


@final
class AtRun(BrianObject):  # type: ignore[misc]  # Brian2 carries no types
    """Object of a network that calls a check before every run, on every target, and does nothing else."""

    def __init__(self, check: Callable[[], None], clock: Any, name: str, when: str = "start") -> None:
        """Store the check.

        Args:
            check: Function that raises an error if something is wrong.
            clock: Clock of the group.
            name: Name of the object.
            when: Slot of the object; checks run in the order of the slots.
        """
        super().__init__(clock=clock, when=when, name=name)
        self._check = check

    def before_run(self, run_namespace: Any) -> None:
        """Call the check."""
        self._check()
        super().before_run(run_namespace)


@final
class Compiled(BrianObject):  # type: ignore[misc]  # Brian2 carries no types
    """Object of a network that refuses a run in which code of some synapses did not compile.

    Brian2 prints the errors of the Cython compiler and goes on without the code that did not compile.
    """

    def __init__(self, made: BrianObject) -> None:
        """Store the synapses; the check runs after all other objects are ready.

        Args:
            made: The synapses; objects that they contain are checked too.
        """
        super().__init__(clock=made.clock, when="after_end", order=2**30, name=f"{made.name}_compiled")
        self._made = made

    def before_run(self, run_namespace: Any) -> None:
        """Raise Unsupported if code did not compile."""
        super().before_run(run_namespace)
        for item in _within(self._made):
            for code in item._code_objects:
                text = getattr(getattr(code, "code", None), "run", "")
                absent = getattr(code, "compiled_code", {"run": text}).get("run") is None
                if isinstance(text, str) and text.strip() and "EMPTY_CODE_BLOCK" not in text and absent:
                    raise Unsupported(
                        f"{type(code).__name__.removesuffix('CodeObject')} could not compile '{code.name}' (its error "
                        "is printed above), and Brian2 would run on without it. Run on another target: "
                        "brian2.prefs.codegen.target = 'numpy', or set_device('cpp_standalone')."
                    )


def check_connections(synapses: Synapses, source: Any, target: Any) -> None:
    """Refuse a run of synapses that were not connected, and warn once if some connect a neuron with itself.

    Args:
        synapses: Synapses of a rule; they gain an object that checks.
        source: Presynaptic group.
        target: Postsynaptic group.
    """
    known, name = weakref.ref(synapses), str(synapses.name)  # a strong reference would be circular
    told = False

    def check() -> None:
        nonlocal told
        made: Any = known()
        if not made._connect_called:
            raise InvalidValue(
                f"the synapses '{name}' are not connected: call .connect(condition='i != j') after .synapses(...), "
                "before the run."
            )
        if told or whole_group(source) != whole_group(target):
            return
        try:
            pre, post = np.asarray(made.i) + numbers(source).start, np.asarray(made.j) + numbers(target).start
        except NotImplementedError:  # in a standalone program the synapses are not known yet
            return
        if own := int((pre == post).sum()):
            told = True
            get_logger(__name__).warn(
                f"{own} of the synapses '{name}' connect a neuron with itself, so that it inhibits itself; "
                "connect(condition='i != j') leaves them out.",
                "self_synapses",
            )

    synapses.contained_objects.append(  # before the pathways, which Brian2 checks for connections too
        AtRun(check, target.clock, f"{name}_connections", "before_start")
    )


def _within(made: BrianObject) -> list[BrianObject]:
    """List an object and all objects that it contains."""
    found = [made]
    for item in found:
        found.extend(item.contained_objects)
    return found


def point_to_user(made: BrianObject) -> None:
    """Let errors of a run name the line of the user's code that made an object and all objects that it contains.

    Brian2 names the last line outside its own package, which would be a line of this library; it has no public way to
    change that.
    """
    calls = [call for call in traceback.extract_stack() if _PACKAGES.isdisjoint(Path(call.filename).parents)]
    if not calls:
        return
    line = f"  File '{calls[-1].filename}', line {calls[-1].lineno}, in {calls[-1].name}\n    {calls[-1].line}"
    for item in _within(made):
        item._creation_stack = line
