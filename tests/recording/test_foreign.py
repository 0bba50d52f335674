"""ALF, suite2p, CaImAn, NEST and bare arrays: each against the arrays that the test wrote with plain numpy or h5py."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from neuro_decorr.errors import InvalidValue
from neuro_decorr.recording import Rates, SpikeTrains, load

GENERATOR = np.random.default_rng(7)


def rates(path: Path, **options: object) -> Rates:
    found = load(path, **options)  # type: ignore[arg-type]
    assert isinstance(found, Rates)
    return found


def spikes(path: Path, **options: object) -> SpikeTrains:
    found = load(path, **options)  # type: ignore[arg-type]
    assert isinstance(found, SpikeTrains)
    return found


# --- ALF

TIMES = np.array([0.5, 1.0, 1.5, 2.0, 2.5])
CLUSTERS = np.array([0, 2, 0, 2, 2], dtype=np.uint16)


def alf(root: Path) -> Path:
    probe = root / "alf" / "probe00"
    probe.mkdir(parents=True)
    np.save(probe / "spikes.times.12345678-1234-1234-1234-123456789012.npy", TIMES)
    np.save(probe / "spikes.samples.npy", (TIMES * 30_000).astype(int))
    np.save(probe / "spikes.clusters.npy", CLUSTERS)
    np.save(probe / "clusters.channels.npy", np.array([1, 0, 2]))
    np.save(probe / "channels.localCoordinates.npy", np.array([[0.0, 20], [16, 40], [32, 60]]))
    pd.DataFrame({"cluster_id": [0, 1, 2], "label": [1.0, 1 / 3, 2 / 3]}).to_csv(probe / "clusters.metrics.csv")
    np.save(root / "alf" / "_ibl_trials.intervals.npy", np.array([[0.6, 1.2], [1.4, 1.6], [1.8, np.nan]]))
    np.save(root / "alf" / "_ibl_trials.choice.npy", np.array([-1, 1, 1]))
    return probe


def test_alf(tmp_path: Path) -> None:
    probe = alf(tmp_path)
    found = spikes(probe, condition="choice")
    assert found.units == ("0", "1", "2")  # the silent cluster is among them
    for unit in range(3):
        np.testing.assert_array_equal(found.times[unit], TIMES[unit == CLUSTERS])
    np.testing.assert_array_equal(found.positions, [[16, 40], [0, 20], [32, 60]])
    assert found.trials is not None and found.trials.conditions == ("-1", "1")
    assert "1 of 3 trials have no start or no end (NaN): left out" in found.notes
    assert spikes(probe, quality=["good"]).units == ("0",)
    np.testing.assert_allclose(spikes(probe, sampling_rate=30_000).times[0], TIMES[CLUSTERS == 0], atol=1 / 30_000)
    assert "Name one of choice" in "".join(spikes(probe).notes)
    with pytest.raises(InvalidValue, match="condition: got 'side'; the trials have choice"):
        load(probe, condition="side")


def test_a_folder_above_names_those_below(tmp_path: Path) -> None:
    probe = alf(tmp_path / "mouse" / "001")
    for above in (probe.parent, tmp_path / "mouse" / "001", tmp_path / "mouse"):
        with pytest.raises(InvalidValue, match=r"Is it one of .*probe00\?$"):
            load(above)


def test_alf_with_a_table_of_trials(tmp_path: Path) -> None:
    probe = alf(tmp_path)
    for file in (tmp_path / "alf").glob("*.npy"):
        file.unlink()
    table = pd.DataFrame({"intervals_0": [0.6, 1.4], "intervals_1": [1.2, 1.6], "contrast": [0.5, 1.0]})
    table.to_parquet(tmp_path / "alf" / "_ibl_trials.table.pqt")
    trials = spikes(probe, condition="contrast").trials
    assert trials is not None and trials.conditions == ("0.5", "1.0")


# --- suite2p

F, NEUROPIL = (GENERATOR.random((6, 50)).astype(np.float32) for _ in range(2))
CELL = np.array([1, 0, 1, 1, 0, 1])


def suite2p(folder: Path) -> Path:
    np.save(folder / "F.npy", F)
    np.save(folder / "Fneu.npy", NEUROPIL)
    np.save(folder / "spks.npy", F**2)
    np.save(folder / "iscell.npy", np.column_stack([CELL, np.full(6, 0.5)]))
    np.save(folder / "ops.npy", np.array({"fs": 30.0}, dtype=object), allow_pickle=True)
    return folder


def test_suite2p(tmp_path: Path) -> None:
    suite2p(tmp_path)
    found = rates(tmp_path, sampling_rate=30)
    assert found.units == ("0", "2", "3", "5") and found.step == 1 / 30
    expected = F.astype(float) - 0.7 * NEUROPIL.astype(float)
    np.testing.assert_allclose(found.values, expected[CELL == 1].T, atol=1e-6)  # float32 keeps 24 bits of numbers <= 1
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(rates(tmp_path, step=0.1, series="spks", quality=["all"]).values, (F**2).T)
    with pytest.raises(InvalidValue, match=r"ops.npy, which is not read .*give step \(s\) or sampling_rate"):
        load(tmp_path)
    with pytest.raises(InvalidValue, match="allowed are corrected, F, Fneu, spks"):
        load(tmp_path, step=0.1, series="dff")
    (tmp_path / "Fneu.npy").unlink()
    with pytest.raises(InvalidValue, match=r"Fneu.npy is not there"):
        load(tmp_path, step=0.1)


# --- CaImAn


def caiman(path: Path, with_dff: bool) -> Path:
    with h5py.File(path, "w") as file:
        file["estimates/C"], file["estimates/S"] = F, F**2
        file["estimates/F_dff"] = 2 * F if with_dff else "NoneType"
        file["estimates/idx_components"] = np.flatnonzero(CELL)
        file["params/data/fr"] = 25.0
    return path


def test_caiman(tmp_path: Path) -> None:
    found = rates(caiman(tmp_path / "a.hdf5", True))
    np.testing.assert_array_equal(found.values, (2 * F)[CELL == 1].T)
    assert (found.step, found.units) == (1 / 25, ("0", "2", "3", "5"))
    without = caiman(tmp_path / "b.hdf5", False)
    np.testing.assert_array_equal(rates(without, quality=["all"]).values, F.T)
    np.testing.assert_array_equal(rates(without, series="S", units=[4]).values, (F**2)[4:5].T)
    with pytest.raises(InvalidValue, match="series: got 'F_dff'; the estimates hold C, S"):
        load(without, series="F_dff")


# --- NEST

LINES = [(3, 10.1), (1, 20.2), (3, 30.3), (1, 45.0)]


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("spikes-5-0.gdf", "".join(f"{s}\t{t:.3f}\t\n" for s, t in LINES), {}),  # NEST 2
        ("spikes-5-0.gdf", "".join(f"{s}\t{round(t * 10)}\t\n" for s, t in LINES), {"step": 1e-4}),  # and in steps
        ("spikes-5-0.dat", "# NEST version: 3.6\n# RecordingBackendASCII version: 2\nsender\ttime_ms\n"
         + "".join(f"{s}\t{t:.3f}\n" for s, t in LINES), {}),
        ("spikes-5-0.dat", "sender time_step time_offset\n" + "".join(f"{s} {round(t * 10)} 0.0\n" for s, t in LINES),
         {"step": 1e-4}),
    ],
)  # fmt: skip
def test_nest(name: str, content: str, options: dict[str, float], tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    found = spikes(tmp_path / name, period=(0, 0.05), **options)
    assert found.units == ("1", "3")
    np.testing.assert_allclose(found.times[0], [0.0202, 0.045], rtol=1e-12)
    np.testing.assert_allclose(found.times[1], [0.0101, 0.0303], rtol=1e-12)
    if options:
        with pytest.raises(InvalidValue, match=r"a file with times in steps does not say .* give step \(s\)"):
            load(tmp_path / name)


def test_lines_of_time_and_sender_are_not_those_of_nest(tmp_path: Path) -> None:
    (tmp_path / "a.gdf").write_text("".join(f"{t}\t{s}\n" for s, t in LINES))
    with pytest.raises(InvalidValue, match="sender: got numbers that are not whole; NEST writes sender, then time in"):
        load(tmp_path / "a.gdf")


def test_nest_writes_one_file_a_thread(tmp_path: Path) -> None:
    for thread, sender in enumerate((4, 2)):
        (tmp_path / f"ex-7-{thread}.dat").write_text(f"sender\ttime_ms\n{sender}\t1.5\n{sender}\t2.5\n")
    (tmp_path / "ex-8-0.dat").write_text("sender\ttime_ms\n9\t1.5\n")  # another device
    found = spikes(tmp_path / "ex-7-1.dat")
    assert found.units == ("2", "4") and found.notes[0] == "2 files, one a thread: ex-7-0.dat, ex-7-1.dat"
    assert spikes(tmp_path / "ex-7-1.dat", format="nest").spikes == 4
    for thread, content in enumerate(("", "5\t12\n5\t14\n")):  # NEST 2, in steps; no neuron of the first thread fires
        (tmp_path / f"old-3-{thread}.gdf").write_text(content)
    assert spikes(tmp_path / "old-3-1.gdf", step=1e-4).times[0].tolist() == pytest.approx([0.0012, 0.0014])


def test_a_multimeter_of_nest(tmp_path: Path) -> None:
    rows = [f"{s} {t:.1f} {s + t:.1f} 0.0" for t in (0.1, 0.2, 0.3) for s in (1, 2)]
    (tmp_path / "m-1-0.dat").write_text("\n".join(["sender time_ms V_m g", *rows]))
    found = rates(tmp_path / "m-1-0.dat", series="V_m")
    np.testing.assert_allclose(found.values, [[1.1, 2.1], [1.2, 2.2], [1.3, 2.3]])
    assert found.step == pytest.approx(1e-4)
    with pytest.raises(InvalidValue, match="a multimeter recorded V_m, g"):
        load(tmp_path / "m-1-0.dat")
    (tmp_path / "m-1-0.dat").write_text("\n".join(["sender time_ms V_m", "1 0.1 5", "1 0.2 5", "1 0.2 5", "2 0.1 5"]))
    with pytest.raises(InvalidValue, match="unit '2', sample 1"):  # 1 is there twice, 2 is not there at 0.2 ms
        load(tmp_path / "m-1-0.dat")
    (tmp_path / "m-1-0.dat").write_text("sender time_ms\n1 2 3\n")
    with pytest.raises(InvalidValue, match="NEST writes 2 numbers per line here"):
        load(tmp_path / "m-1-0.dat")


# --- bare arrays


def test_a_bare_array_needs_its_step_and_its_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", F.T)
    np.testing.assert_array_equal(rates(tmp_path / "a.npy", step=0.1).values, F.T)
    assert rates(tmp_path / "a.npy", sampling_rate=20).step == 0.05
    with pytest.raises(InvalidValue, match=r"a.npy does not say how long a sample lasts; give step \(s\)"):
        load(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", F)
    with pytest.raises(InvalidValue, match="6 samples of 50 units: is it transposed"):
        load(tmp_path / "b.npy", step=0.1)
    np.testing.assert_array_equal(rates(tmp_path / "b.npy", step=0.1, layout="units_time").values, F.T)
    np.testing.assert_array_equal(rates(tmp_path / "b.npy", step=0.1, layout="time_units").values, F)
    np.save(tmp_path / "c.npy", TIMES)
    with pytest.raises(InvalidValue, match=r"c.npy is one row of numbers.*give the folder"):
        load(tmp_path / "c.npy")
    with pytest.raises(InvalidValue, match="give one of them"):
        load(tmp_path / "a.npy", step=0.1, sampling_rate=10)


def test_an_archive_of_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", dff=F.T, when=TIMES, who=CLUSTERS)
    np.testing.assert_array_equal(rates(tmp_path / "a.npz", variable="dff", step=0.1).values, F.T)
    found = spikes(tmp_path / "a.npz", variable="when, who")
    np.testing.assert_array_equal(found.times[1], TIMES[CLUSTERS == 2])
    with pytest.raises(InvalidValue, match=r"holds dff \(float32 \(50, 6\)\), when .*which of these"):
        load(tmp_path / "a.npz")
    with pytest.raises(InvalidValue, match="there is no 'f'; there are dff, when, who"):
        load(tmp_path / "a.npz", variable="f")


def test_an_unused_array_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", time=TIMES, unit=CLUSTERS, junk=np.zeros(10))
    read = []
    original = np.lib.npyio.NpzFile.__getitem__

    def noted(self: np.lib.npyio.NpzFile, key: str) -> object:
        read.append(key)
        return original(self, key)

    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", noted)
    assert "junk" in load(tmp_path / "a.npz").notes[0]
    assert sorted(read) == ["time", "unit"]


def test_numbers_of_samples_are_not_seconds(tmp_path: Path) -> None:
    times = np.sort(GENERATOR.choice(100_000, 40, replace=False))
    np.savez(tmp_path / "a.npz", time=times, unit=np.zeros(40))
    with pytest.raises(InvalidValue, match=r"all 40 are whole numbers .* give sampling_rate \(Hz\)"):
        load(tmp_path / "a.npz")
    np.testing.assert_array_equal(spikes(tmp_path / "a.npz", sampling_rate=1000).times[0], times / 1000)
    assert spikes(tmp_path / "a.npz", sampling_rate=1000).units == ("0",)
