"""The page on Norse keeps its word: its examples run, one after the other, and its promises name tests."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch

from neuro_decorr.errors import MissingExtra

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "norse.md").read_text(encoding="utf-8")


def test_the_examples_run_in_order() -> None:
    names: dict[str, object] = {}
    torch.manual_seed(0)
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) >= 6
    for example in examples:
        exec(compile(example, "docs/norse.md", "exec"), names)
    assert names["population"].weight.max() > 0
    assert names["network"][0].matrix.abs().max() > 0


def test_every_promise_names_tests_that_exist() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)", sources, flags=re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 15 and named <= defined, f"missing: {named - defined}"


def test_without_norse_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("neuro_decorr.norse")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "norse", None)
    with pytest.raises(MissingExtra, match=r"needs norse.*, in the extra 'norse', .*pip install .*\[norse\]'"):
        importlib.import_module("neuro_decorr.norse")


CHIPS = (ROOT / "docs" / "chips.md").read_text(encoding="utf-8")


def test_the_page_on_chips_runs_and_names_tests(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", CHIPS, flags=re.DOTALL)
    exec(compile(example, "docs/chips.md", "exec"), {})
    assert "fan-in" in capsys.readouterr().out
    sources = (ROOT / "tests" / "norse" / "test_hardware.py").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)`", CHIPS)
    assert len(named) >= 4 and all(f"def {name}(" in sources for name in named)
