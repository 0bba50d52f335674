"""`neuro-decorr report DIR DIR --out PAGE`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from neuro_decorr.study import failures, mixed
from tests.study.conftest import Said


def test_two_studies_are_compared_on_one_page(root: Path, complete: Path, command: Callable[..., Said]) -> None:
    for name in ("one", "two"):
        shutil.copytree(complete, root / name)
    before = {path: path.read_bytes() for path in (root / "two").rglob("*") if path.is_file()}
    assert command("report", "one", "two", "--out", "both.html") == (0, "", "wrote both.html\n")
    said = (root / "both.html").read_text(encoding="utf-8")
    assert "Compared: one, two" in said and "Is it &lt;small&gt;?" in said
    assert {path: path.read_bytes() for path in (root / "two").rglob("*") if path.is_file()} == before


def test_a_comparison_names_the_studies_that_are_incomplete(
    root: Path, complete: Path, command: Callable[..., Said]
) -> None:
    for name in ("one", "t<o", "three"):
        shutil.copytree(complete, root / name)

    def title() -> str:
        assert command("report", "one", "t<o", "three", "--out", "all.html").code == 0
        return (root / "all.html").read_text(encoding="utf-8").split("<h2>")[1].split("</h2>")[0]

    mixed.Mixed([8, 5], ["torch: 2.9 in 8 runs, 2.8 in 5 runs"]).write(root / "t<o")
    assert title() == "The runs of t&lt;o were made from different data, code or versions"
    failures.Incomplete(20, 13, untried=7).write(root / "t<o")
    assert title() == "The study t&lt;o is incomplete"
    failures.Incomplete(20, 13, untried=7).write(root / "three")
    assert title() == "The studies t&lt;o, three are incomplete"


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
