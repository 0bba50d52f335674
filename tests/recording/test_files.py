"""Files of recordings: every format gives back what it was given, and bad files are told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains, Trials, load, save

FORMATS = ("npz", "csv", "parquet", "nwb", "nix")
GENERATOR = np.random.default_rng(5)
SPIKES = SpikeTrains(
    [np.sort(GENERATOR.uniform(-1, 4.9, 40)), [], [1 / 3, np.nextafter(1 / 3, 1), 0.7]],
    -1.25,
    10 + 1e-3,
    ["v1 7", "NA", "a,b"],
    Trials([-1, 0.1], [0.1, 2.3], ["left", 'say "right"']),
    gaps=[(5.0, 6.125)],
    notes=["one spike was moved"],
    positions=[[0.0, 1 / 3], [16, np.nan], [-32, 20]],
)
RATES = Rates(
    GENERATOR.normal(size=(30, 2)), 1 / 128, 0.5, ["x", "y"], Trials([0.5], [0.6], ["on"]), "mV",
    gaps=[(0.625, 0.75)], positions=[[1.5], [2.5]],
)  # fmt: skip


def same_trials(a: Trials | None, b: Trials | None) -> None:
    assert a is not None and b is not None and a.conditions == b.conditions
    np.testing.assert_array_equal(a.start, b.start)
    np.testing.assert_allclose(a.stop, b.stop, rtol=0, atol=1e-15)  # Neo stores durations


@pytest.mark.parametrize("ending", FORMATS)
def test_spikes_come_back_to_the_last_digit(ending: str, tmp_path: Path) -> None:
    found = load(save(SPIKES, tmp_path / f"spikes.{ending}"))
    assert isinstance(found, SpikeTrains)
    assert (found.start, found.stop, found.units) == (SPIKES.start, SPIKES.stop, SPIKES.units)
    assert (found.gaps, found.notes) == (SPIKES.gaps, SPIKES.notes)
    np.testing.assert_array_equal(found.positions, SPIKES.positions)
    for ours, theirs in zip(SPIKES.times, found.times, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    same_trials(found.trials, SPIKES.trials)
    assert [path.name for path in tmp_path.iterdir()] == [f"spikes.{ending}"]


@pytest.mark.parametrize("ending", FORMATS)
def test_rates_come_back_to_the_last_digit(ending: str, tmp_path: Path) -> None:
    found = load(save(RATES, tmp_path / f"rates.{ending}"))
    assert isinstance(found, Rates)
    np.testing.assert_array_equal(found.values, RATES.values)
    assert (found.start, found.step, found.units, found.quantity) == (0.5, 1 / 128, ("x", "y"), "mV")
    assert found.gaps == RATES.gaps
    np.testing.assert_array_equal(found.positions, RATES.positions)
    same_trials(found.trials, RATES.trials)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_period_is_cut_and_the_clock_kept(ending: str, tmp_path: Path) -> None:
    found = load(save(SPIKES, tmp_path / f"spikes.{ending}"), period=(0, 3))
    expected = SPIKES.window(0, 3)
    assert isinstance(found, SpikeTrains)
    assert (found.start, found.stop, found.gaps) == (0, 3, ())
    for ours, theirs in zip(expected.times, found.times, strict=True):
        np.testing.assert_array_equal(ours, theirs)


LABELS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@given(
    trains=st.dictionaries(
        LABELS, st.lists(st.floats(-3, 3), unique=True, max_size=5).map(sorted), min_size=1, max_size=4
    ),
    ending=st.sampled_from(["npz", "csv", "parquet"]),
)
def test_any_labels_and_times_come_back(
    trains: dict[str, list[float]], ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{ending}"
    original = SpikeTrains([[time + 0.0 for time in unit] for unit in trains.values()], -3, 3, trains)
    found = load(save(original, path, overwrite=True))
    assert isinstance(found, SpikeTrains) and found.units == original.units
    for ours, theirs in zip(original.times, found.times, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_label_that_is_a_column_of_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="the label 'time' is the name of a column"):
        save(Rates([[1.0, 2.0]], 1, units=["time", "b"]), tmp_path / "a.csv")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    save(SPIKES, tmp_path / "a.npz")
    with pytest.raises(InvalidValue, match="is there already"):
        save(RATES, tmp_path / "a.npz")
    assert isinstance(load(save(RATES, tmp_path / "a.npz", overwrite=True)), Rates)
    with pytest.raises(InvalidValue, match=r"got the ending '.mat'; allowed: .npz, .csv"):
        save(SPIKES, tmp_path / "a.mat")
    with pytest.raises(InvalidValue, match="cannot be written"):
        save(SPIKES, tmp_path / "absent" / "a.csv")


@pytest.mark.parametrize("ending", FORMATS)
def test_the_ending_is_not_trusted(ending: str, tmp_path: Path) -> None:
    path = save(SPIKES, tmp_path / f"a.{ending}")
    other = tmp_path / ("b.csv" if ending != "csv" else "b.npz")
    path.rename(other)
    with pytest.raises(InvalidValue, match=f"holds {ending}, though its name says {other.suffix[1:]}; rename it"):
        load(other)
    assert load(other, format=ending).units == SPIKES.units  # type: ignore[arg-type]
    neutral = other.rename(tmp_path / "recording.dat")
    assert load(neutral).units == SPIKES.units


@pytest.mark.parametrize("ending", ["npz", "csv", "parquet", "nwb", "nix"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_cut_file_is_one_clear_line(ending: str, kept: float, tmp_path: Path) -> None:
    content = save(SPIKES, tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InvalidValue, match=rf"a\.{ending}: ") as caught:
        load(tmp_path / f"a.{ending}")
    assert "\n" not in str(caught.value)


def text(content: str) -> bytes:
    return content.encode()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.npz", b"", "is empty"),
        ("a.nwb", b"", "is empty"),
        ("a.npz", b"PK\x03\x04 nothing more", "damaged or cut archive"),
        ("a.bin", b"\x93NUMPY\x01\x00", "numpy array: damaged, cut, or with objects in it"),
        ("a.bin", b"\x80\x04\x95", "(a pickle, which can run any program and is never loaded); known are npz"),
        ("a.mat", b"MATLAB 5.0 MAT-file\0", "cannot be read as mat"),
        ("a.csv", b"\xff\xfe\x01", "no CSV table"),
        ("a.csv", text("neuron,when\n1,2\n"), "columns: got neuron, when; allowed are unit and time"),
        ("a.csv", text("unit,time\na,0.1\na,\na,0.2\n"), "unit 'a': 1 are NaN or infinite"),
        ("a.csv", text("# start = 0\n# stop = 1\nunit,time\na,0.1\na,nan\n"), "unit 'a': 1 are NaN"),
        ("a.csv", text("unit,time\na,0.1\na,soon\n"), "column 'time': got 'soon' in row 1"),
        ("a.csv", text("unit,time\na,0.2\na,0.1\n"), "out of order"),
        ("a.csv", text("# start = 0\n# stop = 1\nunit,time\na,0.1\na,2\n"), "1 outside the window of 0 to 1 s"),
        ("a.csv", text("# start = 0\n# stop = 1\nunit,time\na,0.1\na,0.1\n"), "1 spike of 1 unit is there twice"),
        ("a.csv", text('# units = ["b"]\nunit,time\na,0.1\n'), "got 'a', which the header does not list"),
        (
            "a.csv",
            text("# start = zero\nunit,time\na,0.1\n"),
            "the line '# start = zero' holds no JSON value (Expecting value",
        ),
        ("a.csv", text("unit,time\n"), "units: got none"),
        ("a.csv", text("time,a\n"), "got 0 rows"),
        ("a.csv", text("unit,time\na,0.1\n"), "its spikes do not either (1 spikes); give the period"),
        ("a.csv", text("unit,time,trial\na,0.1,0\n"), "a first line such as '# trial_duration = 2.5'"),
        ("a.csv", text("# trial_duration = 1\nunit,time,trial\na,1.1,0\n"), "1 spikes lie outside their trial of 1 s"),
        (
            "a.csv",
            text("time,a\n0,1\n1,2\n3,4\n"),
            "row 2 is at 3 s, after 1 s, where steps of 1 s are expected: a gap",
        ),
        ("a.csv", text("time,a\n0,1\n1,nan\n2,3\n"), "unit 'a', sample 1"),
        ("a.csv", text("time,a\n0,1\n"), "the step cannot be told"),
        ("a.csv", text("time,a\n0,1\n1,2,3\n"), "no CSV table"),
        ("a.csv", text("unit,time\n1,2,3\n2,3\n"), "the first line names 2 (unit, time), but rows have more cells"),
        ("a.csv", text("time\n0\n1\n"), "columns: got only time; add unit"),
    ],
)
def test_a_bad_file_is_one_clear_line(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidValue) as caught:
        load(tmp_path / name)
    message = str(caught.value)
    assert told in message and message.startswith(str(tmp_path / name)) and "\n" not in message


def test_other_files_of_the_right_container(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weights=np.eye(2), bias=[0])
    with h5py.File(tmp_path / "b.nwb", "w") as file:
        file["x"] = [1.0]
    for name, told in (
        ("a.npz", r"holds weights \(float64 \(2, 2\)\), bias \(int64 \(1,\)\); which of these is the recording"),
        ("b.nwb", "none of NWB, NIX and CaImAn: read its arrays with h5py"),
        ("c", "no such"),
    ):
        with pytest.raises(InvalidValue, match=told):
            load(tmp_path / name)
    np.savez(tmp_path / "d.npz", time=np.array([0.1, None]), unit=[0, 0])
    with pytest.raises(InvalidValue, match="with objects in it"):
        load(tmp_path / "d.npz")
    save(SPIKES, tmp_path / "e.npz")
    with pytest.raises(InvalidValue, match=r"e.npz: holds no rates"):
        load(tmp_path / "e.npz", content="rates")


def test_what_people_write_by_hand(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("unit,time_ms\n2,100\n1,50\n1,250\n")
    found = load(tmp_path / "a.csv")
    assert isinstance(found, SpikeTrains)
    assert (found.units, found.start, found.stop) == (("1", "2"), 0.05, 0.25)
    assert "one that never fires is not among them" in found.notes[0]
    assert found.notes[1] == (
        "the source does not tell when it recorded: the window is from the first spike to the last, 0.05 to 0.25 s"
    )
    assert load(tmp_path / "a.csv", period=(0, 1)).stop == 1
    np.savez(tmp_path / "b.npz", time=[0.5, 0.1], unit=[1, 0], units=["a", "b", "c"], start=0, stop=2, rig="left")
    found = load(tmp_path / "b.npz")
    assert found.units == ("a", "b", "c")
    assert found.notes == ("arrays that are not part of a recording: rig",)


def test_trials_on_their_own_clock_are_laid_end_to_end(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        '# trial_duration = 2\n# trial_condition = ["x", "y", "x"]\nunit,time,trial\na,0.5,0\na,0.25,1\nb,1.0,1\n'
    )
    found = load(tmp_path / "a.csv")
    assert isinstance(found, SpikeTrains) and found.trials is not None
    assert [unit.tolist() for unit in found.times] == [[0.5, 2.25], [3.0]]
    assert (found.stop, found.trials.conditions) == (6, ("x", "y", "x"))
    counts, _ = found.trial_counts()
    np.testing.assert_array_equal(counts, [[1, 0], [1, 1], [0, 0]])


@pytest.mark.parametrize("layout", ["csv of trials", "csv end to end", "npz of numbers", "npz of texts"])
def test_trials_whose_condition_is_missing_are_left_out(layout: str, tmp_path: Path) -> None:
    rows = "".join(f"{unit},{trial + 0.25},{trial}\n" for trial in range(3) for unit in "ab")
    path = tmp_path / f"a.{layout[:3]}"
    if layout == "csv of trials":
        top = "# start = 0\n# stop = 3\n# trial_start = [0, 1, 2]\n# trial_stop = [1, 2, 3]\n"
        path.write_text(f'{top}# trial_condition = ["x", NaN, "y"]\nunit,time,trial\n{rows}')
    elif layout == "csv end to end":
        path.write_text(
            '# trial_duration = 1\n# trial_condition = ["x", NaN, "y"]\nunit,time,trial\n'
            + "".join(f"{unit},0.25,{trial}\n" for trial in range(3) for unit in "ab")
        )
    else:
        conditions = [1.5, np.nan, 2.5] if "numbers" in layout else ["x", np.nan, "y"]
        clock = {"start": 0.0, "stop": 3.0, "trial_start": np.arange(3.0), "trial_stop": np.arange(3.0) + 1}
        np.savez(path, time=np.tile(np.arange(3) + 0.25, 2), unit=np.repeat([0, 1], 3), trial_condition=conditions,
                 **clock)  # fmt: skip
    found = load(path)
    assert found.trials is not None and found.trials.start.tolist() == [0, 2] and found.trials.stop.tolist() == [1, 3]
    assert found.trials.conditions == (("1.5", "2.5") if "numbers" in layout else ("x", "y"))
    assert "1 of 3 trials have no condition (NaN): left out" in found.notes


def test_rates_outside_the_period_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,a\n0,nan\n1,1\n2,2\n")
    found = load(tmp_path / "a.csv", period=(1, 3))
    assert isinstance(found, Rates)
    np.testing.assert_array_equal(found.values, [[1], [2]])
    assert found.start == 1


@pytest.mark.parametrize("period", ["0:5", (1.0,), (1.0, 2.0, 3.0), 5.0])
def test_a_period_is_two_numbers(period: Any, tmp_path: Path) -> None:
    save(SpikeTrains([[1.0]], 0, 10), tmp_path / "a.npz")
    with pytest.raises(InvalidValue, match=r"^period: got "):
        load(tmp_path / "a.npz", period=period)


def test_options_may_be_arrays(tmp_path: Path) -> None:
    save(SpikeTrains([[1.0], [2.0], [3.0]], 0, 10), tmp_path / "a.npz")
    options: dict[str, Any] = {"period": np.array([0.5, 4.0]), "units": np.array([2, 0])}
    found = load(tmp_path / "a.npz", **options)
    assert isinstance(found, SpikeTrains) and (found.start, found.stop, found.units) == (0.5, 4.0, ("2", "0"))


@pytest.mark.parametrize(("scale", "asked"), [(1.0, False), (1000.0, True)])
def test_milliseconds_taken_for_seconds_are_asked_about(scale: float, asked: bool, tmp_path: Path) -> None:
    time = scale * np.sort(np.random.default_rng(0).uniform(0, 10, 200))  # 20 spikes a second, if these are seconds
    (tmp_path / "a.csv").write_text("unit,time\n" + "".join(f"a,{value}\n" for value in time.tolist()))
    assert any("milliseconds" in note for note in load(tmp_path / "a.csv").notes) == asked
    found = load(tmp_path / "a.csv", sampling_rate=scale)
    assert not any("milliseconds" in note for note in found.notes) and found.stop == pytest.approx(time[-1] / scale)
