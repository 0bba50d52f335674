"""`neuro-decorr run PROTOCOL`: each protocol is a command with its own options and those common to all studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import click

from neuro_decorr.commands import layout, session
from neuro_decorr.errors import InvalidValue, NeuroDecorrError

if TYPE_CHECKING:
    from neuro_decorr.study import Protocol

_CHANGED = (
    "Stored runs that were made from other data, code or versions: recompute or keep them.  [default: refuse to run]"
)
_TIMEOUT = "Longest time of one run, such as 90s, 20min or 2h; a longer run is ended.  [default: no limit]"
_SCHEDULER = "Run on all workers of the Dask cluster with this scheduler, such as tcp://node1:8786."
_SHARD = "Compute share I of N of the next stage, such as 2/4, without a report; the command merge joins the shares."


@final
class _Protocols(click.Group):
    """Group of the protocols of the study directory, each a command with the options of its configuration."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from neuro_decorr.study import discovery

        if not args:
            known = ", ".join(discovery.names(discovery.find_root())) or "none yet"
            raise InvalidValue(f"name a protocol: neuro-decorr run PROTOCOL; known: {known}.")
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
        # Names alone: for their questions every protocol would have to be imported.
        with formatter.section("Protocols (for the options of one: neuro-decorr run PROTOCOL --help)"):
            formatter.write_text(", ".join(self.list_commands(ctx)) or "none here; neuro-decorr init DIR makes some")


@final
class _ProtocolCommand(click.Command):
    """Command of a protocol; its help shows its own options apart from those common to all studies."""

    def __init__(self, name: str, own: list[click.Option], common: list[click.Option], **settings: Any) -> None:
        super().__init__(name, params=[*own, *common], **settings)
        self.own = own

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = [(one in self.own, one.get_help_record(ctx)) for one in self.get_params(ctx)]
        for own, title in ((True, "Options of this protocol"), (False, "Options of every study")):
            shown = [record for of_protocol, record in records if of_protocol == own and record is not None]
            if shown:
                with formatter.section(title):
                    layout.write_options(formatter, shown)


@click.group("run", cls=_Protocols, subcommand_metavar="PROTOCOL [OPTIONS]")
def command() -> None:
    """Run a protocol, or resume it: only missing runs are computed."""


def _common(protocol: Protocol, results: Path) -> list[click.Option]:
    """Options common to all studies. Their values are texts, so that all problems are reported at once."""
    return [
        click.Option(
            ["--out"], type=str, metavar="DIR", help=f"Directory of the study.  [default: {session.shown(results)}]"
        ),
        click.Option(["--seeds"], type=str, metavar="N", help=f"Number of paired seeds.  [default: {protocol.seeds}]"),
        click.Option(
            ["--workers"], type=str, metavar="N", help=f"Number of worker processes.  [default: {session.cores()}]"
        ),
        click.Option(["--scheduler"], type=str, metavar="ADDRESS", help=_SCHEDULER),
        click.Option(
            ["--slurm"], is_flag=True, help="Run in Slurm jobs, as many as --workers, described by your jobqueue.yaml."
        ),
        click.Option(["--shard"], type=str, metavar="I/N", help=_SHARD),
        click.Option(["--timeout"], type=str, metavar="TIME", help=_TIMEOUT),
        click.Option(["--full"], is_flag=True, help="Use the full size: the defaults marked --full above."),
        click.Option(["--accept-changed"], type=str, metavar="recompute|keep", help=_CHANGED),
        click.Option(["--log"], type=str, metavar="tensorboard", help="Write curves for TensorBoard as runs end."),
        click.Option(["--dry-run"], is_flag=True, help="Show the runs to compute and their time; change nothing."),
        click.Option(["--json"], is_flag=True, help="With --dry-run: print every run as JSON on stdout."),
    ]


def _protocol_command(protocol: Protocol, root: Path) -> click.Command:
    from neuro_decorr.study import options

    # In a folder below the study directory the same command resumes the same study.
    results = root / "results" / protocol.name
    common = _common(protocol, results)
    names = {str(parameter.name) for parameter in common}
    taken = names & set(protocol.configuration.model_fields)
    if taken:
        raise InvalidValue(
            f"protocol '{protocol.name}': its configuration has a field '{min(taken)}', which is an option common to "
            "all studies; give the field another name."
        )

    def callback(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in names}
        session.run(protocol, root, results, given, chosen)

    return _ProtocolCommand(
        protocol.name,
        options.parameters(protocol),
        common,
        callback=callback,
        help=protocol.question,
        # So unknown options are reported together with all other problems.
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "max_content_width": 110},
    )
