"""Checkpoints of a long run: it continues where a killed session stopped, and ends with the same results bit by bit."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from neuro_decorr import checks
from neuro_decorr.errors import StateMismatch
from neuro_decorr.study import files
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.files import Damaged, Unwritable
from neuro_decorr.study.held import Held, put_back_random_states, random_states
from neuro_decorr.study.packing import Packed, unpack

FOLDER = "checkpoints"
EVERY = 60.0
"""Least time between two checkpoints (s)."""
_GENERATIONS = 2
_OWN = "."
"""Entries beside those of the run: identity of the checkpoint, step, global random states."""
_SHARE = 20
"""Checkpoints take at most one part in this many of the time of a run."""


@final
@dataclass(frozen=True)
class Place:
    """Place of the checkpoints of one run, and their identity.

    Attributes:
        directory: Directory of the study; where it does not exist, no checkpoint is written.
        condition: The run.
        made_from: Everything that results depend on beyond the condition; a checkpoint with another value is not used.
        tell: Receives one line for the user.
        every: Time between two checkpoints (s) where the run does not set it; 0 for one after every step.
    """

    directory: Path
    condition: Condition
    made_from: Mapping[str, Any]
    tell: Callable[[str], None]
    every: float = EVERY

    @property
    def identity(self) -> dict[str, Any]:
        """Identity of a checkpoint of this run, stored inside it."""
        return {"run": self.condition.key, **self.made_from}

    @property
    def folder(self) -> Path:
        """Folder with the checkpoints of the run."""
        return _folder(self.directory, self.condition)


@final
class Checkpoints:
    """Checkpoints of one loop of a run, made by `Recorder.checkpoints`.

    Args:
        held: Objects to keep, by name.
        place: Place of the checkpoints. None: no checkpoint is kept.
        number: Returns the number of a loop of the run, in the order in which they begin.
        every: Time between two checkpoints (s). None: the value of the place.

    Raises:
        InvalidValue: `every` is no finite number from 0 on.
    """

    def __init__(
        self, held: Mapping[str, Held], place: Place | None, number: Callable[[], int], every: float | None
    ) -> None:
        checks.refuse("checkpoints", None if every is None else checks.number("every", every, least=0))
        self._held, self._place, self._number = held, place, number
        self._every = every
        self._due = math.inf
        self._told = False

    def steps(self, total: int) -> Iterator[int]:
        """Count the steps of a loop, and keep checkpoints between them.

        The next step may depend on kept objects only: make the iterator over batches anew in every step, and set
        gradients to zero before adding to them.

        Args:
            total: Number of steps.

        Yields:
            The number of each step, from 0 on. After an interruption the kept objects are put back as the newest
            checkpoint has them, and the numbers continue from there.

        Raises:
            InvalidValue: `total` is no whole number; or a kept object holds something that cannot be stored, which the
                message names.
            StateMismatch: A checkpoint is whole and does not fit the kept objects.
        """
        checks.refuse("checkpoints.steps", checks.whole_number("total", total, least=0))
        place, number = self._place, str(self._number())
        first = 0 if place is None else self._put_back(place, place.folder / number)
        with _on_termination(place is not None) as terminated:
            for step in range(first, total):
                yield step
                if step == first:
                    # Packed at once, also without a study, so that an object that cannot be stored is refused now.
                    self._packed(step + 1)
                if place is not None and (terminated or time.monotonic() >= self._due):
                    self._write(place, place.folder / number, step + 1)
                if terminated:
                    return

    def _wait(self, place: Place, cost: float) -> None:
        every = place.every if self._every is None else self._every
        self._due = time.monotonic() + (max(every, (_SHARE - 1) * cost) if every > 0 else 0.0)

    def _packed(self, step: int) -> Packed:
        identity = None if self._place is None else self._place.identity
        states = {name: held.get() for name, held in self._held.items()}
        return Packed({_OWN: (identity, step, random_states()), **states})

    def _write(self, place: Place, folder: Path, step: int) -> None:
        began = time.monotonic()
        try:
            if not place.directory.is_dir():
                raise Unwritable(f"{place.directory} does not exist on this machine")
            text, tensors = self._packed(step).contents()
            # The text has the checksum of the tensors and comes last: a kill before it leaves no checkpoint.
            files.write(folder / f"{step}.safetensors", tensors)
            files.write(folder / f"{step}.json", text)
            _drop(folder, _steps_in(folder)[_GENERATIONS:])
        except Unwritable as error:
            if not self._told:
                place.tell(f"no checkpoint was written: {error}".rstrip("."))
            self._told = True
        self._wait(place, time.monotonic() - began)

    def _put_back(self, place: Place, folder: Path) -> int:
        """Put back the newest checkpoint that is whole. Returns the step to begin with."""
        self._wait(place, 0.0)
        refused = []
        for step in _steps_in(folder):
            try:
                states = _read(folder, step, place, {_OWN, *self._held})
                break
            except StateMismatch as error:
                refused.append(f"the one after step {step} ({error})")
                _drop(folder, [step])
        else:
            step, states = 0, None
        if refused:
            where = f"step {step}" if states else "the start"
            place.tell(f"unusable checkpoints: {'; '.join(refused)}; the run continues from {where}")
        if states is not None:
            self._give(states, folder)
        return step

    def _give(self, states: dict[str, Any], folder: Path) -> None:
        for name, held in self._held.items():
            try:
                held.set(states[name])
            except Exception as error:
                raise StateMismatch(
                    f"the checkpoint does not fit '{name}' ({error}); remove {folder} to begin this run again."
                ) from error
        put_back_random_states(states[_OWN][2])


def _read(folder: Path, step: int, place: Place, names: set[str]) -> dict[str, Any]:
    try:
        states = unpack(*(files.read(folder / f"{step}{ending}") for ending in (".json", ".safetensors")))
        identity, stored, _ = states[_OWN]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"unreadable ({error})") from error
    if identity != place.identity or stored != step or states.keys() != names:
        raise StateMismatch("of another run, or made from other data, code or versions")
    return states


def forget(directory: Path, condition: Condition) -> None:
    """Remove the checkpoints of a run that is stored.

    Args:
        directory: Directory of the study.
        condition: The run.
    """
    folder = _folder(directory, condition)
    shutil.rmtree(folder, ignore_errors=True)
    for above in (folder.parent, folder.parent.parent):
        with contextlib.suppress(OSError):  # the folder has checkpoints of other runs
            above.rmdir()


def sweep(directory: Path, stored: Iterable[Condition]) -> None:
    """Remove the checkpoints of runs that were stored just before a session was killed.

    Args:
        directory: Directory of the study.
        stored: Its stored runs.
    """
    if (directory / FOLDER).is_dir():
        for condition in stored:
            forget(directory, condition)


def _folder(directory: Path, condition: Condition) -> Path:
    return directory / FOLDER / condition.stage / condition.key


def _steps_in(folder: Path) -> list[int]:
    """Steps after which there are checkpoints, the newest first."""
    return sorted((int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()), reverse=True)


def _drop(folder: Path, steps: Iterable[int]) -> None:
    for step in steps:
        for ending in (".json", ".safetensors"):  # the text first: without it the tensors are no checkpoint
            with contextlib.suppress(OSError):
                (folder / f"{step}{ending}").unlink(missing_ok=True)


@contextlib.contextmanager
def _on_termination(wanted: bool) -> Iterator[list[int]]:
    """Make SIGTERM add an entry to a list, and end the process when the context is left."""
    told: list[int] = []
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
        if told:
            _terminate()


def _terminate() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
