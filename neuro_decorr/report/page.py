"""Page of a study, or of several studies compared: one HTML file that needs no other file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuro_decorr.errors import InvalidValue
from neuro_decorr.report import described, downloads, explorer, html, sessions
from neuro_decorr.report.contents import Contents, Drawing, read
from neuro_decorr.report.courses import courses
from neuro_decorr.study import code, files

NAME, GENERATOR = "index.html", "neuro-decorr"
Part = tuple[str, str]


def write(directory: Path, question: str) -> Path:
    """Write `DIR/index.html` from the files of a study.

    Args:
        directory: Directory of a study whose report is written.
        question: The question that the study answers.

    Returns:
        Path of the page.

    Raises:
        InvalidValue: The directory holds no study.
        Unwritable: The page cannot be written.
    """
    study = read(directory)
    parts, scripts = _parts([study], "courses")
    title = study.identity.protocol
    page = html.document(
        title, question, parts, GENERATOR, kicker=f"Study of the protocol {title.replace('_', ' ')}",
        lead=_missing([study]), scripts=scripts,
    )  # fmt: skip
    files.write(directory / NAME, page)
    return directory / NAME


def compare(questions: Mapping[Path, str], out: Path) -> None:
    """Write one page about several studies: those of one protocol side by side, the others one after another.

    Args:
        questions: The question of each study, by its directory.
        out: File of the page.

    Raises:
        InvalidValue: A directory holds no study or no tables, or `out` exists and is no such page.
        Unwritable: The page cannot be written.
    """
    check(out)
    names = _names(list(questions))
    studies = [read(directory, name) for directory, name in zip(questions, names, strict=True)]
    for study in studies:
        if not study.rows:
            raise InvalidValue(
                f"{study.directory} has no tables yet; run the study, or give: neuro-decorr report {study.directory}"
            )
    groups: dict[str, list[Contents]] = {}
    for study in studies:
        groups.setdefault(study.identity.protocol, []).append(study)
    shown: list[Part] = []
    scripts: list[str] = []
    asked = dict(zip([study.identity.protocol for study in studies], questions.values(), strict=True))
    for number, (protocol, group) in enumerate(groups.items()):
        parts, needed = _parts(group, f"courses-{number}", level=3 if len(groups) == 1 else 4)
        scripts = scripts or needed
        if len(groups) == 1:
            shown = parts
        else:
            lead = f"<p><strong>{html.text(asked[protocol])}</strong></p>\n"
            shown.append((protocol.replace("_", " "), lead + html.sections(parts, 3)))
    heading = next(iter(asked.values())) if len(groups) == 1 else f"{len(studies)} studies of {len(groups)} protocols"
    page = html.document(
        "Comparison", heading, shown, GENERATOR, kicker=f"Compared: {', '.join(names)}", lead=_missing(studies),
        scripts=scripts,
    )  # fmt: skip
    files.write(out, page)


def check(path: Path) -> None:
    """Refuse an existing file, unless it is a page of this package, which may be replaced.

    Args:
        path: File of the new page.

    Raises:
        InvalidValue: The path is a directory, or a file of another kind.
    """
    if path.is_dir():
        raise InvalidValue(f"--out: {path} is a directory; give the name of a file, such as {path / 'page.html'}.")
    if path.exists() and f'content="{GENERATOR}"'.encode() not in files.read(path)[:4096]:
        raise InvalidValue(
            f"--out: {path} exists and is no page of this command; nothing is overwritten: give another name."
        )


def _parts(studies: Sequence[Contents], identifier: str, level: int = 3) -> tuple[list[Part], list[str]]:
    """Make the parts of the page for studies of one protocol, in the order of a reader's questions, and its scripts."""

    def each(made: Callable[[Contents], str]) -> str:
        if len(studies) == 1:
            return made(studies[0])
        return html.sections([(study.name, made(study)) for study in studies], level)

    # The orders of all studies together first; then those of each study.
    names = dict.fromkeys(name for study in studies for name in study.declared)
    orders: list[list[Any]] = [
        list(dict.fromkeys(level for study in studies for level in study.declared.get(name, ()))) for name in names
    ]
    orders += [order for study in studies for order in study.orders]
    found = courses({study.name: study.rows for study in studies}, orders)
    block = explorer.data(found, identifier) if found else ""
    achieved = explorer.place(identifier, "achieved") if any(one.achieved for one in found) else ""
    parts = [
        ("What differs", sessions.differences(studies) if len(studies) > 1 else ""),
        ("Conditions", each(described.conditions)),
        ("Main figure", each(lambda study: _figures(study, study.drawings[:1]))),
        ("Finding", each(_finding)),
        ("Curves to explore", block + explorer.place(identifier) + _left_out(studies) if found else ""),
        ("Achieved decorrelation", achieved),
        ("Further figures", each(lambda study: _figures(study, study.drawings[1:]))),
        ("Tables", each(_tables)),
        ("Runs that diverged", each(described.diverged)),
        ("Cost", each(described.cost)),
        ("Provenance", each(sessions.provenance)),
        ("Protocol", each(sessions.protocol) if any((one.directory / code.FOLDER).is_dir() for one in studies) else ""),
        ("Data", each(downloads.downloads)),
    ]
    return parts, explorer.scripts() if found else []


def _missing(studies: Sequence[Contents]) -> str:
    """Make the warning that comes first: missing runs, different origins of runs, files that cannot be shown."""
    lines = [
        line if len(studies) == 1 else f"{study.name}: {line}"
        for study in studies
        for line in [*study.missing, *study.mixed, *study.unshown]
    ]
    if not lines:
        return ""
    title = "Not everything can be shown"
    if touched := [study.name for study in studies if study.mixed]:
        of = "" if len(studies) == 1 else f" of {' and of '.join(touched)}"
        title = f"The runs{of} were made from different data, code or versions"
    if touched := [study.name for study in studies if study.missing]:
        subject = "This study is" if len(studies) == 1 else f"The study {touched[0]} is"
        subject = f"The studies {', '.join(touched)} are" if len(touched) > 1 else subject
        title = f"{subject} incomplete"
    return f'<section class="warning">\n<h2>{html.text(title)}</h2>\n{html.bullets(lines)}</section>\n'


def _left_out(studies: Sequence[Contents]) -> str:
    kinds = {kind: count for study in studies for kind, count in study.large.items()}
    return html.bullets(
        [f"`{kind}` has {count} rows, too many for curves on this page." for kind, count in kinds.items()]
    )


def _finding(study: Contents) -> str:
    shown = html.words(study.finding)
    return f'<div class="finding">{shown}</div>\n' if shown else ""


def _figures(study: Contents, drawings: Sequence[Drawing]) -> str:
    known = {table.name for table in study.tables}
    made = []
    for drawing in drawings:
        own = f", table {html.text(drawing.name)}.csv" if drawing.name in known else ""
        link = f'<a href="#{downloads.place(study)}">section Data</a>'
        more = f' <span class="soft">Data of this figure: {link}{own}.</span>'
        made.append(html.figure(drawing.svg, study.caption(drawing), more))
    return "".join(made)


def _tables(study: Contents) -> str:
    return "".join(
        html.table(table.head, table.rows, table.caption or table.name, f"{table.name}.csv") for table in study.tables
    )


def _names(directories: Sequence[Path]) -> list[str]:
    """Find short names that distinguish the directories."""
    for depth in range(1, 1 + max(len(directory.absolute().parts) for directory in directories)):
        names = ["/".join(directory.absolute().parts[-depth:]) for directory in directories]
        if len(set(names)) == len(names):
            return names
    raise InvalidValue("a study is given twice; give each directory once.")
