"""`neuro-decorr init DIR`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
def command(directory: Path) -> None:
    """Make a study directory with all protocols, models and analysis, to run and to edit."""
    from neuro_decorr.study import initialise as template

    template.initialise(directory)
    there = "" if directory.resolve() == Path.cwd().resolve() else f"cd {shlex.quote(str(directory))} && "
    click.echo(f"wrote the study directory {directory}; go on with: {there}neuro-decorr list", err=True)
