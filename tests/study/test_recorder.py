import numpy as np
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.study import Recorder
from neuro_decorr.study import recorder as module


def test_rows_and_timings_are_kept_apart_as_plain_scalars() -> None:
    recorder = Recorder(["arm"])
    recorder.row(step=np.int64(1), value=np.float32(0.5), layer=None)
    recorder.time(seconds=0.1)
    assert recorder.rows == [{"step": 1, "value": 0.5, "layer": None}]
    assert recorder.timings == [{"seconds": 0.1}]
    assert type(recorder.rows[0]["value"]) is float


@pytest.mark.parametrize("name", ["arm", "seed", "diverged"])
def test_a_row_does_not_repeat_what_the_condition_names(name: str) -> None:
    with pytest.raises(InvalidValue, match=name):
        Recorder(["arm"]).row(**{name: 1})


def test_a_row_of_an_array_is_refused() -> None:
    with pytest.raises(InvalidValue, match="one row for each element"):
        Recorder().row(values=np.zeros(3))


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
