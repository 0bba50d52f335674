"""Tables and report of a study, made from its stored runs, whether or not all of them are stored."""

from __future__ import annotations

import contextlib
import io
import sys
import traceback
from pathlib import Path
from typing import TextIO, final

from neuro_decorr.errors import InvalidValue, brief
from neuro_decorr.study import doubts, failures, files, options
from neuro_decorr.study.conditions import seeds
from neuro_decorr.study.configuration import Configuration
from neuro_decorr.study.failures import Incomplete
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.mixed import Mixed, mixed
from neuro_decorr.study.outcome import Outcome, declare, stored
from neuro_decorr.study.protocol import Protocol
from neuro_decorr.study.store import Store
from neuro_decorr.study.sweep_files import write_sweeps
from neuro_decorr.study.tables import write_tables

RECORD = ".report.json"
"""File that lists the files of the last report."""
_TRACEBACK = f"{failures.FOLDER}/report.txt"


def collect(protocol: Protocol, configuration: Configuration, directory: Path, count: int) -> Outcome:
    """Collect the stored runs of a study.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        directory: Directory of the study.
        count: Number of its paired seeds.

    Returns:
        The outcome of the study; a missing run is among the failures if its failure is on record.

    Raises:
        InvalidValue: No run is stored and whole, and no failure is on record.
    """
    chosen = seeds(count)
    store = Store(directory, Identity(protocol.name, configuration.model_dump(mode="json"), count).fingerprint)
    outcome = Outcome()
    damaged: list[str] = []
    for number in range(len(protocol.stages)):
        conditions = declare(number, protocol, configuration, chosen, outcome)
        if conditions is None:
            break
        found, damages = stored(conditions, store, {})
        for condition in conditions:
            if condition in found:
                continue
            failure = failures.kept(directory, condition)
            if failure is None:
                outcome.untried += 1
            else:
                outcome.failures.append(failure)
        damaged += damages
        outcome.notes += damages
        outcome.runs.extend(found[condition] for condition in conditions if condition in found)
        if outcome.missing and not outcome.runs:
            break  # as in the session that failed: a later stage has no run to select from
    if not outcome.runs and not outcome.failures:
        again = options.whole(options.command(protocol, configuration, count), directory)
        if damaged:
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            raise InvalidValue(f"no stored run is whole: {damaged[0]}{more}; run the study again: {again}")
        raise InvalidValue(f"{directory}: no run of this study is stored; run it first: {again}")
    return outcome


def write_report(
    protocol: Protocol, configuration: Configuration, directory: Path, outcome: Outcome, *, csv: bool = False
) -> None:
    """Write the tables of a study and the report of its protocol, with the text that the protocol prints.

    The files take their places together when all of them are written. Files of the last report that this one does not
    write are removed. Where the report of the protocol fails, the tables of the rows are still written; but if they
    equal the present ones, the last report covers the same runs and stays as it is. Without a stored run the report of
    the protocol is not called.

    Args:
        protocol: The experiment.
        configuration: Its configuration.
        directory: Directory of the study.
        outcome: Outcome of the study; it gets a note when the protocol's report fails.
        csv: True to write the tables of the rows as CSV too.

    Raises:
        Unwritable: The directory cannot be written.
    """
    heard = io.StringIO()
    failed: BaseException | None = None
    with contextlib.suppress(_Stays), files.together(directory, RECORD) as staged:
        warnings = doubts.told(protocol, configuration, outcome.tables)
        _write_tables(protocol, directory, outcome, csv, warnings)
        tables = _inside(staged)
        try:
            with contextlib.chdir("."), contextlib.redirect_stdout(_Tee(sys.stdout, heard)):
                if outcome.runs:
                    protocol.report(configuration, outcome.tables, directory)
        except (Exception, SystemExit) as error:
            failed, complete = error, outcome.incomplete is None
            outcome.notes.append(
                f"the report of protocol '{protocol.name}' fails: {brief(error)} (traceback in "
                f"{directory / _TRACEBACK})"
            )
            if complete and all(_same(staged / place, directory / place) for place in tables):
                raise _Stays from error
            for place in _inside(staged) - tables:
                (staged / place).unlink()
            _write_tables(protocol, directory, outcome, csv, warnings)
        with contextlib.redirect_stdout(_Tee(sys.stdout, heard)):
            if warnings and heard.getvalue():
                print()  # apart from the finding, whose last part may be a table
            for lines in warnings.values():
                print(*lines, sep="\n")
        write_sweeps(protocol.stages, configuration, outcome.tables, directory)
        told = [line for one in _told(directory, outcome).values() for line in one.lines()]
        files.write(directory / "finding.txt", "".join(f"{line}\n" for line in told) + heard.getvalue())
    if failed is None:
        with contextlib.suppress(OSError):
            (directory / _TRACEBACK).unlink()
    else:
        files.write(directory / _TRACEBACK, "".join(traceback.format_exception(failed)))


def _write_tables(
    protocol: Protocol, directory: Path, outcome: Outcome, csv: bool, warnings: dict[str, list[str]]
) -> None:
    told = _told(directory, outcome)
    for one in told.values():
        one.write(directory)
    notes = {heading: one.lines() for heading, one in told.items()} | warnings
    write_tables(outcome.tables, directory, protocol.name, protocol.question, csv=csv, notes=notes)


def _told(directory: Path, outcome: Outcome) -> dict[str, Incomplete | Mixed]:
    """Warnings that a reader has to see first, by heading."""
    told = {
        "This study is incomplete": outcome.incomplete,
        "Runs of several origins are in one table": mixed(outcome.runs, directory),
    }
    return {heading: one for heading, one in told.items() if one is not None}


def _inside(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def _same(first: Path, second: Path) -> bool:
    try:
        return first.read_bytes() == files.read(second)
    except (OSError, files.Damaged):
        return False


@final
class _Stays(Exception):
    """Raised where the last report stays as it is."""


@final
class _Tee(io.TextIOBase):
    """Stream that keeps the printed text and passes it on; a closed terminal or pipe loses no report."""

    def __init__(self, shown: TextIO, heard: TextIO) -> None:
        self._shown, self._heard = shown, heard

    def write(self, text: str) -> int:
        self._heard.write(text)
        with contextlib.suppress(OSError, ValueError):
            self._shown.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._shown.flush()
