"""A release: one version everywhere, a changelog that names it, and a citation of every source."""

from __future__ import annotations

import datetime
import importlib.util
import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml

import neuro_decorr as nd

ROOT = Path(__file__).resolve().parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
WORKFLOW = ROOT / ".github" / "workflows" / "publish.yml"


def texts(suffix: str, *folders: str) -> dict[Path, str]:
    found = [path for folder in folders for path in (ROOT / folder).rglob(f"*{suffix}")]
    return {path: path.read_text(encoding="utf-8") for path in found}


# Version


def test_one_version_everywhere() -> None:
    assert nd.__version__ == VERSION
    assert CITATION["version"] == VERSION
    pages = {ROOT / "README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
    pages |= texts(".md", "docs") | texts(".py", "examples")
    named = {path.name: set(re.findall(r"neuro_decorr-([\d.]+\d)", text)) for path, text in pages.items()}
    assert {name: versions for name, versions in named.items() if versions - {VERSION}} == {}
    assert named["README.md"] == {VERSION}


def test_the_changelog_begins_with_it_and_its_date() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+)\] - (\S+)$", changelog, re.MULTILINE)
    assert headings[0] == (VERSION, CITATION["date-released"].isoformat())
    assert isinstance(CITATION["date-released"], datetime.date)
    newest = changelog.split("\n## ")[1]
    assert re.findall(r"^### (\w+)$", newest, re.MULTILINE) == ["Added", "Changed", "Fixed", "Removed"]


# Citation


def identifiers(text: str) -> set[str]:
    """DOIs and numbers of arXiv in a text, in small letters."""
    return {(arxiv or doi).lower().rstrip(".,;)") for arxiv, doi in re.findall(r"arXiv:([\d.]+\d)|doi:(\S+)", text)}


def cited() -> set[str]:
    entries = CITATION["references"]
    dois = {entry["doi"].lower() for entry in entries if "doi" in entry}
    return dois | set(re.findall(r"arxiv\.org/abs/([\d.]+\d)", str([entry.get("url") for entry in entries])))


def sources() -> list[tuple[str, str]]:
    """Names of rules and credit assignments, each with one work of its source."""
    tables = [nd.rules.table(), nd.credit.table()]
    if importlib.util.find_spec("brian2") is not None:
        tables.append(nd.brian.table())
    return [(row["name"], work) for table in tables for row in table for work in row["source"].split("; ")]


def plain(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()


def test_every_source_of_a_rule_and_a_credit_is_cited() -> None:
    assert [(name, missing) for name, work in sources() if (missing := identifiers(work) - cited())] == []
    for name in nd.conditioning.__all__:
        text = (getattr(nd.conditioning, name).__doc__ or "").partition("Source")[2].partition("Args:")[0]
        assert {number for number in identifiers(text) if number in cited()} or not identifiers(text), name


def test_sources_name_the_first_author_and_the_year_of_the_citation() -> None:
    def agrees(work: str, entry: dict[str, Any]) -> bool:
        numbers = {entry.get("doi", "").lower(), entry.get("doi", "").lower().removeprefix("10.48550/arxiv.")}
        author = plain(entry["authors"][0]["family-names"])
        opening = re.split(r"\d{4}", plain(work), maxsplit=1)[0]
        begins = re.sub("^(local form of |circuit: )", "", opening).startswith(author)
        return begins and f" {entry['year']}" in work and identifiers(work) <= numbers

    entries = CITATION["references"]
    assert [(name, work) for name, work in sources() if not any(agrees(work, entry) for entry in entries)] == []


def test_every_preprint_names_its_version_or_says_that_it_is_not_known() -> None:
    preprints = [
        entry for entry in CITATION["references"]
        if "arxiv" in str(entry.get("url")) and not {"journal", "conference"} & set(entry)
    ]  # fmt: skip
    assert len(preprints) >= 8
    for entry in preprints:
        version = entry.get("version")
        assert entry["url"].endswith(version) if version else "Which version" in entry["notes"], entry["title"]


def test_no_paper_is_cited_twice() -> None:
    titles = [entry["title"].lower() for entry in CITATION["references"]]
    assert len(titles) == len(set(titles))


# The workflow that publishes


@pytest.mark.skipif(not WORKFLOW.exists(), reason="the source distribution carries no workflows")
def test_publishing_needs_the_tests_of_what_was_built() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key `on` as true
    jobs = workflow["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["needs"] == ["sdist", "wheel"]
    assert jobs["sdist"]["needs"] == jobs["wheel"]["needs"] == "build"
    assert all("id-token" not in job.get("permissions", {}) for name, job in jobs.items() if name != "publish")
    commands = {name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()}
    assert "GITHUB_REF_NAME#v" in commands["build"] and "python -m build" in commands["build"]
    assert "*.tar.gz" in commands["sdist"] and "make test" in commands["sdist"]
    assert "*.whl" in commands["wheel"] and "pytest" in commands["wheel"]
    assert commands["publish"].strip() == "", "the job that may publish runs no command of the project"
