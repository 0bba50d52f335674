"""The command line of `neuro-decorr analyse`: its options in groups, and its tables on a terminal."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any, final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuro_decorr.report.options import Options

_NARROWEST = 100  # columns: narrower, the numbers would be cut


@final
class _Grouped(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {parameter.name: parameter.get_help_record(ctx) for parameter in self.get_params(ctx)}
        for title, names in _GROUPS.items():
            shown = [record for name in names if (record := records.get(name)) is not None]
            if not shown:
                continue
            with formatter.section(title):
                formatter.write_dl(shown)


_GROUPS = {
    "What is measured": ("bin", "trials", "period", "against", "units"),
    "Statistics": ("block", "surrogates", "surrogate", "high_pass", "seed"),
    "Results": ("out", "html"),
    "The file, where it does not say it itself": (
        "format", "quality", "series", "condition", "sampling_rate", "step", "layout", "variable",
    ),
    "Faults to mend (refused otherwise)": ("duplicates", "outside", "durations", "sort"),
    "Help": ("help",),
}  # fmt: skip
_REFUSE = {"default": "error", "show_default": True, "metavar": "error|drop"}


@click.command("analyse", cls=_Grouped, context_settings={"max_content_width": 110})
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--bin", default="50ms", show_default=True, metavar="TIME", help="Width of the bins, with its unit.")
@click.option("--trials", default="", metavar="A,B", help="Only bins in trials of these conditions.")
@click.option("--period", default="", metavar="START:END", help="Such as 0s:60s; all of the recording without it.")
@click.option(
    "--against",
    default="",
    metavar="FILE|START:END|A,B",
    help="Compare with another recording, another period or, with --trials, other conditions.",
)
@click.option("--units", default="", metavar="A,B", help="Only these units.")
@click.option(
    "--block",
    default="",
    metavar="TIME",
    help="Block of time that is drawn again for the intervals; chosen from the autocorrelation without it.",
)
@click.option("--surrogates", default=99, show_default=True, metavar="N", help="How many show chance; 0: none.")
@click.option(
    "--surrogate",
    default="auto",
    show_default=True,
    metavar="KIND",
    help="How they are made; auto: by what varies in the data.",
)
@click.option("--high-pass", default="", metavar="TIME", help="Remove changes slower than this from each unit first.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of everything that is drawn at random.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write tables, figures and a page there.")
@click.option("--html", type=click.Path(path_type=Path), metavar="PAGE", help="Write one page to send to a colleague.")
@click.option(
    "--format",
    default="",
    metavar="NAME",
    help="What FILE is, found by its content without it; or one of Neo's readers, such as blackrock.",
)
@click.option("--quality", default="", metavar="A,B", help="Units so curated, such as good,mua; all: every unit.")
@click.option("--series", default="", metavar="NAME", help="Which trace or time series of several.")
@click.option("--condition", default="", metavar="COLUMN", help="Column of the trials that is their condition.")
@click.option("--sampling-rate", default="", metavar="RATE", help="Such as 30kHz, where times count samples.")
@click.option("--step", default="", metavar="TIME", help="Time between two samples of rates.")
@click.option("--layout", default="", metavar="time_units|units_time", help="What the rows of an array of rates are.")
@click.option("--variable", default="", metavar="NAME", help="Which array of a file that has several.")
@click.option("--duplicates", help="A second spike of a unit at the same time.", **_REFUSE)
@click.option("--outside", help="Spikes outside the recording.", **_REFUSE)
@click.option(
    "--durations",
    default="error",
    show_default=True,
    metavar="error|common",
    help="Units observed at different times: the time that all share.",
)
@click.option("--sort", is_flag=True, help="Spikes out of order: sort them.")  # fmt: skip
def analyse(file: Path, out: Path | None, html: Path | None, **given: Any) -> None:
    """How much the units of a recording share: every measure with its interval, and what chance gives beside it.

    FILE is a recording: NPZ, CSV, Parquet, NWB, NIX, a folder of phy or Kilosort, and more (see the documentation).
    """
    from neuro_decorr.report import results
    from neuro_decorr.report.analyse import analyse as run
    from neuro_decorr.study import files

    options = Options(path=file, **given)
    if out is not None:
        results.check_directory(out, options.record())
    if html is not None:
        results.check_page(html)
    analysis = run(options, figures=out is not None or html is not None)
    console = Console()
    console.width = max(console.width, _NARROWEST) if console.is_terminal else max(_NARROWEST, _columns(), 140)
    for part in analysis.parts:
        _print(console, part)
    command = ["neuro-decorr", *sys.argv[1:]]
    if out is not None:
        analysis.save(out, command)
        click.echo(f"wrote tables, figures and {results.PAGE} into {out}", err=True)
    if html is not None:
        files.write(html, analysis.page(command))
        click.echo(f"wrote {html}", err=True)


def _print(console: Console, part: Any) -> None:
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
            table.add_row(*(Text(_cell(value)) for value in row))
        console.print(table)
    console.print()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3g}"
    return "" if value is None else str(value)


def _columns() -> int:
    return shutil.get_terminal_size().columns
