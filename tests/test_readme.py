"""The README keeps its word: its example runs, its links lead somewhere; tables of the docs are the registries'."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neuro_decorr as nd
from tools import readme

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_six_lines_run_in_a_model_of_ones_own() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(64, 30) + torch.randn(64, 1), torch.randint(4, (64,))
    plain = nn.Sequential(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 4))
    before = plain[0].weight.clone()
    known = {"nd": nd, "torch": torch, "F": F, "inputs": inputs, "targets": targets, "model": plain}
    (example,) = EXAMPLES
    assert len(example.splitlines()) == 6
    exec(compile(example, "README.md", "exec"), known)
    model = known["model"]
    assert isinstance(model, nn.Module) and not torch.equal(model[0].weight, before)  # type: ignore[index]
    assert torch.allclose(nd.fold(model).eval()(inputs), model.eval()(inputs), atol=1e-5)


def test_it_fits_about_one_screen() -> None:
    assert len(TEXT.splitlines()) <= 80


@pytest.mark.parametrize("path", readme.FILES, ids=lambda path: path.name)
def test_tables_are_those_of_the_registries(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert readme.filled(text) == text, "run: python tools/readme.py"


def test_every_file_has_its_tables_with_a_row_for_each_rule_and_credit() -> None:
    """By its name in code, once; the table of a backend that is not installed stays as it is."""
    found = [match for path in readme.FILES for match in readme.TABLE.finditer(path.read_text(encoding="utf-8"))]
    assert [match["name"] for match in found] == ["rules", "rules in Brian2", *["credits"] * 4]
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
