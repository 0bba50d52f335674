"""Merge of several directories of one study: the union of their runs, each checked, none twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from neuro_decorr.errors import InvalidValue, StateMismatch
from neuro_decorr.study import changes, code, failures, files, provenance
from neuro_decorr.study.conditions import Condition, seeds
from neuro_decorr.study.configuration import difference
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.lock import Lock
from neuro_decorr.study.origin import Origin, key
from neuro_decorr.study.provenance import Provenance
from neuro_decorr.study.store import Store, StoredRun, same_results

_SHOWN = 5
"""Number of problems that are listed one by one; the others are counted."""


@final
@dataclass(frozen=True)
class Merged:
    """Result of a merge.

    Attributes:
        identity: Identity of the study.
        new: Number of runs that the merge added to the directory.
        runs: Number of runs in the directory now.
        notes: Remarks, one line each.
    """

    identity: Identity
    new: int
    runs: int
    notes: list[str] = field(default_factory=list)


@final
@dataclass
class _Union:
    """Union of the runs of all directories: the first run of each condition, and its store."""

    runs: dict[Condition, tuple[Store, StoredRun]] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    origins: dict[str, tuple[Mapping[str, Any], Path]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, store: Store, *, strict: bool) -> None:
        """Add the runs of a directory; unless `strict`, a damaged run counts as absent, since it is written again."""
        found = store.survey()
        whole = {store.path(condition) for condition in found}
        if strict:
            stored = sorted((store.directory / "runs").glob("*/*.json"))
            self.damaged += [f"{path} (or another file of this run)" for path in stored if path not in whole]
        for condition, run in found.items():
            name = key(run.origin)
            self.origins.setdefault(name, (run.origin, store.directory))
            self.counts[name] = self.counts.get(name, 0) + 1
            there, known = self.runs.setdefault(condition, (store, run))
            if known is not run and not same_results(known, run):
                self.different.append(f"{there.path(condition)} and {store.path(condition)}")


def merge(
    sources: Sequence[Path],
    directory: Path,
    *,
    root: Path,
    command: Sequence[str] = (),
    accept: changes.Accept | None = None,
) -> Merged:
    """Put the runs of several directories of one study into one directory.

    All runs are checked before anything is written. Each run is written as a whole, so the same command completes a
    merge that was killed. The source directories stay as they are; runs that end while they are read may be missing.

    Args:
        sources: Directories of the study.
        directory: Directory of the merged study: absent, empty, or of the same study, whose runs stay.
        root: The study directory, whose commit goes on record.
        command: The command line, for the record.
        accept: `keep` merges runs of several origins, on record. None: they are refused.

    Returns:
        The result of the merge.

    Raises:
        InvalidValue: A directory holds no study, or `accept` has another value.
        StateMismatch: The directories are of several studies or origins; a run is damaged; or one run has different
            results in two directories, which the message names.
        Unwritable: The directory cannot be written.
    """
    if accept == "recompute":
        raise InvalidValue("--accept-changed: got 'recompute'; allowed: keep (a merge computes no run again).")
    others = [source for source in dict.fromkeys(sources) if source.resolve() != directory.resolve()]
    identity = _identity(others, directory)
    identity.check(directory)
    with Lock(directory):
        files.sweep(directory)
        own = Store(directory, identity.fingerprint)
        union = _Union()
        union.add(own, strict=False)
        before = len(union.runs)
        for source in others:
            union.add(Store(source, identity.fingerprint), strict=True)
        _refuse("damaged runs; remove them and run their shares again", union.damaged)
        _refuse("different results of the same run; remove the wrong one of each pair", union.different)
        record = Provenance(directory)
        notes = [*record.warnings, *_sessions(record, others)]
        accepted = _settle(union, record.sessions, accept)
        first = next(iter(union.origins.values()))[0] if union.origins else {}
        origins = [Origin.read(place, name) for name, (_, place) in union.origins.items()]
        identity.write(directory)
        for origin in origins:
            origin.write(directory)
        if origins:
            held = next(iter(union.origins.values()))[1] / code.FOLDER
            code.keep([place for place in origins[0].protocol if (held / place).is_file()], held, directory)
        told = f"none: a merge of {', '.join(map(str, others))}"
        record.begin(command, seeds(identity.seeds), told, first, root, accepted)
        for condition, (store, run) in union.runs.items():
            if store is not own:
                own.write(store.contents(run))
            failures.forget(directory, condition)
        _failed(others, directory, {condition.key for condition in union.runs})
        record.end("merged", 0)
    return Merged(identity, len(union.runs) - before, len(union.runs), notes)


def _identity(sources: Sequence[Path], directory: Path) -> Identity:
    known = [(source, Identity.read(source)) for source in sources]
    if (directory / "configuration.json").exists():
        known.append((directory, Identity.read(directory)))
    if not known:
        raise InvalidValue("name the directories of the shares: neuro-decorr merge DIR DIR ... --out DIR")
    place, first = known[0]
    for other, identity in known[1:]:
        lines = difference({"protocol": first.protocol}, {"protocol": identity.protocol})
        lines = lines or difference(first.configuration, identity.configuration)
        if lines:
            told = "\n".join(f"  {line.replace('stored', 'there').replace('asked for', 'here')}" for line in lines)
            raise StateMismatch(
                f"{place} (there) and {other} (here) hold different studies; nothing was changed.\n{told}\n"
                "  Give directories of the same study only."
            )
    return Identity(first.protocol, first.configuration, max(identity.seeds for _, identity in known))


def _settle(
    union: _Union, sessions: Sequence[Mapping[str, Any]], accept: changes.Accept | None
) -> dict[str, Any] | None:
    """Return the record for runs of several origins; None where there is one origin, or where they were kept before."""
    names = list(union.origins)
    for session in sessions:
        accepted = session.get("accepted_changes") or {"choice": None}
        if accepted["choice"] == "keep" and {key(session["origin"]), *accepted["origins"]} >= set(names):
            return None
    if len(names) < 2:
        return None
    lines = []
    origin, here = Origin.read(union.origins[names[0]][1], names[0]), union.origins[names[0]][1]
    for name in names[1:]:
        brief, place = union.origins[name]
        told = origin.differences(brief, place)
        lines += [line.replace(": stored", f": in {place}").replace(", now", f", in {here}") for line in told]
    lines = list(dict.fromkeys(lines))
    if accept is None:
        shown = "\n".join(f"  {line}" for line in lines)
        raise StateMismatch(
            "the runs of these directories were made from different data, code or versions; nothing was changed.\n"
            f"{shown}\n"
            "  Compute them again with the same ones; or give --accept-changed keep (all in one table, on record)."
        )
    runs = sum(union.counts[name] for name in names[1:])
    return {"choice": accept, "origins": sorted(names[1:]), "runs": runs, "differences": lines}


def _sessions(record: Provenance, sources: Sequence[Path]) -> list[str]:
    """Put the sessions of all directories on record, by their start. Returns notes on records that cannot be read."""
    notes = []
    known = {_named(session): session for session in record.sessions}
    for source in sources:
        try:
            found = provenance.read(source)
        except (FileNotFoundError, files.Damaged) as error:
            why = "missing" if isinstance(error, FileNotFoundError) else str(error)
            notes.append(f"{source / provenance.NAME} is {why}: its sessions are not on record")
            continue
        for session in found:
            # A session that continued since an earlier merge has a longer record, which is taken.
            known[_named(session)] = {"merged_from": str(source), **session}
    record.sessions[:] = sorted(known.values(), key=lambda session: str(session["started"]))
    return notes


def _named(session: Mapping[str, Any]) -> bytes:
    return files.canonical({name: session[name] for name in ("command", "started", "machine")})


def _failed(sources: Sequence[Path], directory: Path, stored: set[str]) -> None:
    for source in sources:
        for path in sorted((source / failures.FOLDER).glob("*.txt")):
            place = directory / failures.FOLDER / path.name
            if path.stem != "report" and path.stem not in stored and not place.exists():
                files.write(place, files.read(path))


def _refuse(what: str, places: Sequence[str]) -> None:
    if places:
        shown = "\n".join(f"  {place}" for place in places[:_SHOWN])
        more = f"\n  and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
        raise StateMismatch(f"{what}; nothing was changed.\n{shown}{more}")
