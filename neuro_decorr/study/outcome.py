"""Outcome of a study so far. Its stages are declared one after the other, each from the stored runs of earlier ones."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from neuro_decorr.errors import InvalidValue, NeuroDecorrError, brief
from neuro_decorr.study import failures
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.configuration import Configuration
from neuro_decorr.study.failures import Failure, Incomplete, counted
from neuro_decorr.study.files import Damaged
from neuro_decorr.study.protocol import Protocol
from neuro_decorr.study.selection import at_most
from neuro_decorr.study.store import Store, StoredRun
from neuro_decorr.study.tables import Tables, tabulate

NOTHING = "there is nothing to run: the options leave no condition; check that none of their lists is empty."


@final
@dataclass
class Outcome:
    """Outcome of a study.

    Attributes:
        runs: The stored runs, stage after stage.
        computed: Number of them that this session computed.
        failures: Runs that ended with an error.
        untried: Number of other runs that are missing.
        notes: Other reasons why the study is incomplete, one line each.
        share: The next command to give, when a share of the study is complete; empty otherwise.
    """

    runs: list[StoredRun] = field(default_factory=list)
    computed: int = 0
    failures: list[Failure] = field(default_factory=list)
    untried: int = 0
    notes: list[str] = field(default_factory=list)
    share: str = ""

    @property
    def tables(self) -> Tables:
        """Tables of the measurements, by kind of row."""
        return tabulate(self.runs)

    @property
    def missing(self) -> int:
        """Number of declared runs that are not stored."""
        return len(self.failures) + self.untried

    @property
    def incomplete(self) -> Incomplete | None:
        """Record of the missing runs and of the notes; None when there are none."""
        if not self.missing and not self.notes:
            return None
        expected = len(self.runs) + self.missing
        return Incomplete(expected, len(self.runs), list(self.failures), self.untried, list(self.notes))


def numbers(protocol: Protocol, configuration: Configuration, seeds: list[int]) -> list[int]:
    """Number the stages of a protocol from 1, counting only those that have runs.

    Where a selection runs a grid, the later rounds of its search have no run and do not count.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        seeds: The paired seeds.

    Returns:
        The number of every stage; a stage without runs has the number of the one before it.
    """
    counts: list[int] = []
    for stage in protocol.stages:
        try:
            empty = bool(counts) and at_most(stage, configuration, seeds) == 0
        except Exception:  # the stage tells its fault when it is declared
            empty = False
        counts.append((counts[-1] if counts else 0) + (not empty))
    return counts


def declare(
    number: int, protocol: Protocol, configuration: Configuration, seeds: list[int], outcome: Outcome
) -> list[Condition] | None:
    """Return the runs of a stage.

    Args:
        number: Position of the stage, from 0.
        protocol: The experiment.
        configuration: Its configuration.
        seeds: The paired seeds.
        outcome: Outcome of the earlier stages. It gets a note where their missing runs may change this stage, or
            prevent it.

    Returns:
        The conditions of the stage; None when it cannot be declared while runs are missing.

    Raises:
        InvalidValue: The stage declares a run twice, or fails although no run is missing.
    """
    missing = f"{counted(outcome.missing)} of the earlier stages {'is' if outcome.missing == 1 else 'are'} missing"

    def title() -> str:
        return f"stage {numbers(protocol, configuration, seeds)[number]}"

    try:
        with contextlib.chdir("."):  # back to where it was, wherever the protocol goes
            conditions = list(protocol.stages[number](configuration, list(seeds), outcome.tables))
        _distinct(protocol, conditions, outcome)
    except (Exception, SystemExit) as error:
        if outcome.missing:
            outcome.notes.append(f"{title()} was not begun, since {missing}: {brief(error)}")
            return None
        if not outcome.runs and number > 0:
            raise InvalidValue(NOTHING) from error
        if isinstance(error, NeuroDecorrError):
            raise
        raise InvalidValue(
            f"{title()} of protocol '{protocol.name}' fails: {brief(error)} ({failures.place(error)})"
        ) from error
    if outcome.missing and conditions:
        outcome.notes.append(f"{title()} was declared while {missing}; its selection may change with them")
    return conditions


def stored(
    conditions: list[Condition], store: Store, known: Mapping[Condition, StoredRun]
) -> tuple[dict[Condition, StoredRun], list[str]]:
    """Find the runs that are stored and whole.

    Args:
        conditions: The runs to look for.
        store: The store of the study.
        known: Runs that were read already.

    Returns:
        The stored runs, and one message for each damaged one.
    """
    found: dict[Condition, StoredRun] = {}
    damages: list[str] = []
    for condition in conditions:
        try:
            run = known.get(condition) or store.load(condition)
        except Damaged as error:
            damages.append(str(error))
        else:
            if run is not None:
                found[condition] = run
    return found, damages


def _distinct(protocol: Protocol, conditions: list[Condition], outcome: Outcome) -> None:
    known = {run.condition for run in outcome.runs}
    for condition in conditions:
        if condition in known:
            raise InvalidValue(
                f"protocol '{protocol.name}' declares the run '{condition.label}' twice; add a factor that tells the "
                "two apart."
            )
        known.add(condition)
