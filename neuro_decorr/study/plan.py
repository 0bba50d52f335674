"""Plan of a study: the runs that it would compute, and their time. Nothing is computed, locked or written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, final

from neuro_decorr.errors import InvalidValue, NeuroDecorrError
from neuro_decorr.study import changes, files
from neuro_decorr.study.conditions import Condition, seeds
from neuro_decorr.study.configuration import Configuration
from neuro_decorr.study.failures import counted
from neuro_decorr.study.identity import NAME, Identity
from neuro_decorr.study.origin import Origin, key
from neuro_decorr.study.outcome import NOTHING, Outcome, declare, numbers
from neuro_decorr.study.protocol import Protocol
from neuro_decorr.study.provenance import Provenance
from neuro_decorr.study.selection import at_most as at_most_runs
from neuro_decorr.study.sharding import Shard
from neuro_decorr.study.store import Store, StoredRun

_START = 15.0
"""Time added for the start of the processes and for the report where no session has measured it (s)."""
_LONGEST_START = 60.0
"""Longest time that counts as start and report (s); more has another cause, such as waiting for the last run."""
_LOOKED_AT = 100
"""Number of runs of another study whose times are read."""


@final
@dataclass(frozen=True)
class PlannedStage:
    """Plan of one stage.

    Attributes:
        number: Number of the stage, from 1; stages without runs do not count.
        conditions: All its runs; None where they depend on runs of an earlier stage that are not stored.
        at_most: Largest number of its runs, where `conditions` is None and the number is known.
        stored: Runs that are stored and stay stored.
        damaged: Number of the other runs whose file is damaged.
        others: Number of the stored runs that were made from other data, code or versions.
        seconds: Mean time of one of its runs (s), from stored runs; None where no run was timed.
    """

    number: int
    conditions: list[Condition] | None
    at_most: int | None
    stored: frozenset[Condition]
    damaged: int
    others: int
    seconds: float | None

    @property
    def missing(self) -> list[Condition]:
        """Runs that would be computed."""
        return [condition for condition in self.conditions or () if condition not in self.stored]


@final
@dataclass(frozen=True)
class Plan:
    """Plan of a study.

    Attributes:
        stages: The stages, in order; of a share only those that it would compute.
        accepted: Treatment of stored runs that were made from other data, code or versions, in words.
        timed_by: Source of the times, in words; empty where there are no times.
        start: Time for the start of the processes and for the report (s), with any number of workers.
    """

    stages: list[PlannedStage]
    accepted: list[str]
    timed_by: str
    start: float

    def lasts(self, workers: int | None) -> float | None:
        """Estimate the time of a session that computes all missing runs.

        Args:
            workers: Number of runs computed at a time. None: unknown, and the time with one is returned.

        Returns:
            The time (s); None where no run of a stage was timed.
        """
        seconds = self.seconds
        return None if seconds is None else seconds / (workers or 1) + (self.start if seconds else 0.0)

    @property
    def seconds(self) -> float | None:
        """Time of all missing runs, one after the other (s); None where no run of a stage was timed."""
        parts = [(len(stage.missing), stage.seconds) for stage in self.stages if stage.missing]
        if any(seconds is None for _, seconds in parts):
            return None
        return sum(number * seconds for number, seconds in parts if seconds is not None)


def plan(
    protocol: Protocol,
    configuration: Configuration,
    directory: Path,
    *,
    root: Path,
    count: int,
    shard: Shard | None = None,
    accept: changes.Accept | None = None,
) -> Plan:
    """Plan the runs that `execute` would compute with the same arguments.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        directory: Directory where the study is or would be stored.
        root: The study directory, which has `protocols/`.
        count: Number of paired seeds.
        shard: Share that would be computed. None: the whole study.
        accept: Treatment of stored runs that were made from other data, code or versions. None: they are refused.

    Returns:
        The plan. Cost: the small file of every stored run is read, no row.

    Raises:
        NeuroDecorrError: `execute` would raise the same error, in the same words.
    """
    chosen = seeds(count)
    identity = Identity(protocol.name, configuration.model_dump(mode="json"), count)
    identity.check(directory)
    origin = Origin.of(root, protocol.name, configuration)
    store = Store(directory, identity.fingerprint, origin.brief)
    known = store.survey()
    accepted = changes.settle(known, origin, directory, Provenance(directory).sessions, accept)
    if accepted and accepted["choice"] == "recompute":
        known = {condition: run for condition, run in known.items() if key(run.origin) not in accepted["origins"]}
    own = key(origin.brief)
    clock = _Clock(known, directory, root, protocol.name)
    outcome, stages = Outcome(), list[PlannedStage]()
    certain = True
    numbered = numbers(protocol, configuration, chosen)
    for number in range(len(protocol.stages)):
        if certain:
            conditions = declare(number, protocol, configuration, chosen, outcome)
        else:
            conditions = _untold(protocol.stages[number], configuration, chosen)
        if number and numbered[number] == numbered[number - 1]:
            continue
        at_most = None if conditions is not None else at_most_runs(protocol.stages[number], configuration, chosen)
        found = [known[condition] for condition in conditions or () if condition in known]
        missing = [condition for condition in conditions or () if condition not in known]
        damaged = sum(store.path(condition).exists() for condition in missing) if not accepted else 0
        if shard is not None:
            share = set(shard.share(conditions or []))
            conditions = [condition for condition in conditions or () if condition in share or condition in known]
        stored = frozenset(run.condition for run in found)
        others = sum(key(run.origin) != own for run in found)
        names = {condition.stage for condition in conditions or ()}
        stages.append(
            PlannedStage(numbered[number], conditions, at_most, stored, damaged, others, clock.seconds(names))
        )
        outcome.runs.extend(found)
        certain = certain and conditions is not None and not missing
        if shard is not None and not certain:
            break
    if not any(stage.conditions is None or stage.conditions for stage in stages):
        raise InvalidValue(NOTHING)
    return Plan(stages, changes.told(accepted), clock.told, clock.start)


@final
class _Clock:
    """Times of the stored runs of this study or, where it has none, of other studies of its protocol beside it."""

    def __init__(self, known: Mapping[Condition, StoredRun], directory: Path, root: Path, protocol: str) -> None:
        times = {(condition.stage, run.wall_seconds) for condition, run in known.items()}
        self.told = f"estimated from {counted(len(known), 'stored run')}" if known else ""
        timed = directory
        if not times:
            for other in _others(directory, root, protocol):
                times = set(_times(other))
                if times:
                    self.told = f"estimated from runs of {other}, which may have another configuration"
                    timed = other
                    break
        self._times = times
        measured = _start(timed, sum(seconds for _, seconds in times) / len(times)) if times else None
        self.start = _START if measured is None else measured
        if self.told:
            how = "an assumption" if measured is None else "as in the last session"
            self.told += f"; {self.start:.0f} s of it are for start and report ({how})"

    def seconds(self, names: set[str]) -> float | None:
        """Mean time of a run of these stages (s); of all stages where these have no stored run."""
        own = [seconds for stage, seconds in self._times if stage in names] or [seconds for _, seconds in self._times]
        return sum(own) / len(own) if own else None


def _others(directory: Path, root: Path, protocol: str) -> Iterator[Path]:
    folders = dict.fromkeys((directory.absolute().parent, root / "results"))
    for path in (path for folder in folders for path in sorted(folder.glob(f"*/{NAME}"))):
        try:
            if Identity.read(path.parent).protocol == protocol and path.parent != directory.absolute():
                yield path.parent
        except NeuroDecorrError:
            continue


def _start(directory: Path, mean: float) -> float | None:
    """Time that the last complete session spent outside its runs (s), of which one takes `mean`; None if unknown."""
    for session in reversed(Provenance(directory).sessions):
        try:
            found = re.fullmatch(r"(\d+) process(es)?", session["workers"])
            began, ended = (datetime.fromisoformat(session[name]) for name in ("started", "ended"))
            runs, complete = int(session["runs_computed"]), session["outcome"] == "complete"
        except (KeyError, TypeError, ValueError):
            continue
        if found is not None and complete and runs:
            rest = (ended - began).total_seconds() - mean * runs / min(int(found[1]), runs)
            return min(max(rest, 0.0), _LONGEST_START)
    return None


def _times(directory: Path) -> Iterator[tuple[str, float]]:
    for path in itertools.islice((directory / "runs").glob("*/*.json"), _LOOKED_AT):
        try:
            yield path.parent.name, float(files.unseal(files.read(path))["wall_seconds"])
        except (OSError, files.Damaged, KeyError, TypeError, ValueError):
            continue


@final
class _Asked(BaseException):
    """A stage asked for the measurements of an earlier stage; no stage catches this."""


@final
class _Untold:
    """Tables that are not known yet; every access to them raises."""

    def _asked(self, *_: Any) -> NoReturn:
        raise _Asked

    __getattr__ = __getitem__ = __contains__ = __iter__ = __len__ = __bool__ = __eq__ = _asked
    __hash__ = None  # type: ignore[assignment]


def _untold(stage: Callable[..., Any], configuration: Configuration, seeds: list[int]) -> list[Condition] | None:
    """Runs of a stage if it needs no table; None otherwise."""
    try:
        return list(stage(configuration, list(seeds), _Untold()))
    except (_Asked, Exception):
        return None
