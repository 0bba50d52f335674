"""Runs, stages and reports that fail: they cost what they are, and what is missing is said first."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Condition, failures, files, provenance, read_tables
from tests.study import _here
from tests.study._here import Here

Command = Callable[..., tuple[int, str, str]]
ONE = 'if (seed, arm, item) == (1, "whitening", 0): raise ValueError("only here")'
# Two arms, seeds 0 and 1, items 0 to 4: 2 * (5 * 0 + 5 * 1) + 4 * (0 + 1 + 2 + 3 + 4) / 8, without a run of value 1.
SUM_WITHOUT = 15.0 - 1.0
FAILED = Condition("measure", 1, {"arm": "whitening", "item": 0})


@pytest.fixture
def report(command: Command) -> Callable[[], tuple[int, str, str]]:
    """`neuro-decorr report o`, with the protocol as it is now."""

    def again() -> tuple[int, str, str]:
        sys.modules.pop("protocols.p", None)
        return command("report", "o")

    return again


def test_a_run_that_always_fails_costs_its_rows_alone(root: Path, report: Command) -> None:
    _here.write(root, run=ONE)
    outcome = _here.execute(root, 5)
    assert [failure.condition for failure in outcome.failures] == [FAILED]
    values = read_tables(root / "o")["values"]
    assert (len(values), values["value"].sum()) == (19, SUM_WITHOUT)
    first = "Incomplete: 1 of 20 runs missing (1 failed)."
    second = "failed: measure arm=whitening item=0 seed=1: ValueError: only here"
    assert (root / "o" / "finding.txt").read_text() == f"{first}\n{second}\nThe sum is {SUM_WITHOUT}\n"
    readme = (root / "o" / "README.md").read_text()
    assert readme.index("This study is incomplete") < readme.index(first) < readme.index(second)
    assert readme.index(second) < readme.index("The protocol `p`")
    found = failures.read(root / "o")
    assert found is not None
    assert (found.expected, found.stored, found.untried, found.notes) == (20, 19, 0, [])
    assert [failure.condition for failure in found.failures] == [FAILED]
    place = found.failures[0].traceback
    assert place is not None and 'raise ValueError("only here")' in (root / "o" / place).read_text()

    # The report, made again by another process, knows as much.
    code, out, err = report()
    assert (code, out, first in err, second in err) == (1, f"The sum is {SUM_WITHOUT}\n", True, True)
    assert err.endswith("To compute the missing runs: neuro-decorr run p --out o --items 5\n")
    assert failures.read(root / "o") == found

    # Mended, nothing is left of it.
    _here.write(root)
    made: list[Here] = []
    assert _here.execute(root, 5, made).incomplete is None
    assert made[0].tried == [FAILED]
    assert read_tables(root / "o")["values"]["value"].sum() == SUM_WITHOUT + 1
    mixed, differs, finding = (root / "o" / "finding.txt").read_text().splitlines()
    assert finding == f"The sum is {SUM_WITHOUT + 1}"
    assert mixed.startswith("Mixed: the 20 stored runs") and differs.startswith("differs: protocols/p.py: ")
    assert "incomplete" not in (root / "o" / "README.md").read_text()
    assert not (root / "o" / "failures.json").exists() and not list((root / "o" / "failures").iterdir())
    assert report()[0] == 0


def test_a_report_says_how_many_runs_are_missing(root: Path, report: Command) -> None:
    _here.write(root)
    _here.execute(root, 5)
    stored = sorted((root / "o" / "runs" / "measure").glob("*.json"))
    stored[0].unlink()
    stored[1].write_bytes(b"half")
    code, _, err = report()
    assert code == 1
    assert "Incomplete: 2 of 20 runs missing (2 not tried)." in err
    assert f"{stored[1].name} is half-written or damaged" in err
    assert len(read_tables(root / "o")["values"]) == 18
    for path in stored[2:]:
        path.unlink()
    code, _, err = report()
    assert code == 2 and "no run of this study is stored" not in err
    assert f"no stored run is whole: {stored[1].relative_to(root)} is half-written or damaged" in err
    assert "(and" not in err
    assert "; run the study again: neuro-decorr run " in err
    stored[2].write_bytes(b"half")
    code, _, err = report()
    assert (code, "(and 1 more); run the study again: " in err) == (2, True)
    for path in stored[1:3]:
        path.unlink()
    code, _, err = report()
    assert (code, "no run of this study is stored; run it first" in err) == (2, True)
    assert len(read_tables(root / "o")["values"]) == 18, "the report before stays"


def test_a_stage_that_cannot_be_declared_without_the_missing_rows_is_told(root: Path) -> None:
    _here.write(root, run=ONE, second='if len(tables["runs"]) < 8: raise InvalidValue("needs all of them")')
    outcome = _here.execute(root, 2)
    told = "stage 2 was not begun, since 1 run of the earlier stages is missing: InvalidValue: needs all of them"
    assert outcome.notes == [told]
    assert told in (root / "o" / "finding.txt").read_text()
    assert len(read_tables(root / "o")["values"]) == 7


def test_a_stage_goes_on_where_it_can_and_says_what_it_may_have_missed(root: Path) -> None:
    _here.write(root, run=ONE, second='return [study.Condition("more", 7, {"arm": "both", "item": 8})]')
    outcome = _here.execute(root, 2)
    assert outcome.notes == [
        "stage 2 was declared while 1 run of the earlier stages is missing; its selection may change with them"
    ]
    values = read_tables(root / "o")["values"]
    assert list(values.loc[values["stage"] == "more", "value"]) == [8.0]


@pytest.mark.parametrize("fault", ['tables["nothing"]', "{}['a']", "sys.exit(0)"])
def test_a_stage_that_fails_with_all_runs_there_is_one_line(root: Path, fault: str) -> None:
    _here.write(root, second=fault)
    with pytest.raises((InvalidValue, LookupError)) as caught:
        _here.execute(root, 1)
    assert "\n" not in str(caught.value)
    if "tables" not in fault:  # A lookup of the library has its own words.
        assert "stage 2 of protocol 'p' fails" in str(caught.value) and "p.py, line " in str(caught.value)
    assert len(list((root / "o" / "runs" / "measure").glob("*.json"))) == 4, "nothing is lost"


@pytest.mark.parametrize(
    ("run", "fault"), [("pass", 'raise RuntimeError("no")'), ("pass", "sys.exit(0)"), (ONE, 'print(tables["nothing"])')]
)
def test_a_report_that_fails_leaves_the_tables_by_kind(root: Path, report: Command, run: str, fault: str) -> None:
    _here.write(root, run=run, report=fault)
    outcome = _here.execute(root, 1)
    (note,) = outcome.notes
    assert note.startswith("the report of protocol 'p' fails: ") and "\n" not in note
    values = read_tables(root / "o")["values"]
    assert len(values) == (4 if run == "pass" else 3)
    assert not (root / "o" / "tables").exists(), "what the report wrote before it failed is half of a report"
    assert note in (root / "o" / "finding.txt").read_text()
    assert "Traceback" in (root / "o" / "failures" / "report.txt").read_text()
    code, _, err = report()
    assert (code, note.split(" (traceback")[0] in err) == (1, True)
    _here.write(root, run=run)
    assert report()[0] == (0 if run == "pass" else 1)
    assert (root / "o" / "tables" / "means.csv").exists()
    assert not (root / "o" / "failures" / "report.txt").exists()


def test_a_report_that_fails_leaves_the_one_before_of_the_same_runs(root: Path, report: Command) -> None:
    _here.write(root)
    _here.execute(root, 1)
    before = (root / "o" / "tables" / "means.csv").read_bytes(), (root / "o" / "finding.txt").read_bytes()
    _here.write(root, report='raise RuntimeError("no")')
    code, _, err = report()
    assert (code, "the report of protocol 'p' fails: RuntimeError: no" in err) == (1, True)
    assert ((root / "o" / "tables" / "means.csv").read_bytes(), (root / "o" / "finding.txt").read_bytes()) == before
    # With other runs it would be out of date.
    next((root / "o" / "runs" / "measure").glob("*.json")).unlink()
    assert report()[0] == 1
    assert not (root / "o" / "tables" / "means.csv").exists()
    assert len(read_tables(root / "o")["values"]) == 3


def test_a_bug_of_every_arm_stops_the_study(root: Path) -> None:
    _here.write(root, run='raise ValueError(f"seed {seed}")')
    made: list[Here] = []
    outcome = _here.execute(root, 50, made)
    # 50 levels of item and 2 of arm; 24 runs at most have to fail alike.
    assert len(made[0].tried) == 24
    assert {condition.factors["arm"] for condition in made[0].tried} == {"center", "whitening"}
    assert (len(outcome.failures), outcome.untried) == (24, 176)
    (note,) = outcome.notes
    assert note == (
        "stopped, since the first 24 runs, which cover every level of every factor, all failed in the same way; "
        "176 runs not tried"
    )
    assert outcome.incomplete is not None
    assert outcome.incomplete.lines()[0] == "Incomplete: 200 of 200 runs missing (24 failed, 176 not tried)."
    # The tables, which have no row, say so too.
    assert "Incomplete: 200 of 200" in (root / "o" / "README.md").read_text()


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        # One arm, whose runs come first, and half of the levels of the other factor.
        ('if arm == "center" or item < 10: raise ValueError("a")', 60),
        # Every run but one.
        ('if (arm, item, seed) != ("whitening", 19, 1): raise ValueError("a")', 79),
        # Every run, for causes of two kinds.
        ('raise ValueError("a") if item % 2 else KeyError("b")', 80),
    ],
)
def test_other_failures_stop_nothing(root: Path, fault: str, failed: int) -> None:
    _here.write(root, run=fault)
    if failed == 79:  # It is among the last ones; a run of its stage that is stored shows that the protocol works.
        _here.write(root)
        _here.execute(root, 20)
        for path in (root / "o" / "runs" / "measure").glob("*.json"):
            if json.loads(path.read_bytes())["payload"]["factors"] != {"arm": "whitening", "item": 19}:
                path.unlink()
        _here.write(root, run=fault)
        failed = 78
    outcome = _here.execute(root, 20)
    assert (len(outcome.failures), outcome.untried) == (failed, 0)
    assert not any(note.startswith("stopped") for note in outcome.notes)


def test_a_run_that_was_stored_just_before_its_worker_was_ended_has_not_failed(root: Path) -> None:
    _here.write(root, run="recorder.row('values', value=-1)\n" + ONE)
    outcome = _here.execute(root, 1, stored=[FAILED])
    assert outcome.incomplete is None
    assert not list((root / "o" / "failures").iterdir())
    assert len(read_tables(root / "o")["runs"]) == 4


def test_all_runs_may_diverge(root: Path, report: Command) -> None:
    _here.write(root, run='recorder.diverged(0, "loss is nan")\nreturn')
    outcome = _here.execute(root, 1)
    # No row was recorded, so that the report of this protocol finds no table of them.
    (note,) = outcome.notes
    assert note.startswith("the report of protocol 'p' fails: UnknownName: there is no kind of rows 'values'")
    assert read_tables(root / "o")["runs"]["diverged"].all()
    assert report()[0] == 1


def test_a_protocol_that_changes_the_directory_writes_where_it_should(root: Path, report: Command) -> None:
    (root / "elsewhere").mkdir()
    go = f"import os; os.chdir({str(root / 'elsewhere')!r})"
    _here.write(root, stage=go, report=go)
    assert _here.execute(root, 1).incomplete is None
    assert Path.cwd() == root
    code, _, err = report()
    assert (code, err) == (0, "wrote o/index.html\n")
    assert list((root / "elsewhere").iterdir()) == []
    assert (root / "o" / "finding.txt").read_text().startswith("The sum is")


def test_what_a_protocol_prints_may_be_no_text(root: Path, report: Command) -> None:
    _here.write(root, report="print('name \\udcff')")
    assert _here.execute(root, 1).incomplete is None
    assert (root / "o" / "finding.txt").read_text(encoding="utf-8").startswith("name \\udcff\n")
    code, out, _ = report()
    assert (code, out.startswith("name \\udcff\n")) == (0, True)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux")
def test_a_directory_whose_name_is_no_text(root: Path, command: Command) -> None:
    _here.write(root)
    _here.execute(root, 1)
    name = os.fsdecode(b"o\xff")
    (root / "o").rename(root / name)
    sys.modules.pop("protocols.p", None)
    assert command("report", name)[0] == 0
    page = (root / name / "index.html").read_text(encoding="utf-8")
    assert "The sum is" in page


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("configuration.json", 2),
        ("provenance.json", 1),
        (".lock", 2),
        (".report.json", 1),
        ("failures.json", 1),
        ("run", 1),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_never_waited_for(root: Path, report: Command, place: str, code: int) -> None:
    _here.write(root, run=ONE)
    _here.execute(root, 1)
    path = root / "o" / place if place != "run" else next((root / "o" / "runs" / "measure").glob("*.json"))
    path.unlink()
    os.mkfifo(path)
    found, _, err = report()
    assert found == code
    assert "Traceback" not in err
    if code == 2:
        assert place in err.splitlines()[0]
        return
    outcome = _here.execute(root, 1)
    assert outcome.computed == (1 if place == "run" else 0)
    assert pd.read_parquet(root / "o" / "rows" / "values.parquet")["value"].sum() == 1.0


@pytest.mark.parametrize("place", ["configuration.json", "provenance.json", ".lock", ".report.json", "run", "runs"])
def test_a_directory_in_the_place_of_a_file_is_one_line(root: Path, report: Command, place: str) -> None:
    _here.write(root)
    _here.execute(root, 1)
    path = root / "o" / place if place != "run" else next((root / "o" / "runs" / "measure").glob("*.json"))
    if place == "runs":  # the other way round
        path.rename(root / "runs")
        path.write_text("a file")
    else:
        path.unlink()
        path.mkdir()
    if place == "provenance.json":  # Which no result needs: it is kept beside the new one.
        assert report()[0] == 0 and _here.execute(root, 1).incomplete is None
        assert (root / "o" / "provenance.json.damaged").is_dir() and provenance.read(root / "o")
        return

    def run() -> tuple[int, str, str]:
        _here.execute(root, 1)
        return 0, "", ""

    for attempt in (report, run):
        try:
            code, _, err = attempt()
        except (files.Unreadable, files.Unwritable, InvalidValue) as error:
            code, err = 2, str(error)
        assert (code, len(err.splitlines())) == (2, 1), err
        assert path.name in err


def test_failures_that_read_alike_are_told_once_with_their_number(
    root: Path, report: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    _here.write(
        root,
        run='raise NameError("trouble")',
        second='return [study.Condition("more", 7, {"arm": tables["values"]["arm"][0], "item": 8})]',
        report='raise RuntimeError("called")',
    )
    outcome = _here.execute(root, 5)
    heard = capfd.readouterr()
    assert (heard.out + heard.err).count("NameError: trouble") == 1
    expected = [
        "Incomplete: 20 of 20 runs missing (5 failed, 15 not tried).",
        "failed: 5 runs in the same way, the first measure arm=center item=0 seed=0: NameError: trouble",
        "stopped, since the first 5 runs, which cover every level of every factor, all failed in the same way; "
        "15 runs not tried",
    ]
    assert outcome.incomplete is not None and outcome.incomplete.lines() == expected
    assert (root / "o" / "finding.txt").read_text().splitlines() == expected

    # The report names them too, and nothing that follows from them.
    code, out, err = report()
    assert (code, out) == (1, "")
    assert f"neuro-decorr: {expected[0]}\nneuro-decorr: {expected[1]}\n" in err
    assert "UnknownName" not in err and "stage 2" not in err and "called" not in err
    assert "NameError: trouble" in (root / "o" / "index.html").read_text()


def test_failures_are_told_in_one_order(root: Path, report: Command) -> None:
    # Runs that cover all levels are tried first, so that they end in another order than they are declared in.
    _here.write(root, run='raise ValueError(f"{item}") if item % 2 else KeyError(f"{item}")')
    outcome = _here.execute(root, 3)
    assert outcome.incomplete is not None
    told = [line for line in outcome.incomplete.lines() if line.startswith("failed")]
    assert told == [
        f"failed: 4 runs in the same way, the first measure arm=center item={item} seed=0: {kind}: {text}"
        for item, kind, text in ((0, "KeyError", "'0'"), (1, "ValueError", "1"), (2, "KeyError", "'2'"))
    ]
    found = [line.removeprefix("neuro-decorr: ") for line in report()[2].splitlines() if ": failed: " in line]
    assert found == told
