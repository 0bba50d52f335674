"""`neuro-decorr report DIR DIR --out PAGE`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.study.conftest import Said


def test_two_studies_are_compared_on_one_page(root: Path, complete: Path, command: Callable[..., Said]) -> None:
    for name in ("one", "two"):
        shutil.copytree(complete, root / name)
    before = {path: path.read_bytes() for path in (root / "two").rglob("*") if path.is_file()}
    assert command("report", "one", "two", "--out", "both.html") == (0, "", "wrote both.html\n")
    said = (root / "both.html").read_text(encoding="utf-8")
    assert "Compared: one, two" in said and "Is it &lt;small&gt;?" in said
    assert {path: path.read_bytes() for path in (root / "two").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "name a study"), (["one", "one"], "--out: give the name of the page"),
        (["one", "--out", "x.html"], "index.html"),
        (["one", "./one", "--out", "x.html"], "given twice"), (["one", "absent", "--out", "x.html"], "absent"),
        (["one", "two", "--csv", "--out", "x.html"], "--csv: allowed with one study only"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(
    root: Path, complete: Path, command: Callable[..., Said], arguments: list[str], why: str
) -> None:
    shutil.copytree(complete, root / "one")
    code, out, err = command("report", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and why in err
    assert not (root / "x.html").exists()
