"""Folders of phy and Kilosort, against the arrays that they were written from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from examples import phy_folder
from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import SpikeTrains, load

RATE = phy_folder.RATE
SAMPLES = np.array([300, 600, 900, 30_000, 60_000, 61_000], dtype=np.uint64)
CLUSTERS = np.array([7, 2, 7, 2, 5, 5], dtype=np.int32)


def write(folder: Path, **tables: str) -> Path:
    np.save(folder / "spike_times.npy", SAMPLES[:, None])
    np.save(folder / "spike_clusters.npy", CLUSTERS)
    (folder / "params.py").write_text("import os\nsample_rate = 30000.\nos.makedirs('ran')\n")
    for name, rows in tables.items():
        (folder / f"cluster_{name}.tsv").write_text(rows.replace(" ", "\t"))
    return folder


def test_times_are_samples_over_the_rate_and_the_program_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = load(write(tmp_path), period=(0, 3))
    assert isinstance(found, SpikeTrains) and found.units == ("2", "5", "7")
    for unit, cluster in enumerate((2, 5, 7)):
        np.testing.assert_array_equal(found.times[unit], SAMPLES[cluster == CLUSTERS] / 30_000)
    assert not (tmp_path / "ran").exists()
    assert load(tmp_path, sampling_rate=30_000, period=(0, 3)).units == found.units
    with pytest.raises(
        InvalidValue, match=r"sampling_rate: got 15000 Hz, but params.py says 30000 Hz; leave the option"
    ):
        load(tmp_path, sampling_rate=15_000, period=(0, 5))
    (tmp_path / "params.py").unlink()
    halved = load(tmp_path, sampling_rate=15_000, period=(0, 5))
    np.testing.assert_array_equal(halved.times[0], 2 * found.times[0])  # type: ignore[union-attr]


GROUP = "cluster_id group\n2 noise\n5 good\n7 unsorted\n"
KILOSORT = "cluster_id KSLabel\n2 good\n5 good\n7 mua\n"


@pytest.mark.parametrize(
    ("tables", "quality", "units"),
    [
        ({"group": GROUP}, None, ("5", "7")),  # noise is no unit
        ({"group": GROUP}, ["all"], ("2", "5", "7")),
        ({"group": GROUP}, ["good"], ("5",)),
        ({"group": GROUP, "KSLabel": KILOSORT}, ["mua"], ("7",)),  # what nobody curated has Kilosort's label
        ({"KSLabel": KILOSORT}, ["good"], ("2", "5")),
        ({"info": "cluster_id ch group\n2 0 good\n5 0 noise\n7 0 mua\n"}, ["good", "mua"], ("2", "7")),
    ],
)
def test_quality_is_what_the_curation_says(
    tables: dict[str, str], quality: list[str] | None, units: tuple[str, ...], tmp_path: Path
) -> None:
    found = load(write(tmp_path, **tables), quality=quality)
    assert found.units == units
    if len(units) < 3:
        assert any(f"{len(units)} of 3 units" in note for note in found.notes)


def test_who_names_a_unit_wants_it(tmp_path: Path) -> None:
    write(tmp_path, group=GROUP)
    assert load(tmp_path, units=["2", 7]).units == ("2", "7")
    with pytest.raises(InvalidValue, match="units: 2 are not of the quality asked for"):
        load(tmp_path, units=["2"], quality=["good"])
    with pytest.raises(InvalidValue, match="there is no unit '3'"):
        load(tmp_path, units=["3"])
    with pytest.raises(InvalidValue, match=r"no unit is 'fine'; there are good \(1\), noise \(1\), unsorted \(1\)"):
        load(tmp_path, quality=["fine"])


def test_positions_are_those_of_the_channel(tmp_path: Path) -> None:
    places = np.array([[0.0, 20], [16, 40], [32, 60]])
    write(tmp_path, info="cluster_id ch\n2 12\n5 10\n7 99\n")
    np.save(tmp_path / "channel_positions.npy", places)
    np.save(tmp_path / "channel_map.npy", [[10], [11], [12]])
    found = load(tmp_path)
    np.testing.assert_array_equal(found.positions, [places[2], places[0], [np.nan, np.nan]])


def test_without_a_table_positions_come_from_the_templates(tmp_path: Path) -> None:
    folder = phy_folder.write(tmp_path / "phy", duration=20)
    found = load(folder, quality=["good"])
    assert isinstance(found, SpikeTrains) and len(found.units) == phy_folder.GOOD
    # The script spreads the clusters evenly over the probe.
    depth = np.linspace(0, phy_folder.CHANNELS - 1, phy_folder.GOOD + 1 + phy_folder.NOISE).astype(int)
    assert found.positions is not None
    np.testing.assert_array_equal(found.positions[:, 1], depth[: phy_folder.GOOD] * phy_folder.PITCH)


@pytest.mark.parametrize("numbers", [range(5), (0, 3, 10**9, 2**40, 2**40 + 1)])  # dense, and with holes
def test_the_most_frequent_template_is_that_of_the_cluster(numbers: Sequence[int], tmp_path: Path) -> None:
    """By counting: clusters that were merged of several templates, equally frequent ones among them."""
    generator = np.random.default_rng(4)
    which, template = generator.integers(0, 5, 60), generator.integers(0, 8, 60)
    np.save(tmp_path / "spike_times.npy", np.arange(60) * 100)
    np.save(tmp_path / "spike_clusters.npy", np.array(numbers)[which])
    np.save(tmp_path / "spike_templates.npy", template.astype(np.uint32))
    np.save(tmp_path / "templates.npy", np.eye(8)[:, None, :] * np.array([[-1.0], [1.0]]))  # template k on channel k
    np.save(tmp_path / "channel_positions.npy", np.arange(8.0)[:, None])
    counts = [Counter(template[which == k].tolist()) for k in range(5)]
    expected = [max(sorted(count), key=count.__getitem__) for count in counts]
    found = load(tmp_path, sampling_rate=1000).positions
    assert found is not None and found[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("params.py", b"sample_rate = rate()\n", "params.py: gives no number for sample_rate; give sampling_rate"),
        ("params.py", b"sample_rate = \n", "params.py: cannot be read"),
        ("params.py", b"", "params.py: gives no number"),
        ("spike_times.npy", b"\x93NUMPY", "spike_times.npy: damaged"),
        ("cluster_group.tsv", b"", "cluster_group.tsv: no table"),
        ("cluster_group.tsv", b"a\tb\n1\t2\n", "cluster_group.tsv: has no column cluster_id"),
    ],
)
def test_a_bad_folder_is_one_clear_line(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (write(tmp_path) / name).write_bytes(content)
    with pytest.raises(InvalidValue) as caught:
        load(tmp_path)
    assert told in str(caught.value) and str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("params.py", "params.py: is not there, so that the sampling rate is not known; give sampling_rate"),
        ("spike_clusters.npy", "holds spike_times.npy, but no spike_clusters.npy"),
    ],
)
def test_a_missing_file_is_named(name: str, told: str, tmp_path: Path) -> None:
    (write(tmp_path) / name).unlink()
    with pytest.raises(InvalidValue, match=told):
        load(tmp_path)


def test_a_quality_that_no_file_tells_names_the_files(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidValue, match=r"quality: the folder has none of cluster_group\.tsv, cluster_info\.tsv and"
    ):
        load(write(tmp_path), quality=["good"])


def test_tables_alone_are_no_recording(tmp_path: Path) -> None:
    (tmp_path / "cluster_group.tsv").write_text(GROUP.replace(" ", "\t"))
    with pytest.raises(InvalidValue, match=r"holds tables of phy, but no spike_times.npy; give the folder with all of"):
        load(tmp_path)


def test_other_folders(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="is a folder, but none of phy, alf, suite2p"):
        load(tmp_path)
    (tmp_path / "sorted").mkdir()
    write(tmp_path / "sorted")
    with pytest.raises(InvalidValue, match=r"Is it one of .*sorted\?"):
        load(tmp_path)
    with pytest.raises(InvalidValue, match="series: phy has no use for it"):
        load(tmp_path / "sorted", series="F")
    np.save(tmp_path / "sorted" / "spike_times.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidValue, match="with objects in it"):
        load(tmp_path / "sorted")
