"""Curves for TensorBoard, read back by TensorBoard's own reader."""

import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuro_decorr.study import Condition, Recorder, files
from neuro_decorr.study.store import Store
from neuro_decorr.study.tensorboard import TensorBoard, curves

pytest.importorskip("tensorboard")

Command = Callable[..., tuple[int, str, str]]


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a folder as TensorBoard reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    names = [name for name in events.Tags()["tensors"] if not name.startswith("diverged")]
    return {
        name: [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events.Tensors(name)]
        for name in names
    }


def hyperparameters(folder: Path) -> dict[str, Any]:
    """As the plugin of TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    contents = EventAccumulator(str(folder)).Reload().PluginTagToContent("hparams")
    data = plugin_data_pb2.HParamsPluginData.FromString(contents[metadata.SESSION_START_INFO_TAG])
    values = data.session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def stored(place: Path, condition: Condition, fill: Callable[[Recorder], None]) -> Any:
    store = Store(place, "fingerprint", {"data": ""})
    recorder = Recorder(condition.factors)
    fill(recorder)
    store.save(condition, recorder, 1.0, 1.0)
    return store.load(condition)


def test_equal_numbers_at_equal_steps_in_double_precision(tmp_path: Path) -> None:
    condition = Condition("measure", 3, {"arm": "a/b,c [x] ../..", "rate": 0.1, "on": True, "none": None, "n": 7})
    losses = {1: math.pi, 2: 1e-300, 5: -0.0, 9: math.inf, 10: 1 + 2**-52}

    def fill(recorder: Recorder) -> None:
        for epoch, loss in losses.items():
            recorder.row("curves", epoch=epoch, loss=loss, note="x", empty=None)
        for value in (4, 5.5):
            recorder.row("plain", value=value)
        for layer in ("0", "2"):
            for step in (10, 20):
                recorder.row("layers", layer=layer, step=step, rank=step + int(layer))
        recorder.time(seconds=1.0)

    log = TensorBoard(tmp_path)
    run = stored(tmp_path, condition, fill)
    log.write(run)
    folder = log.folder(condition)
    assert folder.parent == tmp_path / "tensorboard" / "measure"
    assert read(folder) == {
        "curves/loss/x": list(losses.items()),
        "plain/value": [(0, 4.0), (1, 5.5)],
        "layers/rank/0": [(10, 10.0), (20, 20.0)],
        "layers/rank/2": [(10, 12.0), (20, 22.0)],
    }
    expected = {"arm": condition.factors["arm"], "rate": 0.1, "on": True, "none": "none", "n": 7, "seed": 3}
    assert hyperparameters(folder) == {**expected, "stage": "measure"}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    log.keep(run)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    log.write(run)
    assert read(folder)["plain/value"] == [(0, 4.0), (1, 5.5)]


def test_steps_that_come_back_become_numbers_of_rows() -> None:
    rows = {"curves": [{"epoch": epoch, "layer": layer, "x": layer} for epoch in (1, 2) for layer in (0, 1)]}
    numbers = list(range(4))
    assert curves(rows) == {
        "curves/layer": list(zip(numbers, [0, 1, 0, 1], strict=True)),
        "curves/x": list(zip(numbers, [0, 1, 0, 1], strict=True)),
    }


def test_what_is_no_curve_gives_no_point() -> None:
    assert (
        curves({"timings": [{"seconds": 1.0}], "empty": [], "texts": [{"step": 1, "name": "x", "huge": 10**400}]}) == {}
    )
    assert curves({"odd": [{"step": -1, "x": 2}, {"step": None, "x": None}]})["odd/x"] == [(0, 2.0)]


def test_long_names_of_two_runs_do_not_meet(tmp_path: Path) -> None:
    log = TensorBoard(tmp_path)
    one, other = (Condition("measure", 0, {"arm": "x" * 300, "last": last}) for last in (1, 2))
    assert log.folder(one) != log.folder(other)
    assert len(log.folder(one).name) < 150


def test_a_study_logs_its_runs_and_doubles_nothing_when_it_goes_on(
    complete: Path, root: Path, command: Command
) -> None:
    shutil.copytree(complete, root / "one")
    arguments = ("run", "tiny", "--out", "one", "--workers", "1", "--accept-changed", "keep", "--log", "tensorboard")
    rows = {path.name: path.read_bytes() for path in (root / "one" / "rows").iterdir()}
    assert command(*arguments).code == 0
    assert {path.name: path.read_bytes() for path in (root / "one" / "rows").iterdir()} == rows

    def folders() -> dict[Path, dict[str, list[tuple[int, float]]]]:
        return {path.parent: read(path.parent) for path in (root / "one" / "tensorboard").rglob("events.*")}

    first = folders()
    assert len(first) == 10
    measured = [files.unseal(path.read_bytes()) for path in (root / "one" / "runs").glob("*/*.json")]
    expected = sorted(
        [(row[columns.index("step")], row[columns.index("value")]) for row in group["values"]]
        for run in measured
        for group in run["rows"]["courses"]
        for columns in [group["columns"]]
    )
    assert sorted(curve["courses/value"] for curve in first.values()) == expected
    # One run is computed again, and one seed is new: the others stay as they are.
    next((root / "one" / "runs" / "measure").glob("*.json")).unlink()
    assert command(*arguments, "--seeds", "3").code == 0
    again = folders()
    assert len(again) == 14
    assert {folder: again[folder] for folder in first} == first


def test_a_full_disk_ends_the_log_and_not_the_study(root: Path, command: Command) -> None:
    assert command("run", "tiny", "--out", "one", "--items", "1", "--workers", "1").code == 0
    (root / "one" / "tensorboard").touch()
    arguments = ("run", "tiny", "--out", "one", "--items", "1", "--workers", "1", "--accept-changed", "keep")
    code, _, err = command(*arguments, "--log", "tensorboard")
    assert code == 0
    assert len([line for line in err.splitlines() if "note: the log stops here" in line]) == 1


def test_without_tensorboard_the_extra_is_named(root: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code, out, err = command("run", "tiny", "--log", "tensorboard")
    assert (code, out) == (2, "")
    assert "needs tensorboard, in the extra 'tensorboard'" in err and len(err.splitlines()) == 1
    assert not (root / "results").exists()
    code, _, err = command("run", "tiny", "--log", "wandb")
    assert (code, err) == (2, "neuro-decorr: --log: got 'wandb'; should be 'tensorboard'\n")
