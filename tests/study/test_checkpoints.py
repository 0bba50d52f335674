"""A loop that is interrupted after any step, and damages of what it left."""

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from neuro_decorr.errors import InvalidValue, StateMismatch
from neuro_decorr.study import Condition, Recorder, checkpoints
from neuro_decorr.study.checkpoints import Place

CONDITION = Condition("measure", 3, {"arm": "center"})
STEPS = 6


class Blow(Exception):
    """The end of a process."""


def place(directory: Path, told: list[str], **changed: Any) -> Place:
    made_from = {"study": "a", "origin": {"data": {}, "library": "b"}, **changed}
    return Place(directory, CONDITION, made_from, told.append, every=0)


def draw(recorder: Recorder, blow: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """A run whose every row depends on all that was drawn before, by five generators."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    own, other, walk = np.random.default_rng(0), torch.Generator().manual_seed(0), {"at": 0.0}
    for step in recorder.checkpoints(own=own, other=other, walk=walk).steps(STEPS):
        walk["at"] += random.random() + np.random.rand() + own.random()  # noqa: NPY002
        walk["at"] += float(torch.rand(()) + torch.rand((), generator=other))
        recorder.row("courses", step=step, at=walk["at"])
        if step == blow:
            raise Blow
        recorder.row("counts" if step % 2 else "ends", step=step)
        recorder.progress(step, STEPS)
    return recorder.rows


def blown(where: Place | None, step: int) -> None:
    with pytest.raises(Blow):
        draw(Recorder(place=where), step)


@pytest.mark.parametrize("step", range(STEPS))
def test_a_loop_goes_on_after_any_step_as_if_nothing_had_been(tmp_path: Path, step: int) -> None:
    told: list[str] = []
    blown(place(tmp_path, told), step)
    recorder = Recorder(place=place(tmp_path, told))
    assert draw(recorder) == draw(Recorder())
    assert told == [] and recorder.done == STEPS - 1
    kept = place(tmp_path, told).folder / "1"
    assert sorted(path.name for path in kept.iterdir()) == ["5.json", "5.safetensors", "6.json", "6.safetensors"]
    checkpoints.forget(tmp_path, CONDITION)
    assert list(tmp_path.iterdir()) == []


def test_what_a_session_did_is_not_done_again(tmp_path: Path) -> None:
    blown(place(tmp_path, []), 4)
    done = []
    recorder = Recorder(place=place(tmp_path, []))
    for step in recorder.checkpoints(own=None, other=None, walk={}).steps(STEPS):
        done.append(step)
    assert done == [4, 5]


@pytest.mark.parametrize("ending", ["json", "safetensors"])
@pytest.mark.parametrize("how", ["cut", "changed", "gone", "pipe"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, ending: str, how: str) -> None:
    told: list[str] = []
    blown(place(tmp_path, told), 4)
    path = place(tmp_path, told).folder / "1" / f"4.{ending}"
    content = path.read_bytes()
    path.unlink()
    if how == "cut":
        path.write_bytes(content[:-9])
    elif how == "changed":
        path.write_bytes(content[:100] + bytes([content[100] ^ 4]) + content[101:])
    elif how == "pipe":
        os.mkfifo(path)
    assert draw(Recorder(place=place(tmp_path, told))) == draw(Recorder())
    if how == "gone" and ending == "json":
        assert told == []  # as a kill leaves it between the two files
    else:
        (line,) = told
        assert "the one after step 4 (" in line and line.endswith("the run continues from step 3")


def test_two_damaged_ones_fall_back_to_the_start(tmp_path: Path) -> None:
    told: list[str] = []
    blown(place(tmp_path, told), 4)
    for path in (place(tmp_path, told).folder / "1").iterdir():
        path.write_bytes(b"{}")
    assert draw(Recorder(place=place(tmp_path, told))) == draw(Recorder())
    assert len(told) == 1 and told[0].endswith("the run continues from the start")


@pytest.mark.parametrize("changed", [{"study": "b"}, {"origin": {"data": {"file": "1"}, "library": "b"}}])
def test_a_checkpoint_of_something_else_is_not_used(tmp_path: Path, changed: dict[str, Any]) -> None:
    told: list[str] = []
    blown(place(tmp_path, told), 4)
    assert draw(Recorder(place=place(tmp_path, told, **changed))) == draw(Recorder())
    assert len(told) == 1 and "of another run, or made from other data" in told[0]


def test_one_of_another_run_is_not_used(tmp_path: Path) -> None:
    told: list[str] = []
    blown(place(tmp_path, told), 4)
    other = Place(tmp_path, Condition("measure", 4, {}), {"study": "a"}, told.append)
    shutil.copytree(place(tmp_path, told).folder, other.folder)
    draw(Recorder(place=other))
    assert len(told) == 1 and "of another run, or made from other data" in told[0]


def several(recorder: Recorder, blow: tuple[int, int] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Loops one after the other and in each other, which hand their numbers on."""
    generator, total = torch.Generator().manual_seed(0), {"sum": 0.0}

    def inner(name: str, place: int) -> None:
        for step in recorder.checkpoints(generator=generator, total=total).steps(3):
            total["sum"] += float(torch.rand((), generator=generator))
            recorder.row(name, step=step, sum=total["sum"])
            if (place, step) == blow:
                raise Blow

    inner("first", 0)
    recorder.row("between", sum=total["sum"])
    checkpoints = recorder.checkpoints(generator=generator, total=total)
    for step in checkpoints.steps(2):
        inner("inner", 1 + step)
        total["sum"] *= 2
    for step in checkpoints.steps(3):
        total["sum"] += step
    inner("last", 3)
    return recorder.rows


@pytest.mark.parametrize("blow", [(place, step) for place in range(4) for step in range(3)])
def test_every_loop_of_a_run_goes_on(tmp_path: Path, blow: tuple[int, int]) -> None:
    with pytest.raises(Blow):
        several(Recorder(place=place(tmp_path, [])), blow)
    assert several(Recorder(place=place(tmp_path, []))) == several(Recorder())


def test_clocks_weights_and_divergence_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0, 0.0]
    monkeypatch.setattr("neuro_decorr.study.recorder._clocks", lambda: tuple(clock))
    recorder = Recorder(place=place(tmp_path, []))
    for _ in recorder.checkpoints().steps(2):
        clock[:] = 10.0, 8.0
        recorder.weights({"weight": torch.ones(2)})
        recorder.diverged(7, "loss is nan")
    clock[:] = 100.0, 50.0  # another process
    recorder = Recorder(place=place(tmp_path, []))
    assert list(recorder.checkpoints().steps(3)) == [2]
    clock[:] = 101.0, 50.5
    assert recorder.elapsed() == (11.0, 8.5)
    assert recorder.tensors is not None and recorder.tensors["weight"].tolist() == [1, 1]
    assert (recorder.step, recorder.reason) == (7, "loss is nan")


def test_they_come_at_most_every_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("neuro_decorr.study.checkpoints.time.monotonic", lambda: clock[0])
    where = Place(tmp_path, CONDITION, {}, lambda _: None)
    found = []
    for step in Recorder(place=where).checkpoints().steps(300):
        clock[0] += 1
        found.append((step, {int(path.stem) for path in (where.folder / "1").glob("*.json")}))
    written = {number for _, seen in found for number in seen}
    assert written == {60, 120, 180, 240}


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "multi_step": lambda optimiser: lr_scheduler.MultiStepLR(optimiser, [2, 4]),
    "one_cycle": lambda optimiser: lr_scheduler.OneCycleLR(optimiser, 1.0, total_steps=STEPS + 1),
    "plateau": lambda optimiser: lr_scheduler.ReduceLROnPlateau(optimiser, patience=1),
    "lambda": lambda optimiser: lr_scheduler.LambdaLR(optimiser, lambda step: 0.9**step),
    "both": lambda optimiser: lr_scheduler.SequentialLR(
        optimiser, [lr_scheduler.LinearLR(optimiser), lr_scheduler.CosineAnnealingLR(optimiser, 5)], [3]
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_of_torch_go_on(tmp_path: Path, name: str) -> None:
    def rates(recorder: Recorder, steps: int) -> list[float]:
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.5)
        scheduler = SCHEDULERS[name](optimiser)
        for _ in recorder.checkpoints(optimiser=optimiser, scheduler=scheduler).steps(steps):
            optimiser.step()
            scheduler.step(*([1.0] if name == "plateau" else []))
            recorder.row("rates", rate=optimiser.param_groups[0]["lr"])
        return [float(row["rate"]) for row in recorder.rows["rates"]]  # type: ignore[arg-type]

    rates(Recorder(place=place(tmp_path, [])), 3)
    found = rates(Recorder(place=place(tmp_path, [])), STEPS)
    assert found == rates(Recorder(), STEPS) and len(set(found)) > 1


def test_without_its_directory_there_are_none_and_that_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    rows = draw(Recorder(place=place(tmp_path / "elsewhere", told)))
    assert rows == draw(Recorder())
    assert told == [f"no checkpoint was written: {tmp_path / 'elsewhere'} does not exist on this machine"]
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_alone_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw(Recorder())
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_stored_is_told_after_the_first_step_even_alone() -> None:
    held: dict[str, object] = {}
    steps = Recorder().checkpoints(held=held).steps(3)
    next(steps)
    held["best"] = Recorder()
    with pytest.raises(InvalidValue, match=r"held\['best'\] is a Recorder"):
        next(steps)


def test_a_network_of_another_shape_is_no_silent_restart(tmp_path: Path) -> None:
    for _ in Recorder(place=place(tmp_path, [])).checkpoints(model=torch.nn.Linear(2, 3)).steps(2):
        pass
    steps = Recorder(place=place(tmp_path, [])).checkpoints(model=torch.nn.Linear(2, 4)).steps(3)
    with pytest.raises(StateMismatch, match="does not fit 'model'"):
        next(steps)


@pytest.mark.parametrize("wrong", [{"every": -1}, {"every": float("nan")}])
def test_seconds_and_steps_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="every"):
        Recorder().checkpoints(**wrong)
    with pytest.raises(InvalidValue, match="total"):
        next(Recorder().checkpoints().steps(-1))


def test_a_terminated_process_ends_its_step_and_writes_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end() -> None:
        raise Blow

    monkeypatch.setattr(checkpoints, "_terminate", end)
    before = signal.getsignal(signal.SIGTERM)
    where = Place(tmp_path, CONDITION, {}, lambda _: None, every=1e9)
    steps = Recorder(place=where).checkpoints().steps(1000)
    assert [next(steps) for _ in range(4)] == [0, 1, 2, 3]
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Blow):
        next(steps)
    assert signal.getsignal(signal.SIGTERM) is before
    assert next(Recorder(place=where).checkpoints().steps(1000)) == 4


def test_runs_that_are_stored_are_swept(tmp_path: Path) -> None:
    blown(place(tmp_path, []), 4)
    checkpoints.sweep(tmp_path, [Condition("measure", 4, {})])
    assert place(tmp_path, []).folder.is_dir()
    checkpoints.sweep(tmp_path, [CONDITION])
    assert not (tmp_path / "checkpoints").exists()


def test_a_session_sweeps_those_of_stored_runs(
    complete: Path, root: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    shutil.copytree(complete, root / "one")
    run = next((root / "one" / "runs").glob("*/*.json"))
    folder = root / "one" / "checkpoints" / run.parent.name / run.stem / "1"
    folder.mkdir(parents=True)
    (folder / "3.json").write_text("{}")
    assert command("run", "tiny", "--out", "one", "--workers", "1")[0] == 0
    assert not (root / "one" / "checkpoints").exists()
