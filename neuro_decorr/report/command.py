"""The command line of `neuro-decorr analyse`: its options in groups, and its tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report.tables import cell

if TYPE_CHECKING:
    from neuro_decorr.report.results import Part

_OPTIONS: dict[str, dict[str, tuple[str | None, str]]] = {
    "What is measured": {
        "bin": ("TIME", "Width of the bins, with its unit; without it 50ms, of rates whole steps."),
        "period": ("START:END", "Such as 0s:60s; all of the recording without it."),
        "trials": ("A,B", "Only bins in trials of these conditions; their mean response is removed for chance."),
        "against": ("WHAT", "Compare with another FILE, another period START:END or, with --trials, conditions A,B."),
        "units": ("A,B", "Only these units; a label that holds a comma in double quotes."),
        "pair": ("A,B", "The correlogram of these two units against jittered spikes too."),
    },
    "Statistics": {
        "block": ("TIME", "Blocks of time drawn again for the intervals; by the autocorrelation without it."),
        "surrogates": ("N", "How many surrogates show what chance gives; 0: none."),
        "surrogate": ("KIND", "How they are made; auto: by what varies in the data, which the output tells."),
        "high_pass": ("TIME", "Remove what is slower first; without it only where units drift."),
        "seed": ("N", "Of everything that is drawn at random."),
    },
    "Results": {
        "out": ("DIR", "Write tables, figures and the page there, all or nothing."),
        "html": ("PAGE", "Write one page to send to a colleague; it needs no other file."),
    },
    "What the file does not say itself": {
        "format": (
            "NAME",
            "What FILE is, found by its content without it; or one of Neo's readers, such as blackrock.",
        ),
        "quality": ("A,B", "Units so curated, such as good,mua; all: every unit."),
        "series": ("NAME", "Which trace or time series of several."),
        "condition": ("COLUMN", "Column of the trials that is their condition."),
        "sampling_rate": ("RATE", "Such as 30kHz, where times count samples."),
        "step": ("TIME", "Between two samples of rates."),
        "layout": ("ROWS", "What the rows of an array of rates are: time_units or units_time."),
        "variable": ("NAME", "Which array of a file that has several."),
    },
    "What may be mended, which is refused otherwise": {
        "sort": (None, "Spikes out of order: sort them."),
        "duplicates": ("drop", "A second spike of a unit at the same time."),
        "outside": ("drop", "Spikes outside the recording."),
        "durations": ("common", "Units observed at different times: take the time that all share."),
    },
}
"""Every option with what it takes, None for a flag, and its help."""


@final
class _Grouped(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {parameter.name: parameter.get_help_record(ctx) for parameter in self.get_params(ctx)}
        groups: dict[str, Iterable[str]] = {**_OPTIONS, "Help": ("help",)}
        for title, names in groups.items():
            shown = [record for name in names if (record := records.get(name)) is not None]
            if shown:
                with formatter.section(title):
                    formatter.write_dl(shown, col_max=24)


def _analyse(file: Path, out: Path | None, html: Path | None, **given: Any) -> None:
    """How much the units of a recording share: every measure with its interval, and what chance gives beside it.

    FILE is a recording: NPZ, CSV, Parquet, NWB, NIX, MATLAB, a folder of phy, Kilosort, ALF or suite2p, and whatever
    Neo reads.
    """
    from neuro_decorr.report import results
    from neuro_decorr.report.analyse import analyse as run
    from neuro_decorr.report.options import Options, as_options
    from neuro_decorr.study import files

    options = Options(path=file, **given)
    if out is not None:
        results.check_directory(out, options.record())
    if html is not None:
        results.check_page(html)
    try:
        analysis = run(options, figures=out is not None or html is not None)
    except InvalidValue as error:
        raise InvalidValue(as_options(str(error))) from error
    console = Console()
    for part in analysis.parts:
        _print(console, part)
    command = ["neuro-decorr", *sys.argv[1:]]
    if out is not None:
        analysis.save(out, command)
        click.echo(f"wrote tables, figures and {results.PAGE} into {out}", err=True)
    if html is not None:
        files.write(html, analysis.page(command))
        click.echo(f"wrote {html}", err=True)


def command() -> click.Command:
    """The command; its defaults are those of `Options`."""
    from neuro_decorr.report.options import Options

    defaults = {field.name: field.default for field in fields(Options)}
    parameters: list[click.Parameter] = [click.Argument(["file"], type=click.Path(path_type=Path), metavar="FILE")]
    for names in _OPTIONS.values():
        for name, (takes, told) in names.items():
            flag, kept = [f"--{name.replace('_', '-')}"], defaults.get(name)
            if name not in defaults:
                parameters.append(click.Option(flag, type=click.Path(path_type=Path), metavar=takes, help=told))
            else:
                shown = isinstance(kept, int | str) and kept not in ("", "error") and takes is not None
                parameters.append(
                    click.Option(
                        flag, default=kept, metavar=takes, is_flag=takes is None, help=told, show_default=shown
                    )
                )
    settings = {"max_content_width": 110}
    return _Grouped("analyse", params=parameters, callback=_analyse, help=_analyse.__doc__, context_settings=settings)


def _print(console: Console, part: Part) -> None:
    console.print(Text(part.title, style="bold"), soft_wrap=True)
    for line in part.warnings:
        console.print(Text(f"  warning: {line}", style="yellow"), soft_wrap=True)
    for line in part.facts:
        console.print(Text(f"  {line}"), soft_wrap=True)
    for shown in (table for table in part.tables if table.printed):
        table = Table(box=None, padding=(0, 2))
        text = [name for name, kind in shown.frame.dtypes.items() if kind.kind not in "iuf"]
        for name in shown.frame.columns:
            table.add_column(Text(str(name)), justify="left" if name in text else "right", no_wrap=True)
        for row in shown.frame.itertuples(index=False):
            table.add_row(*(Text(cell(value, 3)) for value in row))
        # As wide as the numbers need: cut, they would be others.
        wide = console.options.update(max_width=10_000)
        console.width = max(console.width, Measurement.get(console, wide, table).maximum)
        console.print(Text(f"  {shown.caption}", style="italic"), soft_wrap=True)
        console.print(table)
    console.print()
