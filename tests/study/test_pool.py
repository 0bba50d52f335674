"""Runs that hang, that end their process or that go elsewhere, in processes of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from neuro_decorr.study import failures, pool, read_tables
from tests.study import _here

Command = Callable[..., tuple[int, str, str]]
HOSTILE = """
import os, time
if arm == "center":
    if (item, seed) == (0, 0):
        time.sleep(0.3)  # the progress of what is shorter is not sent
        recorder.progress(3, 8)
        time.sleep(1000)  # where it hangs
    if (item, seed) == (1, 0):
        os.chdir(os.path.dirname(os.path.abspath(__file__)))
    if (item, seed) == (1, 1):
        sys.exit(0)
    if (item, seed) == (2, 0):
        os._exit(0)
    if (item, seed) == (2, 1):
        class Silent(BaseException):
            def __str__(self):
                raise RuntimeError("no words")
        raise Silent
with open("data.txt") as file:  # beside the study: found from where the study was begun
    assert file.read() == "data"
"""


def test_hostile_runs_cost_themselves_alone(root: Path, command: Command) -> None:
    (root / "data.txt").write_text("data")
    _here.write(root, run=HOSTILE)
    code, out, err = command("run", "p", "--items", "3", "--workers", "2", "--timeout", "4s")
    assert (code, "Traceback" in err) == (1, False)
    outcome = failures.read(root / "results" / "p")
    assert outcome is not None
    told = {(one.factors["arm"], one.factors["item"], one.seed): one.text for one in outcome.failures}
    # The run that goes elsewhere does not find the data there; all others do, before and after it.
    assert told.pop(("center", 1, 0)).startswith("FileNotFoundError")
    assert told == {
        ("center", 0, 0): "it took longer than 4 s (--timeout), so it was ended: at least 3 of 8 steps were done",
        ("center", 1, 1): "SystemExit: 0",
        ("center", 2, 0): "its worker ended with exit code 0, 2 times",
        ("center", 2, 1): "Silent: (its message fails)",
    }
    (ended,) = [one for one in outcome.failures if one.text.startswith("it took longer")]
    assert ended.traceback is not None
    place = (root / "results" / "p" / ended.traceback).read_text().splitlines()[-1]
    path = root / "protocols" / "p.py"
    line = [number for number, text in enumerate(path.read_text().splitlines(), 1) if "# where it hangs" in text]
    assert place == f"  {path}:{line[0]} in run"
    values = read_tables(root / "results" / "p")["values"]
    assert len(values) == 7 and list(values.loc[values["arm"] == "center", "seed"]) == [1]
    assert not list((root / "protocols").glob("**/*.json")), "nothing is stored where a run has gone"
    assert out.splitlines()[-1].startswith("The sum is")


def test_a_run_that_is_silent_is_named_with_its_condition(
    root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "SILENCE", 0.2)
    _here.write(root, run="import time\nif arm == 'center': time.sleep(1)")
    code, _, err = command("run", "p", "--items", "1", "--seeds", "1", "--workers", "1")
    assert code == 0
    told = [line for line in err.splitlines() if "no progress reported" in line]
    assert len(told) == 1
    assert told[0].endswith(
        "measure arm=center item=0 seed=0: no progress reported for 0.2 s; --timeout TIME ends such runs."
    )


def test_a_directory_renamed_while_runs_go_on_is_one_line_and_loses_nothing(root: Path, command: Command) -> None:
    rename = "import os\nif (seed, item) == (1, 1) and os.path.exists('now'): os.rename('o', 'renamed')"
    (root / "now").touch()
    _here.write(root, run=rename)
    code, _, err = command("run", "p", "--out", "o", "--workers", "1")
    assert (code, "Traceback" in err) == (2, False)
    assert "was renamed or removed while the study ran; give it its name again" in err.splitlines()[-1]
    assert not (root / "o").exists()
    stored = len(list((root / "renamed" / "runs" / "measure").glob("*.json")))
    (root / "renamed").rename(root / "o")
    (root / "now").unlink()
    code, _, err = command("run", "p", "--out", "o", "--workers", "1")
    assert (code, f"{stored} stored before" in err) == (0, True)
    assert len(read_tables(root / "o")["values"]) == 8
