"""The page on layers names a test for each of its statements: they exist."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_statement_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "layers.md").read_text()
    sources = "\n".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", sources, flags=re.MULTILINE))
    statements = [line for line in page.splitlines() if line.startswith("| ") and not line.endswith("| test |")]
    assert len(statements) > 30
    for statement in statements:
        named = re.findall(r"`(test_\w+)`", statement)
        assert named, f"no test for: {statement}"
        assert set(named) <= defined, f"missing: {set(named) - defined}"


def test_the_example_of_the_page_runs() -> None:
    found = doctest.testfile(
        str(ROOT / "docs" / "layers.md"), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert found.attempted > 0 and not found.failed
