"""What a study is made from is known: nothing else goes on in its directory without its reader's choice."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from neuro_decorr.study import mixed, origin, provenance

Command = Callable[..., tuple[int, str, str]]

PROTOCOL = """
import multiprocessing
from pathlib import Path

from pydantic import Field

import neuro_decorr
from neuro_decorr import study

HERE = Path(__file__).parent


class Configuration(study.Configuration):
    items: int = Field(2, description="Levels of the factor item.")
    file: str | None = Field(None, description="A number to add.")
    folder: study.DataPath | None = Field(None, description="A folder with numbers to add.")


def measure(configuration, seeds, tables):
    return [study.Condition("a", s, {"item": i}) for s in seeds for i in range(configuration.items)]


def run(configuration, condition, recorder):
    from models import helper

    (HERE / "library").write_text(neuro_decorr.__file__)
    number = helper.NUMBER
    if configuration.file:
        number += int(Path(configuration.file).read_text())
    if configuration.folder:
        number += sum(int(path.read_text()) for path in Path(configuration.folder).iterdir())
    if (HERE / "overwrite").exists():
        Path(configuration.file).write_text("1000")
    if (HERE / "failing").exists() and condition.seed == 1:
        raise RuntimeError("a bug")
    recorder.row("values", value=number)


def report(configuration, tables, directory):
    print(sorted(set(tables["values"]["value"])))


PROTOCOL = study.Protocol(
    name="p", question="Is it?", configuration=Configuration, stages=(measure,), run=run, report=report, seeds=1
)
"""


@pytest.fixture
def study(root: Path) -> Path:
    """A study directory with the protocol `p`, a model, data in a file and in a folder."""
    (root / "protocols" / "p.py").write_text(PROTOCOL)
    (root / "models").mkdir()
    (root / "models" / "__init__.py").touch()
    (root / "models" / "helper.py").write_text("NUMBER = 1\n")
    (root / "number.txt").write_text("10")
    (root / "numbers").mkdir()
    (root / "numbers" / "one.txt").write_text("100")
    return root


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two sessions of a user are two processes: the second does not have the modules of the first.
    from neuro_decorr.study import discovery

    load = discovery.load

    def anew(root: Path, name: str) -> object:
        for module in [name for name in sys.modules if name.split(".")[0] == "protocols"]:
            del sys.modules[module]
        return load(root, name)

    monkeypatch.setattr(discovery, "load", anew)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


RUN = ("run", "p", "--out", "o", "--workers", "1", "--file", "number.txt", "--folder", "numbers")


def values(directory: Path) -> list[tuple[int, int]]:
    """Seed and value of every run, in the table of the study."""
    table = pd.read_parquet(directory / "rows" / "values.parquet")
    return list(table[["seed", "value"]].itertuples(index=False, name=None))


def contents(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


CHANGES: dict[str, tuple[Callable[[Path], object], str, int]] = {
    "data": (lambda root: (root / "number.txt").write_text("20"), "--file (its content): stored ", 121),
    "a file of a folder": (
        lambda root: (root / "numbers" / "one.txt").write_text("200"),
        "--folder (its content): ",
        211,
    ),
    "a new file of a folder": (lambda root: (root / "numbers" / "2.txt").write_text("200"), "--folder (its con", 311),
    "a model": (
        lambda root: (root / "models" / "helper.py").write_text("NUMBER = 2\n"),
        "models/helper.py: stored ",
        112,
    ),
    "the protocol": (
        lambda root: (root / "protocols" / "p.py").write_text(PROTOCOL.replace("helper.NUMBER", "7")),
        "protocols/p.py: stored ",
        117,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_refused_and_told_until_it_is_accepted(study: Path, command: Command, change: str) -> None:
    assert command(*RUN)[0] == 0
    assert values(study / "o") == [(0, 111)] * 2
    before = contents(study / "o")
    make, told, value = CHANGES[change]
    make(study)

    code, out, err = command(*RUN, "--seeds", "2")
    assert (code, out) == (2, "")
    first, line, advice = err.splitlines()
    assert first.endswith(
        "2 of 2 runs in o were made from other data, code or versions than the present ones; nothing was changed."
    )
    assert line.strip().startswith(told)
    assert "--accept-changed recompute" in advice and "--accept-changed keep" in advice
    assert contents(study / "o") == before

    shutil.copytree(study / "o", study / "kept")
    code, _, err = command(*RUN, "--seeds", "2", "--accept-changed", "recompute")
    assert code == 0
    note = "note: 2 runs that were made from other data, code or versions are computed again, on record in"
    assert f"{note} provenance.json." in err
    assert sorted(values(study / "o")) == [(0, value)] * 2 + [(1, value)] * 2
    assert len(list((study / "o" / "replaced" / "1" / "runs" / "a").glob("*.json"))) == 2
    record = provenance.read(study / "o")[-1]
    assert record["runs_computed"] == 4
    assert record["accepted_changes"]["choice"] == "recompute"
    assert record["accepted_changes"]["differences"][0].startswith(told)
    assert command(*RUN, "--seeds", "2")[0] == 0

    again = [name if name != "o" else "kept" for name in RUN]
    assert command(*again, "--seeds", "2", "--accept-changed", "keep")[0] == 0
    assert sorted(values(study / "kept")) == [(0, 111)] * 2 + [(1, value)] * 2
    assert provenance.read(study / "kept")[-1]["accepted_changes"]["runs"] == 2
    assert command(*again, "--seeds", "3")[0] == 0, "what was kept on record is not asked for again"


def test_a_change_that_was_kept_does_not_allow_the_next(study: Path, command: Command) -> None:
    assert command(*RUN)[0] == 0
    (study / "number.txt").write_text("20")
    assert command(*RUN, "--seeds", "2", "--accept-changed", "keep")[0] == 0
    (study / "number.txt").write_text("30")
    code, _, err = command(*RUN, "--seeds", "3")
    assert (code, "4 of 4 runs" in err) == (2, True)
    (study / "number.txt").write_text("10")
    code, _, err = command(*RUN, "--seeds", "3")
    assert (code, "2 of 4 runs" in err) == (2, True)


def test_what_does_not_matter_is_no_change(study: Path, command: Command) -> None:
    assert command(*RUN)[0] == 0
    (study / "protocols" / "another.py").write_text("")
    (study / "models" / "another.py").write_text("")
    (study / "number.txt").write_text("10")
    (study / "models" / "helper.py").write_text("NUMBER = 1\n")
    code, _, err = command(*RUN, "--seeds", "2", "--accept-changed", "keep")
    assert code == 0
    assert "other data" not in err
    assert provenance.read(study / "o")[-1]["accepted_changes"] is None


def test_other_versions_and_another_library_are_refused(
    study: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(*RUN)[0] == 0
    of = origin.Origin.of

    def other(root: Path, protocol: str, configuration: object) -> origin.Origin:
        found = of(root, protocol, configuration)  # type: ignore[arg-type]
        found.versions["torch"] = "99"
        found.library.update({f"neuro_decorr/new{number}.py": "0123" for number in range(7)})
        return found

    monkeypatch.setattr(origin.Origin, "of", other)
    code, _, err = command(*RUN, "--seeds", "2")
    assert code == 2
    lines = err.splitlines()[1:-1]
    assert lines[0] == "  neuro_decorr/new0.py: stored (none), now 0123"
    assert lines[5] == "  2 more files of the library"
    assert lines[6].startswith("  torch: stored ") and lines[6].endswith(", now 99")
    # Without the digests file by file the library as a whole is told.
    shutil.rmtree(study / "o" / origin.FOLDER)
    assert any(line.startswith("  library: stored ") for line in command(*RUN, "--seeds", "2")[2].splitlines())


def test_a_worker_with_another_library_is_refused(
    study: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = origin.Origin.of

    def other(root: Path, protocol: str, configuration: object) -> origin.Origin:
        found = of(root, protocol, configuration)  # type: ignore[arg-type]
        found.library["neuro_decorr/new.py"] = "0123"
        return found

    # The workers are processes of their own, which see what is there.
    monkeypatch.setattr(origin.Origin, "of", other)
    code, _, err = command(*RUN)
    assert code == 2
    assert "a file was changed while the study ran: neuro_decorr/new.py: stored 0123, now (none)." in err
    assert not (study / "o" / "runs").exists()


def test_workers_load_the_library_of_their_parent(study: Path, command: Command) -> None:
    import neuro_decorr

    own = Path(neuro_decorr.__file__).parent
    shutil.copytree(own, study / "neuro_decorr", ignore=shutil.ignore_patterns("__pycache__", "_template"))
    code, _, err = command(*RUN)
    assert code == 0, err
    assert Path((study / "protocols" / "library").read_text()) == own / "__init__.py"


def test_data_that_are_written_to_during_a_run_stop_the_study(study: Path, command: Command) -> None:
    (study / "protocols" / "overwrite").touch()
    code, _, err = command(*RUN)
    assert code == 2
    assert "number.txt was changed during the study; the last run was not stored." in err
    assert not (study / "o" / "runs").exists()
    assert provenance.read(study / "o")[-1]["outcome"] == "failed"


def test_a_bug_that_failed_every_run_is_mended_without_a_choice(study: Path, command: Command) -> None:
    (study / "protocols" / "failing").touch()
    one = ("--seeds", "2", "--items", "1")
    path = study / "protocols" / "p.py"
    path.write_text(PROTOCOL.replace("condition.seed == 1", "True"))
    assert command(*RUN, *one)[0] == 1
    path.write_text(PROTOCOL)
    assert command(*RUN, *one)[0] == 1
    assert [one["runs_computed"] for one in provenance.read(study / "o")] == [0, 1]


def test_a_study_of_an_earlier_version_is_one_clear_line(study: Path, command: Command) -> None:
    from neuro_decorr.study import files

    assert command(*RUN)[0] == 0
    for path in (study / "o" / "runs" / "a").iterdir():
        payload = files.unseal(path.read_bytes())
        del payload["origin"]
        path.write_bytes(files.seal(payload))
    for arguments in (RUN, ("report", "o")):
        code, _, err = command(*arguments)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "do not record their data, code and versions" in err


def test_every_run_carries_what_it_was_made_from(study: Path, command: Command) -> None:
    assert command(*RUN)[0] == 0
    found = [json.loads(path.read_text())["payload"]["origin"] for path in (study / "o" / "runs" / "a").iterdir()]
    assert found[0] == found[1]
    assert found[0]["data"]["file"] == hashlib.sha256(b"10").hexdigest()[:16]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found[0]["versions"]["python"] == python
    assert {"numpy", "torch"} <= set(found[0]["versions"]) and "brian2" not in found[0]["versions"]
    (detail,) = (study / "o" / "origins").iterdir()
    files = json.loads(detail.read_text())["payload"]["protocol"]
    assert files == {
        place: hashlib.sha256((study / place).read_bytes()).hexdigest()[:16]
        for place in ("models/__init__.py", "models/helper.py", "protocols/p.py")
    }


def test_nothing_to_run_is_told_and_makes_no_directory(study: Path, command: Command) -> None:
    code, out, err = command(*RUN, "--items", "0")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "there is nothing to run" in err
    assert not (study / "o").exists()


def test_an_unknown_choice_is_told(study: Path, command: Command) -> None:
    code, _, err = command(*RUN, "--accept-changed", "yes")
    assert code == 2
    assert err == "neuro-decorr: --accept-changed: got 'yes'; should be 'recompute' or 'keep'\n"


def test_a_run_that_goes_to_another_directory_stores_where_the_study_is(study: Path, command: Command) -> None:
    path = study / "protocols" / "p.py"
    path.write_text(PROTOCOL.replace("recorder.row", "import os; os.chdir(HERE)\n    recorder.row"))
    assert command("run", "p", "--out", "o", "--workers", "1")[0] == 0
    assert values(study / "o") == [(0, 1)] * 2


def test_recompute_is_obeyed_whatever_was_kept_before(study: Path, command: Command) -> None:
    assert command(*RUN)[0] == 0
    (study / "number.txt").write_text("20")
    assert command(*RUN, "--seeds", "2", "--accept-changed", "keep")[0] == 0
    more = (*RUN, "--seeds", "2")

    # Two runs of the first session stay among the four; a dry run says so, and what the choice would compute.
    out = command(*more, "--dry-run")[1]
    assert "stage 1 (a): 4 runs, 4 stored (2 of them made from other data, code or versions)" in out
    assert "4 stored, 0 to compute" in out
    (stage,) = json.loads(command(*more, "--dry-run", "--json")[1])["stages"]
    assert (stage["stored"], stage["made_from_something_else"]) == (4, 2)
    out = command(*more, "--dry-run", "--accept-changed", "recompute")[1]
    assert "2 stored, 2 to compute" in out and "2 of them" not in out

    code, _, err = command(*more, "--accept-changed", "recompute")
    assert code == 0
    assert "2 runs that were made from other data, code or versions are computed again" in err
    assert sorted(values(study / "o")) == [(0, 121)] * 2 + [(1, 121)] * 2, "1 + 20 + 100 for each"
    assert len(list((study / "o" / "replaced" / "1" / "runs" / "a").glob("*.json"))) == 2
    assert "made from other data" not in command(*more, "--dry-run")[1]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_table_of_several_origins_says_so_wherever_it_is_read(study: Path, command: Command) -> None:
    assert "Mixed" not in command(*RUN)[2]
    (study / "number.txt").write_text("20")
    code, _, err = command(*RUN, "--seeds", "3", "--accept-changed", "keep")
    first = (
        "Mixed: the 6 stored runs were made from 2 combinations of data, code and versions (4 runs, 2 runs), and are "
        "in one table; --accept-changed recompute makes them alike."
    )
    differs = f"differs: --file (its content): {digest('20')} in 4 runs, {digest('10')} in 2 runs"
    assert code == 0
    assert f"note: {first}\nnote: {differs}\n" in err

    finding = (study / "o" / "finding.txt").read_text().splitlines()
    assert finding == [first, differs, "[111, 121]"]
    readme = (study / "o" / "README.md").read_text()
    assert readme.index(first) < readme.index(differs) < readme.index("The protocol `p`")
    found = mixed.read(study / "o")
    assert found == mixed.Mixed([4, 2], [differs.removeprefix("differs: ")])

    # The report says it again, and of what is there now: 10 is back, so that four runs are of something else.
    (study / "number.txt").write_text("10")
    code, _, err = command("report", "o")
    assert code == 0
    assert f"note: {first}\nnote: {differs}\n" in err
    (line,) = [line for line in err.splitlines() if "made from other data" in line]
    assert line == (
        "note: 4 of 6 runs were made from other data, code or versions "
        f"(--file (its content): stored {digest('20')}, now {digest('10')})."
    )

    # Alike again, nothing is left of it.
    code, _, err = command(*RUN, "--seeds", "3", "--accept-changed", "recompute")
    assert (code, "Mixed" in err) == (0, False)
    assert (study / "o" / "finding.txt").read_text() == "[111]\n"
    assert "Mixed" not in (study / "o" / "README.md").read_text()
    assert mixed.read(study / "o") is None
    assert "made from other data" not in command("report", "o")[2]
