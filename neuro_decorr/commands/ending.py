"""End of `run` and `report`: the page of the study, and a list of what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from neuro_decorr.study import Protocol
    from neuro_decorr.study.outcome import Outcome


def finish(protocol: Protocol, directory: Path, outcome: Outcome, again: str) -> None:
    """Write the page of a study and print what is missing.

    Args:
        protocol: The experiment.
        directory: Directory of the study; its report is written already.
        outcome: The outcome of the study.
        again: The command that computes the missing runs.

    Raises:
        Exit: Something is missing; the exit code is 1.
    """
    from neuro_decorr.report import page

    click.echo(f"wrote {page.write(directory, protocol.question)}", err=True)
    _mixed(directory, outcome)
    if outcome.incomplete is not None:
        for line in outcome.incomplete.lines():
            click.echo(f"neuro-decorr: {line}", err=True)
        if outcome.missing:
            click.echo(f"To compute the missing runs: {again}", err=True)
        raise click.exceptions.Exit(1)


def finish_share(protocol: Protocol, directory: Path, outcome: Outcome) -> None:
    """Print the outcome of a share of a study, and the next step. A share has no page.

    Args:
        protocol: The experiment.
        directory: Directory of the share.
        outcome: The outcome of the share.

    Raises:
        Exit: A run of the share failed; the exit code is 1.
    """
    _mixed(directory, outcome)
    if outcome.incomplete is not None:
        for line in outcome.incomplete.lines():
            click.echo(f"neuro-decorr: {line}", err=True)
        click.echo("To compute the missing runs of this share, give the same command again.", err=True)
        raise click.exceptions.Exit(1)
    whole = f"every run of '{protocol.name}' is in {directory}; to write the report: neuro-decorr report {directory}"
    click.echo(f"{outcome.share or whole}.", err=True)


def _mixed(directory: Path, outcome: Outcome) -> None:
    """Print a note where the stored runs were made from different data, code or versions. This is no error."""
    from neuro_decorr.study.mixed import mixed

    found = mixed(outcome.runs, directory)
    for line in found.lines() if found is not None else ():
        click.echo(f"note: {line}", err=True)
