"""NWB files of other laboratories, written with pynwb: several series, curated units, trials of all kinds."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pynwb
import pytest
from pynwb.behavior import Position
from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains, load

GENERATOR = np.random.default_rng(6)
TRAINS = [np.sort(GENERATOR.uniform(0, 100, 50)) for _ in range(4)]
TRACES = {name: GENERATOR.random((60, 5)) for name in ("F", "Fneu", "spks")}


def session() -> pynwb.NWBFile:
    return pynwb.NWBFile("s", "id", datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))


def write(path: Path, held: pynwb.NWBFile) -> Path:
    with pynwb.NWBHDF5IO(str(path), "w") as file:
        file.write(held)
    return path


def units(**columns: list[Any]) -> pynwb.NWBFile:
    held = session()
    for name in columns:
        held.add_unit_column(name, "of the test")
    for k, times in enumerate(TRAINS):
        observed = np.array([[0.0, 100.0]])
        held.add_unit(spike_times=times, obs_intervals=observed, **{name: c[k] for name, c in columns.items()})
    return held


def imaging(cells: np.ndarray | None = None) -> tuple[pynwb.NWBFile, Fluorescence, Any]:
    held = session()
    plane = held.create_imaging_plane(
        name="plane", optical_channel=OpticalChannel(name="green", description="d", emission_lambda=500.0),
        description="d", device=held.create_device(name="microscope"), excitation_lambda=900.0, imaging_rate=30.0,
        indicator="GCaMP", location="V1",
    )  # fmt: skip
    module = held.create_processing_module("ophys", "traces")
    segmentation, traces = ImageSegmentation(), Fluorescence()
    module.add(segmentation)
    module.add(traces)
    table = segmentation.create_plane_segmentation(name="cells", description="d", imaging_plane=plane)
    for k in range(5):
        table.add_roi(pixel_mask=[(k, k, 1.0)], id=10 + k)
    if cells is not None:
        table.add_column("iscell", "cell or not, and how surely", data=cells)
    return held, traces, table.create_roi_table_region("all", region=list(range(5)))


def test_several_series_are_chosen_by_name(tmp_path: Path) -> None:
    held, traces, rois = imaging(np.array([[1, 0.9], [0, 0.1], [1, 0.8], [1, 0.7], [0, 0.2]]))
    for name, values in TRACES.items():
        traces.create_roi_response_series(name=name, unit="n.a.", data=values, rois=rois, rate=30.0)
    write(tmp_path / "a.nwb", held)
    with pytest.raises(InvalidValue, match=r"several series: name one of them, .*Fluorescence/Fneu \(60, 5\)"):
        load(tmp_path / "a.nwb")
    for wanted in ("Fneu", "Fluorescence/Fneu"):
        found = load(tmp_path / "a.nwb", series=wanted)
        assert isinstance(found, Rates) and found.units == ("10", "12", "13")
        np.testing.assert_array_equal(found.values, TRACES["Fneu"][:, [0, 2, 3]])
    assert len(load(tmp_path / "a.nwb", series="F", quality=["all"]).units) == 5
    with pytest.raises(InvalidValue, match="none called 'dff'; there are"):
        load(tmp_path / "a.nwb", series="dff")


def test_a_transposed_series_is_noticed(tmp_path: Path) -> None:
    held, traces, rois = imaging()
    traces.create_roi_response_series(name="F", unit="n.a.", data=TRACES["F"], rois=rois, rate=30.0)
    held.add_acquisition(pynwb.TimeSeries(name="raw", data=TRACES["F"].T, unit="n.a.", rate=30.0))
    write(tmp_path / "a.nwb", held)
    with pytest.raises(InvalidValue, match="5 samples of 60 units: is it transposed"):
        load(tmp_path / "a.nwb", series="raw")
    for series, layout in (("raw", "units_time"), ("F", None)):
        found = load(tmp_path / "a.nwb", series=series, layout=layout)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.values, TRACES["F"])  # type: ignore[union-attr]


def test_positions_are_not_taken_for_rates(tmp_path: Path) -> None:
    held, track = session(), Position()
    track.create_spatial_series(name="xy", data=GENERATOR.random((60, 2)), reference_frame="box", rate=30.0)
    held.create_processing_module("behavior", "where it went").add(track)
    write(tmp_path / "a.nwb", held)
    with pytest.raises(InvalidValue, match=r"no series of activity \(positions or images: Position/xy\)"):
        load(tmp_path / "a.nwb")
    assert isinstance(load(tmp_path / "a.nwb", series="xy"), Rates)


def test_jittered_timestamps(tmp_path: Path) -> None:
    times = 5 + np.arange(60) / 30 + GENERATOR.uniform(-1e-3, 1e-3, 60)
    held = session()
    held.add_acquisition(pynwb.TimeSeries(name="dff", data=TRACES["F"], unit="n.a.", timestamps=times))
    found = load(write(tmp_path / "a.nwb", held))
    assert isinstance(found, Rates)
    assert found.step == pytest.approx(1 / 30, rel=2e-3 / 60 * 30) and abs(found.start - 5) < 2e-3
    assert "not equally far apart" in found.notes[0]


@pytest.mark.parametrize("column", ["quality", "KSLabel"])
def test_quality(column: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.nwb", units(**{column: ["good", "mua", "noise", "good"]}))
    assert load(path).units == ("0", "1", "3")
    assert load(path, quality=["good"]).units == ("0", "3")
    with pytest.raises(InvalidValue, match="the units have none of the columns quality, group"):
        load(write(tmp_path / "b.nwb", units()), quality=["good"])


def test_names_that_are_there_twice(tmp_path: Path) -> None:
    found = load(write(tmp_path / "a.nwb", units(unit_name=["1", "1", "2", "3"])))
    assert found.units == ("0", "1", "2", "3") and "labelled by their id" in found.notes[0]


def test_positions_of_units_with_one_electrode_each(tmp_path: Path) -> None:
    """A column of electrodes without an index, as in files of DANDI."""
    held = session()
    shank = held.create_electrode_group("s", description="d", location="V1", device=held.create_device(name="probe"))
    for k in range(4):
        held.add_electrode(x=1.0 * k, y=2.0 * k, z=3.0 * k, location="V1", group=shank)
    rows = [2, 0, 3, 1]
    for times, own in zip(TRAINS, rows, strict=True):
        held.add_unit(spike_times=times, electrodes=[own])
    path = write(tmp_path / "a.nwb", held)
    with h5py.File(path, "a") as file:
        del file["units/electrodes_index"]  # pynwb reads this form and does not write it
    found = load(path)
    np.testing.assert_array_equal(found.positions, [[1.0 * k, 2.0 * k, 3.0 * k] for k in rows])


def test_positions_of_electrodes(tmp_path: Path) -> None:
    held = session()
    shank = held.create_electrode_group("s", description="d", location="V1", device=held.create_device(name="probe"))
    for k in range(3):
        held.add_electrode(x=1.0 * k, y=2.0 * k, z=3.0 * k, location="V1", group=shank)
    for times, own in zip(TRAINS, ([0], [2], [0, 1], [1]), strict=True):
        held.add_unit(spike_times=times, electrodes=own)
    found = load(write(tmp_path / "a.nwb", held))
    nowhere = [np.nan] * 3
    np.testing.assert_array_equal(found.positions, [[0, 0, 0], [2, 4, 6], nowhere, [1, 2, 3]])


@pytest.mark.parametrize(
    ("place", "own", "why"),
    [
        ({}, ([0], [1], [2], [0]), "the electrodes have neither rel_x, rel_y nor x, y, z"),
        ({"x": np.nan, "y": np.nan, "z": np.nan}, ([0], [1], [2], [0]), "those of the electrodes are NaN"),
        ({"x": 1.0, "y": 2.0, "z": 3.0}, ([0, 1], [1, 2], [0, 2], [0, 1, 2]), "no unit has one electrode"),
    ],
)
def test_positions_that_are_not_known(place: dict[str, float], own: tuple[list[int]], why: str, tmp_path: Path) -> None:
    held = session()
    shank = held.create_electrode_group("s", description="d", location="V1", device=held.create_device(name="probe"))
    for _ in range(3):
        held.add_electrode(location="V1", group=shank, **place)
    for times, electrodes in zip(TRAINS, own, strict=True):
        held.add_unit(spike_times=times, electrodes=electrodes)
    found = load(write(tmp_path / "a.nwb", held))
    assert found.positions is None
    assert [note for note in found.notes if "position" in note] == [f"positions of the units are not known: {why}"]


def trials(stop: Callable[[int], float], **columns: Callable[[int], Any]) -> pynwb.NWBFile:
    held = units()
    for name in columns:
        held.add_trial_column(name, "of the test")
    for k in range(20):
        held.add_trial(start_time=5.0 * k, stop_time=stop(k), **{name: make(k) for name, make in columns.items()})
    return held


def half(_: int) -> float:
    return 0.5


def side(k: int) -> str:
    return "left" if k % 2 else "right"


def four(k: int) -> float:
    return 5.0 * k + 4


@pytest.mark.parametrize(
    ("columns", "condition", "labels"),
    [
        ({"side": side}, None, {"left", "right"}),
        ({"side": side, "contrast": half}, None, {""}),
        ({"side": side, "contrast": half}, "side", {"left", "right"}),
        ({"condition": side, "contrast": half}, None, {"left", "right"}),
        ({"response_time": four}, None, {""}),  # a time of its own is no label
    ],
)
def test_the_condition_of_trials(
    columns: dict[str, Callable[[int], Any]], condition: str, labels: set[str], tmp_path: Path
) -> None:
    found = load(write(tmp_path / "a.nwb", trials(four, **columns)), condition=condition)
    assert found.trials is not None and set(found.trials.conditions) == labels
    assert any("which column" in note for note in found.notes) == (labels == {""})
    with pytest.raises(InvalidValue, match="condition: got 'odour'; the trials have "):
        load(tmp_path / "a.nwb", condition="odour")


def test_trials_whose_condition_is_missing_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nwb", trials(four, contrast=lambda k: [np.nan, 0.5, 1.0, 0.5][k % 4]))
    found = load(path)
    assert found.trials is not None and found.trials.conditions == ("0.5", "1.0", "0.5") * 5
    assert found.notes == ("5 of 20 trials have no condition (NaN): left out",)


def test_unfinished_and_overlapping_trials(tmp_path: Path) -> None:
    found = load(write(tmp_path / "a.nwb", trials(lambda k: np.nan if k == 3 else four(k))))
    assert found.trials is not None and len(found.trials) == 19
    assert found.notes == ("1 of 20 trials have no start or no end (NaN): left out",)
    found = load(write(tmp_path / "b.nwb", trials(lambda k: four(k) + 2 * (k < 18))))
    assert isinstance(found, SpikeTrains) and found.trials is None
    with pytest.raises(InvalidValue, match=r"has none \(the trials are not used: 18 begin before the one before has"):
        found.trial_counts(0.1)
