"""Stored runs that were made from other data, code or versions than the present ones: refused, or settled by choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from neuro_decorr.errors import StateMismatch
from neuro_decorr.study import provenance
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.configuration import Configuration
from neuro_decorr.study.failures import counted
from neuro_decorr.study.files import Unreadable
from neuro_decorr.study.origin import Origin, key
from neuro_decorr.study.store import Store, StoredRun

Accept: TypeAlias = Literal["recompute", "keep"]
"""Treatment of runs of another origin: compute them again, or keep them beside the new ones."""
FOLDER = "replaced"
_SHOWN = 3
"""Number of differences that a report names; the others are counted."""


def settle(
    runs: Mapping[Condition, StoredRun],
    origin: Origin,
    directory: Path,
    sessions: Iterable[Mapping[str, Any]],
    accept: Accept | None,
) -> dict[str, Any] | None:
    """Decide whether a session may continue with the stored runs. Changes nothing.

    Args:
        runs: The stored runs.
        origin: Origin of new runs: present data, code and versions.
        directory: Directory of the study.
        sessions: Record of the earlier sessions. Runs that a session of the same origin kept need no second choice.
        accept: Choice on the command line; `recompute` covers all runs of another origin, also those kept before.

    Returns:
        The record of the choice: the choice, the keys of the other origins, the number of their runs, the differences.
        None where nothing has changed.

    Raises:
        StateMismatch: Runs are of another origin and nothing was chosen; the message lists every difference.
    """
    own = key(origin.brief)
    kept = {own}
    for session in sessions:
        accepted = session.get("accepted_changes")
        if accepted and accepted["choice"] == "keep" and key(session["origin"]) == own and accept != "recompute":
            kept.update(accepted["origins"])
    others: dict[str, list[StoredRun]] = {}
    for run in runs.values():
        if key(run.origin) not in kept:
            others.setdefault(key(run.origin), []).append(run)
    if not others:
        return None
    lines = [line for group in others.values() for line in origin.differences(group[0].origin, directory)]
    lines = list(dict.fromkeys(lines))
    count = sum(map(len, others.values()))
    if accept is None:
        told = "\n".join(f"  {line}" for line in lines)
        what = (
            f"1 of {len(runs)} runs in {directory} was"
            if count == 1
            else f"{count} of {len(runs)} runs in {directory} were"
        )
        raise StateMismatch(
            f"{what} made from other data, code or versions than the present ones; nothing was changed.\n{told}\n"
            "  Restore what has changed; or choose another directory; or give --accept-changed recompute (compute them "
            f"again, and keep the old ones in {FOLDER}/) or --accept-changed keep (keep both in one table, on record)."
        )
    return {"choice": accept, "origins": sorted(others), "runs": count, "differences": lines}


def told(accepted: Mapping[str, Any] | None) -> list[str]:
    """Describe the choice in one line; no line where there was none."""
    if accepted is None:
        return []
    became = "are computed again" if accepted["choice"] == "recompute" else "are kept"
    runs = f"{accepted['runs']} {'run that was' if accepted['runs'] == 1 else 'runs that were'}"
    return [f"{runs} made from other data, code or versions {became}, on record in {provenance.NAME}"]


def since(
    runs: Sequence[StoredRun], root: Path, protocol: str, configuration: Configuration, directory: Path
) -> list[str]:
    """List what has changed since the stored runs were made, for a report, which takes the runs as they are.

    Args:
        runs: The stored runs.
        root: The study directory, which has `protocols/`.
        protocol: Name of the protocol.
        configuration: Its configuration.
        directory: Directory of the study.

    Returns:
        One line; no line where nothing has changed.
    """
    try:
        now = Origin.of(root, protocol, configuration)
    except Unreadable as error:
        return [f"changes since the stored runs were made are unknown: {error}".rstrip(".")]
    others = [run for run in runs if key(run.origin) != key(now.brief)]
    if not others:
        return []
    origins = {key(run.origin): run.origin for run in others}
    lines = dict.fromkeys(line for brief in origins.values() for line in now.differences(brief, directory))
    told = "; ".join([*list(lines)[:_SHOWN], *([f"{len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])])
    was = "was" if len(others) == 1 else "were"
    return [f"{len(others)} of {counted(len(runs))} {was} made from other data, code or versions ({told})"]


def set_aside(
    runs: dict[Condition, StoredRun], accepted: Mapping[str, Any], store: Store
) -> dict[Condition, StoredRun]:
    """Move the runs that are to be computed again to `DIR/replaced/NUMBER`.

    Args:
        runs: The stored runs.
        accepted: The record that `settle` returned.
        store: Store of the study.

    Returns:
        The runs that stay.
    """
    if accepted["choice"] == "keep":
        return runs
    number = 1 + sum(1 for _ in (store.directory / FOLDER).glob("*"))
    changed = {condition: run for condition, run in runs.items() if key(run.origin) in accepted["origins"]}
    for run in changed.values():
        store.set_aside(run, store.directory / FOLDER / str(number))
    return {condition: run for condition, run in runs.items() if condition not in changed}
