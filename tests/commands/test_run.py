import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


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
    own, common = out.split("Options of this protocol:")[1].split("Options of every study:")
    assert "--compensate / --no-compensate" in own
    for option in ("--seeds", "--timeout", "--shard", "--dry-run", "--help"):
        assert option in common and option not in own


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "tinny"], "there is no protocol 'tinny'; did you mean 'tiny'?"),
        (["rnu"], "there is no command 'rnu'; did you mean 'run'?"),
        (["run"], "name a protocol: neuro-decorr run PROTOCOL; known: tiny."),
        (["run", "tiny", "--item", "3"], "--item: there is no such option; did you mean '--items'?"),
        (["run", "tiny", "--arm", "centre"], "did you mean 'center'?"),
        (["run", "tiny", "--seeds"], "'--seeds' requires an argument"),
        (["run", "tiny", "--seeds", "1000000000000"], "--seeds: got '1000000000000'; should be a whole number from 1"),
        (["run", "tiny", "--out", ""], "--out: got an empty text (perhaps from an unset variable of the shell)"),
        (["run", "tiny", "--rates", ""], "there is nothing to run: the options leave no condition"),
        (["run", "tiny", "--timeout", ""], "--timeout: got ''; should be a time with its unit"),
        (["run", "tiny", "--shard", ""], "--shard: got ''; should be I/N"),
        (["run", "tiny", "--log", ""], "--log: got ''; should be 'tensorboard'"),
        (["run", "tiny", "--workers", "-1"], "--workers: got '-1'; should be a whole number from 1"),
        (["run", "tiny", "--arm", "\udcff\udcfe"], "--arm: got '\\udcff\\udcfe'; should be"),
        (["run", "\udcff"], "there is no protocol '"),
        (["run", "tiny", "--\udcff", "3"], "there is no such option"),
        (["\udcff"], "there is no command '"),
        (["status", "\udcff"], "holds no study"),
        (["report", "\udcff"], "holds no study"),
        (["run", "tiny", "--out", "file"], "file cannot be used: Not a directory"),
        (["run", "tiny", "--out", "file/below"], "Not a directory"),
        (["run", "tiny", "--out", "full"], "holds no study (it has thesis.tex)"),
        (["report", "full"], "holds no study"),
        (["report", "absent"], "holds no study"),
        (["report"], "name a study: neuro-decorr report DIR"),
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
        "  --workers: got 'no'; should be a whole number from 1 to 1000\n"
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


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone")
def test_a_directory_whose_name_is_no_text(root: Path, command: Command) -> None:
    """As Python hands on the bytes of the command line: what is no UTF-8 becomes single surrogates."""
    name = os.fsdecode(b"caf\xe9")
    code, _, err = command("run", "tiny", "--out", name, "--items", "1", "--workers", "1")
    assert (code, "Traceback" in err) == (0, False)
    assert (root / name / "index.html").is_file()
    assert command("status", name).code == 0
    assert command("report", name).code == 0


def test_run_report_and_status_go_on_with_one_command(root: Path, command: Command) -> None:
    (root / "protocols" / "measure.trouble").write_text("fail")
    given = ["--rates", "0.5", "--compensate", "--seeds", "1", "--workers", "1", "--items", "2", "--arm", "center"]
    # What is the default of the protocol `tiny` (two levels of the item, the arm "center") is left out.
    expected = "neuro-decorr run tiny --out a --rates 0.5 --compensate --seeds 1 --workers 1"
    code, _, err = command("run", "tiny", "--out", "a", *given)
    assert (code, err.splitlines()[-1]) == (1, f"To compute the missing runs: {expected}")
    assert command("status", "a").out.splitlines()[-1].endswith(f"; go on with: {expected}")
    assert command("report", "a")[2].splitlines()[-1] == f"To compute the missing runs: {expected}"
    (root / "protocols" / "measure.trouble").unlink()
    assert command(*expected.split()[1:]).code == 0
