"""`neuro-decorr report DIR...`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neuro_decorr.errors import InvalidValue, UnknownName

if TYPE_CHECKING:
    from neuro_decorr.study import Protocol


@click.command("report")
@click.argument("directories", nargs=-1, type=click.Path(path_type=Path), metavar="DIR...")
@click.option("--out", type=click.Path(path_type=Path), metavar="PAGE", help="File for the page of a comparison.")
@click.option("--csv", is_flag=True, help="Write the tables of the rows as CSV too, beside the Parquet files.")
def command(directories: tuple[Path, ...], out: Path | None, csv: bool) -> None:
    """Write the tables, figures and page of a study again from its stored runs.

    Given several studies, write one page, PAGE, that compares them; their directories stay as they are.
    """
    if not directories:
        raise InvalidValue(
            "name a study: neuro-decorr report DIR; to compare several: neuro-decorr report DIR DIR --out PAGE."
        )
    if len(directories) > 1:
        _compare(directories, out, csv)
    elif out is not None:
        raise InvalidValue(
            "--out: allowed with two studies or more only; the page of one study is index.html in its directory."
        )
    else:
        _again(directories[0], csv)


def _compare(directories: tuple[Path, ...], out: Path | None, csv: bool) -> None:
    from neuro_decorr.report import page
    from neuro_decorr.study.identity import Identity

    if out is None or csv:
        what = (
            "--csv: allowed with one study only" if csv else "--out: give the name of the page, such as comparison.html"
        )
        raise InvalidValue(f"{what}; several studies are compared on one page.")
    if len({one.resolve() for one in directories}) < len(directories):
        raise InvalidValue("a study is given twice; give each directory once.")
    questions = {one: _protocol(one, Identity.read(one).protocol).question for one in directories}
    page.compare(questions, out)
    click.echo(f"wrote {out}", err=True)


def _protocol(directory: Path, name: str) -> Protocol:
    from neuro_decorr.study import discovery

    return discovery.load(_root(directory, name), name)


def _root(directory: Path, name: str) -> Path:
    """Return the study directory; an error tells where the protocol of somebody else's study is."""
    from neuro_decorr.study import code, discovery

    try:
        return discovery.find_root(Path.cwd(), directory)
    except UnknownName as error:
        kept = directory / code.FOLDER
        mend = (
            f"the study keeps a copy of its protocol: go to {kept} and give: neuro-decorr report .."
            if (kept / discovery.FOLDER).is_dir()
            else f"ask whoever made the study for {discovery.FOLDER}/{name}.py, and put it into such a directory"
        )
        raise UnknownName(f"{error}. The report needs the protocol '{name}': {mend}.") from error


def _again(directory: Path, csv: bool) -> None:
    from neuro_decorr.commands.ending import finish
    from neuro_decorr.study import changes, discovery, options, reporting
    from neuro_decorr.study.identity import Identity
    from neuro_decorr.study.lock import Lock

    stored = Identity.read(directory)
    root = _root(directory, stored.protocol)
    protocol, configuration = discovery.restore(root, stored, directory)
    with Lock(directory):
        outcome = reporting.collect(protocol, configuration, directory, stored.seeds)
        reporting.write_report(protocol, configuration, directory, outcome, csv=csv)
        for note in changes.since(outcome.runs, root, protocol.name, configuration, directory):
            click.echo(f"note: {note}.", err=True)
        words = _recorded(directory) or options.command(protocol, configuration, stored.seeds)
        finish(protocol, directory, outcome, options.whole(words, directory))


def _recorded(directory: Path) -> Sequence[str]:
    """Command of the last session with all its options, as `status` shows it; empty where there is no record."""
    from neuro_decorr.study import declared, files

    try:
        record = declared.read(directory)
    except (files.Damaged, files.Unreadable):
        record = None  # the caller makes the command from the protocol instead
    return () if record is None else record.command
