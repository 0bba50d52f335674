"""Trials from a table of their own, against the trials that the table was written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from examples import phy_folder
from neuro_decorr.errors import InvalidValue
from neuro_decorr.metrics import noise_correlations
from neuro_decorr.recording import SpikeTrains, Trials, from_times, load, save
from neuro_decorr.report.analyse import analyse
from neuro_decorr.report.options import Options, as_options

STARTS = np.arange(40) * 2.5
SIDES = ["left", "right"] * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phy_folder.write(tmp_path_factory.mktemp("phy"))


def write(file: Path, columns: str, rows: Sequence[tuple[object, ...]]) -> Path:
    between = "\t" if file.suffix == ".tsv" else ","
    lines = [columns.replace(",", between), *(between.join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def windows(found: object) -> Trials:
    assert isinstance(found, SpikeTrains) and found.trials is not None
    return found.trials


@pytest.mark.parametrize(
    ("columns", "second", "name"),
    [
        ("start,stop,condition", STARTS + 2, "t.csv"),
        ("start_time,stop_time,side", STARTS + 2, "t.tsv"),  # the only column of which values repeat
        ("onset,duration,trial_type", np.full(40, 2.0), "t.tsv"),  # events of BIDS
    ],
)
def test_windows_and_conditions_are_those_of_the_table(
    columns: str, second: NDArray[Any], name: str, folder: Path, tmp_path: Path
) -> None:
    table = write(tmp_path / name, columns, list(zip(STARTS, second, SIDES, strict=True)))
    found = windows(load(folder, quality=["good"], period=(0, 100), trial_table=table))
    np.testing.assert_allclose(found.start, STARTS)
    np.testing.assert_allclose(found.stop, STARTS + 2)
    assert list(found.conditions) == SIDES


@pytest.mark.parametrize(
    ("head", "row", "point"),
    [
        ("start;stop;side", "{};{};{}", "."),
        ("start;stop;side", "{};{};{}", ","),
        ("start, stop, side", "{}, {}, {} ", "."),
        ("start\tstop\tside", "{}\t{}\t{}", "."),  # tabs, though the name says commas
        (",start,stop,side", "7,{},{},{}", "."),  # as pandas writes an index
    ],
)
def test_separators_decimals_and_blanks(head: str, row: str, point: str, folder: Path, tmp_path: Path) -> None:
    rows = [row.format(a, a + 2, side).replace(".", point) for a, side in zip(STARTS, SIDES, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([head, *rows]))
    found = windows(load(folder, trial_table=tmp_path / "t.csv", period=(0, 100)))
    np.testing.assert_allclose(found.start, STARTS)
    np.testing.assert_allclose(found.stop, STARTS + 2)
    assert list(found.conditions) == SIDES


@pytest.mark.parametrize("empty", ["", "n/a", "NaN"])
def test_trials_with_empty_cells_are_left_out(empty: str, folder: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "onset,offset,side", [(0, 1, "a"), (2, empty, "a"), (4, 5, empty), (6, 7, "b")])
    found = load(folder, trial_table=table, condition="side", period=(0, 100))
    assert windows(found).conditions == ("a", "b") and windows(found).stop.tolist() == [1, 7]
    assert "1 of 4 trials have no start or no end" in " ".join(found.notes)
    assert "1 of 3 trials have no condition" in " ".join(found.notes)


def test_one_of_several_columns_is_named(folder: Path, tmp_path: Path) -> None:
    rows = [(a, a + 1, side, k) for k, (a, side) in enumerate(zip(STARTS, SIDES, strict=True))]
    table = write(tmp_path / "t.csv", "start,stop,side,number", rows)
    assert list(windows(load(folder, trial_table=table, condition="side", period=(0, 100))).conditions) == SIDES
    told = 't.csv has several columns; name that of the condition by condition="COLUMN": side, number'
    with pytest.raises(InvalidValue, match=told):
        load(folder, trial_table=table, period=(0, 100))
    one = load(folder, trial_table=table, condition="", period=(0, 100))
    assert set(windows(one).conditions) == {""} and not any("which column" in note for note in one.notes)
    with pytest.raises(InvalidValue) as caught:
        analyse(Options(folder, period="0s:100s", trial_table=str(table), trials="left"))
    assert as_options(str(caught.value)).endswith(
        "--trial-table: t.csv has several columns; name that of the condition by --condition COLUMN: side, number; if "
        "all trials are one condition, leave these columns out."
    )
    with pytest.raises(InvalidValue, match="condition: got 'odour'; the trials have side, number"):
        load(folder, trial_table=table, condition="odour")


@pytest.mark.parametrize("factor", [1000, 30_000])
def test_times_that_are_no_seconds_are_told(factor: int, folder: Path, tmp_path: Path) -> None:
    rows = [(factor * (a + 1), factor * (a + 2), side) for a, side in zip(STARTS, SIDES, strict=True)]
    table = write(tmp_path / "t.csv", "start,stop,side", rows)
    with pytest.raises(InvalidValue, match=r"trial_table: all trials end after the recording does, .* must be seconds"):
        load(folder, trial_table=table, period=(0, 100))


def test_the_table_stands_for_the_trials_of_the_file(tmp_path: Path) -> None:
    made = from_times([[0.5], [1.5]], 0, 10, trials=Trials([0, 5], [1, 6], ["a", "b"]))
    file, table = (
        save(made, tmp_path / "s.npz"),
        write(tmp_path / "t.csv", "start,stop,odour", [(2, 3, "x"), (4, 5, "x")]),
    )
    assert windows(load(file, trial_table=table)).conditions == ("x", "x")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            "begin,end",
            r"t\.csv has the columns begin, end, read with commas between them; rename those of the times, .* to start "
            "and stop, or ",
        ),
        (None, r"t\.csv: there is no such file"),
    ],
)
def test_what_is_wrong_is_told(columns: str | None, told: str, folder: Path, tmp_path: Path) -> None:
    if columns is not None:
        write(tmp_path / "t.csv", columns, [(0, 1)])
    with pytest.raises(InvalidValue, match=f"trial_table: .*{told}"):
        load(folder, trial_table=tmp_path / "t.csv")


def test_the_command_takes_it_and_names_it(folder: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "start,stop,side", list(zip(STARTS, STARTS + 2, SIDES, strict=True)))
    given = Options(
        folder, quality="good", period="0s:100s", trial_table=str(table), trials="left", against="right", surrogates=0
    )
    found = analyse(given)
    assert found.source["trial_table"].startswith("t.csv: ")
    (noise,) = [shown.frame for shown in found.parts[0].tables if shown.name == "noise"]
    recording = load(folder, quality=["good"], period=(0, 100), trial_table=table)
    assert noise["mean"].tolist() == [noise_correlations(recording, conditions=["left"]).rows["left"].mean]
    (binned,) = [shown.frame for shown in analyse(replace(given, bin="50ms")).parts[0].tables if shown.name == "noise"]
    assert binned["mean"].tolist() == [noise_correlations(recording, 0.05, conditions=["left"]).rows["left"].mean]
    with pytest.raises(InvalidValue, match="--trial-table has the trials of FILE, not those of "):
        analyse(replace(given, against=str(folder)))
    assert "--trial-table: " in as_options("phy: trial_table: t.csv: there is no such file.")
