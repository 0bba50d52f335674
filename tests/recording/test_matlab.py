"""MATLAB files: version 5 by scipy, version 7.3 as MATLAB itself lays it out, by h5py."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import load
from tests.recording.test_foreign import rates, spikes

GENERATOR = np.random.default_rng(3)
TRAINS = [np.array([0.25, 0.5, 1.75]), np.array([]), np.array([1.0])]
RATES = GENERATOR.random((30, 4))
TIMES, UNITS = np.array([0.1, 0.2, 0.3]), np.array([4.0, 2.0, 4.0])


def cell(arrays: list[np.ndarray]) -> np.ndarray:
    made = np.empty(len(arrays), dtype=object)
    for index, array in enumerate(arrays):
        made[index] = array
    return made


def version5(path: Path) -> None:
    unit = np.array([(TRAINS[0], "a"), (TRAINS[2], "b")], dtype=[("ts", object), ("name", object)])
    savemat(
        path,
        {
            "spikes": cell(TRAINS), "rates": RATES, "t": TIMES[:, None], "u": UNITS[:, None],
            "data": {"inner": {"rates": RATES}, "who": "me"}, "units": unit,
        },
    )  # fmt: skip


def version73(path: Path) -> None:
    """Columns first, empty arrays as their shape, cells as references: how MATLAB writes HDF5."""
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")

        def put(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
            values = np.atleast_2d(values)
            empty = values.size == 0
            made = group.create_dataset(name, data=np.array([0, 0], dtype=np.uint64) if empty else values.T)
            made.attrs["MATLAB_class"] = np.bytes_("double")
            if empty:
                made.attrs["MATLAB_empty"] = np.uint8(1)
            return made

        def structure(group: h5py.Group, name: str) -> h5py.Group:
            made = group.create_group(name)
            made.attrs["MATLAB_class"] = np.bytes_("struct")
            return made

        def cells(group: h5py.Group, name: str, arrays: list[np.ndarray]) -> None:
            held = [put(references, f"{name}{k}", array).ref for k, array in enumerate(arrays)]
            made = group.create_dataset(name, data=np.array([held], dtype=h5py.ref_dtype).T, dtype=h5py.ref_dtype)
            made.attrs["MATLAB_class"] = np.bytes_("cell")

        cells(file, "spikes", TRAINS)
        for name, values in (("rates", RATES), ("t", TIMES), ("u", UNITS)):
            put(file, name, values)
        data = structure(file, "data")
        put(structure(data, "inner"), "rates", RATES)
        put(data, "who", np.array([109.0, 101.0]))
        cells(structure(file, "units"), "ts", [TRAINS[0], TRAINS[2]])
    content = bytearray(path.read_bytes())
    content[:128] = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    path.write_bytes(bytes(content))


@pytest.fixture(params=[version5, version73])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write: Callable[[Path], None] = request.param
    write(tmp_path / "a.mat")
    return tmp_path / "a.mat"


def test_a_cell_of_times_is_spikes(file: Path) -> None:
    found = spikes(file, variable="spikes", period=(0, 2))
    assert [times.tolist() for times in found.times] == [times.tolist() for times in TRAINS]
    assert [times.tolist() for times in spikes(file, variable="units.ts").times] == [[0.25, 0.5, 1.75], [1.0]]


def test_a_matrix_is_rates(file: Path) -> None:
    for variable in ("rates", "data.inner.rates"):
        np.testing.assert_array_equal(rates(file, variable=variable, step=0.1).values, RATES)


def test_two_vectors_are_times_and_units(file: Path) -> None:
    found = spikes(file, variable="t,u")
    assert found.units == ("2", "4")
    assert [times.tolist() for times in found.times] == [[0.2], [0.1, 0.3]]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "which of these is the recording"),
        ({"variable": "spike"}, "there is no 'spike'; there are "),
        ({"variable": "data"}, "data is a structure; choose a field: "),
        ({"variable": "data.outer"}, "data.outer has no field 'outer'; there are "),
        ({"variable": "t"}, "t is one row of numbers"),
        ({"variable": "rates"}, "rates does not say how long a sample lasts"),
        ({"variable": "t,rates"}, "give one unit per spike"),
        ({"variable": "t,u,rates"}, "got 3 names"),
    ],
)
def test_what_is_not_clear_is_one_clear_line(options: dict[str, Any], told: str, file: Path) -> None:
    with pytest.raises(InvalidValue, match=told) as caught:
        load(file, **options)
    assert "\n" not in str(caught.value)


def test_the_candidates_are_listed(file: Path) -> None:
    with pytest.raises(InvalidValue) as caught:
        load(file)
    for listed in ("spikes (cell 1x3)", "rates (double 30x4)", "data (struct"):
        assert listed in str(caught.value)


def mat_string(name: bytes) -> bytes:
    """A variable of class `string`, as MATLAB writes it: class 17, then the name of the class, then numbers."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    numbers = element(6, struct.pack("<II", 13, 0)) + element(5, struct.pack("<ii", 6, 1)) + element(1, b"")
    numbers += element(6, struct.pack("<6I", 0xDD000000, 2, 1, 1, 1, 1))
    opaque = element(6, struct.pack("<II", 17, 0)) + element(1, name) + element(1, b"MCOS") + element(1, b"string")
    return element(14, opaque + element(14, numbers))


def test_a_string_beside_the_recording(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"dff": RATES})
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole[:128] + mat_string(b"animal") + whole[128:])
    np.testing.assert_array_equal(rates(tmp_path / "a.mat", step=0.1).values, RATES)
    with pytest.raises(InvalidValue, match="there is no 'animal'; there are dff"):
        load(tmp_path / "a.mat", variable="animal")


def test_texts_are_no_row_of_numbers(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"names": ["left", "right"]})
    with pytest.raises(InvalidValue, match=r"values: got <U5 of shape \(2,\); allowed are numbers"):
        load(tmp_path / "a.mat")


def test_a_matrix_of_more_units_than_samples_is_asked_back(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"dff": RATES.T})
    with pytest.raises(InvalidValue, match="4 samples of 30 units: is it transposed"):
        load(tmp_path / "a.mat", step=0.1)
    np.testing.assert_array_equal(rates(tmp_path / "a.mat", step=0.1, layout="units_time").values, RATES)


def test_units_are_the_first_of_the_codes_that_spike2_exports(tmp_path: Path) -> None:
    codes = np.zeros((3, 4), dtype=np.uint8)
    codes[:, 0] = UNITS
    savemat(tmp_path / "a.mat", {"Chan5": {"times": TIMES[:, None], "codes": codes, "title": "SU"}})
    held = spikes(tmp_path / "a.mat", variable="Chan5.times,Chan5.codes")
    assert held.units == ("2", "4")
    assert [unit.tolist() for unit in held.times] == [[0.2], [0.1, 0.3]]
    assert any("first column of Chan5.codes" in note for note in held.notes)
    codes[1, 2] = 1
    savemat(tmp_path / "a.mat", {"times": TIMES, "codes": codes})
    with pytest.raises(InvalidValue, match=r"units of shape \(3, 4\); give one unit per spike"):
        load(tmp_path / "a.mat", variable="times,codes")
