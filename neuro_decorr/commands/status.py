"""`neuro-decorr status [DIR...]`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuro_decorr.errors import InvalidValue, NeuroDecorrError
from neuro_decorr.study import duration
from neuro_decorr.study.failures import counted

if TYPE_CHECKING:
    from neuro_decorr.study.status import Stage, Status


@click.command("status")
@click.argument("directories", nargs=-1, type=click.Path(path_type=Path), metavar="[DIR]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list on stdout, for scripts.")
def command(directories: tuple[Path, ...], as_json: bool) -> None:
    """Show the progress of studies: stored and missing runs, the process at work, the time left.

    Without DIR it shows every study in results/ of this study directory. It changes nothing.
    """
    from neuro_decorr.study.status import Status

    found: list[Status | dict[str, str]] = []
    for directory in directories or _results():
        try:
            found.append(Status.read(directory))
        except NeuroDecorrError as error:
            found.append({"directory": str(directory), "error": str(error)})
    if as_json:
        click.echo(json.dumps([one.record() if isinstance(one, Status) else one for one in found], indent=2))
    for one in [] if as_json else found:
        if isinstance(one, Status):
            click.echo("\n".join(_lines(one)))
    broken = [one["error"] for one in found if isinstance(one, dict)]
    if broken:
        raise InvalidValue("\n".join(broken))


def _results() -> list[Path]:
    from neuro_decorr.study import discovery, identity

    results = discovery.find_root() / "results"
    found = sorted(path.parent for path in results.glob(f"*/{identity.NAME}"))
    if not found:
        raise InvalidValue(f"{results} holds no study; name its directory: neuro-decorr status DIR")
    return found


def _lines(status: Status) -> Iterator[str]:
    question = f": {status.question}" if status.question else ""
    yield f"{status.directory}: protocol {status.protocol}{question}"
    count = len(status.stages) + status.undeclared
    for stage in status.stages:
        if stage.declared != 0:
            yield f"  stage {stage.number} of {count} ({', '.join(stage.names)}): {_stage(stage)}"
    if status.undeclared:
        first = len(status.stages) + 1
        title = f"stages {first} to {count}" if count > first else f"stage {first}"
        yield f"  {title} of {count}: to be declared when the earlier stages are complete"
    yield f"  {_state(status)}"
    for note in status.notes:
        yield f"  note: {note}."


def _stage(stage: Stage) -> str:
    of = "" if stage.declared is None else f" of {stage.declared}"
    missing = stage.missing or 0
    told = [f"{stage.stored}{of} runs stored"]
    told += [f"{stage.diverged} of them diverged"] if stage.diverged else []
    told += [f"{missing} missing"] if missing else []
    parts = {"failed": stage.failed, "damaged": stage.damaged, "with a checkpoint": stage.checkpoints}
    inside = ", ".join(f"{number} {what}" for what, number in parts.items() if number)
    return ", ".join(told) + (f" ({inside})" if inside else "")


def _state(status: Status) -> str:
    session = status.session
    if not session:
        return f"{status.state}: {status.holder or 'no session on record'}"
    workers = session["workers"]
    since = f"session of {session['started']}"
    elapsed = f", {duration.told(status.elapsed)} elapsed" if status.elapsed is not None else ""
    missing = sum(stage.missing or 0 for stage in status.stages)
    left = ""
    if missing or status.undeclared:
        least = "at least" if status.undeclared else "about"
        time = "time left unknown" if status.left is None else f"{least} {duration.told(status.left)} left"
        left = f", {time} with {workers}" if status.left is not None else f", {time}"
    computed = f"{counted(session['runs_computed'])} computed"
    if status.state == "running":
        return f"running: {status.holder}, {since}, {computed}{elapsed}{left}"
    if status.state == "perhaps running":
        return f"perhaps running: {status.holder} (unknown from here), {since}, {computed}{elapsed}{left}"
    again = f"; go on with: {status.again}" if missing or status.undeclared else ""
    return f"{status.state}: last {since}, {computed}{elapsed}{left}{again}"
