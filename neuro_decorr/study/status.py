"""Status of a study, read from its files alone: nothing is written, locked or imported. The study may be running."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from neuro_decorr.study import checkpoints, declared, failures, files, provenance
from neuro_decorr.study.costs import Costs, Run
from neuro_decorr.study.declared import Declared
from neuro_decorr.study.holder import holder
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.options import whole
from neuro_decorr.study.remaining import LONG

State: TypeAlias = Literal[
    "not begun", "running", "perhaps running", "complete", "incomplete", "interrupted", "failed", "killed", "unknown"
]
_WORKERS = re.compile(r"(\d+) (?:process|worker)")


@final
@dataclass
class Stage:
    """One stage of a study.

    Attributes:
        number: Number of the stage, from 1; stages without runs do not count.
        names: Names of the stage in its runs.
        declared: Number of its runs; None where it is not on record.
        stored: Number of runs that are stored and whole.
        diverged: Number of stored runs that diverged.
        failed: Number of missing runs that failed when they were last tried.
        damaged: Number of missing runs whose file is damaged.
        checkpoints: Number of missing runs that have a checkpoint to continue from.
        wall_seconds: Wall time of all stored runs together (s).
    """

    number: int
    names: list[str]
    declared: int | None
    stored: int = 0
    diverged: int = 0
    failed: int = 0
    damaged: int = 0
    checkpoints: int = 0
    wall_seconds: float = 0.0

    @property
    def missing(self) -> int | None:
        """Number of runs that are not stored; None where the number of runs is not on record."""
        return None if self.declared is None else self.declared - self.stored


@final
@dataclass
class Status:
    """Status of a study.

    Attributes:
        directory: Its directory.
        protocol: Name of its protocol.
        question: Question of its protocol; empty where no session reached the first stage.
        seeds: Number of paired seeds.
        state: `running`, or the way in which its last session ended.
        holder: The process that works on it, or worked on it last.
        stages: The stages that were declared.
        undeclared: Number of stages that wait for the measurements of earlier ones.
        session: Record of the last session.
        again: The command that resumes the study; empty where no session reached the first stage.
        elapsed: Time of the last session so far (s); None where it is not on record.
        left: Estimated time of the missing runs with the workers of the last session (s); None without an estimate.
        notes: Damage and other remarks, one line each.
    """

    directory: str
    protocol: str
    question: str
    seeds: int
    state: State
    holder: str
    stages: list[Stage]
    undeclared: int
    session: dict[str, Any]
    again: str
    elapsed: float | None
    left: float | None
    notes: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """All attributes as values that JSON can hold."""
        stages = [{**asdict(stage), "missing": stage.missing} for stage in self.stages]
        return {**asdict(self), "stages": stages}

    @staticmethod
    def read(directory: Path) -> Status:
        """Read the status of a study. Cost: one small file per run is read, no row.

        Args:
            directory: Directory of a study; nothing in it is changed.

        Returns:
            Its status; the notes name damaged files.

        Raises:
            InvalidValue: The directory holds no study.
            StateMismatch: The file that says which study this is, is damaged.
        """
        identity = Identity.read(directory)
        notes: list[str] = []
        record, session = _declared(directory, notes), _session(directory, notes)
        times = _Times()
        stages = _stages(directory, identity.fingerprint, record, notes, times)
        found = holder(directory)
        state = _state(session, found.holds)
        undeclared = record.count - len(record.stages) if record is not None else 0
        return Status(
            directory=str(directory),
            protocol=identity.protocol,
            question=record.question if record is not None else "",
            seeds=identity.seeds,
            state=state,
            holder=found.text,
            stages=stages,
            undeclared=undeclared,
            session=session,
            again=whole(record.command, directory) if record is not None else "",
            elapsed=_elapsed(session, state),
            left=_left(stages, session, times),
            notes=notes,
        )


@final
class _Times:
    """Times of the stored runs, and the missing runs of every stage whose levels are on record."""

    def __init__(self) -> None:
        self.costs = Costs()
        self.missing: list[list[Run]] = []


def _declared(directory: Path, notes: list[str]) -> Declared | None:
    try:
        return declared.read(directory)
    except (files.Damaged, files.Unreadable) as error:
        notes.append(f"{declared.NAME} is {error}, so the missing runs are unknown; the next session writes it again")
        return None


def _session(directory: Path, notes: list[str]) -> dict[str, Any]:
    try:
        sessions = provenance.read(directory)
    except FileNotFoundError:
        return {}
    except files.Damaged as error:
        notes.append(f"{provenance.NAME} is {error}, so the last session is unknown")
        return {}
    kept = ("command", "started", "ended", "outcome", "runs_computed", "workers")
    return {name: sessions[-1].get(name) for name in kept} if sessions else {}


def _stages(directory: Path, fingerprint: str, record: Declared | None, notes: list[str], times: _Times) -> list[Stage]:
    runs = {folder.name: _names(folder, ".json") for folder in _folders(directory / "runs")}
    if record is None:
        return [
            _stage(directory, fingerprint, Stage(number, [name], None), {name: sorted(keys)}, {}, times)
            for number, (name, keys) in enumerate(sorted(runs.items()), start=1)
        ]
    known = {(name, key) for stage in record.stages for name, keys in stage.items() for key in keys}
    others = sum((name, key) not in known for name, keys in runs.items() for key in keys)
    if others:
        notes.append(f"no stage declares {failures.counted(others, 'stored run')} any more")
    factors = record.factors if len(record.factors) == len(record.stages) else ({},) * len(record.stages)
    return [
        _stage(directory, fingerprint, Stage(number, list(keys), sum(map(len, keys.values()))), keys, levels, times)
        for number, (keys, levels) in enumerate(zip(record.stages, factors, strict=True), start=1)
    ]


def _stage(
    directory: Path,
    fingerprint: str,
    stage: Stage,
    declared: Mapping[str, list[str]],
    factors: Mapping[str, Mapping[str, Any]],
    times: _Times,
) -> Stage:
    failed = _names(directory / failures.FOLDER, ".txt")
    missing = list[Run]()
    for name, keys in declared.items():
        begun = {
            folder.name for folder in _folders(directory / checkpoints.FOLDER / name) if any(folder.rglob("*.json"))
        }
        for key in keys:
            run = _run(directory / "runs" / name / f"{key}.json", fingerprint)
            if run:
                stage.stored += 1
                stage.diverged += bool(run["diverged"])
                stage.wall_seconds += run["wall_seconds"]
                times.costs.add(name, run["factors"], run["wall_seconds"])
                continue
            stage.damaged += run is not None
            stage.failed += key in failed
            stage.checkpoints += key in begun
            missing += [(name, factors[key])] if key in factors else []
    times.missing.append(missing)
    return stage


def _run(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """Content of the file of a run: None where it is absent, an empty dict where it is damaged."""
    try:
        found = files.unseal(files.read(path))
        frozenset(found["factors"].items())  # levels of another type belong to no run
        return found if found["study"] == fingerprint and math.isfinite(found["wall_seconds"]) else {}
    except FileNotFoundError:
        return None
    except (OSError, files.Damaged, KeyError, TypeError, AttributeError):
        return {}


def _state(session: Mapping[str, Any], holds: bool | None) -> State:
    if holds:
        return "running"
    outcome = session.get("outcome")
    if outcome in ("complete", "incomplete", "interrupted", "failed"):
        return outcome  # type: ignore[no-any-return]
    if not session:
        return "not begun"
    return "perhaps running" if holds is None else "killed"


def _elapsed(session: Mapping[str, Any], state: State) -> float | None:
    try:
        began = datetime.fromisoformat(session["started"])
        ended = (
            datetime.now(UTC) if state in ("running", "perhaps running") else datetime.fromisoformat(session["ended"])
        )
        return (ended - began).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def _left(stages: list[Stage], session: Mapping[str, Any], times: _Times) -> float | None:
    stored = sum(stage.stored for stage in stages)
    workers = _WORKERS.search(str(session.get("workers")))
    if not stored or workers is None:
        return None
    overall = sum(stage.wall_seconds for stage in stages) / stored
    if stored <= int(workers[1]) and overall < LONG:  # each may be the first of its process, which loads its modules
        return None
    total, longest = 0.0, 0.0
    for stage, missing in zip(stages, times.missing, strict=True):
        number = stage.missing or 0
        if len(missing) == number:
            expected = times.costs.expected(missing)
            if expected is None:
                return None
        else:  # a record of an earlier version
            expected = [stage.wall_seconds / stage.stored if stage.stored else overall] * number
        total += sum(expected)
        longest = max([longest, *expected])
    return max(total / int(workers[1]), longest)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _names(folder: Path, ending: str) -> set[str]:
    try:
        return {path.name.removesuffix(ending) for path in folder.iterdir() if path.name.endswith(ending)}
    except OSError:
        return set()
