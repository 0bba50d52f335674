"""Command line of `neuro-decorr analyse`: its options in groups, and its tables on a terminal."""

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
        "bin": (
            "TIME",
            "Width of a bin, such as 20ms.  [default: 50ms, for rates the nearest multiple of their step; noise "
            "correlations: one count per trial]",
        ),
        "period": ("START:END", "Period to analyse, such as 0s:60s.  [default: the whole recording]"),
        "trials": (
            "A,B",
            "Use only bins in trials of these conditions (all: of every one), and compare with chance without their "
            "mean response.",
        ),
        "against": ("WHAT", "Compare with another FILE, another period START:END or, with --trials, conditions A,B."),
        "units": ("A,B", "Use only these units; put a label that has a comma into double quotes."),
        "pair": ("A,B", "Show the correlogram of these two units too, with that of jittered spikes."),
    },
    "Statistics": {
        "block": (
            "TIME",
            "Length of the blocks of time that are resampled for the intervals.  [default: from the autocorrelation]",
        ),
        "surrogates": ("N", "Number of surrogates that show the values by chance; 0 for none."),
        "surrogate": ("KIND", "Kind of surrogates; auto chooses it from the data, and the output gives the reason."),
        "high_pass": ("TIME", "Remove fluctuations slower than this first.  [default: only where units drift]"),
        "seed": ("N", "Seed of all random draws."),
    },
    "Results": {
        "out": ("DIR", "Write tables, figures and a page into this directory, all of them or none."),
        "html": ("PAGE", "Write one page that needs no other file, to send to a colleague."),
    },
    "Facts that the file may lack": {
        "format": (
            "NAME",
            "Format of FILE, or one of Neo's readers, such as blackrock.  [default: found from the content]",
        ),
        "quality": ("A,B", "Use units with these curation labels, such as good,mua; all for every unit."),
        "series": ("NAME", "Name of the trace or time series, where there are several."),
        "trial_table": ("TABLE", "CSV or TSV with one row per trial: start, stop (s) and the condition."),
        "condition": ("COLUMN", "Column of the trials that holds their condition."),
        "sampling_rate": ("RATE", "Sampling rate, such as 30kHz, where times are numbers of samples."),
        "step": ("TIME", "Time between two samples of rates."),
        "layout": ("ROWS", "Order of the axes of an array of rates: time_units or units_time."),
        "variable": ("NAME", "Name of the array, where the file has several."),
    },
    "Repairs (without them such data are refused)": {
        "sort": (None, "Sort spikes that are out of order."),
        "duplicates": ("drop", "Drop a second spike of a unit at the same time."),
        "outside": ("drop", "Drop spikes outside the recording."),
        "durations": ("common", "Use only the time at which all units were observed."),
    },
}
"""Every option by group: the placeholder of its value, None for a flag, and its help."""


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
    """Measure the correlations of a recording, with intervals and with the values by chance.

    FILE is a recording: NPZ, CSV, Parquet, NWB, NIX, MATLAB, a folder of phy, Kilosort, ALF or suite2p, or any format
    that Neo reads.
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
    """Make the command; its defaults are those of `Options`."""
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
        # As wide as the numbers need, since a number that is cut would be wrong.
        wide = console.options.update(max_width=10_000)
        console.width = max(console.width, Measurement.get(console, wide, table).maximum)
        console.print(Text(f"  {shown.caption}", style="italic"), soft_wrap=True)
        console.print(table)
    console.print()
