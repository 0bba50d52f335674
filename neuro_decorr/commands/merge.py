"""`neuro-decorr merge DIR... --out DIR`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from neuro_decorr.errors import InvalidValue

_CHANGED = "keep: merge runs that were made from different data, code or versions, on record.  [default: refuse them]"


@click.command("merge")
@click.argument("directories", type=click.Path(path_type=Path), metavar="DIR...", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Directory of the merged study.")
@click.option("--accept-changed", type=str, metavar="keep", help=_CHANGED)
def command(directories: tuple[Path, ...], out: Path | None, accept_changed: str | None) -> None:
    """Merge the shares of a study (of run --shard) into one directory.

    Once every run is there, the report is written too.
    """
    from neuro_decorr.commands.ending import finish
    from neuro_decorr.study import discovery, options, reporting
    from neuro_decorr.study.failures import counted
    from neuro_decorr.study.lock import Lock
    from neuro_decorr.study.merging import merge

    if not directories or out is None:
        raise InvalidValue("name the shares and their common directory: neuro-decorr merge DIR DIR ... --out DIR")
    if accept_changed not in (None, "keep"):
        raise InvalidValue(f"--accept-changed: got {accept_changed!r}; allowed: keep (a merge computes no run again).")
    root = discovery.find_root(Path.cwd(), out, *directories)
    line = ["neuro-decorr", *sys.argv[1:]]
    merged = merge(directories, out, root=root, command=line, accept="keep" if accept_changed else None)
    for note in merged.notes:
        click.echo(f"note: {note}.", err=True)
    click.echo(f"{out}: {counted(merged.runs)}, {merged.new} of them new.", err=True)
    identity = merged.identity
    protocol, configuration = discovery.restore(root, identity, out)
    again = options.whole(options.command(protocol, configuration, identity.seeds), out)
    with Lock(out):
        outcome = reporting.collect(protocol, configuration, out, identity.seeds)
        if outcome.missing:
            click.echo(f"{counted(outcome.missing)} missing, so no report is written; go on with: {again}", err=True)
            return
        reporting.write_report(protocol, configuration, out, outcome)
        finish(protocol, out, outcome, again)
