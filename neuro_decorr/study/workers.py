"""Interface to the workers of a study: processes on this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeAlias, final

from neuro_decorr.study import duration
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.worker import Message, Setup

ATTEMPTS = 2
"""Number of times a run is tried whose worker dies."""
SILENCE = 600.0
"""Time after which a silent run is reported, where there is no time limit (s)."""


@final
@dataclass(frozen=True)
class Event:
    """Event of a run: a message of its worker, or a message about its worker.

    Attributes:
        condition: The run.
        slot: Number of the worker, from 0.
        message: The message. Its kind is `failed` when the worker was killed for the last time, or the run took too
            long; `silent` when the run has sent nothing for a long time.
        retried: True if the worker was killed and the run will be tried again.
    """

    condition: Condition
    slot: int
    message: Message
    retried: bool = False


class Workers(Protocol):
    """Workers that run conditions. It is a context manager: when it is left, no worker computes any more.

    `Setup.timeout` is the longest time of a run; a run that takes longer is ended and counts as failed.
    """

    @property
    def description(self) -> str:
        """Description for the record, such as `4 processes`."""
        ...

    @property
    def size(self) -> int:
        """Number of runs computed at a time, as far as it is known now; at least 1."""
        ...

    def run(self, conditions: Iterable[Condition]) -> Iterator[Event]:
        """Run conditions, each stored when it ends.

        Args:
            conditions: The runs; started in this order.

        Yields:
            Progress, and one end of every run: `finished`, or `failed` and not `retried`. The caller may stop early.

        Raises:
            InvalidValue: A worker cannot start, or cannot write.
            StateMismatch: A worker has loaded other code or versions than this process, or the data changed.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def ended(code: int | None) -> str:
    """Describe the end of a process in words.

    Args:
        code: Its exit code; a negative code is the signal that ended it.
    """
    return f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"


def silent(length: float) -> Message:
    """Make the message about a run that has sent nothing for a long time, where there is no time limit.

    Args:
        length: Time without a message (s).
    """
    return Message("silent", f"no progress reported for {duration.told(length)}; --timeout TIME ends such runs")


def too_long(timeout: float, progress: Message | None, stack: str) -> Message:
    """Make the message about a run that exceeded its time limit.

    Args:
        timeout: The time limit (s).
        progress: The last progress that the run reported, if any.
        stack: Place of the run just before its end; empty where it is unknown.
    """
    text = f"it took longer than {duration.told(timeout)} (--timeout), so it was ended"
    if progress is not None:
        # After a colon: runs that were ended at the limit failed in the same way, whatever their progress.
        text += f": at least {progress.done:g} of {progress.total:g} steps were done"
    detail = f"Place of the run just before its end, the innermost call last:\n{stack}\n" if stack else ""
    return Message("failed", text, detail)


Factory: TypeAlias = Callable[[Setup], Workers]
"""Function that makes the workers of a study from their setup."""
