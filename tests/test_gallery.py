"""Gallery and tutorials keep their word: each script runs alone, has figures, and says what to try next."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(path for folder in ("gallery", "tutorials") for path in (ROOT / "examples" / folder).glob("*.py"))
QUICK = {"decorrelate_a_model", "whiten_without_nan", "noise_correlations", "settle_the_circuit"}
"""Examples that the default run runs; the others, which take longer, are slow tests."""
MARKED = [pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow) for path in SCRIPTS]
OURS = ("models", "protocols", "analysis", "examples")


@pytest.mark.parametrize("script", MARKED)
def test_it_stands_alone(script: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": ""}
    copy = tmp_path / "example.py"
    copy.write_bytes(script.read_bytes())
    command = [sys.executable, "-W", "ignore", str(copy)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_is_a_page(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    start = ast.get_docstring(ast.parse(text)) or ""
    assert re.match(r"# [A-Z][^\n.]+\n\n[A-Z]", start), "its docstring is a title and what it shows"
    cells = text.split("\n# %%\n")[1:]
    assert len(cells) >= 3 and all(cell.startswith("# ") for cell in cells), "every cell begins with what it does"
    assert cells[-1].startswith("# ## What to try next\n#\n# - ") and not re.search(r"^[^#\n]", cells[-1], re.MULTILINE)
    assert "plt.show()" in text, "a figure, which is its thumbnail too"
    if script.parent.name == "tutorials":
        assert len(cells) >= 10 and text.count("plt.show()") >= 2, "a tutorial goes step by step, with several figures"
        assert sum(cell.startswith("# ## ") for cell in cells) >= 8, "its steps have headings"
    nodes = list(ast.walk(ast.parse(text)))
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name for name in imported if name and name.split(".")[0] in OURS}
    bodies = [node.body for node in nodes if isinstance(node, ast.Module | ast.ClassDef)]
    defined = [node for body in bodies for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    silent = [node.name for node in defined if not ast.get_docstring(node)]
    assert not silent, "every function, class and method says in a line what it does"
