"""Execution of a study: the missing runs, stage after stage, then the tables and the report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import final

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import changes, checkpoints, code, duration, failures, files, options
from neuro_decorr.study.conditions import Condition, seeds
from neuro_decorr.study.configuration import Configuration
from neuro_decorr.study.costs import Costs
from neuro_decorr.study.declared import Declared
from neuro_decorr.study.files import Unwritable
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.lock import Lock
from neuro_decorr.study.origin import Origin
from neuro_decorr.study.outcome import NOTHING, Outcome, declare, numbers, stored
from neuro_decorr.study.pool import Pool
from neuro_decorr.study.probes import Probes
from neuro_decorr.study.progress import View
from neuro_decorr.study.protocol import Protocol
from neuro_decorr.study.provenance import Provenance
from neuro_decorr.study.reporting import write_report
from neuro_decorr.study.selection import check_score
from neuro_decorr.study.sharding import Shard
from neuro_decorr.study.store import Store, StoredRun
from neuro_decorr.study.tensorboard import TensorBoard
from neuro_decorr.study.worker import Setup
from neuro_decorr.study.workers import Factory, Workers

_SHOWN = 5
"""Number of failures with different messages that are printed as they happen; the others are counted."""


def execute(
    protocol: Protocol,
    configuration: Configuration,
    directory: Path,
    *,
    root: Path,
    count: int | None = None,
    workers: int | Factory = 1,
    timeout: float | None = None,
    shard: Shard | None = None,
    command: Sequence[str] = (),
    again: Sequence[str] = (),
    accept: changes.Accept | None = None,
    log: TensorBoard | None = None,
    view: View | None = None,
) -> Outcome:
    """Compute the missing runs of a study, then write its tables and its report from the stored runs.

    The results do not depend on the number of workers: each worker has one thread, and each run its own seed.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        directory: Directory where the study is or will be stored.
        root: The study directory, which has `protocols/`.
        count: Number of paired seeds. None: the number of the protocol.
        workers: Number of processes on this machine, or a function that makes other workers, such as a cluster's.
        timeout: Longest time of one run (s); a run that takes longer is ended and counts as failed. None: no limit.
        shard: Share of the first incomplete stage to compute; no report is written. None: the whole study.
        command: The command line, for the record.
        again: Words of the command that resumes the study, for `status`; empty: made from the configuration.
        accept: Treatment of stored runs that were made from other data, code or versions. None: such runs are refused.
        log: Receives every stored run. None: no log.
        view: Shows the progress. None: a new view on stderr.

    Returns:
        The outcome. A failed run costs its own rows and the stages that cannot be declared without it. Where the first
        runs of every arm fail alike, the others are not tried.

    Raises:
        InvalidValue: The directory cannot be used, a stage declares a run twice, or there is nothing to run.
        StateMismatch: The directory holds another study; another process works on it; or its runs were made from other
            data, code or versions and `accept` is None.
        Unwritable: The directory cannot be written.
    """
    chosen = seeds(protocol.seeds if count is None else count)
    identity = Identity(protocol.name, configuration.model_dump(mode="json"), len(chosen))
    identity.check(directory)
    origin = Origin.of(root, protocol.name, configuration)
    outcome, ending = Outcome(), "failed"
    if not any(declare(number, protocol, configuration, chosen, outcome) for number in range(len(protocol.stages))):
        raise InvalidValue(NOTHING)
    with Lock(directory):
        identity.check(directory)
        provenance = Provenance(directory)
        store = Store(directory, identity.fingerprint, origin.brief)
        known = store.survey()
        accepted = changes.settle(known, origin, directory, provenance.sessions, accept)
        identity.write(directory)
        files.sweep(directory)
        store.sweep(known)
        checkpoints.sweep(directory, known)
        origin.write(directory)
        code.keep(origin.protocol, root, directory)
        # Absolute paths: a run may change the current directory, and its results must not go there.
        setup = Setup(
            root.absolute(),
            protocol.name,
            dict(identity.configuration),
            directory.absolute(),
            identity.fingerprint,
            origin,
            list(sys.path),
            timeout,
        )
        pool: Workers = Pool(workers, setup) if isinstance(workers, int) else workers(setup)
        provenance.begin(command, chosen, pool.description, origin.brief, root, accepted)
        try:
            if accepted:
                known = changes.set_aside(known, accepted, store)
            with pool, view or View() as shown:
                for warning in [*provenance.warnings, *changes.told(accepted)]:
                    shown.line(f"note: {warning}.")
                words = tuple(again or options.command(protocol, configuration, len(chosen)))
                session = _Session(
                    protocol, configuration, chosen, outcome, store, pool, shown, known, provenance, shard, log, words
                )
                for number in range(len(protocol.stages)):
                    if not session.stage(number):
                        break
            if not outcome.runs and outcome.incomplete is None:
                raise InvalidValue(NOTHING)
            if shard is None:
                write_report(protocol, configuration, directory, outcome)
            ending = "complete" if outcome.incomplete is None else "incomplete"
        except KeyboardInterrupt:
            ending = "interrupted"
            raise
        finally:
            files.sweep(directory)
            provenance.end(ending, outcome.computed)
    return outcome


@final
@dataclass
class _Session:
    """Objects that the stages of a study share while it runs."""

    protocol: Protocol
    configuration: Configuration
    seeds: list[int]
    outcome: Outcome
    store: Store
    pool: Workers
    shown: View
    known: dict[Condition, StoredRun]
    provenance: Provenance
    shard: Shard | None
    log: TensorBoard | None
    again: tuple[str, ...]
    numbers: list[int] = field(init=False)
    declared: Declared = field(init=False)
    costs: Costs = field(default_factory=Costs)

    def __post_init__(self) -> None:
        self.numbers = numbers(self.protocol, self.configuration, self.seeds)
        self.declared = Declared(self.protocol.question, self.numbers[-1], self.again)

    def stage(self, number: int) -> bool:
        """Compute the missing runs of a stage. Returns True if the next stage may begin."""
        began = time.monotonic()
        notes = len(self.outcome.notes)
        conditions = declare(number, self.protocol, self.configuration, self.seeds, self.outcome)
        for note in self.outcome.notes[notes:]:
            self.shown.line(f"note: {note}.")
        if conditions is None:
            return False
        if number and self.numbers[number] == self.numbers[number - 1]:
            return True
        self.declared = self.declared.with_stage(self.numbers[number] - 1, conditions)
        self.declared.write(self.store.directory)
        if not conditions:
            return True
        found, damages = stored(conditions, self.store, self.known)
        for damage in damages:
            self.shown.line(f"{damage}: computing this run again.")
        names = ", ".join(dict.fromkeys(condition.stage for condition in conditions))
        title = f"stage {self.numbers[number]} of {self.numbers[-1]} ({names})"
        for run in found.values():
            self._keep(run, number)
        missing = [condition for condition in conditions if condition not in found]
        share = set(conditions if self.shard is None else self.shard.share(conditions))
        elsewhere = sum(condition not in share for condition in missing)
        mine = {condition: run for condition, run in found.items() if condition in share}
        if self.shard is not None:
            title += f", share {self.shard}"
            self.shown.line(f"{title}: this share has {len(share)} of {failures.counted(len(conditions))}.")
        missing = [condition for condition in missing if condition in share]
        workers = min(self.pool.size, len(share))
        self.shown.stage(
            title, len(share), len(mine), sum(run.diverged for run in mine.values()), workers, missing, self.costs
        )
        before = len(self.outcome.failures)
        check = partial(check_score, self.protocol.stages[number])
        stop = self._compute(Probes(missing) if not found else None, missing, check)
        # The new runs are read back like the old ones, so that a study gives the same tables in one go or in several.
        runs = {**found, **stored(missing, self.store, {})[0]}
        for condition in missing:
            if condition in runs:  # A worker that was ended may have stored its run just before.
                failures.forget(self.store.directory, condition)
        self.outcome.failures = [failure for failure in self.outcome.failures if failure.condition not in runs]
        # In the order of the report, whichever run failed first.
        place = {condition: number for number, condition in enumerate(conditions)}
        self.outcome.failures[before:] = sorted(
            self.outcome.failures[before:], key=lambda failure: place[failure.condition]
        )
        failed = len(self.outcome.failures) - before
        untried = len(conditions) - len(runs) - failed - elsewhere
        if untried and not stop:
            raise InvalidValue(
                f"{self.store.directory}: {failures.counted(untried)} just stored cannot be read again; check the disk."
            )
        self.outcome.untried += untried
        self.outcome.runs.extend(runs[condition] for condition in conditions if condition in runs)
        diverged = sum(run.diverged for condition, run in runs.items() if condition in share)
        counts = {"stored before": len(mine), "diverged": diverged, "failed": failed, "not tried": untried}
        told = "".join(f", {number} {what}" for what, number in counts.items() if number)
        self.shown.summary(f"{failures.counted(len(share))}{told}, {duration.told(time.monotonic() - began)}")
        if stop and untried:
            self.outcome.notes.append(f"stopped, since {stop}; {failures.counted(untried)} not tried")
            self.shown.line(f"{self.outcome.notes[-1]}.")
        if self.shard is not None and elsewhere and not failed and not stop:
            self.outcome.share = self.shard.told(
                f"stage {self.numbers[number]}", len(share), elsewhere, self.store.directory
            )
        nothing = bool(self.outcome.missing and not self.outcome.runs)  # no run for a later stage to select from
        return not stop and not elsewhere and not nothing

    def _compute(self, probes: Probes | None, missing: list[Condition], check: Callable[[StoredRun], None]) -> str:
        """Compute runs; `check` gets the first that did not diverge.

        Returns:
            The reason why the others are not tried, or an empty text.
        """
        directory, outcome, unchecked = self.store.directory, self.outcome, True
        events = self.pool.run(missing if probes is None else probes.order)
        for event in events:
            message, condition = event.message, event.condition
            if message.kind == "progress":
                self.shown.inside(event.slot, condition.label, message.done, message.total)
            elif message.kind == "told":
                self.shown.line(f"{message.text}.")
            elif message.kind in ("silent", "note"):
                self.shown.line(f"{condition.label}: {message.text}.")
            elif event.retried:
                self.shown.line(f"{condition.label}: {message.text}; trying this run once more.")
            elif message.kind == "failed":
                failure = failures.keep(directory, condition, message.text, message.detail)
                outcome.failures.append(failure)
                # Only the first of equal messages is printed; the summary of the stage counts all of them.
                texts = {other.text for other in outcome.failures[:-1]}
                if failure.text not in texts and len(texts) < _SHOWN:
                    where = f" (traceback in {directory / failure.traceback})" if failure.traceback else ""
                    self.shown.line(f"failed: {failure}{where}")
                self.shown.advance(event.slot, failed=True, condition=condition)
                alike = probes.failed(condition, message) if probes else ""
                if alike:
                    return alike
            else:
                probes = None  # One run succeeded, so each of the others is tried.
                outcome.computed += 1
                self.provenance.computed(outcome.computed)
                self.shown.advance(event.slot, diverged=message.diverged, condition=condition, seconds=message.seconds)
                self._log(condition, None)
                if unchecked and not message.diverged and (run := self.store.load(condition)) is not None:
                    check(run)
                    unchecked = False
        return ""

    def _keep(self, run: StoredRun, number: int) -> None:
        self._log(run.condition, run)
        check_score(self.protocol.stages[number], run)
        self.costs.add(run.condition.stage, run.condition.factors, run.wall_seconds)

    def _log(self, condition: Condition, before: StoredRun | None) -> None:
        """Hand a run to the log, an earlier one or the one just stored. A log that cannot be written stops no study."""
        if self.log is None:
            return
        try:
            if before is not None:
                self.log.keep(before)
            elif (run := self.store.load(condition)) is not None:
                self.log.write(run)
        except Unwritable as error:
            self.shown.line(f"note: the log stops here: {error}")
            self.log = None
