"""Recorder of a run: measurements, timings, weights, progress, divergence, checkpoints."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, final

from neuro_decorr.errors import InvalidValue, shown
from neuro_decorr.study.checkpoints import Checkpoints, Place
from neuro_decorr.study.conditions import RESERVED, Scalar, scalar
from neuro_decorr.study.held import Held
from neuro_decorr.study.rows import Block, grouped

if TYPE_CHECKING:
    import numpy as np
    import torch

TIMINGS = "timings"
"""Kind of the rows that `Recorder.time` records."""

_KIND = re.compile("(?!runs$|costs$|timings$)[a-z][a-z0-9_]*")
_INTERVAL = 0.2
"""Time between two progress messages of a run (s); a shorter run sends none."""


@final
class Recorder:
    """Collects the measurements of one run. It works without a study too: `run(configuration, condition, Recorder())`.

    Args:
        factors: Names of the condition's factors, which a row must not repeat.
        announce: Function that is called with (done, total), at most five times a second.
        place: Place of the checkpoints. None: no checkpoints.

    Attributes:
        rows: Measurements so far by their kind, one dict per row; timing rows have the kind `timings`.
        tensors: Weights, or None.
        step: Step at which the run diverged, or None.
        reason: Reason of the divergence; None while the run has not diverged.
        done: The last `done` of `progress`.
    """

    def __init__(
        self,
        factors: Collection[str] = (),
        announce: Callable[[float, float], None] | None = None,
        place: Place | None = None,
    ) -> None:
        self.rows: dict[str, list[dict[str, Scalar]]] = {}
        self.tensors: dict[str, Any] | None = None
        self.step: int | None = None
        self.reason: str | None = None
        self.done: float = 0
        self._taken = frozenset(factors) | frozenset(RESERVED)
        self._announce = announce
        self._next = time.monotonic() + _INTERVAL
        self._place = place
        self._loops = 0
        self._began = _clocks()

    def row(self, kind: str, **values: object) -> None:
        """Record one row of measurements: quantities that the same seed reproduces.

        Args:
            kind: Table of the row, such as `curves`; rows of one kind have the same columns.
            **values: One scalar per column; a column that a row lacks is empty in the table.

        Raises:
            InvalidValue: A value is no scalar; a name is that of a factor, or reserved; or the kind cannot name a file.
        """
        if not _KIND.fullmatch(kind):
            raise InvalidValue(
                f"kind is {kind!r}; it names a file: lower-case letters, digits and '_', but not 'runs', 'costs' or "
                "'timings'."
            )
        self._append(kind, values)

    def time(self, **values: object) -> None:
        """Record one row of timings: quantities that a second run does not reproduce (wall and CPU seconds).

        Args:
            **values: As in `row`.

        Raises:
            InvalidValue: As in `row`.
        """
        self._append(TIMINGS, values)

    def weights(self, tensors: Mapping[str, torch.Tensor] | Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Store a copy of weights with the run, without pickle (safetensors). A second call replaces them.

        Args:
            tensors: Tensors by name, such as a `state_dict`; or arrays of NumPy by name.
        """
        # Copies, since the weights of a network keep changing.
        self.tensors = {
            name: value.detach().clone() if hasattr(value, "detach") else value.copy()
            for name, value in tensors.items()
        }

    def progress(self, done: float, total: float) -> None:
        """Report the progress of the run. Cost: well under a microsecond between two messages.

        Args:
            done: Steps done; a divergence that a library function raises gets this number as its step.
            total: Steps in total.

        Raises:
            InvalidValue: `done` or `total` is no finite number.
        """
        try:
            step, steps = float(done), float(total)
        except (TypeError, ValueError, OverflowError):
            step = steps = nan
        if not isfinite(step + steps):
            raise InvalidValue(f"progress({shown(done)}, {shown(total)}): done and total must be finite numbers.")
        self.done = step
        if self._announce is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + _INTERVAL
            self._announce(step, steps)

    def checkpoints(self, *, every: float | None = None, **changing: object) -> Checkpoints:
        """Make a loop of the run continue where a killed session stopped, with the same results to the last bit.

            checkpoints = recorder.checkpoints(model=model, optimiser=optimiser, generator=generator)
            for epoch in checkpoints.steps(configuration.epochs):
                ...

        Pass everything that changes in the loop and that a later step depends on. The rows so far, the weights, the
        clocks and the global random states of Python, NumPy and torch (CPU and CUDA) are always kept. Put your own
        numbers, such as the best accuracy so far, into a dict: `best={"accuracy": 0.0}`. Gradients and iterators are
        not kept: begin the pass over the batches within the step.

        Two checkpoints of each loop are kept in `DIR/checkpoints/` until the run is stored. A checkpoint that is
        damaged, or made from other data, code or versions, is not used, and a message says so. A run outside a study
        has no checkpoints. On SIGTERM the run ends its step and writes a checkpoint first.

        Cost: for a moment three copies of the kept state in memory, and the time to write it, at most once a minute and
        at most a twentieth of the time of the run.

        Args:
            every: Least time between two checkpoints (s). None: 60 s; 0: after every step. No result depends on it.
            **changing: Objects with `state_dict` and `load_state_dict` (models, optimisers, plasticities, credit
                assignments, schedulers), generators of torch and NumPy, dicts, None, tuples and lists of these;
                functions that refer to no variables of an enclosing function, and `functools.partial` of these.

        Returns:
            The checkpoints of the loop.

        Raises:
            InvalidValue: An object is of another kind; or `every` is no finite number from 0 on.
        """
        held = {"the recorder": Held("the recorder", self)}
        held.update({name: Held(name, thing) for name, thing in changing.items()})
        return Checkpoints(held, self._place, self._next_loop, every)

    def _next_loop(self) -> int:
        self._loops += 1
        return self._loops

    def state_dict(self) -> dict[str, Any]:
        """Return everything recorded so far, for a checkpoint."""
        blocks = {kind: Block.of(grouped(rows)) for kind, rows in self.rows.items()}
        return {
            # As columns, since a checkpoint packs a few long lists faster than many short ones.
            "rows": {kind: (block.layouts, block.cells) for kind, block in blocks.items()},
            "tensors": self.tensors,
            "divergence": (self.step, self.reason),
            "done": self.done,
            "loops": self._loops,
            "elapsed": self.elapsed(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back the result of `state_dict`."""
        self.rows = {kind: Block(layouts, cells).rows() for kind, (layouts, cells) in state["rows"].items()}
        self.tensors, self.done, self._loops = state["tensors"], state["done"], state["loops"]
        self.step, self.reason = state["divergence"]
        wall, cpu = _clocks()
        self._began = wall - state["elapsed"][0], cpu - state["elapsed"][1]

    def elapsed(self) -> tuple[float, float]:
        """Return wall time and CPU time of the run and its programs (s), with the time before an interruption."""
        wall, cpu = _clocks()
        return wall - self._began[0], cpu - self._began[1]

    def diverged(self, step: int, reason: str) -> None:
        """Mark the run as diverged. Divergence is a result, stored with the rows; `run` should return after this call.

        Only the first call counts.

        Args:
            step: Step at which the divergence was noticed.
            reason: Sign of the divergence, such as `loss is nan` or `rank of layer 1 collapsed to 1.2`.
        """
        if self.reason is None:
            self.step, self.reason = int(step), str(reason)

    def _append(self, kind: str, values: Mapping[str, object]) -> None:
        clashes = self._taken.intersection(values)
        if clashes:
            raise InvalidValue(
                f"a row has the columns {', '.join(sorted(clashes))}, which the condition has too; choose other names."
            )
        self.rows.setdefault(kind, []).append({name: scalar(name, value) for name, value in values.items()})


def _clocks() -> tuple[float, float]:
    """Wall clock, and processor time with that of programs that the run has started and waited for (s)."""
    children = os.times()
    return time.perf_counter(), time.process_time() + children.children_user + children.children_system
