from pathlib import Path

import numpy as np
import pytest
import torch

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Condition, Recorder, load_weights
from neuro_decorr.study.files import Damaged
from neuro_decorr.study.store import Store

CONDITION = Condition("measure", 1, {"arm": "center", "rate": 0.1, "rank": None})


def saved(directory: Path, tensors: object = None, study: str = "study") -> Store:
    recorder = Recorder(CONDITION.factors)
    recorder.row("curves", step=0, value=0.1 + 0.2)
    recorder.row("notes", note="b", a=2)
    recorder.row("curves", step=1, value=float("nan"), note="sad")
    recorder.row("curves", note="b", a=2)
    recorder.time(seconds=1.5)
    recorder.diverged(1, "loss is nan")
    if tensors is not None:
        recorder.weights(tensors)  # type: ignore[arg-type]
    store = Store(directory, study)
    store.save(CONDITION, recorder, 2.0, 1.0)
    return store


def test_a_run_comes_back_with_every_digit_and_the_order_of_its_columns(tmp_path: Path) -> None:
    run = saved(tmp_path).load(CONDITION)
    assert run is not None
    assert repr(run.rows["curves"]) == (
        "[{'step': 0, 'value': 0.30000000000000004}, {'step': 1, 'value': nan, 'note': 'sad'}, {'note': 'b', 'a': 2}]"
    )
    assert run.rows["notes"] == [{"note": "b", "a": 2}]
    assert run.rows["timings"] == [{"seconds": 1.5}]
    assert (run.diverged, run.step, run.reason) == (True, 1, "loss is nan")
    assert (run.wall_seconds, run.cpu_seconds) == (2.0, 1.0)
    assert run.condition == CONDITION


def test_a_run_that_is_not_stored_is_none(tmp_path: Path) -> None:
    store = saved(tmp_path)
    assert store.load(Condition("measure", 2, CONDITION.factors)) is None
    assert store.count() == 1


def test_weights_come_back(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    transposed = torch.arange(6.0).reshape(2, 3).T
    saved(tmp_path, {**layer.state_dict(), "shared": layer.weight, "transposed": transposed})
    again = load_weights(str(tmp_path), CONDITION)
    assert torch.equal(again["weight"], layer.weight)
    assert torch.equal(again["shared"], layer.weight)
    assert torch.equal(again["transposed"], transposed)


def test_weights_of_numpy_come_back(tmp_path: Path) -> None:
    saved(tmp_path, {"a": np.arange(3.0)})
    assert load_weights(tmp_path, CONDITION)["a"].tolist() == [0.0, 1.0, 2.0]


def test_weights_that_were_not_recorded_are_told(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(InvalidValue, match="no weights"):
        load_weights(tmp_path, CONDITION)


def test_damage_is_found_and_the_file_named(tmp_path: Path) -> None:
    store = saved(tmp_path, {"a": np.zeros(4)})
    good, weights = store.path(CONDITION).read_bytes(), store.weights_path(CONDITION).read_bytes()
    for bad in (b"", good[: len(good) // 2], good.replace(b"sad", b"mad"), b"\0" * len(good)):
        store.path(CONDITION).write_bytes(bad)
        with pytest.raises(Damaged, match=rf"{CONDITION.key}\.json is "):
            store.load(CONDITION)
    store.path(CONDITION).write_bytes(good)
    for bad in (weights[:-1], weights[:-1] + b"\1"):
        store.weights_path(CONDITION).write_bytes(bad)
        with pytest.raises(Damaged, match=r"safetensors is damaged"):
            store.load(CONDITION)
    store.weights_path(CONDITION).unlink()
    with pytest.raises(Damaged, match="missing"):
        store.load(CONDITION)


def test_a_run_of_another_study_or_condition_is_no_run_of_this_one(tmp_path: Path) -> None:
    store = saved(tmp_path)
    with pytest.raises(Damaged, match="another run or study"):
        Store(tmp_path, "other").load(CONDITION)
    other = Condition("measure", 2, CONDITION.factors)
    store.path(other).write_bytes(store.path(CONDITION).read_bytes())
    with pytest.raises(Damaged, match="another run or study"):
        store.load(other)
