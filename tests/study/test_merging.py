"""Directories of one study put together: the union of their runs, against a union by brute force."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro_decorr.errors import NeuroDecorrError
from neuro_decorr.study import provenance
from neuro_decorr.study.conditions import Condition
from neuro_decorr.study.identity import Identity
from neuro_decorr.study.merging import Merged, merge
from neuro_decorr.study.origin import Origin
from neuro_decorr.study.provenance import Provenance
from neuro_decorr.study.recorder import Recorder
from neuro_decorr.study.store import Store

Command = Callable[..., tuple[int, str, str]]
ORIGIN = Origin({}, {"protocols/p.py": "0123"}, {"neuro_decorr/a.py": "4567"}, {"python": "3.11", "numpy": "2.0"})
OTHER = Origin({}, {"protocols/p.py": "89ab"}, {"neuro_decorr/a.py": "4567"}, {"python": "3.11", "numpy": "2.1"})
CONDITIONS = [Condition("a", seed, {"arm": arm}) for seed in range(3) for arm in "xy"]


def share(
    directory: Path, conditions: list[Condition], *, plus: float = 0, origin: Origin = ORIGIN, seeds: int = 3
) -> Path:
    """A directory of the study with some of its runs; a second one has the same rows, and other times."""
    identity = Identity("p", {"items": 2}, seeds)
    identity.write(directory)
    origin.write(directory)
    record = Provenance(directory)
    record.begin(["neuro-decorr", "run", str(directory)], list(range(seeds)), "1 process", origin.brief, directory)
    store = Store(directory, identity.fingerprint, origin.brief)
    for number, condition in enumerate(conditions):
        recorder = Recorder(condition.factors)
        for step in range(300 if condition.seed else 2):  # few rows and many are stored differently
            recorder.row("courses", step=step, value=condition.seed / 7 + step + plus)
        recorder.time(seconds=float(len(str(directory)) + number))
        store.save(condition, recorder, 1.0 + number, 2.0)
    record.end("complete", len(conditions))
    return directory


def runs(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in (directory / "runs").glob("*/*")}


def together(*sources: Path, out: Path, accept: str | None = None) -> Merged:
    return merge(sources, out, root=out.parent, accept=accept)  # type: ignore[arg-type]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=4), st.sets(st.integers(0, 5)) | st.none())
def test_a_merge_is_the_union(shares: list[set[int]], there: set[int] | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        chosen = [[CONDITIONS[i] for i in sorted(numbers)] for numbers in shares]
        sources = [share(root / str(n), conditions, seeds=n + 1) for n, conditions in enumerate(chosen)]
        out = root / "out"
        before = set() if there is None else there
        if there is not None:
            share(out, [CONDITIONS[i] for i in sorted(there)], seeds=1)
        kept = {name: (out / name).read_bytes() for name in runs(out)}
        union = before.union(*shares)
        merged = together(*sources, out=out)
        assert (merged.new, merged.runs) == (len(union - before), len(union))
        assert runs(out) == set().union(*map(runs, sources), runs(share(root / "x", [CONDITIONS[i] for i in union])))
        for name in runs(out):
            contents = [(source / name).read_bytes() for source in sources if (source / name).exists()]
            assert (out / name).read_bytes() == (kept[name] if name in kept else contents[0])
        assert Identity.read(out).seeds == len(shares)
        found_runs = Store(out, Identity.read(out).fingerprint).survey()
        assert {run.condition for run in found_runs.values()} == {CONDITIONS[i] for i in union}
        for condition, run in found_runs.items():
            expected = [condition.seed / 7 + step for step in range(300 if condition.seed else 2)]
            assert [row["value"] for row in run.rows["courses"]] == expected
        sessions = provenance.read(out)
        assert len(sessions) == len(shares) + (there is not None) + 1
        # Again: nothing is new, and the sessions are those and the second merge.
        again = together(*sources, out=out)
        assert (again.new, again.runs, len(provenance.read(out))) == (0, len(union), len(sessions) + 1)


def refused(*sources: Path, out: Path, accept: str | None = None) -> str:
    with pytest.raises(NeuroDecorrError) as error:
        together(*sources, out=out, accept=accept)
    assert not out.exists() or [path.name for path in out.iterdir()] in ([], [".lock"])
    return str(error.value)


def test_two_results_of_one_run_are_refused(tmp_path: Path) -> None:
    one, two = share(tmp_path / "one", CONDITIONS[:2]), share(tmp_path / "two", CONDITIONS[1:3], plus=1e-12)
    told = refused(one, two, out=tmp_path / "out")
    name = f"runs/a/{CONDITIONS[1].key}.json"
    assert f"{one / name} and {two / name}" in told
    assert len(told.splitlines()) == 2


@pytest.mark.parametrize("place", ["runs/a/{key}.json", "runs/a/{key}.courses.parquet"])
def test_a_damaged_run_is_refused(tmp_path: Path, place: str) -> None:
    one, two = share(tmp_path / "one", CONDITIONS), share(tmp_path / "two", CONDITIONS)
    path = two / place.format(key=CONDITIONS[4].key)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert CONDITIONS[4].key in refused(one, two, out=tmp_path / "out")
    # In the directory that is written it is written anew.
    together(one, out=two)
    assert len(Store(two, Identity.read(two).fingerprint).survey()) == 6


def test_several_studies_are_refused(tmp_path: Path) -> None:
    one, two = share(tmp_path / "one", CONDITIONS), share(tmp_path / "two", [])
    Identity("p", {"items": 3}, 3).write(two)
    assert "items: there 2, here 3" in refused(one, two, out=tmp_path / "out")
    Identity("q", {"items": 2}, 3).write(two)
    assert "protocol: there 'p', here 'q'" in refused(one, two, out=tmp_path / "out")
    (tmp_path / "three").mkdir()
    assert "holds no study" in refused(one, tmp_path / "three", out=tmp_path / "out")


def test_several_origins_are_refused_or_kept_on_record(tmp_path: Path) -> None:
    one, two = share(tmp_path / "one", CONDITIONS[:4]), share(tmp_path / "two", CONDITIONS[3:], origin=OTHER)
    told = refused(one, two, out=tmp_path / "out")
    assert f"protocols/p.py: in {two} 89ab, in {one} 0123" in told
    assert f"numpy: in {two} 2.1, in {one} 2.0" in told
    assert "allowed: keep" in refused(one, two, out=tmp_path / "out", accept="recompute")
    assert together(one, two, out=tmp_path / "out", accept="keep").runs == 6
    *_, session = provenance.read(tmp_path / "out")
    assert (session["accepted_changes"]["choice"], session["accepted_changes"]["runs"]) == ("keep", 3)
    assert len(list((tmp_path / "out" / "origins").iterdir())) == 2
    # What is on record needs no second choice.
    assert together(one, two, out=tmp_path / "out").new == 0


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_merge_that_was_killed_is_completed_by_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    one, two = share(tmp_path / "one", CONDITIONS[:3]), share(tmp_path / "two", CONDITIONS[3:])
    out = tmp_path / "out"
    write, written = Store.write, []

    def killed(store: Store, bundle: dict[str, bytes]) -> None:
        if len(written) == number:
            places = list(bundle)
            for place in places[:-1]:  # in the middle of a run
                (out / place).parent.mkdir(parents=True, exist_ok=True)
                (out / place).write_bytes(bundle[place])
            raise KeyboardInterrupt
        written.append(bundle)
        write(store, bundle)

    monkeypatch.setattr(Store, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        together(one, two, out=out)
    monkeypatch.undo()
    assert len(Store(out, Identity.read(out).fingerprint).survey()) == number
    assert together(one, two, out=out).runs == 6
    assert runs(out) == runs(one) | runs(two)


def test_a_run_that_failed_in_a_share_is_on_record(tmp_path: Path) -> None:
    one, two = share(tmp_path / "one", CONDITIONS[:3]), share(tmp_path / "two", CONDITIONS[3:5])
    for directory, condition in ((one, CONDITIONS[5]), (two, CONDITIONS[0])):
        (directory / "failures").mkdir()
        (directory / "failures" / f"{condition.key}.txt").write_text("told")
    together(one, two, out=tmp_path / "out")
    # The second one is stored in the other share.
    assert [path.stem for path in (tmp_path / "out" / "failures").iterdir()] == [CONDITIONS[5].key]


def test_the_command_writes_the_report_where_all_is_there(root: Path, complete: Path, command: Command) -> None:
    for name in ("one", "two"):
        shutil.copytree(complete, root / name)
    stored = sorted((root / "one" / "runs").glob("*/*.json"))
    for number, path in enumerate(stored):
        (root / ("one", "two")[number % 2] / path.relative_to(root / "one")).unlink()
    code, _, err = command("merge", "one", "--out", "out")
    assert code == 0
    assert err.endswith("runs missing, so no report is written; go on with: neuro-decorr run tiny --out out\n")
    assert not (root / "out" / "rows").exists()
    code, out, err = command("merge", "one", "two", "--out", "out")
    assert (code, out.startswith("The mean is")) == (0, True)
    assert "out: 10 runs, 5 of them new." in err
    for name in ("rows/courses.parquet", "rows/runs.parquet", "finding.txt"):
        assert (root / "out" / name).read_bytes() == (complete / name).read_bytes()
    assert command("run", "tiny", "--out", "out", "--workers", "1")[0] == 0
    assert provenance.read(root / "out")[-1]["runs_computed"] == 0
    for wrong in (("merge", "one"), ("merge", "--out", "x"), ("merge", "one", "--out", "x", "--accept-changed", "no")):
        assert command(*wrong)[0] == 2
