"""The first page keeps its word: its examples run, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "start.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")
def test_the_examples_run_in_order(brian_on_numpy: None, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 2
    known: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "start.md", "exec"), known)
    said = capsys.readouterr().out
    assert "mean_absolute_correlation" in said and "lateral_covariance" in said
