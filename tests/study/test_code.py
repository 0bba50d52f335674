"""The protocol that a study keeps, for a reader who has the directory of the study and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from tests.study.conftest import Said

HEAD = '"""Methods: a sum <of> two."""\nfrom protocols._two import TWO\n'


def test_a_study_carries_its_protocol_for_a_colleague(
    root: Path, tmp_path_factory: pytest.TempPathFactory, command: Callable[..., Said]
) -> None:
    tiny, helper = root / "protocols" / "tiny.py", root / "protocols" / "_two.py"
    tiny.write_text(HEAD + tiny.read_text())
    helper.write_text("TWO = 2\n")
    assert command("run", "tiny", "--out", "o", "--workers", "1").code == 0
    kept = root / "o" / "protocol" / "protocols"
    assert (kept / "tiny.py").read_bytes() == tiny.read_bytes() and (kept / "_two.py").read_text() == "TWO = 2\n"
    page = (root / "o" / "index.html").read_text()
    assert "Methods: a sum &lt;of&gt; two." in page and "TWO = 2" in page and "def measure(configuration" in page
    there = shutil.copytree(root / "o", tmp_path_factory.mktemp("colleague") / "o")
    with chdir(there.parent):
        said = command("report", "o")
        assert (
            said.code != 0
            and "the study keeps a copy of its protocol: go to o/protocol and give: neuro-decorr report .." in said.err
        )
        with chdir("o/protocol"):
            assert command("report", "..").code == 0
        shutil.rmtree(there / "protocol")
        assert "ask whoever made the study for protocols/tiny.py" in command("report", "o").err


def test_a_file_that_the_protocol_imports_no_more_is_not_kept(root: Path, command: Callable[..., Said]) -> None:
    tiny, helper = root / "protocols" / "tiny.py", root / "protocols" / "_two.py"
    text = tiny.read_text()
    tiny.write_text(HEAD + text)
    helper.write_text("TWO = 2\n")
    assert command("run", "tiny", "--out", "o", "--workers", "1").code == 0
    tiny.write_text(text)
    assert command("run", "tiny", "--out", "o", "--workers", "1", "--accept-changed", "keep").code == 0
    kept = root / "o" / "protocol" / "protocols"
    assert (kept / "tiny.py").read_text() == text and not (kept / "_two.py").exists()
