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
    assert line.endswith("pip install 'neuro-decorr[brian]'.")
    assert "node_perturbation" in out


def test_run_outside_a_study_directory_names_init(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["run"], ["run", "tiny"]):
        code, out, err = command(*arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert err.endswith("neuro-decorr init DIR\n")
    assert "neuro-decorr init DIR" in command("run", "--help").out


def test_from_a_folder_below_the_same_command_goes_on_with_the_same_study(
    root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("run", "tiny", "--seeds", "1", "--workers", "1").code == 0
    monkeypatch.chdir(root / "protocols")
    code, _, err = command("run", "tiny", "--seeds", "1", "--workers", "1")
    assert code == 0
    assert "wrote ../results/tiny/index.html" in err
    assert not (root / "protocols" / "results").exists()
    assert "2 stored before" in err


def test_help_of_a_protocol_is_made_from_its_configuration(root: Path, command: Command) -> None:
    code, out, _ = command("run", "tiny", "--help")
    assert code == 0
    assert "Is it <small>?" in out
    assert "--arm center|whitening" in out
    assert "[default: 2; --full: 5]" in " ".join(out.split())
    assert "--compensate / --no-compensate" in out
    assert "--seeds" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "tinny"], "there is no protocol 'tinny'; did you mean 'tiny'?"),
        (["rnu"], "there is no command 'rnu'; did you mean 'run'?"),
        (["run"], "which protocol? neuro-decorr run PROTOCOL; known: tiny."),
        (["run", "tiny", "--item", "3"], "--item: there is no such option; did you mean '--items'?"),
        (["run", "tiny", "--arm", "centre"], "did you mean 'center'?"),
        (["run", "tiny", "--seeds"], "'--seeds' requires an argument"),
        (["run", "tiny", "--out", "file"], "file cannot be used: Not a directory"),
        (["run", "tiny", "--out", "file/below"], "Not a directory"),
        (["run", "tiny", "--out", "full"], "holds no study (it has thesis.tex)"),
        (["report", "full"], "holds no study"),
        (["report", "absent"], "holds no study"),
        (["report"], "Missing argument 'DIR'"),
        (["list", "too", "many"], "unexpected extra argument"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(root: Path, command: Command, arguments: list[str], told: str) -> None:
    (root / "file").write_text("")
    (root / "full").mkdir()
    (root / "full" / "thesis.tex").write_text("")
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert err.startswith("neuro-decorr: ")
    assert len(err.splitlines()) == 1
    assert [path.name for path in (root / "full").iterdir()] == ["thesis.tex"]
    assert not (root / "results").exists()


def test_all_problems_at_once(root: Path, command: Command) -> None:
    code, _, err = command(
        "run", "tiny", "--items", "0", "--arm", "centre", "--rates", "1,x", "--seed", "3", "--workers", "no"
    )  # fmt: skip
    assert code == 2
    assert err == (
        "neuro-decorr: 5 problems:\n"
        "  --seed: there is no such option; did you mean '--seeds'?\n"
        "  --workers: got 'no'; should be a whole number of at least 1\n"
        "  --rates: got 'x'; should be a valid number\n"
        "  --arm: got 'centre'; should be 'center' or 'whitening'; did you mean 'center'?\n"
        "  --items: got '0'; should be greater than or equal to 1\n"
    )


def test_a_field_that_is_an_option_of_every_study_is_refused(root: Path, command: Command) -> None:
    text = (
        (root / "protocols" / "tiny.py")
        .read_text()
        .replace("items: int", "workers: int")
        .replace('"items"', '"workers"')
    )
    (root / "protocols" / "tiny.py").write_text(text)
    code, _, err = command("run", "tiny")
    assert code == 2
    assert "field 'workers'" in err
