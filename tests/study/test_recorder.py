import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Recorder
from neuro_decorr.study import recorder as module


def test_rows_are_kept_by_their_kind_as_plain_scalars() -> None:
    recorder = Recorder(["arm"])
    recorder.row("curves", step=np.int64(1), value=np.float32(0.5), layer=None)
    recorder.row("spectra", share=1)
    recorder.time(seconds=0.1)
    assert recorder.rows == {
        "curves": [{"step": 1, "value": 0.5, "layer": None}], "spectra": [{"share": 1}], "timings": [{"seconds": 0.1}],
    }  # fmt: skip
    assert type(recorder.rows["curves"][0]["value"]) is float


@pytest.mark.parametrize("kind", ["runs", "costs", "timings", "", "a/b", "Curves", "../x"])
def test_a_kind_names_a_file_that_is_free(kind: str) -> None:
    with pytest.raises(InvalidValue, match="it names a file"):
        Recorder().row(kind, value=1)


@pytest.mark.parametrize("name", ["arm", "seed", "diverged"])
def test_a_row_does_not_repeat_what_the_condition_names(name: str) -> None:
    with pytest.raises(InvalidValue, match=name):
        Recorder(["arm"]).row("curves", **{name: 1})


def test_a_row_of_an_array_is_refused() -> None:
    with pytest.raises(InvalidValue, match="one row for each element"):
        Recorder().row("curves", values=np.zeros(3))


def test_the_first_divergence_counts() -> None:
    recorder = Recorder()
    recorder.diverged(12, "loss is nan")
    recorder.diverged(13, "later")
    assert (recorder.step, recorder.reason) == (12, "loss is nan")


def test_progress_is_told_at_most_once_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    told: list[float] = []
    recorder = Recorder(announce=lambda done, _: told.append(done))
    for step in range(100):
        clock[0] = 100.0 + step / 64
        recorder.progress(step, 100)
    # Every 0.2 s of 100 / 64 s, at steps of 1 / 64 s: every 13 steps.
    assert told == [13, 26, 39, 52, 65, 78, 91]
    assert recorder.done == 99


def test_processor_time_counts_programs_that_the_run_starts() -> None:
    """Such as the compiled networks of Brian2; the program tells its own time by another clock."""
    recorder = Recorder([])
    program = "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time())"
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert recorder.elapsed()[1] >= float(told) - 0.02  # clocks of the system tick in hundredths


def test_weights_are_those_of_the_moment() -> None:
    network, array, recorder = torch.nn.Linear(2, 1), np.ones(2), Recorder()
    torch.nn.init.ones_(network.weight)
    for tensors in (network.state_dict(), {"weight": network.weight}, {"weight": array}):
        recorder.weights(tensors)
        torch.nn.init.zeros_(network.weight)
        array[:] = 0
        assert recorder.tensors is not None
        assert recorder.tensors["weight"].flatten().tolist() == [1, 1]
        torch.nn.init.ones_(network.weight)
        array[:] = 1


@pytest.mark.parametrize("done", [float("nan"), float("inf"), "a", None, [1], np.zeros(2), lambda: 0])
def test_progress_is_told_in_finite_numbers(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INTERVAL", 0.0)
    told: list[tuple[float, float]] = []
    recorder = Recorder((), lambda *both: told.append(both))
    for arguments in ((done, 3), (3, done)):
        with pytest.raises(InvalidValue, match=r"progress\(.*\): done and total must be finite numbers"):
            recorder.progress(*arguments)
    assert (told, recorder.done) == ([], 0)
    two: Any = np.int64(2)
    recorder.progress(two, 3)
    assert told == [(2.0, 3.0)] and [type(value) for value in told[0]] == [float, float]
