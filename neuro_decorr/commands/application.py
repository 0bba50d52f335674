"""The command line `neuro-decorr` with all its commands."""

from __future__ import annotations

from typing import final

import click

from neuro_decorr.commands import initialise, listing, merge, report, run, status
from neuro_decorr.errors import unknown_name
from neuro_decorr.report import command as analysis


@final
class _Commands(click.Group):
    """Group of the commands; the error about an unknown command names the nearest known one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            raise unknown_name("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="neuro-decorr", message="neuro-decorr %(version)s")
@click.pass_context
def application(context: click.Context) -> None:
    """Run, resume and report studies of decorrelation plasticity; analyse recordings."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    initialise.command,
    listing.command,
    run.command,
    merge.command,
    report.command,
    status.command,
    analysis.command(),
):
    application.add_command(_command)
