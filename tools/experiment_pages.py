"""Make the page of every experiment in docs/experiments from its protocol's docstring and the directory of a study.

Usage: python -m tools.experiment_pages [--check] [STUDY_DIRECTORY ...]

Each directory makes the results of its protocol anew, and the figures in docs/figures; the first directory of a
protocol makes the main results, further ones follow it. A single directory leaves further studies as they are. The
other pages keep their results and take what the docstrings say now; docs/experiments/index.md lists all protocols. Two
parts of a page are written by hand and kept: the finding in bold below the title, which the list repeats, and what
stands below "## Discussion". With --check nothing is written; the exit code is 1 where a page does not say what its
protocol says.
"""

from __future__ import annotations

import ast
import io
import json
import re
import shlex
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from neuro_decorr.report import contents
from neuro_decorr.study import discovery, options, provenance
from tools import experiment_tables as tables
from tools.experiment_tables import SPACE

ROOT = Path(__file__).resolve().parent.parent
PAGES, FIGURES = ROOT / "docs" / "experiments", ROOT / "docs" / "figures"
REQUIRED = ("Question", "Sources", "Data", "Conditions", "Measured", "Does not say")
"""Headings of every protocol; each begins a paragraph of its docstring."""
FURTHER = ("Theory", "Network", "Budget", "Controls", "Course of a run", "Predictions", "Target")
BEGIN, END = "<!-- results; made by tools/experiment_pages.py of a study -->", "<!-- end of results -->"
DISCUSSION, FURTHER_STUDY = "## Discussion", "## A further study"
NOT_RUN = "## Results\n\nThis protocol has not been run for this release. Run it with\n\n    neuro-decorr run {}"
BYTES, WIDTH = 150_000, 1_600
"""A figure of the site is no larger than this."""


def sections(text: str) -> dict[str, str]:
    """The paragraphs of a docstring by their heading; the first line is the `title`.

    A paragraph without a known heading belongs to the one before it.
    """
    title, *blocks = re.split(r"\n\s*\n", text.strip())
    found, heading = {"title": " ".join(title.split())}, "Question"
    for block in blocks:
        named = re.match(r"([A-Z][a-z ]+)\. ", block)
        known = named is not None and named[1] in (*REQUIRED, *FURTHER)
        heading = named[1] if named and known else heading
        found.setdefault(heading, "")
        found[heading] += f"\n\n{block[named.end() :] if named and known else block}"
    return {heading: text.strip() for heading, text in found.items()}


def described(name: str) -> dict[str, str]:
    """The sections of the docstring of a protocol."""
    text = discovery.location(ROOT, name).read_text(encoding="utf-8")
    return sections(ast.get_docstring(ast.parse(text)) or "")


def prose(text: str) -> str:
    """A text of a docstring as Markdown: sources become links, angle brackets stay."""
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    text = re.sub(r"\bdoi:(10\.\S+?)([.,;)]?)(?=\s|$)", r"[doi:\1](https://doi.org/\1)\2", text)
    parts = re.split(r"(`[^`]*`|\$[^$]*\$)", text)
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "".join(parts)


def page(name: str, results: str, lead: str, discussion: str) -> str:
    """The page of a protocol from its parts."""
    said = described(name)
    asked = [heading for heading in said if heading not in ("title", "Does not say")]
    text = f"# {prose(said['title'])}\n\n" + (f"**{lead}**\n\n" if lead else "")
    text += "<!-- The text to Measured is the docstring of the protocol; edit it there. -->\n\n"
    text += "".join(f"## {heading}\n\n{prose(said[heading])}\n\n" for heading in asked)
    text += f"{BEGIN}\n\n{results.strip()}\n\n{END}\n\n## What this does not say\n\n{prose(said['Does not say'])}\n"
    return text + (f"\n{DISCUSSION}\n\n{discussion.strip()}\n" if discussion.strip() else "")


def parts(text: str) -> tuple[str, str, str]:
    """The results of a page, and what is written by hand: the finding in a sentence or two, and the discussion."""
    results = text.partition(BEGIN)[2].partition(END)[0].strip()
    bold = re.match(r"# [^\n]+\n\n\*\*(.+?)\*\*\n", text, re.DOTALL)
    return results, bold[1] if bold else "", text.partition(f"\n{DISCUSSION}\n")[2].strip()


def results(studies: Iterable[contents.Contents]) -> str:
    """The results of studies of one protocol, the first of them in full, each with its command and origin."""
    made = []
    for number, study in enumerate(studies, start=1):
        again = command(study)
        title = "## Results" if number == 1 else f"{FURTHER_STUDY}\n\n    {again}"
        made.append(f"{title}\n\n" + _study(study, number, again))
    return "\n".join(made)


def _study(study: contents.Contents, number: int, again: str) -> str:
    text = "".join(f"!!! warning\n    {line}\n\n" for line in (*study.missing, *study.mixed))
    for drawing in study.drawings:
        protocol = study.identity.protocol
        name = drawing.name if drawing.name.startswith(protocol) else f"{protocol}_{drawing.name}"
        name = name if number == 1 else f"{name}_{number}"
        save_figure(study.directory / "figures" / f"{drawing.name}.png", FIGURES / f"{name}.png")
        caption = tables.escaped(study.caption(drawing)).replace("n = ", f"n{SPACE}={SPACE}")
        shown = f"../figures/{name}.png"  # a link too: on a phone the reader wants it larger
        text += f"[![{label(drawing.name)}]({shown})]({shown})\n\n{caption}\n\n"
    told = {drawing.caption for drawing in study.drawings}
    text += "\n".join(tables.markdown(table, captioned=table.caption not in told) for table in study.tables)
    depth = "##" if number == 1 else "###"
    if printed := finding(study):
        text += f"\n{depth} Finding\n\nAs the protocol prints it:\n\n```text\n{printed}\n```\n"
    shown = f"    {again}\n\n" if number == 1 else ""
    return text + f"\n{depth} How it was made\n\n{shown}{settings(study)}\n\n{origin(study)}\n"


def finding(study: contents.Contents) -> str:
    """The text that the protocol printed, without the tables that the study has too."""
    heads = [" ".join(table.head).split() for table in study.tables]
    blocks = [block.strip("\n") for block in study.finding.rstrip().split("\n\n")]
    return "\n\n".join(block for block in blocks if block.partition("\n")[0].split() not in heads)


def label(name: str) -> str:
    """A name of a figure in words."""
    return name.replace("_", " ").capitalize()


def save_figure(source: Path, target: Path) -> None:
    """Copy a figure, with fewer colours and pixels where it is too large for a page."""
    from PIL import Image

    content = source.read_bytes()
    width = WIDTH
    while len(content) > BYTES and width > WIDTH // 2:
        with Image.open(source) as image:
            flat = image.convert("RGB")
            if flat.width > width:
                flat = flat.resize((width, round(flat.height * width / flat.width)), Image.Resampling.LANCZOS)
            stream = io.BytesIO()
            flat.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(stream, "png", optimize=True)
        content, width = stream.getvalue(), width - 200
    target.write_bytes(content)


def command(study: contents.Contents) -> str:
    """The command that repeats a study, with the word DIR for its files and folders."""
    protocol = discovery.load(ROOT, study.identity.protocol)
    fields = protocol.configuration.model_fields
    given = {name: _shown(name, value) for name, value in study.identity.configuration.items() if name in fields}
    made = protocol.configuration.model_construct(**given)  # not checked, since the files may be elsewhere
    return shlex.join(options.command(protocol, made, study.identity.seeds))


def _shown(name: str, value: Any) -> Any:
    return "DIR" if value is not None and name.endswith(("dir", "file", "path")) else value


def settings(study: contents.Contents) -> str:
    """The settings that differ from the defaults, in words."""
    protocol = discovery.load(ROOT, study.identity.protocol)
    fields, start = protocol.configuration.model_fields, protocol.configure().model_dump(mode="json")
    stored = study.identity.configuration
    changed = {name: stored[name] for name in start if name in stored and stored[name] != start[name]}
    text = "Settings that differ from the defaults:\n" if changed else "All settings are the defaults."
    for name, value in changed.items():
        what = prose(" ".join(str(fields[name].description).split()).rstrip("."))
        text += f"\n- `{name}` is `{_value(name, value)}` (default `{_value(name, start[name])}`): {what}."
    for what, names in (("no longer has", set(stored) - set(fields)), ("has only since", set(fields) - set(stored))):
        if names:
            text += f"\n\nSettings that the protocol {what}: {', '.join(f'`{name}`' for name in sorted(names))}."
    return text


def _value(name: str, value: Any) -> str:
    if value is None:
        return "not given"
    shown = _shown(name, value)
    return ",".join(map(str, shown)) or "''" if isinstance(shown, list) else str(shown)


def origin(study: contents.Contents) -> str:
    """Commit, versions and processor of a study, and the time that it took."""
    session, note = _sessions(study)
    git, versions, machine = (session[-1].get(name) or {} for name in ("git", "versions", "machine"))
    made = "no commit on record"
    if git:
        made = f"commit `{git['commit'][:12]}`" + (" with changes that were not committed" if git.get("dirty") else "")
    runs = len(study.rows["runs"]) if "runs" in study.rows else sum(one["runs_computed"] for one in session)
    names = ("python", "torch", "numpy", "brian2", "norse")
    used = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    lines = [
        f"Made from {made} on {session[0]['started'][:10]}: {runs} runs, {duration(study)}.",
        f"Processor: {machine.get('processor', 'not on record')}, {machine.get('cores', '?')} cores. {used}.{note}",
    ]
    return "\n".join(lines)


def _sessions(study: contents.Contents) -> tuple[list[dict[str, Any]], str]:
    if study.sessions:
        return list(map(dict, study.sessions)), ""
    text = (study.directory / provenance.NAME).read_text(encoding="utf-8")
    return json.loads(text)["sessions"], " The record of this study is of an earlier version, without a checksum."


def duration(study: contents.Contents) -> str:
    """The processor time of the runs; of studies that did not record it the time from start to end."""
    if "costs" in study.rows and "cpu_seconds" in study.rows["costs"]:
        return f"{_minutes(float(study.rows['costs']['cpu_seconds'].sum()))} of processor time"
    seconds = 0.0
    for one in _sessions(study)[0]:
        if one["ended"]:
            seconds += (datetime.fromisoformat(one["ended"]) - datetime.fromisoformat(one["started"])).total_seconds()
    return f"{_minutes(seconds)} from start to end"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def index() -> str:
    """The list of all protocols: question, finding, time."""
    rows, absent = [], []
    for name in discovery.names(ROOT):
        question, link = prose(described(name)["title"]), f"[{name.replace('_', ' ')}]({name}.md)"
        text, lead, _ = parts((PAGES / f"{name}.md").read_text(encoding="utf-8"))
        if text == NOT_RUN.format(name):
            absent.append(f"- {link}: {question} Run it with `neuro-decorr run {name}`.")
            continue
        time = re.search(r"\d+ runs, (\d+ \w+) (of processor time|from start to end)", text)
        took = "" if time is None else time[1] if time[2] == "of processor time" else f"{time[1]} by the clock"
        rows.append(f"| {link} | {question} | {' '.join(lead.split())} | {took} |")
    shown = _INDEX + "\n".join(rows) + "\n"
    return shown + ("\n## Not run for this release\n\n" + "\n".join(absent) + "\n" if absent else "")


_INDEX = """# Experiments

Each page is made by a script from the directory of a study: question, conditions, figure, table, the finding as the
protocol prints it, the command that repeats it, and what it does not say. Null results are kept. The time is processor
time of one core; "by the clock": from start to end on two shared cores, where that alone was recorded. Not all studies
were made by the code of this release: each page names its commit.

| experiment | question | in short | time |
| --- | --- | --- | --- |
"""


def pages(directories: Iterable[Path]) -> dict[Path, str]:
    """The text of every page of this moment, by its file."""
    studies: dict[str, list[contents.Contents]] = {}
    for directory in directories:
        study = contents.read(directory)
        studies.setdefault(study.identity.protocol, []).append(study)
    found = {}
    for name in discovery.names(ROOT):
        path = PAGES / f"{name}.md"
        kept, lead, discussion = parts(path.read_text(encoding="utf-8") if path.exists() else "")
        shown = results(studies[name]) if name in studies else kept or NOT_RUN.format(name)
        if len(studies.get(name, ())) == 1:
            shown += "".join(f"\n{FURTHER_STUDY}{part.rstrip()}\n" for part in kept.split(FURTHER_STUDY)[1:])
        found[path] = page(name, shown, lead, discussion)
    return found


def main() -> int:
    """Write or check; see the usage above."""
    check = "--check" in sys.argv[1:]
    made = pages(Path(word) for word in sys.argv[1:] if word != "--check")
    behind = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if not check:
        for path in behind:
            path.write_text(made[path], encoding="utf-8")
        (PAGES / "index.md").write_text(index(), encoding="utf-8")
    behind += [] if (PAGES / "index.md").read_text(encoding="utf-8") == index() else [PAGES / "index.md"]
    return int(check and bool(behind))


if __name__ == "__main__":
    sys.exit(main())
