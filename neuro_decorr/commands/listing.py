"""`neuro-decorr list`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuro_decorr.errors import MissingExtra, NeuroDecorrError


@click.command("list")
def command() -> None:
    """List the protocols of this study directory, the rules and the credit assignments."""
    from neuro_decorr import credit, rules
    from neuro_decorr.study import discovery

    console = Console()
    try:
        root = discovery.find_root()
        rows = [{"protocol": name, "question": _question(root, name)} for name in discovery.names(root)]
        _print(console, f"Protocols in {root / discovery.FOLDER} (neuro-decorr run PROTOCOL)", rows)
    except NeuroDecorrError as error:
        console.print(str(error), markup=False, soft_wrap=True)
    _print(console, "Rules (in full: neuro_decorr.rules.table())", rules.table())
    try:
        _print(console, "Rules in Brian2 (in full: neuro_decorr.brian.table())", _rules_in_brian())
    except MissingExtra as error:
        console.print(f"Rules in Brian2 are not listed: {error}", markup=False, highlight=False, soft_wrap=True)
    _print(console, "Credit assignments (in full: neuro_decorr.credit.table())", credit.table())


def _rules_in_brian() -> list[dict[str, str]]:
    from neuro_decorr import brian

    return brian.table()


def _question(root: Path, name: str) -> str:
    from neuro_decorr.study import discovery

    try:
        return discovery.load(root, name).question
    except NeuroDecorrError as error:
        return f"({error})"


def _print(console: Console, title: str, rows: list[dict[str, str]]) -> None:
    # The name and its description; the other columns are wider than a terminal.
    console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:  # a pipe has no width, and a program reads a line a row
        pairs = [list(row.values())[:2] for row in rows]
        width = max((len(name) for name, _ in pairs), default=0)
        for name, what in pairs:
            console.print(f"  {name:{width}}    {what}", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(box=None, show_header=False, padding=(0, 2))
    for row in rows:
        table.add_row(*(Text(value) for value in list(row.values())[:2]))
    console.print(table)
