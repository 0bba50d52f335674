"""`neuro-decorr run PROTOCOL --dry-run`: the runs that would be computed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from neuro_decorr.study import duration
from neuro_decorr.study.failures import counted

if TYPE_CHECKING:
    from neuro_decorr.study.conditions import Condition
    from neuro_decorr.study.plan import Plan, PlannedStage

_EACH = 30
"""Largest number of runs of a stage that are listed one by one; of more, the levels of their factors are listed."""
_LEVELS = 10
"""Largest number of levels of a factor that are listed one by one."""


def show(plan: Plan, directory: str, workers: int | None, as_json: bool) -> None:
    """Print a plan.

    Args:
        plan: The plan.
        directory: Directory of the study.
        workers: Number of workers. None: all workers of a cluster.
        as_json: True to print JSON with every run.
    """
    if as_json:
        click.echo(json.dumps(_record(plan, directory, workers), indent=2))
        return
    click.echo(f"A dry run: nothing is computed, and nothing is written into {directory}.")
    for line in plan.accepted:
        click.echo(f"note: {line}.")
    for stage in plan.stages:
        if stage.conditions != []:
            click.echo("\n".join(_stage(stage)))
    click.echo(_sum(plan, workers))


def _record(plan: Plan, directory: str, workers: int | None) -> dict[str, Any]:
    stages = [
        {
            "number": stage.number,
            "at_most": stage.at_most,
            "stored": len(stage.stored),
            "made_from_something_else": stage.others,
            "damaged": stage.damaged,
            "seconds_a_run": stage.seconds,
            "runs": None
            if stage.conditions is None
            else [
                {
                    "stage": condition.stage,
                    "seed": condition.seed,
                    "factors": dict(condition.factors),
                    "stored": condition in stage.stored,
                }
                for condition in stage.conditions
            ],
        }
        for stage in plan.stages
    ]
    seconds = plan.seconds
    left = None if workers is None else plan.lasts(workers)
    return {"directory": directory, "stages": stages, "seconds": seconds, "workers": workers, "seconds_left": left}


def _stage(stage: PlannedStage) -> Iterator[str]:
    title = f"stage {stage.number}"
    if stage.conditions is None:
        most = f": at most {counted(stage.at_most)}" if stage.at_most is not None else ""
        yield f"{title} depends on runs of an earlier stage that are not stored yet{most}"
        return
    names = ", ".join(dict.fromkeys(condition.stage for condition in stage.conditions))
    others = f" ({stage.others} of them made from other data, code or versions)" if stage.others else ""
    stored = f", {len(stage.stored)} stored{others}" if stage.stored else ""
    damaged = f", {stage.damaged} damaged and to be computed again" if stage.damaged else ""
    yield f"{title} ({names}): {counted(len(stage.conditions))}{stored}{damaged}"
    if len(stage.conditions) > _EACH:
        yield from _levels(stage.conditions)
        return
    for condition in stage.conditions:
        yield f"  {condition.label}{' (stored)' if condition in stage.stored else ''}"


def _levels(conditions: list[Condition]) -> Iterator[str]:
    """Yield one line per factor: its levels, and the number of runs of each."""
    columns: dict[str, Counter[Any]] = {}
    for condition in conditions:
        for name, level in [*condition.factors.items(), ("seed", condition.seed)]:
            columns.setdefault(name, Counter())[repr(level) if isinstance(level, bool) else level] += 1
    columns["seed"] = columns.pop("seed")
    width = max(map(len, columns))
    for name, levels in columns.items():
        yield f"  {name:{width}}  {_told(levels)}"


def _told(levels: Counter[Any]) -> str:
    numbers = all(isinstance(level, int | float) for level in levels)
    known = sorted(levels) if numbers else list(levels)
    if len(levels) > _LEVELS:
        between = " to " if numbers else ", ..., "
        return f"{known[0]}{between}{known[-1]} ({len(levels)} levels)"
    counts = set(levels.values())
    if len(counts) == 1:
        return f"{', '.join(map(str, known))} ({counted(max(counts))}{' each' if len(known) > 1 else ''})"
    return ", ".join(f"{level} ({counted(levels[level])})" for level in known)


def _sum(plan: Plan, workers: int | None) -> str:
    told = sum(len(stage.conditions or ()) for stage in plan.stages)
    stored = sum(len(stage.stored) for stage in plan.stages)
    open_stages = [stage for stage in plan.stages if stage.conditions is None]
    more = sum(stage.at_most or 0 for stage in open_stages)
    least = "at least " if open_stages else ""
    most = f" and at most {told + more}" if open_stages and all(s.at_most is not None for s in open_stages) else ""
    compute = sum(len(stage.missing) for stage in plan.stages)
    line = f"total: {least}{counted(told)}{most}, {stored} stored, {least}{compute} to compute"
    if compute == 0 and not open_stages:
        return line
    lasts = plan.lasts(workers)
    if lasts is None:
        return f"{line}; the time can be estimated once a run is stored"
    about = "at least" if open_stages else "about"
    share = f"with {counted(workers, 'worker')}" if workers is not None else "with one worker, less with more"
    return f"{line}; {about} {duration.told(lasts)} {share}, {plan.timed_by}"
