"""Runs with many rows: files beside the run's own, which count only together."""

import contextlib
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Condition, Recorder, files
from neuro_decorr.study.files import Damaged, unseal
from neuro_decorr.study.rows import FEW
from neuro_decorr.study.store import Bundle, Store, StoredRun, same_results

CONDITION = Condition("measure", 1, {"arm": "center"})
CURVES = f"runs/measure/{CONDITION.key}.curves.parquet"
ENDS = f"runs/measure/{CONDITION.key}.ends.parquet"
WEIGHTS = f"weights/measure/{CONDITION.key}.safetensors"
HEAD = f"runs/measure/{CONDITION.key}.json"


def recorded(shift: float = 0.0, rows: int = FEW + 1, condition: Condition = CONDITION) -> Recorder:
    recorder = Recorder(condition.factors)
    for step in range(rows):
        recorder.row(
            "curves", step=step, value=step / 7 + shift if step % 5 else math.nan, note="sad" if step % 3 else None
        )
    for step in range(FEW):
        recorder.row("ends", step=step)
    recorder.time(seconds=1.5)
    recorder.weights({"a": np.full(4, shift)})
    return recorder


def bundle(shift: float = 0.0, rows: int = FEW + 1, seconds: float = 1.0) -> Bundle:
    return Store(Path("nowhere"), "study").bundle(CONDITION, recorded(shift, rows), seconds, seconds)


def places(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def test_kinds_of_many_rows_have_files_of_their_own_and_come_back(tmp_path: Path) -> None:
    made = bundle()
    assert list(made) == [WEIGHTS, CURVES, HEAD]
    assert not Path("nowhere").exists()
    store = Store(tmp_path, "study")
    store.write(made)
    assert places(tmp_path) == sorted(made)
    run = store.load(CONDITION)
    assert run is not None
    assert {kind: repr(rows) for kind, rows in run.rows.items()} == {
        kind: repr(rows) for kind, rows in recorded().rows.items()
    }
    assert set(run.files) == {WEIGHTS, CURVES}
    assert store.contents(run) == made


@pytest.mark.parametrize("place", [CURVES, WEIGHTS, HEAD])
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_byte_of_any_file_that_changed_is_told(tmp_path: Path, place: str, data: st.DataObject) -> None:
    made = bundle()
    content = bytearray(made[place])
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[where]))
    store = Store(tmp_path, "study")
    store.write({**made, place: bytes(content)})
    if place == HEAD and unseal(made[HEAD]) == _payload(bytes(content)):
        return  # blanks between the values of a JSON text carry nothing
    with pytest.raises(Damaged, match=re.escape(f"{tmp_path / place} is ")):
        store.load(CONDITION)
    assert store.survey() == {}


def _payload(content: bytes) -> dict[str, object] | None:
    try:
        return unseal(content)
    except Damaged:
        return None


def test_rows_that_change_after_the_survey_are_told_when_they_are_read(tmp_path: Path) -> None:
    store = Store(tmp_path, "study")
    store.write(bundle())
    run = store.survey()[CONDITION]
    (tmp_path / CURVES).write_bytes(bundle(1.0)[CURVES])
    assert len(run.rows["ends"]) == FEW
    with pytest.raises(Damaged, match=r"curves\.parquet is damaged"):
        run.rows["curves"]
    (tmp_path / CURVES).unlink()
    with pytest.raises(Damaged, match=r"curves\.parquet is missing"):
        store.load(CONDITION)


@pytest.mark.parametrize("before", [None, (1.0, FEW + 1), (0.0, 3)], ids=["nothing", "other rows", "few rows"])
def test_a_kill_at_any_file_leaves_a_run_whole_or_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: tuple[float, int] | None
) -> None:
    made = bundle()
    old = bundle(*before) if before else {}
    write, left = files.write, [0]

    def killed(path: Path, content: bytes | str) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, content)

    for count in range(len(made) + 1):
        store = Store(tmp_path / str(count), "study")
        if old:
            store.write(old)
        left[0] = count
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(files, "write", killed)
            store.write(made)
        try:
            run = store.load(CONDITION)
        except Damaged:
            run = None
        stored = store.contents(run) if run else None
        assert stored in ((made,) if count == len(made) else (old, None) if old else (None,))
        store.sweep(store.survey())
        if stored is not None or not old:
            assert places(store.directory) == sorted(stored or {})
        store.write(made)
        store.sweep(store.survey())
        assert places(store.directory) == sorted(made)


def test_files_of_a_damaged_run_are_not_swept(tmp_path: Path) -> None:
    store = Store(tmp_path, "study")
    store.write(bundle())
    (tmp_path / HEAD).write_text("half")
    store.sweep(store.survey())
    assert places(tmp_path) == sorted(bundle())


def test_a_run_that_is_set_aside_takes_its_files_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "study", "study")
    store.write(bundle())
    store.set_aside(store.survey()[CONDITION], tmp_path / "aside")
    assert (places(tmp_path / "study"), places(tmp_path / "aside")) == ([], sorted(bundle()))
    assert Store(tmp_path / "aside", "study").survey().keys() == {CONDITION}


@pytest.mark.parametrize("place", ["../x", "/etc/x", "runs/x", "runs/../../x", "rows/measure/x", "runs/measure/../x"])
def test_a_bundle_writes_nothing_elsewhere(tmp_path: Path, place: str) -> None:
    with pytest.raises(InvalidValue, match="a run has no file"):
        Store(tmp_path / "study", "study").write({**bundle(), place: b""})
    assert places(tmp_path) == []


def test_the_same_results_are_told_from_others(tmp_path: Path) -> None:
    def run(number: int, recorder: Recorder, seconds: float = 1.0) -> StoredRun:
        store = Store(tmp_path / str(number), "study")
        store.save(CONDITION, recorder, seconds, seconds)
        return store.survey()[CONDITION]

    def changed(number: int) -> Recorder:
        recorder = recorded()
        if number == 0:
            recorder.rows["curves"][7]["value"] = 1
        elif number == 1:
            recorder.rows["ends"][7]["step"] = 7.0
        elif number == 2:
            recorder.diverged(3, "loss is nan")
        elif number == 3:
            recorder.weights({"a": np.full(4, 1e-9)})
        elif number == 4:
            recorder.row("more", value=1)
        return recorder

    one, again = run(10, recorded()), run(11, recorded(), seconds=2.0)
    late = recorded()
    late.rows["timings"][0]["seconds"] = 9.0
    assert same_results(one, again) and same_results(one, run(12, late))
    for number in range(5):
        assert not same_results(one, run(number, changed(number)))
