"""What a dry run says is what then runs; and it changes nothing."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuro_decorr.study import files, provenance

Command = Callable[..., tuple[int, str, str]]

STAGES = """
from pydantic import Field
from neuro_decorr import study


class Configuration(study.Configuration):
    levels: int = Field(20, ge=0, description="Levels of the factor x.")


def first(configuration, seeds, tables):
    levels = range(configuration.levels)
    return [study.Condition("first", seed, {"x": x, "even": x % 2 == 0}) for seed in seeds for x in levels]


def second(configuration, seeds, tables):
    return [study.Condition("second", 7, {"x": None})]


def third(configuration, seeds, tables):
    return [study.Condition("third", seed, {"x": len(tables["runs"])}) for seed in seeds]


def run(configuration, condition, recorder):
    pass


def report(configuration, tables, directory):
    pass


PROTOCOL = study.Protocol(
    name="stages", question="?", configuration=Configuration, stages=(first, second, third), run=run, report=report,
    seeds=3,
)
"""


def planned(command: Command, *arguments: str) -> Any:
    code, out, err = command("run", *arguments, "--dry-run", "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def stored(directory: Path) -> Counter[str]:
    """Every stored run by what is in its file."""
    payloads = [files.unseal(path.read_bytes()) for path in (directory / "runs").glob("*/*.json")]
    return Counter(json.dumps([run["stage"], run["seed"], run["factors"]], sort_keys=True) for run in payloads)


def told(stages: Any) -> Counter[str]:
    runs = [run for stage in stages for run in stage["runs"]]
    return Counter(json.dumps([run["stage"], run["seed"], run["factors"]], sort_keys=True) for run in runs)


def test_what_is_told_is_what_runs(root: Path, command: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if "__pycache__" not in path.parts}
    plan = planned(command, "tiny", "--workers", "1")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if "__pycache__" not in path.parts} == before
    select, measure = plan["stages"]
    assert (measure["runs"], measure["at_most"], plan["seconds"]) == (None, None, None)
    out = command("run", "tiny", "--dry-run").out
    assert out.splitlines() == [
        f"A dry run: nothing is computed, and nothing is written into {Path('results', 'tiny')}.",
        "stage 1 (select): 2 runs",
        "  select rate=0.1 seed=1000",
        "  select rate=0.5 seed=1000",
        "stage 2 depends on runs of an earlier stage that are not stored yet",
        "total: at least 2 runs, 0 stored, at least 2 to compute; the time can be estimated once a run is stored",
    ]
    assert command("run", "tiny", "--workers", "1").code == 0
    after = planned(command, "tiny", "--workers", "1")
    assert after["stages"][0]["runs"] == [{**run, "stored": True} for run in select["runs"]]
    assert told(after["stages"]) == stored(root / "results" / "tiny")
    assert command("run", "tiny", "--dry-run").out.endswith("total: 10 runs, 10 stored, 0 to compute\n")


def test_a_complete_study_that_would_be_extended(complete: Path, root: Path, command: Command) -> None:
    shutil.copytree(complete, root / "one")
    runs = sorted((root / "one" / "runs" / "measure").glob("*.json"))
    runs[0].write_bytes(runs[0].read_bytes()[:-9])
    before = {path: path.stat().st_mtime_ns for path in (root / "one").rglob("*")}
    plan = planned(command, "tiny", "--out", "one", "--seeds", "40", "--workers", "4", "--accept-changed", "keep")
    assert {path: path.stat().st_mtime_ns for path in (root / "one").rglob("*")} == before
    select, measure = plan["stages"]
    assert (select["stored"], measure["stored"], measure["damaged"], len(measure["runs"])) == (2, 7, 1, 160)
    times = [files.unseal(path.read_bytes())["wall_seconds"] for path in runs[1:]]
    assert plan["seconds"] == pytest.approx(153 * sum(times) / 7)
    assert 0 <= plan["seconds_left"] - plan["seconds"] / 4 <= 60
    lines = command("run", "tiny", "--out", "one", "--seeds", "40", "--workers", "4", "--dry-run").out.splitlines()
    assert "  seed  0 to 39 (40 levels)" in lines
    assert "  arm   whitening, center (80 runs each)" in lines
    assert lines[-1].startswith("total: 162 runs, 9 stored, 153 to compute; about ")
    assert "with 4 workers, estimated from 9 stored runs; " in lines[-1]


def test_the_start_of_the_processes_is_that_of_the_last_complete_session(
    complete: Path, root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(complete, root / "one")
    times = [files.unseal(path.read_bytes())["wall_seconds"] for path in (root / "one" / "runs").glob("*/*.json")]
    record = provenance.Provenance(root / "one")
    record.sessions[-1]["started"] = "2026-11-29T10:00:00+00:00"
    # It computed 10 runs one after the other in 42 s; the one after it was killed, which tells nothing.
    monkeypatch.setattr(provenance, "_now", lambda: "2026-11-29T10:00:42+00:00")
    record.sessions.append({**record.sessions[-1], "outcome": "running, or killed", "ended": None})
    record.sessions.reverse()
    record.end("complete", 10)
    record.sessions.reverse()
    record.computed(10)
    for seeds, missing in (("2", 0), ("40", 152)):
        plan = planned(command, "tiny", "--out", "one", "--seeds", seeds, "--workers", "4")
        start = 42 - sum(times) if missing else 0
        assert plan["seconds_left"] == pytest.approx(plan["seconds"] / 4 + start)
    out = command("run", "tiny", "--out", "one", "--seeds", "40", "--workers", "4", "--dry-run").out
    assert f"; {42 - sum(times):.0f} s of it are for start and report (as in the last session)" in out


def test_another_study_of_the_protocol_tells_how_long(complete: Path, root: Path, command: Command) -> None:
    shutil.copytree(complete, root / "results" / "one")
    plan = planned(command, "tiny", "--workers", "1")
    times = [files.unseal(path.read_bytes())["wall_seconds"] for path in (complete / "runs" / "select").glob("*.json")]
    assert plan["seconds"] == pytest.approx(sum(times))
    assert f"from runs of {root / 'results' / 'one'}, which may" in command("run", "tiny", "--dry-run").out


def test_a_later_stage_that_needs_no_table_is_told_at_once(root: Path, command: Command) -> None:
    (root / "protocols" / "stages.py").write_text(STAGES)
    plan = planned(command, "stages")
    assert [stage["runs"] and len(stage["runs"]) for stage in plan["stages"]] == [60, 1, None]
    lines = command("run", "stages", "--dry-run").out.splitlines()
    assert lines[1:6] == [
        "stage 1 (first): 60 runs",
        "  x     0 to 19 (20 levels)",
        "  even  True, False (30 runs each)",
        "  seed  0, 1, 2 (20 runs each)",
        "stage 2 (second): 1 run",
    ]


def test_shares_are_told_and_together_they_are_all(root: Path, command: Command) -> None:
    (root / "protocols" / "stages.py").write_text(STAGES)
    whole = told(planned(command, "stages")["stages"][:1])
    shares = [planned(command, "stages", "--shard", f"{number}/3")["stages"] for number in (1, 2, 3)]
    assert [len(stages) for stages in shares] == [1, 1, 1]
    assert sum((told(stages) for stages in shares), Counter()) == whole


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["tiny", "--out", "one", "--items", "3"], "another configuration"),
        (["tiny", "--out", "file"], "Not a directory"),
        (["tiny", "--out", "one"], "made from other data, code or versions"),
        (["tiny", "--out", "one", "--seeds", "1"], "stored 2, asked for 1"),
    ],
)
def test_what_a_run_refuses_a_dry_run_refuses_in_the_same_words(
    complete: Path, root: Path, command: Command, arguments: list[str], part: str
) -> None:
    (root / "file").touch()
    shutil.copytree(complete, root / "one")
    (root / "protocols" / "tiny.py").write_text((root / "protocols" / "tiny.py").read_text() + "\n# edited\n")
    code, out, err = command("run", *arguments, "--dry-run")
    assert (code, out) == (2, "") and part in err
    assert command("run", *arguments) == (code, out, err)


def test_runs_that_would_be_computed_again_are_not_counted_as_stored(
    complete: Path, root: Path, command: Command
) -> None:
    shutil.copytree(complete, root / "one")
    (root / "protocols" / "tiny.py").write_text((root / "protocols" / "tiny.py").read_text() + "\n# edited\n")
    plan = planned(command, "tiny", "--out", "one", "--accept-changed", "recompute")
    assert [stage["stored"] for stage in plan["stages"]] == [0, 0]
    out = command("run", "tiny", "--out", "one", "--accept-changed", "recompute", "--dry-run").out
    assert "note: 10 runs that were made from other data, code or versions are computed again" in out
    assert not (root / "one" / "replaced").exists()


def test_json_alone_is_refused(root: Path, command: Command) -> None:
    code, out, err = command("run", "tiny", "--json")
    assert (code, out) == (2, "") and err.startswith("neuro-decorr: --json: allowed with --dry-run only")
