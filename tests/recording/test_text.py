"""Tables of text as other programs write them: all of these are the same recording, or one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains, load

GENERATOR = np.random.default_rng(2)
ROWS = [(unit, time) for unit in (2, 10) for time in np.sort(GENERATOR.uniform(0.1, 5, 30)).tolist()]


def table(head: str, separator: str = ",", decimal: str = ".", end: str = "\n") -> str:
    number = [str(time).replace(".", decimal) for _, time in ROWS]
    return head + end + "".join(f"{u}{separator}{t}{end}" for (u, _), t in zip(ROWS, number, strict=True))


@pytest.mark.parametrize(
    "content",
    [
        table("unit,time").encode(),
        table("unit;time", ";").encode(),
        table("unit\ttime", "\t").encode(),
        table("unit;time", ";", ",").encode(),
        table("unit\ttime", "\t", ",").encode(),
        table("unit,time", end="\r\n").encode("utf-8-sig"),
        table("unit,time").encode("utf-16"),
        table("Unit, Time", ", ").encode(),
        table("cluster_id,spike_time").encode(),
        table("\n# a remark\nunit,time\n").encode(),
        pd.DataFrame(ROWS, columns=["unit", "time"]).to_csv().encode(),  # with its index
        pd.DataFrame(ROWS, columns=["unit", "time"], index=range(1, 61)).to_csv(quoting=2).encode(),  # as R writes it
        pd.DataFrame(ROWS, columns=["unit", "time"]).to_csv(decimal=",", index=False).encode(),
        pd.DataFrame([(u, 1000 * t) for u, t in ROWS], columns=["neuron", "time_ms"]).to_csv(index=False).encode(),
    ],
)
def test_the_same_spikes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    found = load(tmp_path / "a.csv")
    assert isinstance(found, SpikeTrains) and found.units == ("2", "10")  # numbers in the order of numbers
    for unit, label in enumerate((2, 10)):
        np.testing.assert_allclose(found.times[unit], [t for u, t in ROWS if u == label], rtol=1e-15)


@pytest.mark.parametrize("column", ["trial", "Trial", "trial_id"])
def test_times_from_the_start_of_each_trial(column: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{column},neuron_id,spike_time\n0,5,0.25\n1,5,0.25\n1,7,0.5\n")
    with pytest.raises(InvalidValue, match="trial: every spike has a trial, but the duration of a trial is missing"):
        load(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text(f"# trial_duration = 2\n{(tmp_path / 'a.csv').read_text()}")
    found = load(tmp_path / "a.csv")
    assert isinstance(found, SpikeTrains) and [times.tolist() for times in found.times] == [[0.25, 2.25], [2.5]]
    assert not any("silent:" in note for note in found.notes)
    (tmp_path / "a.csv").write_text(f"# trial_duration = 2\n{column},unit,time\n1,5,0.25\n2,5,0.25\n")
    late = load(tmp_path / "a.csv")
    assert late.trials is not None and len(late.trials) == 3
    assert any("no spike is in trial 0, which counts as silent: if trials count from 1" in note for note in late.notes)


def test_times_in_samples(tmp_path: Path) -> None:
    samples = [(unit, round(time * 20_000)) for unit, time in ROWS]
    for column in ("sample", "time"):
        pd.DataFrame(samples, columns=["unit", column]).to_csv(tmp_path / "a.csv", index=False)
        with pytest.raises(InvalidValue, match=r"give sampling_rate \(Hz\)"):
            load(tmp_path / "a.csv")
        found = load(tmp_path / "a.csv", sampling_rate=20_000)
        assert isinstance(found, SpikeTrains)
        np.testing.assert_array_equal(found.times[0], [t / 20_000 for u, t in samples if u == 2])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (table("unit,time").replace("2,", "µ,").encode("latin-1"), "not UTF-8 at byte 10"),
        (table("3,0.05").encode(), "the first row is numbers (3, 0.05): add a first line such as unit,time"),
        (table("unit time", " ").encode(), "blanks stand between unit, time; write commas, semicolons or tabs"),
        (b'unit,time\n1,"1,234.5"\n', "the comma may separate thousands"),
        (b'unit,time\n1,"1,234"\n1,"2,345"\n', "the comma may separate thousands"),
        (b"unit,time\n1,1_0\n", "got '1_0' in row 0; allowed are numbers"),
        (b"time,a,a\n0,1,2\n1,2,3\n", "columns: 'a' is there twice"),
        (b",time,a\n5,0,1\n7,1,2\n", "the first one has no name"),
        (b"unit,time,trial\n1,0.1,0.5\n", "trial: got numbers that are not whole"),
        (b"# start = 0,0\nunit,time\n1,0.5\n", "the line '# start = 0,0' holds no JSON value"),
    ],
)
def test_a_bad_table_is_one_clear_line(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InvalidValue) as caught:
        load(tmp_path / "a.csv")
    assert told in str(caught.value) and "\n" not in str(caught.value)


HEADERS = {
    "start": ["abc", [0.0, 1.0], None], "stop": ["x"], "rows": ["x", None], "gaps": [[5.0, 6.0, 7.0], "a", [[1]]],
    "units": ["abcd", 5, [["a", "b"], ["c", "d"]]], "trial_start": [5.0, "a"], "trial_stop": [[[1.0]]],
    "notes": [3], "positions": [[1.0], "a"], "trial_duration": ["x"],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in HEADERS.items() for value in values])
def test_a_header_of_another_kind_is_one_clear_line(key: str, value: object, tmp_path: Path) -> None:
    header = {"start": 0.0, "stop": 20.0, key: value}
    lines = "".join(f"# {name} = {json.dumps(entry)}\n" for name, entry in header.items())
    (tmp_path / "a.csv").write_text(lines + "unit,time\n0,1.5\n0,2.5\n")
    files = [tmp_path / "a.csv"]
    if value is not None:
        np.savez(tmp_path / "a.npz", time=[1.5, 2.5], unit=[0, 0], **{name: np.array(v) for name, v in header.items()})
        files.append(tmp_path / "a.npz")
    for file in files:
        with pytest.raises(InvalidValue, match=f"{key}") as caught:
            load(file)
        assert "\n" not in str(caught.value)


def test_one_number_in_an_array_is_a_number(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", time=[1.5], unit=[0], start=np.zeros(1), stop=np.array([[20.0]]))
    assert load(tmp_path / "a.npz").stop == 20


STEPS = np.arange(2000)


@pytest.mark.parametrize(
    ("times", "known", "off"),
    [
        (np.round(STEPS / 30, 3), 1 / 30, 0.0005),
        (STEPS.astype(np.float32) / np.float32(30), 1 / 30, 1e-5),
        (np.round(STEPS / 15.6, 2), 1 / 15.6, 0.005),
        (100 + STEPS * 0.05 + GENERATOR.uniform(-0.002, 0.002, len(STEPS)), 0.05, 0.002),
    ],
)
def test_rounded_or_jittered_times_are_equal_steps(times: np.ndarray, known: float, off: float, tmp_path: Path) -> None:
    values = GENERATOR.random((len(times), 2))
    frame = pd.DataFrame(values, columns=["a", "b"])
    frame.insert(0, "time", times)
    frame.to_csv(tmp_path / "a.csv")  # with its index
    found = load(tmp_path / "a.csv")
    assert isinstance(found, Rates) and found.units == ("a", "b")
    np.testing.assert_allclose(found.values, values, rtol=1e-15)
    assert found.step == pytest.approx(known, rel=1e-12)
    assert abs(found.start - times[0]) <= 2 * off
    assert "counts the rows" in found.notes[0] and "not equally far apart" in found.notes[1]


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (np.delete(STEPS / 30, 50), "row 50 is at 1.7 s, after 1.63333 s.*a gap"),
        (np.r_[STEPS / 30, 0], "rows out of order"),
        (np.cumsum(1 / 30 + 0.01 * np.sin(STEPS / 300)), "more than a step .* away from equal steps; resample"),
    ],
)
def test_times_that_are_no_equal_steps_are_told(times: np.ndarray, told: str, tmp_path: Path) -> None:
    pd.DataFrame({"time": times, "a": times}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InvalidValue, match=told):
        load(tmp_path / "a.csv")


def test_a_long_table_of_rates(tmp_path: Path) -> None:
    values = GENERATOR.random((20, 3))
    long = pd.DataFrame(values, columns=["c", "a", "b"]).assign(time=np.arange(20) * 0.05)
    long = long.melt(id_vars="time", var_name="unit", value_name="rate").sample(frac=1, random_state=1)
    long.to_csv(tmp_path / "a.csv", index=False)
    found = load(tmp_path / "a.csv")
    assert isinstance(found, Rates) and found.units == ("a", "b", "c") and found.step == pytest.approx(0.05)
    np.testing.assert_array_equal(found.values, values[:, [1, 2, 0]])
    long.assign(dff=1.0).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InvalidValue, match="give one of the columns of values, rate, dff"):
        load(tmp_path / "a.csv")
    np.testing.assert_array_equal(load(tmp_path / "a.csv", series="dff").values, np.ones((20, 3)))  # type: ignore[union-attr]
    spikes = pd.DataFrame(ROWS, columns=["unit", "time"]).assign(amplitude=1.0)
    spikes.to_csv(tmp_path / "a.csv", index=False)
    assert "no part of spikes: amplitude" in load(tmp_path / "a.csv").notes[0]
