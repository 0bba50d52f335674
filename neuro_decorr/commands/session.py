"""Session of `neuro-decorr run`: all options are checked, then the study runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from neuro_decorr.errors import InvalidValue

if TYPE_CHECKING:
    from neuro_decorr.study import Protocol
    from neuro_decorr.study.sharding import Shard
    from neuro_decorr.study.workers import Factory


def run(protocol: Protocol, root: Path, results: Path, given: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Check all options, then run the study.

    Args:
        protocol: The experiment.
        root: The study directory.
        results: Directory of the study where `--out` is not given.
        given: Text by field of the configuration; None where the option is not given.
        chosen: Text by common option; None where the option is not given.

    Raises:
        InvalidValue: Options are wrong; one line for each.
    """
    from neuro_decorr.commands.dry_run import show
    from neuro_decorr.commands.ending import finish, finish_share
    from neuro_decorr.study import execution, options
    from neuro_decorr.study.configuration import missing_data
    from neuro_decorr.study.plan import plan
    from neuro_decorr.study.tensorboard import TensorBoard

    context = click.get_current_context()
    known = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    problems = options.unknown(context.args, [*known, "--help"])
    problems += options.empty(protocol.configuration, given)
    quoted = options.quoted(protocol.configuration, given)
    problems += quoted.values()
    count = options.whole_number("--seeds", _text(chosen["seeds"], protocol.seeds), problems, most=1_000_000)
    workers = options.whole_number("--workers", _text(chosen["workers"], cores()), problems, most=1_000)
    timeout = options.seconds("--timeout", chosen["timeout"], problems)
    places = _places(chosen, problems)
    accept = chosen["accept_changed"]
    if accept not in (None, "recompute", "keep"):
        problems.append(f"--accept-changed: got {accept!r}; should be 'recompute' or 'keep'")
    if chosen["out"] is not None and not chosen["out"].strip():
        problems.append("--out: got an empty text (perhaps from an unset variable of the shell); name a directory")
    if chosen["log"] not in (None, "tensorboard"):
        problems.append(f"--log: got {chosen['log']!r}; should be 'tensorboard'")
    if chosen["json"] and not chosen["dry_run"]:
        problems.append("--json: allowed with --dry-run only; add --dry-run, or leave --json out")
    try:
        configuration = protocol.configure(
            options.values(protocol.configuration, {**given, **dict.fromkeys(quoted)}), chosen["full"]
        )
        problems += missing_data(configuration)
    except InvalidValue as error:
        problems += str(error).splitlines()
    if problems:
        raise InvalidValue("\n".join(problems))
    directory = Path(chosen["out"] if chosen["out"] is not None else shown(results))
    if chosen["dry_run"]:
        found = plan(protocol, configuration, directory, root=root, count=count, shard=places[1], accept=accept)
        show(found, str(directory), None if chosen["scheduler"] else workers, chosen["json"])
        return
    log = TensorBoard(directory) if chosen["log"] else None
    words = options.command(protocol, configuration, count, _how(chosen))
    try:
        outcome = execution.execute(
            protocol,
            configuration,
            directory,
            root=root,
            count=count,
            workers=places[0](workers),
            shard=places[1],
            timeout=timeout,
            command=["neuro-decorr", *sys.argv[1:]],
            again=words,
            accept=accept,
            log=log,
        )
    except KeyboardInterrupt:
        _interrupted(directory, options.whole(words, directory))
    if places[1] is not None:
        finish_share(protocol, directory, outcome)
    else:
        finish(protocol, directory, outcome, options.whole(words, directory))


def _how(chosen: Mapping[str, Any]) -> list[str]:
    """Options that say where and how runs are computed, for the command that resumes the study."""
    words = ["--slurm"] if chosen["slurm"] else []
    for name in ("workers", "scheduler", "shard", "timeout", "log"):
        words += [f"--{name}", chosen[name]] if chosen[name] is not None else []
    return words


def _places(chosen: Mapping[str, Any], problems: list[str]) -> tuple[Callable[[int], int | Factory], Shard | None]:
    """Find where the runs are computed, as a function of the number of workers, and the share to compute."""
    from neuro_decorr.study.sharding import Shard

    shard = None
    if chosen["shard"] is not None:
        try:
            shard = Shard.parse(chosen["shard"])
        except InvalidValue as error:
            problems.append(str(error))
    address = chosen["scheduler"]
    if address is not None and chosen["slurm"]:
        problems.append("--scheduler and --slurm: give only one of them; --slurm starts its own scheduler")
    elif address is not None:
        from neuro_decorr.study.cluster import Cluster

        if chosen["workers"] is not None:
            problems.append("--workers: leave it out with --scheduler, whose workers are all used")
        return lambda _: partial(Cluster, address=address), shard
    elif chosen["slurm"]:
        from neuro_decorr.study.cluster_slurm import slurm

        if chosen["workers"] is None:
            problems.append("--slurm: give the number of jobs too, as --workers N")
        return lambda jobs: partial(slurm, jobs=jobs), shard
    return lambda workers: workers, shard


def _interrupted(directory: Path, again: str) -> NoReturn:
    from neuro_decorr.study.failures import counted
    from neuro_decorr.study.store import Store

    runs = Store(directory, "").count()
    click.echo(f"Interrupted: {directory} has {counted(runs, 'stored run')}; go on with: {again}", err=True)
    raise click.exceptions.Exit(130) from None


def _text(given: str | None, default: int) -> str:
    return str(default) if given is None else given


def shown(path: Path) -> str:
    """Return a path relative to the current directory."""
    try:
        return os.path.relpath(path)
    except ValueError:  # the path is on another drive of Windows
        return str(path)


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
