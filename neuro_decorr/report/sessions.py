"""Provenance of a study, session by session, and differences between studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuro_decorr.report import html
from neuro_decorr.report.contents import Contents
from neuro_decorr.study import code


def provenance(study: Contents) -> str:
    """Describe every session: time, machine, versions, and number of runs."""
    if study.sessions is None:
        return "<p>The record of the sessions, provenance.json, is missing or damaged.</p>\n"
    head = ["session", "started (UTC)", "ended (UTC)", "outcome", "runs computed", "commit", "processor"]
    rows = []
    for number, session in enumerate(study.sessions, start=1):
        git, machine = session.get("git") or {}, session.get("machine") or {}
        times = [str(session.get(name) or "").replace("T", " ").removesuffix("+00:00") for name in ("started", "ended")]
        found = [*times, session.get("outcome"), session.get("runs_computed")]
        rows.append([number, *found, _commit(git) or "no repository", machine.get("processor")])
    details = [
        html.folded(f"Session {number}", html.definitions(_session(session)))
        for number, session in enumerate(study.sessions, start=1)
    ]
    return html.table(head, rows) + "".join(details)


def protocol(study: Contents) -> str:
    """Show the docstring of the protocol, and its source with the modules that it imports, folded."""
    docstring, texts = code.told(study.directory, study.identity.protocol)
    sources = [
        html.folded(place, f"<pre><code>{html.text(text)}</code></pre>\n")
        for place, text in texts.items()
        if text.strip()
    ]
    return (html.words(docstring) if docstring else "") + "".join(sources)


def _session(session: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name.replace("_", " "): value for name, value in session.items() if value is not None}
    if isinstance(command := shown.get("command"), list):
        shown["command"] = " ".join(map(str, command))
    return shown


def differences(studies: Sequence[Contents]) -> str:
    """Describe the differences between studies of one protocol: settings, versions, commits, data."""
    found = [_facts(study) for study in studies]
    names = dict.fromkeys(name for facts in found for name in facts)
    rows = []
    for name in names:
        values = [facts.get(name, "none") for facts in found]
        if len({repr(value) for value in values}) > 1:
            rows.append([name.replace("_", " "), *map(html.plain, values)])
    if not rows:
        return "<p>Configuration, versions and commit are the same.</p>\n"
    return html.table(["", *(study.name for study in studies)], rows)


def _facts(study: Contents) -> dict[str, Any]:
    facts = {"seeds": study.identity.seeds, **study.identity.configuration}
    session: Mapping[str, Any] = study.sessions[-1] if study.sessions else {}
    facts |= {f"version of {name}": value for name, value in (session.get("versions") or {}).items()}
    facts["commit"] = _commit(session.get("git") or {}) or "no repository"
    for name in ("protocol", "library", "data"):
        if name in (session.get("origin") or {}):
            facts[f"digest of {name}"] = session["origin"][name]
    return facts


def _commit(git: Mapping[str, Any]) -> str:
    return f"{git['commit'][:12]}{' with changes' if git.get('dirty') else ''}" if git.get("commit") else ""
