import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuro_decorr import credit

Command = Callable[..., tuple[int, str, str]]


def test_list_shows_protocols_rules_and_credits(root: Path, command: Command) -> None:
    (root / "protocols" / "broken.py").write_text("import no_such_module")
    code, out, _ = command("list")
    assert code == 0
    for part in ("tiny", "Is it <small>?", "no_such_module", "whitening", "node_perturbation"):
        assert part in out


def test_what_is_piped_has_a_line_a_protocol(root: Path, command: Command) -> None:
    question = "Is it " + "very " * 100 + "small, and [what] of it?"
    text = (root / "protocols" / "tiny.py").read_text()
    (root / "protocols" / "tiny.py").write_text(text.replace("Is it <small>?", question))
    assert f"  tiny    {question}" in command("list").out.splitlines()


def test_list_outside_a_study_directory_still_shows_the_library(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("list")
    assert code == 0
    first = out.splitlines()[0]
    assert str(tmp_path) in first and first.endswith("make one with: neuro-decorr init DIR")
    assert "whitening" in out


def test_list_names_the_rules_of_brian(root: Path, command: Command) -> None:
    brian = pytest.importorskip("neuro_decorr.brian")
    _, out, _ = command("list")
    listed = out.split("Rules in Brian2")[1].split("Credit assignments")[0]
    for row in brian.table():
        assert f"\n  {row['name']} " in listed
        assert row["title"].split()[0] in listed


def test_list_names_every_credit_and_what_it_sends(root: Path, command: Command) -> None:
    listed = command("list").out.split("Credit assignments")[1]
    for row in credit.table():
        assert re.search(rf"\n  {row['name']} +{re.escape(row['signal'].split()[0])}", listed)


def test_list_without_brian_names_the_extra(root: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("neuro_decorr.brian", raising=False)
    for name in [name for name in sys.modules if name.split(".")[:2] == ["neuro_decorr", "brian"]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "brian2", None)
    code, out, _ = command("list")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("Rules in Brian2")]
    assert "needs brian2, in the extra 'brian'" in line and line.endswith("[brian]'")
    assert "node_perturbation" in out
