"""Running a study: stage after stage, only what is missing, then its tables and its report."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, final

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import discovery, files
from neuro_decorr.study.conditions import Condition, seeds
from neuro_decorr.study.configuration import Configuration
from neuro_decorr.study.files import Damaged
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.lock import Lock
from neuro_decorr.study.pool import Pool
from neuro_decorr.study.progress import View
from neuro_decorr.study.protocol import Protocol
from neuro_decorr.study.provenance import Provenance
from neuro_decorr.study.store import Store, StoredRun
from neuro_decorr.study.tables import Tables, tabulate, write_tables
from neuro_decorr.study.worker import Setup

_SHOWN = 5
"""How many failures are told one by one; the others are counted."""


@final
@dataclass
class Outcome:
    """What became of a study.

    Attributes:
        runs: The stored runs, stage after stage.
        computed: How many of them were computed now.
        failures: Runs that ended with an error, in words.
    """

    runs: list[StoredRun] = field(default_factory=list)
    computed: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def tables(self) -> Tables:
        """What was measured, by kind of row."""
        return tabulate(self.runs)


def execute(
    protocol: Protocol,
    configuration: Configuration,
    directory: Path,
    *,
    root: Path,
    count: int | None = None,
    workers: int = 1,
    command: Sequence[str] = (),
    view: View | None = None,
) -> Outcome:
    """Run what is missing of a study, then write its tables and its report.

    The results do not depend on the number of workers: each has one thread, and each run its own seed.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        directory: Where the study is or will be stored.
        root: The study directory, which has `protocols/`.
        count: How many paired seeds; the protocol's number when None.
        workers: How many processes.
        command: The command line, for the record.
        view: Where progress is shown.

    Returns:
        What became of it. With failures, later stages were not begun and tables were not written.

    Raises:
        InvalidValue: The directory cannot be used, or a stage declares conditions twice.
        StateMismatch: The directory holds another study, or another process works on it.
        Unwritable: The directory cannot be written.
    """
    chosen = seeds(protocol.seeds if count is None else count)
    identity = Identity(protocol.name, configuration.model_dump(mode="json"), len(chosen))
    identity.check(directory)
    outcome, ending = Outcome(), "failed"
    with Lock(directory):
        identity.check(directory)
        identity.write(directory)
        files.sweep(directory)
        store = Store(directory, identity.fingerprint)
        provenance = Provenance(directory, discovery.location(root, protocol.name), command, chosen, workers)
        setup = Setup(root, protocol.name, configuration.model_dump(mode="json"), directory, identity.fingerprint)
        try:
            with Pool(workers, setup) as pool, view or View() as shown:
                for warning in provenance.warnings:
                    shown.line(f"note: {warning}.")
                for number in range(len(protocol.stages)):
                    _stage(number, protocol, configuration, chosen, outcome, store, pool, shown)
                    if outcome.failures:
                        return outcome
            write_report(protocol, configuration, directory, outcome)
            ending = "complete"
        except KeyboardInterrupt:
            ending = "interrupted"
            raise
        finally:
            files.sweep(directory)
            provenance.end(ending, outcome.computed)
    return outcome


def collect(protocol: Protocol, configuration: Configuration, directory: Path, count: int) -> Outcome:
    """The stored runs of a complete study.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        directory: Directory of the study.
        count: How many paired seeds it has.

    Returns:
        Its runs.

    Raises:
        InvalidValue: A run is missing or damaged.
    """
    chosen = seeds(count)
    store = Store(directory, Identity(protocol.name, configuration.model_dump(mode="json"), count).fingerprint)
    outcome = Outcome()
    for number in range(len(protocol.stages)):
        conditions = _conditions(number, protocol, configuration, chosen, outcome)
        found, damages = _stored(conditions, store)
        if len(found) < len(conditions):
            why = f" ({damages[0]})" if damages else ""
            raise InvalidValue(
                f"{directory}: {len(conditions) - len(found)} of {len(conditions)} runs of stage {number + 1} are "
                f"missing{why}; first complete it: neuro-decorr run {protocol.name} --out {directory} ..."
            )
        outcome.runs.extend(found.values())
    return outcome


def write_report(
    protocol: Protocol, configuration: Configuration, directory: Path, outcome: Outcome, *, csv: bool = False
) -> None:
    """Write the tables of a complete study and let its protocol write its own; keep what the protocol prints.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        directory: Directory of the study.
        outcome: Its runs.
        csv: Write the tables by kind as CSV too.
    """
    found = outcome.tables
    write_tables(found, directory, protocol.name, protocol.question, csv=csv)
    heard = io.StringIO()
    with contextlib.redirect_stdout(_Tee(sys.stdout, heard)):
        protocol.report(configuration, found, directory)
    files.write(directory / "finding.txt", heard.getvalue())


def _stage(
    number: int,
    protocol: Protocol,
    configuration: Configuration,
    chosen: list[int],
    outcome: Outcome,
    store: Store,
    pool: Pool,
    shown: View,
) -> None:
    began = time.monotonic()
    conditions = _conditions(number, protocol, configuration, chosen, outcome)
    found, damages = _stored(conditions, store)
    for damage in damages:
        shown.line(f"{damage}: computing this run again.")
    names = ", ".join(dict.fromkeys(condition.stage for condition in conditions)) or "nothing to run"
    shown.stage(f"stage {number + 1} of {len(protocol.stages)} ({names})", len(conditions), len(found))
    missing = [condition for condition in conditions if condition not in found]
    before = len(outcome.failures)
    for event in pool.run(missing):
        message = event.message
        if message.kind == "progress":
            shown.inside(event.slot, event.condition.label, message.done, message.total)
        elif event.retried:
            shown.line(f"{event.condition.label}: {message.text}; trying this run once more.")
        elif message.kind == "failed":
            outcome.failures.append(f"{event.condition.label}: {message.text}")
            if len(outcome.failures) <= _SHOWN:
                shown.line(f"failed: {outcome.failures[-1]}{_keep(store.directory, event.condition, message.detail)}")
            shown.advance(event.slot)
        else:
            outcome.computed += 1
            shown.advance(event.slot)
    # The new runs are read back like the old ones, so that a study gives the same tables in one go or in several.
    runs = {**found, **_stored(missing, store)[0]}
    failures = len(outcome.failures) - before
    if len(runs) + failures < len(conditions):
        raise InvalidValue(f"{store.directory}: runs that were just stored cannot be read again; check the disk.")
    outcome.runs.extend(runs[condition] for condition in conditions if condition in runs)
    counts = {"stored before": len(found), "diverged": sum(run.diverged for run in runs.values()), "failed": failures}
    told = "".join(f", {number} {what}" for what, number in counts.items() if number)
    shown.summary(f"{len(conditions)} runs{told}, {time.monotonic() - began:.1f} s")


def _conditions(
    number: int, protocol: Protocol, configuration: Configuration, chosen: list[int], outcome: Outcome
) -> list[Condition]:
    conditions = list(protocol.stages[number](configuration, list(chosen), outcome.tables))
    known = {run.condition for run in outcome.runs}
    for condition in conditions:
        if condition in known:
            raise InvalidValue(
                f"protocol '{protocol.name}' declares the run '{condition.label}' twice; a factor is missing that "
                "tells the two apart."
            )
        known.add(condition)
    return conditions


def _stored(conditions: list[Condition], store: Store) -> tuple[dict[Condition, StoredRun], list[str]]:
    found: dict[Condition, StoredRun] = {}
    damages: list[str] = []
    for condition in conditions:
        try:
            run = store.load(condition)
        except Damaged as error:
            damages.append(str(error))
        else:
            if run is not None:
                found[condition] = run
    return found, damages


def _keep(directory: Path, condition: Condition, detail: str) -> str:
    if not detail:
        return ""
    path = directory / "failures" / f"{condition.key}.txt"
    files.write(path, f"{condition!r}\n\n{detail}")
    return f" (traceback in {path})"


@final
class _Tee(io.TextIOBase):
    """Writes to two streams."""

    def __init__(self, first: TextIO, second: TextIO) -> None:
        self._streams = (first, second)

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()
