"""What a run hands to the study: measurements, timings, weights, progress, divergence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, final

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study.conditions import RESERVED, Scalar, scalar

if TYPE_CHECKING:
    import numpy as np
    import torch

TIMINGS = "timings"
"""Kind of the rows that `Recorder.time` makes."""

_KIND = re.compile("(?!runs$|timings$)[a-z][a-z0-9_]*")
_INTERVAL = 0.2
"""Seconds between two progress messages of a run; a shorter run sends none."""


@final
class Recorder:
    """Collects what one run measures. It also stands alone: `run(configuration, condition, Recorder())`.

    Args:
        factors: Names of the condition's factors, which a row must not repeat.
        announce: Called with (done, total), at most five times a second.

    Attributes:
        rows: The measurements so far by their kind, one dict a row; timing rows are of the kind `timings`.
        tensors: The weights, or None.
        step: The step at which the run diverged, or None.
        reason: Why it diverged, or None while it has not.
        done: The last `done` of `progress`.
    """

    def __init__(self, factors: Collection[str] = (), announce: Callable[[float, float], None] | None = None) -> None:
        self.rows: dict[str, list[dict[str, Scalar]]] = {}
        self.tensors: dict[str, Any] | None = None
        self.step: int | None = None
        self.reason: str | None = None
        self.done: float = 0
        self._taken = frozenset(factors) | frozenset(RESERVED)
        self._announce = announce
        self._next = time.monotonic() + _INTERVAL

    def row(self, kind: str, **values: object) -> None:
        """Record one measurement: quantities that the same seed gives again.

        Args:
            kind: Which table the row belongs to, such as `curves`: rows of one kind have the same columns.
            **values: One scalar a column; a column that a row lacks is empty in the table.

        Raises:
            InvalidValue: A value is no scalar, a name is a factor's or reserved, or the kind cannot name a file.
        """
        if not _KIND.fullmatch(kind):
            raise InvalidValue(
                f"kind is {kind!r}; it names a file: lower-case letters, digits and '_', but not 'runs' or 'timings'."
            )
        self._append(kind, values)

    def time(self, **values: object) -> None:
        """Record one timing row: quantities that no second run gives again (wall and CPU seconds).

        Args:
            **values: As in `row`.

        Raises:
            InvalidValue: As in `row`.
        """
        self._append(TIMINGS, values)

    def weights(self, tensors: Mapping[str, torch.Tensor] | Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Keep weights with the run, stored without pickle (safetensors). A second call replaces the first.

        Args:
            tensors: Tensors by name, such as a `state_dict`; or arrays of NumPy by name.
        """
        self.tensors = dict(tensors)

    def progress(self, done: float, total: float) -> None:
        """Tell how far the run is. Costs well under a microsecond between two messages.

        Args:
            done: Steps done; it becomes the step of a divergence that a library function raises.
            total: Steps in all.
        """
        self.done = done
        if self._announce is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + _INTERVAL
            self._announce(done, total)

    def diverged(self, step: int, reason: str) -> None:
        """Mark the run as diverged: a result, kept with its rows. The function then returns. The first call counts.

        Args:
            step: The step at which it was noticed.
            reason: What was noticed, such as `loss is nan` or `rank of layer 1 collapsed to 1.2`.
        """
        if self.reason is None:
            self.step, self.reason = int(step), str(reason)

    def _append(self, kind: str, values: Mapping[str, object]) -> None:
        clashes = self._taken.intersection(values)
        if clashes:
            raise InvalidValue(
                f"a row names {', '.join(sorted(clashes))}, which the condition names already; choose other names."
            )
        self.rows.setdefault(kind, []).append({name: scalar(name, value) for name, value in values.items()})
