import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

Command = Callable[..., tuple[int, str, str]]
ROWS = ("rows/courses.parquet", "rows/runs.parquet")


def contents(directory: Path) -> dict[str, str]:
    """Digest of every file, by its place."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def computed(directory: Path) -> int:
    sessions = json.loads((directory / "provenance.json").read_text())["sessions"]
    return int(sessions[-1]["runs_computed"])


@pytest.fixture
def one(root: Path, complete: Path) -> Path:
    """A complete study in the study directory."""
    return shutil.copytree(complete, root / "one")


def test_a_complete_study_has_its_tables_and_its_page(one: Path) -> None:
    assert computed(one) == 10
    assert {path.stem: len(pd.read_parquet(path)) for path in (one / "rows").iterdir()} == {
        "runs": 10, "costs": 10, "timings": 8, "courses": 28,
    }  # fmt: skip
    courses = pd.read_parquet(one / "rows" / "courses.parquet")
    assert set(courses[courses["stage"] == "measure"]["rate"]) == {0.5}
    columns = "stage, seed, rate, arm, item, diverged, step, value"
    assert f"| `rows/courses.parquet` | 28 | {columns} |" in (one / "README.md").read_text()
    # Select: 2 runs of 1000 / 7 + rate step; measure: seeds 0 and 1 with rate 0.5, two runs of seed 1 cut short.
    total = 6 * 1000 / 7 + 3 * (0.1 + 0.5) + 6 * 1.5 + 6 / 7 + 2 * (0.5 + 2 / 7)
    assert (one / "finding.txt").read_text() == f"The mean is {total / 28:.3f}\n"
    assert "Is it &lt;small&gt;?" in (one / "index.html").read_text()
    assert list(one.rglob("*.tmp")) == []


def test_a_diverged_run_is_a_result(one: Path) -> None:
    runs, kept = (pd.read_parquet(one / "rows" / f"{kind}.parquet") for kind in ("runs", "courses"))
    told = runs.loc[runs["diverged"], ["seed", "arm", "diverged_step", "reason"]]
    assert list(told.itertuples(index=False, name=None)) == [(1, "center", 1, "loss is nan")] * 2
    assert list(kept.loc[kept["diverged"], "step"]) == [0, 1] * 2
    assert len(kept) == 2 * 3 + 6 * 3 + 2 * 2


def test_the_number_of_workers_does_not_matter(one: Path, root: Path, command: Command) -> None:
    assert command("run", "tiny", "--out", "two", "--workers", "2")[0] == 0
    for name in (*ROWS, "finding.txt", "tables/means.csv", "tables/means.md"):
        assert (one / name).read_bytes() == (root / "two" / name).read_bytes()


def test_a_complete_study_computes_nothing(one: Path, command: Command) -> None:
    before = contents(one)
    code, out, err = command("run", "tiny", "--out", "one")
    assert (code, out.startswith("The mean is")) == (0, True)
    assert "8 runs, 8 stored before, 2 diverged" in err
    assert computed(one) == 0
    changed = {name for name, digest in contents(one).items() if before.get(name) != digest}
    assert changed <= {
        "provenance.json",
        "index.html",
        ".lock",
        "stages.json",
    }  # of the session, whose workers are others


def test_another_configuration_is_refused_and_nothing_touched(one: Path, command: Command) -> None:
    before = contents(one)
    code, _, err = command("run", "tiny", "--out", "one", "--items", "3", "--compensate", "--seeds", "1")
    assert code == 2
    assert "  items: stored 2, asked for 3\n  compensate: stored False, asked for True\n  seeds: stored 2" in err
    assert contents(one) == before


def test_what_is_damaged_is_told_and_computed_again(one: Path, complete: Path, command: Command) -> None:
    files = sorted((one / "runs" / "measure").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:-30])
    files[1].write_bytes(files[1].read_bytes().replace(b"value", b"valve"))
    files[2].unlink()
    (one / "runs" / "measure" / ".x.json.1.tmp").write_text("half")
    for name in (*ROWS, "finding.txt"):
        (one / name).unlink()
    code, _, err = command("run", "tiny", "--out", "one", "--workers", "1")
    assert code == 0
    told = sorted(line for line in err.splitlines() if "computing this run again" in line)
    assert [name.name in line for name, line in zip(files[:2], told, strict=True)] == [True, True]
    assert computed(one) == 3
    assert list(one.rglob("*.tmp")) == []
    for name in (*ROWS, "finding.txt"):
        assert (one / name).read_bytes() == (complete / name).read_bytes()


def test_more_seeds_extend_a_study_and_leave_its_selection(one: Path, complete: Path, command: Command) -> None:
    assert command("run", "tiny", "--out", "one", "--seeds", "3", "--workers", "1")[0] == 0
    assert computed(one) == 4
    assert len(pd.read_parquet(one / "rows" / "runs.parquet")) == 14
    before, after = (
        set(pd.read_parquet(study / "rows" / "courses.parquet").to_csv(index=False).splitlines())
        for study in (complete, one)
    )
    assert before < after


def test_the_report_is_made_again_from_the_runs_alone(one: Path, command: Command) -> None:
    before = contents(one)
    for name in (*ROWS, "README.md", "index.html", "finding.txt", "tables/means.csv", "tables/means.md"):
        (one / name).unlink()
    code, out, err = command("report", "one")
    assert (code, out.startswith("The mean is"), err) == (0, True, "wrote one/index.html\n")
    after = contents(one)
    assert {name for name in before if before[name] != after.get(name)} <= {".lock"}


def test_a_report_writes_csv_where_asked_and_keeps_it_up_to_date(one: Path, command: Command) -> None:
    assert not list((one / "rows").glob("*.csv"))
    assert command("report", "one", "--csv")[0] == 0
    for kind in ("courses", "runs", "timings"):
        found, expected = pd.read_csv(one / "rows" / f"{kind}.csv"), pd.read_parquet(one / "rows" / f"{kind}.parquet")
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)
    assert command("run", "tiny", "--out", "one", "--seeds", "3", "--workers", "1")[0] == 0
    assert len(pd.read_csv(one / "rows" / "runs.csv")) == 14, "an older file would tell of two seeds"


def test_what_a_report_no_longer_makes_is_gone_and_other_files_stay(one: Path, root: Path, command: Command) -> None:
    (one / "tables" / "mine.txt").write_text("a user's own")
    assert "Means | of a stage." in (one / "index.html").read_text()
    path = root / "protocols" / "tiny.py"
    path.write_text(path.read_text().replace('"means", "Means | of', '"averages", "Averages of'))
    assert command("report", "one", "--csv")[0] == 0
    assert sorted(path.name for path in (one / "tables").iterdir()) == ["averages.csv", "averages.md", "mine.txt"]
    page = (one / "index.html").read_text()
    assert "Averages of a stage." in page and "Means of" not in page and "means.md" not in page


def test_the_traceback_of_a_run_goes_when_the_run_is_stored(root: Path, command: Command) -> None:
    trouble = root / "protocols" / "measure.trouble"
    trouble.write_text("bug")
    arguments = ("run", "tiny", "--out", "one", "--workers", "1", "--items", "1")
    assert command(*arguments)[0] == 1
    assert len(list((root / "one" / "failures").iterdir())) == 1
    trouble.unlink()
    assert command(*arguments)[0] == 0
    assert list((root / "one").glob("failures/*")) == []


def test_options_are_checked_once_in_every_process(root: Path, command: Command) -> None:
    """A check that reads data would read it as often."""
    path = root / "protocols" / "tiny.py"
    check = """
    @model_validator(mode="after")
    def fits(self):
        with (HERE / "checks").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        return self


def select("""
    text = path.read_text().replace("\n\ndef select(", check).replace("import Field", "import Field, model_validator")
    path.write_text(text)
    assert command("run", "tiny", "--out", "one", "--items", "1", "--workers", "1")[0] == 0
    counts = Counter((root / "protocols" / "checks").read_text().split())
    assert sorted(counts.values()) == [2, 2] and str(os.getpid()) in counts, "at the import, and for the values given"


@pytest.mark.parametrize(("trouble", "told"), [("kill once", None), ("kill", "by signal 9, 2 times"), ("bug", "a bug")])
def test_a_killed_worker_or_a_bug_costs_its_run_alone(
    root: Path, command: Command, trouble: str, told: str | None
) -> None:
    (root / "protocols" / "measure.trouble").write_text(trouble)
    code, out, err = command("run", "tiny", "--out", "one", "--workers", "1", "--items", "1")
    assert "Traceback" not in err
    assert ("trying this run once more" in err) == trouble.startswith("kill")
    if told is None:
        assert code == 0
        assert len(pd.read_parquet(root / "one" / "rows" / "runs.parquet")) == 6
        return
    # One run fails; the selection and the other runs are stored and reported.
    assert (code, out.startswith("The mean is")) == (1, True)
    assert told in err
    assert "Incomplete: 1 of 6 runs missing (1 failed)." in err
    assert len(pd.read_parquet(root / "one" / "rows" / "runs.parquet")) == 5
    (kept,) = (root / "one" / "failures").glob("*.txt")
    assert "measure rate=0.5 arm=whitening item=0 seed=0\n" in kept.read_text()
    assert ("RuntimeError: a bug in the protocol" in kept.read_text()) == (trouble == "bug")


def test_a_condition_declared_twice_is_refused(root: Path, command: Command) -> None:
    path = root / "protocols" / "tiny.py"
    path.write_text(
        path.read_text().replace('return [study.Condition("select"', 'return 2 * [study.Condition("select"')
    )
    code, _, err = command("run", "tiny")
    assert code == 2
    assert "declares the run 'select rate=0.1 seed=1000' twice" in err


def test_a_directory_in_use_is_refused(root: Path, command: Command) -> None:
    from neuro_decorr.study.lock import Lock

    with Lock(root / "one"):
        code, _, err = command("run", "tiny", "--out", "one")
    assert code == 2
    assert "in use by process" in err
    assert [path.name for path in (root / "one").iterdir()] == [".lock"]
