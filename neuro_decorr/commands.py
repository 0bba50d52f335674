"""The commands of `neuro-decorr`. Each imports what it needs when it runs, so that none needs what another needs."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuro_decorr.errors import InvalidValue, MissingExtra, NeuroDecorrError, StateMismatch, unknown_name
from neuro_decorr.report import command as analysis

if TYPE_CHECKING:
    from neuro_decorr.study import Configuration, Protocol


@final
class _Commands(click.Group):
    """The commands themselves; an unknown one gets the nearest known one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            raise unknown_name("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


@final
class _Protocols(click.Group):
    """The protocols of the study directory as commands, each with the options of its configuration."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from neuro_decorr.study import discovery

        if not args:
            known = ", ".join(discovery.names(discovery.find_root())) or "none yet"
            raise InvalidValue(f"which protocol? neuro-decorr run PROTOCOL; known: {known}.")
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        from neuro_decorr.study import discovery

        try:
            return discovery.names(discovery.find_root())
        except NeuroDecorrError:
            return []

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        from neuro_decorr.study import discovery

        root = discovery.find_root()
        return _protocol_command(discovery.load(root, cmd_name), root)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Names alone: their questions would need every protocol to be imported.
        with formatter.section("Protocols (each has --help)"):
            formatter.write_text(", ".join(self.list_commands(ctx)) or "none here: neuro-decorr init DIR makes some")


@click.group(
    cls=_Commands,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="neuro-decorr", message="neuro-decorr %(version)s")
@click.pass_context
def application(context: click.Context) -> None:
    """Studies of decorrelation plasticity: declare, run, resume, report."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@application.command("init")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
def initialise(directory: Path) -> None:
    """Lay out a study directory: protocols, models and analysis, to run and to edit."""
    from neuro_decorr.study import initialise as template

    template.initialise(directory)
    there = "" if directory.resolve() == Path.cwd().resolve() else f"cd {shlex.quote(str(directory))} && "
    click.echo(f"wrote the study directory {directory}; go on with: {there}neuro-decorr list", err=True)


@application.command("list")
def list_everything() -> None:
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
    _print(console, "Rules (all about them: neuro_decorr.rules.table())", rules.table())
    try:
        _print(console, "Rules in Brian2 (all about them: neuro_decorr.brian.table())", _rules_in_brian())
    except MissingExtra as error:
        console.print(f"Rules in Brian2 are not listed: {error}", markup=False, highlight=False, soft_wrap=True)
    _print(console, "Credit assignments (all about them: neuro_decorr.credit.table())", credit.table())


@application.group("run", cls=_Protocols, subcommand_metavar="PROTOCOL [OPTIONS]")
def run() -> None:
    """Run a protocol, or go on with it: only what is missing is computed."""


@application.command("report")
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--csv", is_flag=True, help="Write the tables by kind of row as CSV too, beside the Parquet files.")
def report(directory: Path, csv: bool) -> None:
    """Make the tables, the figures and the page of a study again from its stored runs."""
    from neuro_decorr.report import page
    from neuro_decorr.study import discovery, execution
    from neuro_decorr.study.identity import Identity
    from neuro_decorr.study.lock import Lock

    stored = Identity.read(directory)
    root = discovery.find_root(Path.cwd(), directory)
    protocol = discovery.load(root, stored.protocol)
    try:
        configuration = protocol.configure(stored.configuration)
    except InvalidValue as error:
        raise StateMismatch(
            f"{directory} was made by another version of protocol '{protocol.name}', whose configuration no longer "
            f"fits: {error}"
        ) from error
    with Lock(directory):
        outcome = execution.collect(protocol, configuration, directory, stored.seeds)
        execution.write_report(protocol, configuration, directory, outcome, csv=csv)
        click.echo(f"wrote {page.write(directory, protocol.question)}", err=True)


application.add_command(analysis.command())


def _protocol_command(protocol: Protocol, root: Path) -> click.Command:
    from neuro_decorr.study import options

    # From a folder further down the same command goes on with the same study.
    results = root / "results" / protocol.name
    machinery = [
        click.Option(["--out"], type=str, metavar="DIR", help=f"Directory of the study  [default: {_shown(results)}]"),
        click.Option(["--seeds"], type=str, metavar="N", help=f"How many paired seeds  [default: {protocol.seeds}]"),
        click.Option(["--workers"], type=str, metavar="N", help=f"How many processes  [default: {_cores()}]"),
        click.Option(["--full"], is_flag=True, help="The full size: the defaults marked so."),
    ]
    taken = {parameter.name for parameter in machinery} & set(protocol.configuration.model_fields)
    if taken:
        raise InvalidValue(f"protocol '{protocol.name}' has a field '{min(taken)}', which is an option of every study.")

    def callback(out: str | None, seeds: str | None, workers: str | None, full: bool, **given: Any) -> None:
        context = click.get_current_context()
        known = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts)]
        problems = options.unknown(context.args, [*known, "--help"])
        count = options.whole_number("--seeds", seeds if seeds is not None else str(protocol.seeds), problems)
        processes = options.whole_number("--workers", workers if workers is not None else str(_cores()), problems)
        try:
            configuration = protocol.configure(options.values(protocol.configuration, given), full)
        except InvalidValue as error:
            problems += str(error).splitlines()
        if problems:
            raise InvalidValue("\n".join(problems))
        _run(protocol, root, configuration, Path(out if out is not None else _shown(results)), count, processes)

    return click.Command(
        protocol.name,
        params=[*options.parameters(protocol), *machinery],
        callback=callback,
        help=protocol.question,
        # Unknown options are told with all other problems instead of one by one.
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "max_content_width": 110},
    )


def _run(
    protocol: Protocol, root: Path, configuration: Configuration, directory: Path, count: int, processes: int
) -> None:
    from neuro_decorr.report import page
    from neuro_decorr.study import execution
    from neuro_decorr.study.store import Store

    command = ["neuro-decorr", *sys.argv[1:]]
    try:
        outcome = execution.execute(
            protocol, configuration, directory, root=root, count=count, workers=processes, command=command
        )
    except KeyboardInterrupt:
        runs = Store(directory, "").count()
        click.echo(f"Interrupted: {runs} runs are stored in {directory}; go on with: {shlex.join(command)}", err=True)
        raise click.exceptions.Exit(130) from None
    if outcome.failures:
        failed = len(outcome.failures)
        what = "1 run failed and is" if failed == 1 else f"{failed} runs failed and are"
        click.echo(
            f"neuro-decorr: {what} not stored; {len(outcome.runs)} are. The same command tries again what is missing.",
            err=True,
        )
        raise click.exceptions.Exit(1)
    click.echo(f"wrote {page.write(directory, protocol.question)}", err=True)


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
    # A name and what it is; the other columns need more width than a terminal has.
    console.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2))
    for row in rows:
        table.add_row(*(Text(value) for value in list(row.values())[:2]))
    console.print(table)


def _shown(path: Path) -> str:
    """A path as seen from the current directory."""
    try:
        return os.path.relpath(path)
    except ValueError:  # on another drive of Windows
        return str(path)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
