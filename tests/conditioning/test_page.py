"""The page on conditioning."""

from __future__ import annotations

import doctest
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / "docs" / "conditioning.md"


def test_the_example_of_the_page_runs_and_learns() -> None:
    torch.manual_seed(0)
    names: dict[str, object] = {}
    parser = doctest.DocTestParser()
    example = parser.get_doctest(PAGE.read_text(encoding="utf-8"), names, PAGE.name, str(PAGE), 0)
    found = doctest.DocTestRunner().run(example, clear_globs=False)
    assert found.attempted > 0 and not found.failed
    held_out = example.globs["images"].test
    hits = example.globs["model"](held_out.inputs).argmax(dim=1) == held_out.targets
    assert float(hits.double().mean()) > 0.3  # chance is 0.1
