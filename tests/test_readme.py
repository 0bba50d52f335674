"""The README keeps its word: its examples run, its tables are those of the registries, its figure is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neuro_decorr as nd
from tools import readme

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def output_of(example: str, place: Path) -> str:
    # Elsewhere, as a reader runs it: with the library, without the repository's models beside it.
    hidden = "import sys; sys.modules.update(models=None, protocols=None, analysis=None)\n"
    command = [sys.executable, "-c", hidden + example]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_network_of_the_first_example_learns(tmp_path: Path) -> None:
    found = re.fullmatch(r"test accuracy (0\.\d\d)\n", output_of(EXAMPLES[0], tmp_path))
    assert found is not None and float(found[1]) > 0.85


def test_the_users_model_of_the_second_example_is_decorrelated(tmp_path: Path) -> None:
    """The one common mode has four times the private variance: a mean correlation of 0.8 without the rule."""
    found = re.search(r"^mean_correlation +(\S+) +(\S+) to (\S+)", output_of(EXAMPLES[1], tmp_path), re.MULTILINE)
    assert found is not None
    estimate, low, high = map(float, found.groups())
    assert low < estimate < high < 0.4


def test_there_are_two_examples() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("path", readme.FILES, ids=lambda path: path.name)
def test_tables_are_those_of_the_registries(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run: python tools/readme.py"


def test_every_file_has_its_tables_with_a_row_for_each_rule_and_credit() -> None:
    """By its name in code, once; the table of a backend that is not installed stays as it is."""
    found = [match for path in readme.FILES for match in readme.TABLE.finditer(path.read_text(encoding="utf-8"))]
    assert [match["name"] for match in found] == ["rules", "credits", "rules in Brian2", *["credits"] * 4]
    names = {"rules": nd.rules.names(), "credits": nd.credit.names()}
    for match in found:
        listed = [line.split("`")[1] for line in match["table"].splitlines()[2:]]
        assert listed == names.get(match["name"], sorted(listed)) and len(listed) >= 5


def test_the_page_of_credits_has_every_column() -> None:
    page = (ROOT / "docs" / "credit.md").read_text(encoding="utf-8")
    columns = {column for match in readme.TABLE.finditer(page) for column in match["columns"].split(", ")}
    assert columns == set(nd.credit.table()[0])


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!https?:)[^)]+)\)", TEXT))
def test_what_it_links_to_is_there(path: str) -> None:
    name, _, heading = path.partition("#")
    assert (ROOT / name).is_file()
    if heading:
        headings = re.findall(r"^#+ (.+)$", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert heading in {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}
